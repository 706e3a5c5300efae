//go:build !linux

package tcp

import "net"

// Nonblocking returns nc: only Linux has been looked at.
func Nonblocking(nc net.Conn) net.Conn { return nc }
