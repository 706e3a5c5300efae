package hci

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"postern/drivers"
)

const ioctlDown = 0x400448ca // HCIDEVDOWN, _IOW('H', 202, int)

// Open takes an adapter away from the kernel's Bluetooth stack by its user
// channel: it is taken down, and belongs to this process until it is closed. That
// needs the capability CAP_NET_ADMIN, and no bluetoothd that uses the adapter.
// Each Read gives one packet, each Write takes one. Source: Linux,
// include/net/bluetooth/hci_sock.h.
func Open(adapter int) (io.ReadWriteCloser, error) {
	fd, err := unix.Socket(unix.AF_BLUETOOTH, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.BTPROTO_HCI)
	if err == nil {
		if err = take(fd, adapter); err == nil {
			return os.NewFile(uintptr(fd), fmt.Sprintf("hci%d", adapter)), nil
		}
		_ = unix.Close(fd)
	}
	advice := "is the adapter plugged in, and not blocked (rfkill list)?"
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		advice = "this machine has no Bluetooth; is the kernel's module loaded?"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		advice = "this needs the capability CAP_NET_ADMIN: root has it, and the service with the drop-in bluetooth.conf of the package"
	case errors.Is(err, unix.EBUSY):
		advice = "another program holds the adapter; stop bluetooth.service, or the gateway that uses it"
	}
	return nil, fmt.Errorf("bluetooth: hci%d: %w: %w; %s", adapter, drivers.ErrGone, err, advice)
}

func take(fd, adapter int) error {
	if err := unix.IoctlSetInt(fd, ioctlDown, adapter); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrHCI{Dev: uint16(adapter), Channel: unix.HCI_CHANNEL_USER})
}
