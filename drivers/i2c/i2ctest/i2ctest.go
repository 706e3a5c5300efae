// Package i2ctest runs the suite of drivertest on drivers of simulated I2C
// chips.
package i2ctest

import (
	"context"
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
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				bus = i2c.NewSim("sim")
				bus.Attach(addr, sim(cfg))
				d, err := open(t.Context(), bus, cfg)
				if err != nil {
					t.Fatal(err)
				}
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
