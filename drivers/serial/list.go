package serial

import (
	"io/fs"
	"path"
	"sort"
	"strings"
)

// Listed is a serial port that the machine has.
type Listed struct {
	Name   string // the stable one where there is one: below /dev/serial/by-id
	Device string // /dev/ttyUSB0
}

// List returns the USB ports by their stable names, and the UARTs of the board
// that have hardware behind them. root is the file system's root.
func List(root fs.FS) []Listed {
	var ports []Listed
	named := map[string]bool{}
	if links, err := fs.ReadDir(root, "dev/serial/by-id"); err == nil {
		for _, l := range links {
			target, err := fs.ReadLink(root, path.Join("dev/serial/by-id", l.Name()))
			if err != nil {
				continue
			}
			dev := "/dev/" + path.Base(target)
			named[dev] = true
			ports = append(ports, Listed{"/dev/serial/by-id/" + l.Name(), dev})
		}
	}
	ttys, err := fs.ReadDir(root, "sys/class/tty")
	if err != nil {
		return ports
	}
	for _, t := range ttys {
		dev := "/dev/" + t.Name()
		// Virtual consoles and pseudo terminals have no device; a UART of type
		// 0 has no hardware (sysfs-tty).
		if _, err := fs.Stat(root, path.Join("sys/class/tty", t.Name(), "device")); err != nil || named[dev] {
			continue
		}
		if kind, err := fs.ReadFile(root, path.Join("sys/class/tty", t.Name(), "type")); err == nil && strings.TrimSpace(string(kind)) == "0" {
			continue
		}
		ports = append(ports, Listed{dev, dev})
	}
	sort.Slice(ports, func(i, j int) bool { return ports[i].Name < ports[j].Name })
	return ports
}
