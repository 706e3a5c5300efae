package gateway

import (
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"

	"postern/board"
	"postern/drivers"
	"postern/drivers/gpio"
	"postern/drivers/modbus"
	"postern/drivers/serial"
	"postern/internal/config"
	"postern/internal/local"
)

// place translates the names that people use for lines, buses and ports into
// those that drivers open, and says what to enable when a bus of the header is
// missing. It is immutable; what is below root may change.
type place struct {
	root  fs.FS
	board board.Board
}

func thisPlace() place {
	root := os.DirFS("/")
	return place{root, boardOf(root)}
}

func boardOf(root fs.FS) board.Board { return board.Detect(root) }

// machine tells what the gateway runs on.
func (p place) machine() *local.Machine {
	m := &local.Machine{Board: p.board.String(), Reset: "unknown"}
	if r := board.ResetReason(p.root); r != "" {
		m.Reset = r
	}
	return m
}

// line translates "pin 11" and "GPIO17".
func (p place) line(name string) (string, error) {
	name, err := p.board.Line(strings.TrimSpace(name))
	if err == nil && gpio.HeaderName(name) {
		err = fmt.Errorf("board: %q: the header of this machine (%s) is not known; write CHIPLABEL:NAME, postern scan gpio lists them", name, p.board)
	}
	return name, err
}

var (
	i2cName     = regexp.MustCompile(`^(?:/dev/)?(?:i2c-?)?([0-9]+)$`)
	serialAlias = regexp.MustCompile(`^serial[0-9]+$`)
	spiName     = regexp.MustCompile(`^(?:/dev/)?(?:spidev)?([0-9]+)\.[0-9]+$`)
)

// i2cBusName translates "i2c1" and the other ways to write its number.
func (p place) i2cBusName(name string) (string, error) {
	n := sameBus(name)
	if i2cName.MatchString(name) {
		if _, err := p.bus("i2c" + n); err != nil {
			return "", err
		}
	}
	return n, nil
}

// serial translates "serial0", an alias of the device tree.
func (p place) serial(port string) (string, error) {
	alias := strings.TrimPrefix(port, "/dev/")
	if !serialAlias.MatchString(alias) {
		return port, nil
	}
	path, err := p.bus(alias)
	if path == alias { // no board that is known has such a port
		return port, err
	}
	return path, err
}

// spi finds out whether the bus is enabled.
func (p place) spi(name string) error {
	if m := spiName.FindStringSubmatch(name); m != nil {
		_, err := p.bus("spi" + m[1])
		return err
	}
	return nil
}

// bus returns the path of a bus of the board, or the name of one that the board
// does not know.
func (p place) bus(name string) (string, error) {
	path, err := p.board.Bus(p.root, name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, drivers.ErrGone)
	}
	return path, nil
}

// Warnings tells what in a configuration works today and may not tomorrow:
// serial ports by a number that depends on the order of plugging.
func Warnings(cfg *config.Config) []string {
	var out []string
	warn := func(where, port string) {
		if w := serial.Unstable(port); w != "" {
			out = append(out, fmt.Sprintf("%s: %s can be another device after the next plugging; %s", where, port, w))
		}
	}
	for id, b := range cfg.Buses {
		if c, ok := b.Config.(*modbus.BusConfig); ok && c.Transport == "rtu" {
			warn("bus "+id, c.Serial.Port)
		}
	}
	for i := range cfg.Nodes {
		if c, ok := serialOf(cfg.Nodes[i].Config); ok {
			warn("node "+cfg.Nodes[i].ID, c.Port)
		}
	}
	return out
}

// serialOf returns the serial port in the configuration of a device: a field
// Serial, as all of them have it.
func serialOf(cfg any) (serial.Config, bool) {
	v := reflect.ValueOf(cfg)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return serial.Config{}, false
	}
	f := v.Elem().FieldByName("Serial")
	if !f.IsValid() {
		return serial.Config{}, false
	}
	c, ok := f.Interface().(serial.Config)
	return c, ok
}

// sameBus is one of the ways to write the name of an I2C bus.
func sameBus(name string) string {
	if m := i2cName.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return name
}

// sameLine is one of the ways to write a name of the header.
func sameLine(name string) string {
	if gpio.HeaderName(strings.TrimSpace(name)) {
		return strings.ToLower(strings.ReplaceAll(name, " ", ""))
	}
	return name
}
