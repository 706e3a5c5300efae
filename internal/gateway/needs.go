package gateway

import (
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"sort"
	"strings"

	"postern/drivers"
	"postern/drivers/gpio"
	"postern/drivers/i2c"
	"postern/drivers/modbus"
	"postern/drivers/onewire"
	"postern/drivers/serial"
	"postern/internal/config"
)

// Need is something of the machine that a configuration uses.
type Need struct {
	Who  string // "node boiler", "bus field"
	What string // "I2C bus 1"
	// Path is the device file that has to be opened; empty where there is none
	// or it is not known.
	Path string
	// Err tells why it cannot be found, and what to do.
	Err error
}

// Needs lists what the devices of a configuration that are not simulated sit
// on, each once for each device. root is the file system's root. Nothing is
// requested and no bus is opened, but GPIO chips are, to find lines.
func Needs(cfg *config.Config, root fs.FS) []Need {
	p := place{root: root, board: boardOf(root)}
	var out []Need
	lines := map[string]bool{}
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		k, err := findKind(n.Kind)
		if err != nil || k.branch || simulated(cfg, n, k) {
			continue
		}
		who := "node " + n.ID
		switch {
		case k.Bus == "i2c":
			out = append(out, p.needI2C(who, cfg, n.Bus))
		case k.Bus == "modbus":
			if c, ok := cfg.Buses[n.Bus].Config.(*modbus.BusConfig); ok && c.Transport == "rtu" && !lines[n.Bus] {
				lines[n.Bus] = true
				out = append(out, p.needSerial("bus "+n.Bus, c.Serial.Port))
			}
		default:
			if c, ok := serialOf(n.Config); ok {
				out = append(out, p.needSerial(who, c.Port))
			} else if need, ok := p.needByField(who, n.Config); ok {
				out = append(out, need)
			}
		}
	}
	sort.SliceStable(out, func(a, b int) bool { return out[a].Who < out[b].Who })
	return out
}

func (p place) needI2C(who string, cfg *config.Config, name string) Need {
	device := name
	if c, ok := cfg.Buses[name].Config.(*i2cConfig); ok {
		device = c.Device
	}
	need := Need{Who: who, What: "I2C bus " + device}
	device, need.Err = p.i2cBusName(device)
	if need.Err != nil {
		return need
	}
	n, err := i2c.Find(p.root, device)
	if err != nil {
		need.Err = err
		return need
	}
	need.Path = fmt.Sprintf("/dev/i2c-%d", n)
	if !exists(p.root, need.Path) {
		need.Err = fmt.Errorf("there is no %s: enable I2C in the board's settings and load the module i2c-dev (echo i2c-dev > /etc/modules-load.d/i2c.conf): %w", need.Path, drivers.ErrGone)
		need.Path = ""
	}
	return need
}

func (p place) needSerial(who, port string) Need {
	need := Need{Who: who, What: "serial port " + port}
	device, err := p.serial(port)
	if err == nil {
		device, err = serial.Resolve("/", device)
	}
	switch {
	case err != nil:
		need.Err = err
	case !exists(p.root, device):
		need.Err = fmt.Errorf("there is no %s: plug it in, or choose one that postern scan serial lists: %w", device, drivers.ErrGone)
	default:
		need.Path = device
	}
	return need
}

// needByField knows the other kinds by the field that names what they sit on.
func (p place) needByField(who string, cfg any) (Need, bool) {
	v := reflect.ValueOf(cfg).Elem()
	text := func(name string) string {
		if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
			return f.String()
		}
		return ""
	}
	if line := text("Line"); line != "" {
		need := Need{Who: who, What: "GPIO line " + line}
		ref, err := p.line(line)
		if err == nil {
			var l gpio.Line
			if l, err = gpio.Open(ref); err == nil {
				err = l.Close() // it was looked up and not requested
			}
		}
		need.Err = err
		return need, true
	}
	if port := text("Port"); port != "" && spiName.MatchString(port) {
		need := Need{Who: who, What: "SPI port " + port, Path: "/dev/spidev" + strings.TrimPrefix(strings.TrimPrefix(port, "/dev/"), "spidev")}
		need.Err = p.spi(port)
		if need.Err == nil && !exists(p.root, need.Path) {
			need.Err = fmt.Errorf("there is no %s; enable SPI in the board's settings: %w", need.Path, drivers.ErrGone)
		}
		if need.Err != nil {
			need.Path = ""
		}
		return need, true
	}
	if rom := text("ID"); onewire.CheckID(rom) == nil {
		need := Need{Who: who, What: "1-Wire chip " + rom}
		ids, err := onewire.Kernel{Root: p.root}.List()
		need.Err = err
		if err == nil && !slices.Contains(ids, rom) {
			need.Err = fmt.Errorf("it is not on the bus: check its wiring and the pull-up of 4.7 kΩ; postern scan onewire lists what is there: %w", drivers.ErrGone)
		}
		return need, true
	}
	return Need{}, false
}

// exists looks below root; ports that are links into devices count by their
// name.
func exists(root fs.FS, name string) bool {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if _, err := fs.Stat(root, name); err == nil {
		return true
	}
	_, err := fs.Lstat(root, name)
	return err == nil
}
