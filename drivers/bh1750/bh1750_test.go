package bh1750

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Bus: "sim", Address: 0x23}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x23, Open, Simulate, config, i2c.Dead, i2c.Stuck)
}

// counts is a chip that answers with fixed octets.
type counts [2]byte

func (c counts) Tx(w, r []byte) error { copy(r, c[:]); return nil }

// TestWorkedExample has the data sheet's: 1000 0011 1001 0000 is 28067 lx.
func TestWorkedExample(t *testing.T) {
	for c, want := range map[counts]string{{0x83, 0x90}: "28066.7", {0, 0}: "0.0", {0, 1}: "0.8", {0xff, 0xfe}: "54611.7", {0xff, 0xff}: ""} {
		d, _ := i2ctest.Open(t, 0x23, Open, config, c)
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != want || errors.Is(got[0].Err, drivers.ErrRange) != (want == "") {
			t.Errorf("% x: %v, %v; want %s", c, got, err, want)
		}
	}
}

// A program before has made the chip more sensitive, which it stays.
func TestMeasuringTimeOfAnother(t *testing.T) {
	s := Simulate(config).(*Slave)
	s.Illuminance = drivers.Drift{Base: 100}
	sim := i2c.NewSim("sim")
	sim.Attach(0x23, s)
	for _, cmd := range []byte{0x47, 0x7e} { // 254
		if err := sim.Tx(0x23, []byte{cmd}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.time != 254 {
		t.Fatalf("measuring time %d", s.time)
	}
	d, err := Open(t.Context(), sim, config)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "100.0" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSimulated(t *testing.T) {
	s := Simulate(config).(*Slave)
	s.Illuminance = drivers.Drift{Base: 1000}
	d, sim := i2ctest.Open(t, 0x23, Open, config, s)
	for range 2 {
		if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "1000.0" {
			t.Errorf("%v, %v", got, err)
		}
		sim.SetFault(0x23, i2c.BrownOut)
	}
	if _, err := Open(t.Context(), sim, Config{Address: 0x24}); err == nil {
		t.Error("address 0x24 is taken")
	}
}
