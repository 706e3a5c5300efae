package mcp3008

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/spi"
)

var config = Config{Port: "sim", Reference: "3.3"}

func TestDevice(t *testing.T) {
	var sim *spi.Sim
	for name, fault := range map[string]spi.Fault{"absent": spi.Absent} {
		t.Run(name, func(t *testing.T) {
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				sim = spi.NewSim("sim", Simulate(config))
				d, err := Open(t.Context(), sim, config)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{Break: func(broken bool) {
				sim.SetFault(spi.Healthy)
				if broken {
					sim.SetFault(fault)
				}
			}})
		})
	}
}

func TestVoltages(t *testing.T) {
	s := &Slave{Reference: 3.3}
	s.Inputs[0] = drivers.Drift{Base: 0}
	s.Inputs[1] = drivers.Drift{Base: 1.65}
	s.Inputs[7] = drivers.Drift{Base: 9}
	d, err := Open(t.Context(), spi.NewSim("sim", s), config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Read(t.Context(), nil)
	if err != nil || got[0].Value.String() != "0.0000" || got[1].Value.String() != "1.6500" || got[7].Value.String() != "3.2968" {
		t.Errorf("%v, %v", got, err)
	}
}

// Every value of the converter survives the way there and back, and a single
// flipped bit is noticed.
func TestBackwardsCheck(t *testing.T) {
	for raw := range 1024 {
		s := &Slave{Reference: 1024}
		s.Inputs[3] = drivers.Drift{Base: float64(raw) + 0.5}
		d, err := Open(t.Context(), spi.NewSim("sim", s), config)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.convert(3); err != nil || int(got) != raw {
			t.Fatalf("%d: %d, %v", raw, got, err)
		}
	}
	d, err := Open(t.Context(), spi.NewSim("sim", flip{&Slave{Reference: 3.3}}), config)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("%v, %v", got, err)
	}
}

type flip struct{ *Slave }

func (f flip) Tx(w, r []byte) error {
	err := f.Slave.Tx(w, r)
	r[2] ^= 8
	return err
}

func TestConfigRefused(t *testing.T) {
	for _, ref := range []string{"", "0", "6", "x"} {
		if (Config{Reference: ref}).Validate() == nil {
			t.Errorf("%q was accepted", ref)
		}
	}
}
