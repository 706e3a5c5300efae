package serial

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func ioctlRS485(fd int, r *rs485) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSRS485, uintptr(unsafe.Pointer(r)))
	if errno != 0 {
		return errno
	}
	return nil
}
