package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/gpio"
	"postern/drivers/i2c"
	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
	"postern/drivers/onewire"
	"postern/drivers/pwm"
	"postern/drivers/serial"
	"postern/drivers/spi"
)

// bench simulates what devices sit on: chips at the registers of an I2C bus,
// lines, and Modbus units at the far end of a pseudo terminal. It is safe for
// concurrent use.
type bench struct {
	mu    sync.Mutex
	i2c   map[string]*i2c.Sim
	taken map[string]map[uint16]bool
	lines map[string]*gpio.SimLine
	pwm   map[string]*pwm.Sim
	w1    *onewire.Sim
	roms  map[string]bool
	ble   radios
}

func newBench() *bench {
	return &bench{
		i2c: map[string]*i2c.Sim{}, taken: map[string]map[uint16]bool{}, lines: map[string]*gpio.SimLine{}, pwm: map[string]*pwm.Sim{},
		w1: onewire.NewSim(), roms: map[string]bool{}, ble: radios{},
	}
}

func (b *bench) oneWire(rom string) onewire.Bus {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.roms[rom] {
		b.w1.Attach(rom, drivers.Drift{Base: 21, Amplitude: 3, Period: 20 * time.Minute, Phase: float64(len(b.roms)) / 7})
		b.roms[rom] = true
	}
	return b.w1
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

func (b *bench) spiPort(name string, sim func() spi.Slave) (spi.Port, error) {
	return spi.NewSim(name, sim()), nil
}

// line returns a simulated line that a device was opened on, or nil.
func (b *bench) line(name string) *gpio.SimLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines[name]
}

// simBaud is the speed of simulated lines.
const simBaud = 19200

// modbusLine gives each unit a line of its own: a pseudo terminal with the unit
// at its far end, paced as a real line.
func (b *bench) modbusLine(name string, unit byte, sim func() *modbus.Image) (*modbus.Client, func() error, error) {
	srv := slave.New(map[byte]*modbus.Image{unit: sim()})
	srv.Baud, srv.Delay = simBaud, 5*time.Millisecond
	path, err := srv.PTY()
	if err != nil {
		return nil, nil, fmt.Errorf("simulated line %s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	client, err := modbus.Dial(modbus.BusConfig{
		Transport: "rtu", Timeout: 500 * time.Millisecond, Retries: 1,
		Serial: serial.Config{Port: path, Baud: simBaud, DataBits: 8, Parity: "none", StopBits: "1"},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		cancel()
		return nil, nil, errors.Join(fmt.Errorf("simulated line %s: %w", name, err), <-done)
	}
	return client, func() error {
		err := client.Close()
		cancel()
		return errors.Join(err, <-done)
	}, nil
}

func (b *bench) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, bus := range b.i2c {
		errs = append(errs, bus.Close())
	}
	errs = append(errs, b.ble.close()...)
	b.i2c, b.taken = map[string]*i2c.Sim{}, map[string]map[uint16]bool{}
	return errors.Join(errs...)
}

// paper is a bench on which nothing is ever read: it tells what channels a
// device would have.
type paper struct{ *bench }

func (paper) modbusLine(string, byte, func() *modbus.Image) (*modbus.Client, func() error, error) {
	c := modbus.New(nil, modbus.BusConfig{Transport: "tcp", Timeout: time.Second}, slog.New(slog.DiscardHandler))
	return c, c.Close, nil
}
