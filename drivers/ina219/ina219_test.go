package ina219

import (
	"errors"
	"math"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Address: 0x40, Shunt: "0.1", MaxCurrent: "3.2"}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x40, Open, Simulate, config, i2c.Dead)
}

func TestQuantitiesAndBrownOut(t *testing.T) {
	for _, c := range []struct{ v, a float64 }{{12, 1.5}, {5, -0.5}, {3.3, 0}} {
		s := Simulate(config).(*Slave)
		s.Voltage, s.Current = drivers.Drift{Base: c.v}, drivers.Drift{Base: c.a}
		sim := i2c.NewSim("sim")
		sim.Attach(0x40, s)
		d, err := Open(t.Context(), sim, config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{c.v, c.a, max(c.v*c.a, 0)} {
			n, _ := got[i].Value.Number()
			if math.Abs(n.Float64()-want) > 0.005+want*0.003 {
				t.Errorf("%s reads %v, simulated %v", got[i].Channel, got[i].Value, want)
			}
		}
		sim.SetFault(0x40, i2c.BrownOut)
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("after a brown-out: %v, %v", got, err)
		}
		if _, err := d.Read(t.Context(), nil); err != nil {
			t.Errorf("the chip was not set up again: %v", err)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []Config{
		{Address: 0x50, Shunt: "0.1", MaxCurrent: "3.2"}, {Address: 0x40, Shunt: "0", MaxCurrent: "1"},
		{Address: 0x40, Shunt: "0.1", MaxCurrent: "10"}, {Address: 0x40, Shunt: "tiny", MaxCurrent: "1"}, {Address: 0x40, Shunt: "0.001", MaxCurrent: "1"},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
