// Package i2ctest runs the suite of drivertest on drivers of simulated I2C
// chips.
package i2ctest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/i2c"
)

// TestChip runs drivertest.TestDevice on the chip that sim makes at addr, once
// for each fault, and with an answer that takes two seconds.
func TestChip[C any, D drivers.Device](t *testing.T, addr uint16, open func(context.Context, i2c.Bus, C) (D, error), sim func(C) i2c.Slave, cfg C, faults ...i2c.Fault) {
	for _, fault := range faults {
		t.Run(fmt.Sprint("fault ", fault), func(t *testing.T) {
			var bus *i2c.Sim
			drivertest.TestDevice(t, func(t *testing.T) (d drivers.Device) {
				d, bus = Open(t, addr, open, cfg, sim(cfg))
				return d
			}, drivertest.Options{
				Break: func(broken bool) {
					bus.SetFault(addr, i2c.Healthy)
					if broken {
						bus.SetFault(addr, fault)
					}
				},
				Slow: func() { bus.SetLateness(2 * time.Second); bus.SetFault(addr, i2c.Late) },
			})
		})
	}
}

// Open opens the chip at addr on a bus of its own. It is closed at the end of
// the test.
func Open[C any, D drivers.Device](t *testing.T, addr uint16, open func(context.Context, i2c.Bus, C) (D, error), cfg C, chip i2c.Slave) (D, *i2c.Sim) {
	t.Helper()
	bus := i2c.NewSim("sim")
	bus.Attach(addr, chip)
	d, err := open(t.Context(), bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, bus
}

// TestOther checks that other chips at addr are not read as one of the driver's:
// one whose registers are all zero, and those given.
func TestOther[C any, D drivers.Device](t *testing.T, addr uint16, open func(context.Context, i2c.Bus, C) (D, error), cfg C, others ...i2c.Slave) {
	t.Helper()
	for i, chip := range append(others, zeros{}) {
		d, _ := Open(t, addr, open, cfg, chip)
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("other chip %d: %v, %v; want drivers.ErrProtocol", i, got, err)
		}
	}
}

type zeros struct{}

func (zeros) Tx(w, r []byte) error { clear(r); return nil }
