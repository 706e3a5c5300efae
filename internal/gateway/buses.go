package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"

	"postern/drivers/ble"
	"postern/drivers/gpio"
	"postern/drivers/i2c"
	"postern/drivers/modbus"
	"postern/drivers/onewire"
	"postern/drivers/spi"
	"postern/internal/config"
)

// i2cConfig gives an I2C bus of the machine a name.
type i2cConfig struct {
	Device string `yaml:"device" doc:"number, /dev path or adapter name of the bus" example:"1"`
}

// busKinds are the kinds of buses that a configuration can name.
func busKinds() []config.BusKind {
	return []config.BusKind{
		{Type: "i2c", Doc: "an I2C bus under a name of its own", New: func() any { return new(i2cConfig) }, Direct: directI2C},
		{Type: "ble", Doc: "a Bluetooth adapter", New: func() any { return new(ble.AdapterConfig) }},
		{Type: "modbus", Doc: "a Modbus line: a serial port or a TCP connection, with its units", New: func() any { return new(modbus.BusConfig) }},
	}
}

// directI2C tells whether a text names an I2C bus of a machine: a number, with
// or without i2c in front, or a path. Adapter names need an entry in buses, so that a slip of the pen in the
// name of an entry is not taken for one.
func directI2C(name string) bool {
	return strings.HasPrefix(name, "/dev/") || i2cName.MatchString(name)
}

// plant is the real hardware: each bus is opened once, when the first device
// needs it, and stays open until its configuration changes or the end. It is
// safe for concurrent use.
type plant struct {
	log *slog.Logger
	place
	held *holder // lines that outlive the process

	mu     sync.Mutex
	named  map[string]config.Bus
	i2c    map[string]i2c.BusCloser
	modbus map[string]masters
	ble    radios
}

// masters is an open Modbus line and what it was opened with.
type masters struct {
	*modbus.Client
	config modbus.BusConfig
}

func newPlant(log *slog.Logger) *plant {
	return &plant{log: log, place: thisPlace(), held: newHolder(log, nil, nil), i2c: map[string]i2c.BusCloser{}, modbus: map[string]masters{}, ble: radios{}}
}

// use replaces the names of buses. Lines that changed are closed: their
// devices are by now.
func (p *plant) use(named map[string]config.Bus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.named = named
	p.ble.drop(named, p.log)
	for name, m := range p.modbus {
		if c, ok := named[name].Config.(*modbus.BusConfig); ok && reflect.DeepEqual(*c, m.config) {
			continue
		}
		if err := m.Close(); err != nil {
			p.log.Warn("a line was not closed cleanly", "bus", name, "err", err)
		}
		delete(p.modbus, name)
	}
}

func (p *plant) i2cBus(name string, _ uint16, _ func() i2c.Slave) (i2c.Bus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	device := name
	if c, ok := p.named[name].Config.(*i2cConfig); ok {
		device = c.Device
	}
	device, err := p.i2cBusName(device)
	if err != nil {
		return nil, fmt.Errorf("bus %s: %w", name, err)
	}
	if bus := p.i2c[device]; bus != nil {
		return bus, nil
	}
	bus, err := i2c.Open(device)
	if err != nil {
		return nil, fmt.Errorf("bus %s: %w", name, err)
	}
	p.i2c[device] = bus
	return bus, nil
}

func (p *plant) oneWire(string) onewire.Bus { return onewire.Kernel{Root: os.DirFS("/")} }

func (p *plant) spiPort(name string, _ func() spi.Slave) (spi.Port, error) {
	if err := p.spi(name); err != nil {
		return nil, err
	}
	return spi.Open(name)
}

func (p *plant) gpioLine(name string) (gpio.Line, error) {
	name, err := p.line(name)
	if err != nil {
		return nil, err
	}
	return p.held.line(name, false, gpio.Low)
}

func (p *plant) modbusLine(name string, _ byte, _ func() *modbus.Image) (*modbus.Client, func() error, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := func() error { return nil } // other units are on the line
	if m, ok := p.modbus[name]; ok {
		return m.Client, keep, nil
	}
	c, ok := p.named[name].Config.(*modbus.BusConfig)
	if !ok {
		return nil, nil, fmt.Errorf("there is no Modbus line %q", name)
	}
	dial := *c
	if dial.Transport == "rtu" {
		var err error
		if dial.Serial.Port, err = p.serial(dial.Serial.Port); err != nil {
			return nil, nil, fmt.Errorf("bus %s: %w", name, err)
		}
	}
	client, err := modbus.Dial(dial, p.log.With("bus", name))
	if err != nil {
		return nil, nil, fmt.Errorf("bus %s: %w", name, err)
	}
	p.modbus[name] = masters{client, *c}
	return client, keep, nil
}

func (p *plant) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, b := range p.i2c {
		errs = append(errs, b.Close())
	}
	for _, m := range p.modbus {
		errs = append(errs, m.Close())
	}
	errs = append(errs, p.ble.close()...)
	p.i2c, p.modbus = map[string]i2c.BusCloser{}, map[string]masters{}
	return errors.Join(errs...)
}
