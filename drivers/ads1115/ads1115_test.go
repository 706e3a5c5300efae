package ads1115

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Address: 0x48, Range: "4.096"}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x48, Open, Simulate, config, i2c.Dead, i2c.Noise)
}

// A slow oscillator must not give the voltage of the input before.
func TestSlowOscillator(t *testing.T) {
	s := Simulate(config).(*Slave)
	s.Slow = 0.1
	for i := range s.Inputs {
		s.Inputs[i] = drivers.Drift{Base: float64(i) + 0.5}
	}
	d, _ := i2ctest.Open(t, 0x48, Open, config, s)
	for range 3 {
		got, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"0.500000", "1.500000", "2.500000", "3.500000"} {
			if got[i].Value.String() != want {
				t.Errorf("input %d reads %v, want %s", i, got[i].Value, want)
			}
		}
	}
}

func TestBeyondTheRange(t *testing.T) {
	cfg := config
	cfg.Range = "1.024"
	s := Simulate(cfg).(*Slave)
	d, _ := i2ctest.Open(t, 0x48, Open, cfg, s)
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(got[3].Err, drivers.ErrRange) || got[0].Err != nil {
		t.Errorf("input 3: %v, %v; want ErrRange; input 0: %v", got[3].Value, got[3].Err, got[0].Err)
	}
	if (Config{Address: 0x48, Range: "5"}).Validate() == nil || (Config{Address: 0x47, Range: "4.096"}).Validate() == nil {
		t.Error("a wrong configuration was accepted")
	}
}

// The voltage of the largest count is that of the range less one step, in each
// of them (table 3 of the data sheet).
func TestStepsOfTheRanges(t *testing.T) {
	for r, want := range map[string]string{
		"6.144": "6.143625", "4.096": "4.095750", "2.048": "2.047875", "1.024": "1.023938", "0.512": "0.511969", "0.256": "0.255984",
	} {
		cfg := Config{Address: 0x48, Range: r}
		s := Simulate(cfg).(*Slave)
		n, _ := drivers.ParseNumber(r)
		s.Inputs[2] = drivers.Drift{Base: n.Float64() * 32766 / 32768}
		d, _ := i2ctest.Open(t, 0x48, Open, cfg, s)
		if got, err := d.Read(t.Context(), nil); err != nil || got[2].Value.String() != want {
			t.Errorf("%s V: %v, %v; want %s", r, got[2], err, want)
		}
	}
}
