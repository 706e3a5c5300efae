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
	for _, c := range []struct{ v, a float64 }{{12, 1.5}, {5, -0.5}, {3.3, 0}, {24, 1}, {26, 3.19}} {
		s := Simulate(config).(*Slave)
		s.Voltage, s.Current = drivers.Drift{Base: c.v}, drivers.Drift{Base: c.a}
		d, sim := i2ctest.Open(t, 0x40, Open, config, s)
		got, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{c.v, c.a, math.Abs(c.v * c.a)} {
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

// A shunt at its end says nothing of the current, whatever the step: neither
// chip may give the largest current for it. The voltage stays.
func TestShuntAtItsEnd(t *testing.T) {
	for _, amperes := range []float64{20, -20} {
		for _, maxCurrent := range []string{"3.2", "0.8"} {
			a := Simulate(config).(*Slave)
			b := SimulateINA226(config226).(*Slave)
			sim := i2c.NewSim("sim")
			sim.Attach(0x40, a)
			sim.Attach(0x41, b)
			a.Current, b.Current = drivers.Drift{Base: amperes}, drivers.Drift{Base: amperes}
			cfg := config
			cfg.MaxCurrent = maxCurrent
			first, err := Open(t.Context(), sim, cfg)
			if err != nil {
				t.Fatal(err)
			}
			second, err := OpenINA226(t.Context(), sim, INA226Config{Address: 0x41, Shunt: "0.1", MaxCurrent: "0.8"})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []*i2c.Sensor{first, second} {
				got, err := d.Read(t.Context(), nil)
				if err != nil || got[0].Err != nil || !errors.Is(got[1].Err, drivers.ErrRange) || !errors.Is(got[2].Err, drivers.ErrRange) {
					t.Errorf("%v A: %v, %v", amperes, got, err)
				}
			}
		}
	}
}

// Every current that Validate lets pass can be calibrated, and 3.2 A at 0.1 Ω
// have the calibration of the data sheet's example.
func TestScaling(t *testing.T) {
	if p, err := ina219.plan(0x40, "0.1", "3.2"); err != nil || p.calibration != 4096 || p.step != drivers.Num(1, -4) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, top := range []string{"0.05", "0.1", "0.4", "1", "2"} {
		cfg := config
		cfg.MaxCurrent = top
		s := Simulate(cfg).(*Slave)
		s.Current = drivers.Drift{Base: 0.04}
		d, _ := i2ctest.Open(t, 0x40, Open, cfg, s)
		got, err := d.Read(t.Context(), nil)
		if n, _ := got[1].Value.Number(); err != nil || math.Abs(n.Float64()-0.04) > 0.0002 {
			t.Errorf("up to %s A: %v, %v", top, got, err)
		}
	}
}
