package virtual

import (
	"fmt"
	"os"
)

// Attach gives a controller to the kernel, through its module hci_vhci, which
// makes an adapter of it. The adapter is there until the file is closed. Needs
// root. Source: Linux, drivers/bluetooth/hci_vhci.c.
func (c *Controller) Attach() (*os.File, error) {
	f, err := os.OpenFile("/dev/vhci", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	const vendor, primary = 0xff, 0x00
	if _, err := f.Write([]byte{vendor, primary}); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("/dev/vhci: %w", err)
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := f.Read(b)
			if err != nil {
				return // the file was closed
			}
			if n > 0 && b[0] != vendor {
				_, _ = c.Write(b[:n])
			}
		}
	}()
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if _, err := f.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	return f, nil
}
