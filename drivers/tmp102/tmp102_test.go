package tmp102

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Bus: "sim", Address: 0x48}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x48, Open, Simulate, config, i2c.Dead, i2c.Stuck)
}

func TestTemperatures(t *testing.T) {
	for celsius, want := range map[float64]string{21.5: "21.5000", -25: "-25.0000", -0.0625: "-0.0625", 127.9375: "127.9375", 0: "0.0000"} {
		s := Simulate(config).(*Slave)
		s.Temperature = drivers.Drift{Base: celsius}
		d, _ := i2ctest.Open(t, 0x48, Open, config, s)
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != want {
			t.Errorf("%v: %v, %v; want %s", celsius, got, err, want)
		}
	}
}

// A program before has put the chip to sleep, or into its extended mode, in
// which a step is twice as large; and another one does so later.
func TestModesOfAnother(t *testing.T) {
	for _, low := range []byte{0xb0, 0xa0} {
		s := Simulate(config).(*Slave)
		s.Temperature = drivers.Drift{Base: 25}
		sim := i2c.NewSim("sim")
		sim.Attach(0x48, s)
		change := func() {
			if err := sim.Tx(0x48, []byte{regConfig, 0x61, low}, nil); err != nil {
				t.Fatal(err)
			}
		}
		change()
		d, err := Open(t.Context(), sim, config)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []error{nil, drivers.ErrProtocol, nil} {
			if i == 1 {
				change()
			}
			got, err := d.Read(t.Context(), nil)
			if !errors.Is(err, want) || err == nil && got[0].Value.String() != "25.0000" {
				t.Errorf("reading %d with 0x61%02x: %v, %v", i, low, got, err)
			}
		}
	}
}

func TestOtherChipIsRefused(t *testing.T) { i2ctest.TestOther(t, 0x48, Open, config) }
