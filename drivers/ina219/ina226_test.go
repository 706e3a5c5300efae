package ina219

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config226 = INA226Config{Address: 0x40, Shunt: "0.1", MaxCurrent: "0.8"}

func TestINA226Device(t *testing.T) {
	i2ctest.TestChip(t, 0x40, OpenINA226, SimulateINA226, config226, i2c.Dead)
}

// SBOS547, 7.5: 10 A at 2 mΩ and 11.98 V with a step of 1 mA are a calibration
// of 2560, a current of 10000 steps and a power of 119.8 W (4792 × 25 mW).
func TestINA226DataSheetExample(t *testing.T) {
	cfg := INA226Config{Address: 0x40, Shunt: "0.002", MaxCurrent: "20"}
	p, err := ina226.plan(cfg.Address, cfg.Shunt, cfg.MaxCurrent)
	if err != nil || p.calibration != 2560 || p.step != drivers.Num(1, -3) {
		t.Fatalf("%+v, %v", p, err)
	}
	s := SimulateINA226(cfg).(*Slave)
	s.Voltage, s.Current = drivers.Drift{Base: 11.98}, drivers.Drift{Base: 10}
	d, sim := i2ctest.Open(t, 0x40, OpenINA226, cfg, s)
	got, err := d.Read(t.Context(), nil)
	if err != nil || got[0].Value.String() != "11.98000" || got[1].Value.String() != "10.000" || got[2].Value.String() != "119.800" {
		t.Errorf("%v, %v", got, err)
	}
	sim.SetFault(0x40, i2c.BrownOut)
	if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("after a brown-out: %v, %v", got, err)
	}
	s.Current = drivers.Drift{Base: 40}
	if got, err := d.Read(t.Context(), nil); err != nil || !errors.Is(got[1].Err, drivers.ErrRange) || !errors.Is(got[2].Err, drivers.ErrRange) || got[0].Value.String() != "11.98000" {
		t.Errorf("beyond the range: %v, %v", got, err)
	}
	s.Current = drivers.Drift{Base: -1.5}
	if got, err := d.Read(t.Context(), nil); err != nil || got[1].Value.String() != "-1.500" {
		t.Errorf("backwards: %v, %v", got, err)
	}
}

func TestINA226ConfigRefused(t *testing.T) {
	for _, c := range []INA226Config{
		{Address: 0x50, Shunt: "0.1", MaxCurrent: "0.5"}, {Address: 0x40, Shunt: "0", MaxCurrent: "1"},
		{Address: 0x40, Shunt: "0.1", MaxCurrent: "1"}, {Address: 0x40, Shunt: "x", MaxCurrent: "1"}, {Address: 0x40, Shunt: "0.1", MaxCurrent: "-1"},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
