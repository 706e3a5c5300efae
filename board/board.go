// Package board tells which board this is and translates names that people use
// (pin 11, GPIO17, the header's I2C bus) into names that drivers open. It only
// reads, from a file system that tests replace.
package board

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Family is what a board's names follow.
type Family string

// The families.
const (
	RaspberryPi Family = "raspberry-pi"
	DeviceTree  Family = "device-tree" // any other board that describes itself by one
	PC          Family = "pc"
	Unknown     Family = "unknown"
)

// Board is what a machine says about itself. Empty fields are not known.
type Board struct {
	Family     Family
	Model      string   // "Raspberry Pi 4 Model B Rev 1.4"
	Vendor     string   // of PCs
	Serial     string   // of the board
	Compatible []string // device tree, the most exact first
	Chip       string   // label of the GPIO chip behind the header

	pins map[int]int // header pin → offset on Chip
}

const deviceTree = "sys/firmware/devicetree/base"

// Detect reads what root, the file system's root, says.
func Detect(root fs.FS) Board {
	if b, ok := fromDeviceTree(root); ok {
		return b
	}
	b := Board{Family: Unknown}
	dmi := func(name string) string { return text(root, path.Join("sys/class/dmi/id", name)) }
	if product := dmi("product_name"); product != "" {
		b.Family, b.Model, b.Vendor = PC, product, dmi("sys_vendor")
		b.Serial = dmi("product_serial") // readable for root alone
	}
	return b
}

func fromDeviceTree(root fs.FS) (Board, bool) {
	model := text(root, deviceTree+"/model")
	if model == "" {
		return Board{}, false
	}
	b := Board{Family: DeviceTree, Model: model, Serial: text(root, deviceTree+"/serial-number")}
	if c := read(root, deviceTree+"/compatible"); c != "" {
		b.Compatible = strings.Split(strings.Trim(c, "\x00"), "\x00")
	}
	if strings.HasPrefix(model, "Raspberry Pi") {
		b.Family = RaspberryPi
		b.raspberry()
	}
	return b, true
}

// text returns a file's content without NUL and white space at its ends, and
// without anything that could disturb a terminal.
func text(root fs.FS, name string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, read(root, name)))
}

// read returns at most 4 KiB of a file, or nothing.
func read(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 4096)
	n := 0
	for n < len(b) {
		k, err := f.Read(b[n:])
		if n += k; err != nil || k == 0 {
			break
		}
	}
	return string(b[:n])
}

// String is one line for people.
func (b Board) String() string {
	s := b.Model
	if s == "" {
		s = "unknown machine"
	}
	if b.Vendor != "" {
		s = b.Vendor + " " + s
	}
	if b.Serial != "" {
		s += fmt.Sprintf(" (serial number %s)", b.Serial)
	}
	return s
}
