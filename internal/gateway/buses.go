package gateway

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"postern/drivers/gpio"
	"postern/drivers/i2c"
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
	}
}

// directI2C tells whether a text names an I2C bus of a machine: a number or a
// path. Adapter names need an entry in buses, so that a slip of the pen in the
// name of an entry is not taken for one.
func directI2C(name string) bool {
	return strings.HasPrefix(name, "/dev/") || name != "" && strings.Trim(name, "0123456789") == ""
}

// bench simulates what devices sit on. It is safe for concurrent use.
type bench struct {
	mu    sync.Mutex
	i2c   map[string]*i2c.Sim
	taken map[string]map[uint16]bool
	lines map[string]*gpio.SimLine
}

func newBench() *bench {
	return &bench{i2c: map[string]*i2c.Sim{}, taken: map[string]map[uint16]bool{}, lines: map[string]*gpio.SimLine{}}
}

func (b *bench) i2cBus(name string, address uint16, sim func() i2c.Slave) (i2c.Bus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bus := b.i2c[name]
	if bus == nil {
		bus = i2c.NewSim(name)
		b.i2c[name], b.taken[name] = bus, map[uint16]bool{}
	}
	if !b.taken[name][address] {
		bus.Attach(address, sim())
		b.taken[name][address] = true
	}
	return bus, nil
}

func (b *bench) gpioLine(name string) (gpio.Line, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[name]
	if l == nil {
		l = gpio.NewSimLine(name)
		b.lines[name] = l
	} else {
		l.Reopen()
	}
	return l, nil
}

// line returns a simulated line that a device was opened on, or nil.
func (b *bench) line(name string) *gpio.SimLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines[name]
}

func (b *bench) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, bus := range b.i2c {
		errs = append(errs, bus.Close())
	}
	b.i2c, b.taken = map[string]*i2c.Sim{}, map[string]map[uint16]bool{}
	return errors.Join(errs...)
}

// plant is the real hardware: each bus is opened once, when the first device
// needs it, and stays open until the end. It is safe for concurrent use.
type plant struct {
	mu    sync.Mutex
	named map[string]config.Bus
	i2c   map[string]i2c.BusCloser
}

func newPlant(named map[string]config.Bus) *plant {
	return &plant{named: named, i2c: map[string]i2c.BusCloser{}}
}

// use replaces the names of buses. Buses that are open stay open.
func (p *plant) use(named map[string]config.Bus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.named = named
}

func (p *plant) i2cBus(name string, _ uint16, _ func() i2c.Slave) (i2c.Bus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	device := name
	if b, ok := p.named[name]; ok {
		device = b.Config.(*i2cConfig).Device
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

func (p *plant) gpioLine(name string) (gpio.Line, error) { return gpio.Open(name) }

func (p *plant) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, b := range p.i2c {
		errs = append(errs, b.Close())
	}
	p.i2c = map[string]i2c.BusCloser{}
	return errors.Join(errs...)
}
