// Package serialtest runs the suite of drivertest on drivers of simulated
// instruments on a serial port.
package serialtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/serial"
)

// TestInstrument runs drivertest.TestDevice on the instrument that sim makes,
// once for each fault. One that speaks by itself does so every 10 ms.
func TestInstrument[C any, D drivers.Device](t *testing.T, open func(context.Context, serial.Conn, C) (D, error), sim func(C) *serial.Sim, cfg C, faults ...serial.Fault) {
	for _, fault := range faults {
		t.Run(fmt.Sprint("fault ", fault), func(t *testing.T) {
			var s *serial.Sim
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				s = sim(cfg)
				s.Period = 10 * time.Millisecond
				d, err := open(t.Context(), s, cfg)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{
				Break: func(broken bool) {
					s.SetFault(serial.Healthy)
					if broken {
						s.SetFault(fault)
					}
				},
				Slow: func() { s.SetFault(serial.Silent) },
			})
		})
	}
}
