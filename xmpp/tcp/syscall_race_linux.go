//go:build race

package tcp

import "syscall"

// Package syscall tells the race detector what a call does with p, and that
// what arrives was sent before; a raw call would hide the one and make false
// alarms of the other.

func sysRead(fd uintptr, p []byte) (int, syscall.Errno)  { return called(syscall.Read(int(fd), p)) }
func sysWrite(fd uintptr, p []byte) (int, syscall.Errno) { return called(syscall.Write(int(fd), p)) }

func called(n int, err error) (int, syscall.Errno) {
	errno, _ := err.(syscall.Errno) // it has no others
	return n, errno
}
