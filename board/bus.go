package board

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Bus is a bus or port that a board has or could have.
type Bus struct {
	Name    string // of the device tree's alias or the kernel: "i2c1", "serial0", "spi0"
	Path    string // what drivers open: "/dev/i2c-1", "/dev/ttyAMA0"; empty while disabled
	Where   string // where it is, for people
	Advice  string // what to do when it is missing
	Present bool
}

// Buses returns the I2C, SPI and serial buses that exist, and those of the
// header that could, with what to do for them.
func (b Board) Buses(root fs.FS) []Bus {
	buses := append(b.i2c(root), b.spi(root)...)
	buses = append(buses, b.serial(root)...)
	for _, want := range b.expected() {
		if !slices.ContainsFunc(buses, func(x Bus) bool { return x.Name == want.Name }) {
			buses = append(buses, want)
		}
	}
	sort.Slice(buses, func(i, j int) bool { return buses[i].Name < buses[j].Name })
	for i := range buses {
		for _, want := range b.expected() {
			if want.Name == buses[i].Name {
				buses[i].Where = want.Where
			}
		}
	}
	return buses
}

// expected are the buses of the Raspberry Pi's header.
func (b Board) expected() []Bus {
	if b.Family != RaspberryPi {
		return nil
	}
	i2c := "i2c1"
	if strings.HasSuffix(b.Model, "Model B Rev 1") {
		i2c = "i2c0"
	}
	const file = " to /boot/firmware/config.txt (older systems: /boot/config.txt) and restart"
	return []Bus{
		{Name: i2c, Where: "header pins 3 (SDA) and 5 (SCL)", Advice: "add dtparam=i2c_arm=on" + file + "; load the module i2c-dev"},
		{Name: "spi0", Where: "header pins 19, 21, 23, 24, 26", Advice: "add dtparam=spi=on" + file},
		{Name: "serial0", Where: "header pins 8 (TX) and 10 (RX)", Advice: "add enable_uart=1" + file + "; take console=serial0 out of cmdline.txt"},
		{Name: "w1", Where: "header pin 7", Advice: "add dtoverlay=w1-gpio" + file},
	}
}

// i2c: the kernel numbers adapters by the device tree's aliases.
func (b Board) i2c(root fs.FS) []Bus {
	var found []Bus
	for _, e := range list(root, "sys/class/i2c-dev") {
		n, err := strconv.Atoi(strings.TrimPrefix(e, "i2c-"))
		if err != nil {
			continue
		}
		found = append(found, Bus{
			Name: fmt.Sprintf("i2c%d", n), Path: "/dev/" + e, Present: true,
			Where: text(root, path.Join("sys/class/i2c-dev", e, "name")),
		})
	}
	return found
}

func (b Board) spi(root fs.FS) []Bus {
	var found []Bus
	for _, e := range list(root, "sys/class/spidev") {
		bus, _, ok := strings.Cut(strings.TrimPrefix(e, "spidev"), ".")
		if !ok {
			continue
		}
		name := "spi" + bus
		if !slices.ContainsFunc(found, func(x Bus) bool { return x.Name == name }) {
			found = append(found, Bus{Name: name, Path: "/dev/" + e, Present: true})
		}
	}
	if len(list(root, "sys/bus/w1/devices")) > 0 {
		found = append(found, Bus{Name: "w1", Path: "/sys/bus/w1/devices", Present: true})
	}
	return found
}

// serial finds the ports that the device tree's aliases serial0, serial1, …
// name, by comparing the nodes that the ports come from.
func (b Board) serial(root fs.FS) []Bus {
	nodes := map[string]string{} // device tree node → port
	for _, tty := range list(root, "sys/class/tty") {
		link, err := fs.ReadLink(root, path.Join("sys/class/tty", tty, "device/of_node"))
		if err != nil {
			continue
		}
		if _, node, ok := strings.Cut(link, "devicetree/base"); ok {
			nodes[node] = tty
		}
	}
	var found []Bus
	for _, alias := range list(root, deviceTree+"/aliases") {
		if _, ok := number(alias, "serial"); !ok {
			continue
		}
		node := text(root, path.Join(deviceTree, "aliases", alias))
		if tty, ok := nodes[node]; ok {
			found = append(found, Bus{Name: alias, Path: "/dev/" + tty, Present: true})
		}
	}
	return found
}

func list(root fs.FS, dir string) []string {
	entries, err := fs.ReadDir(root, dir)
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// Bus translates the name of a bus (i2c1, serial0) into the path that drivers
// open. Other names are given back as they are. A bus of the header that is
// not there is an error that says what to enable.
func (b Board) Bus(root fs.FS, name string) (string, error) {
	for _, x := range b.Buses(root) {
		switch {
		case x.Name != name:
		case x.Present:
			return x.Path, nil
		default:
			return "", fmt.Errorf("board: %s (%s) is not enabled: %s", x.Name, x.Where, x.Advice)
		}
	}
	return name, nil
}
