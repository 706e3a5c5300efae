package aht20

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/i2c"
)

func TestDevice(t *testing.T) {
	var sim *i2c.Sim
	for name, fault := range map[string]i2c.Fault{"dead": i2c.Dead, "noise": i2c.Noise} {
		t.Run(name, func(t *testing.T) {
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				sim = i2c.NewSim("sim")
				sim.Attach(0x38, Simulate(Config{}))
				d, err := Open(t.Context(), sim, Config{})
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{Break: func(broken bool) {
				sim.SetFault(0x38, i2c.Healthy)
				if broken {
					sim.SetFault(0x38, fault)
				}
			}})
		})
	}
}

func TestQuantitiesAndBrownOut(t *testing.T) {
	for _, c := range []struct {
		t, h        float64
		wantT, want string
	}{{21.5, 45.25, "21.50", "45.25"}, {-40, 0, "-40.00", "0.00"}, {85, 100, "85.00", "100.00"}} {
		s := Simulate(Config{}).(*Slave)
		s.Temperature, s.Humidity = drivers.Drift{Base: c.t}, drivers.Drift{Base: c.h}
		sim := i2c.NewSim("sim")
		sim.Attach(0x38, s)
		d, err := Open(t.Context(), sim, Config{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != c.wantT || got[1].Value.String() != c.want {
			t.Errorf("%v °C %v %%RH: %v, %v", c.t, c.h, got, err)
		}
		sim.SetFault(0x38, i2c.BrownOut)
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("after a brown-out: %v, %v", got, err)
		}
		if _, err := d.Read(t.Context(), nil); err != nil {
			t.Errorf("the chip was not set up again: %v", err)
		}
	}
}
