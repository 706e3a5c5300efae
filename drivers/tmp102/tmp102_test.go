package tmp102

import (
	"errors"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/i2c"
)

var config = Config{Bus: "sim", Address: 0x48}

func TestDevice(t *testing.T) {
	var sim *i2c.Sim
	for name, fault := range map[string]i2c.Fault{"dead": i2c.Dead, "stuck": i2c.Stuck} {
		t.Run(name, func(t *testing.T) {
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				sim = i2c.NewSim("sim")
				sim.Attach(0x48, Simulate(config))
				d, err := Open(t.Context(), sim, config)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{
				Break: func(broken bool) {
					sim.SetFault(0x48, i2c.Healthy)
					if broken {
						sim.SetFault(0x48, fault)
					}
				},
				Slow: func() { sim.SetLateness(2 * time.Second); sim.SetFault(0x48, i2c.Late) },
			})
		})
	}
}

func TestTemperatures(t *testing.T) {
	for celsius, want := range map[float64]string{21.5: "21.5000", -25: "-25.0000", -0.0625: "-0.0625", 127.9375: "127.9375", 0: "0.0000"} {
		s := Simulate(config).(*Slave)
		s.Temperature = drivers.Drift{Base: celsius}
		sim := i2c.NewSim("sim")
		sim.Attach(0x48, s)
		d, err := Open(t.Context(), sim, config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != want {
			t.Errorf("%v: %v, %v; want %s", celsius, got, err, want)
		}
	}
}

func TestOtherChipIsRefused(t *testing.T) {
	sim := i2c.NewSim("sim")
	sim.Attach(0x48, zeros{})
	d, err := Open(t.Context(), sim, config)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("%v, %v", got, err)
	}
}

type zeros struct{}

func (zeros) Tx(w, r []byte) error { clear(r); return nil }
