package pca9685

import (
	"errors"
	"math"
	"strings"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

func config() Config {
	return Config{Bus: "sim", Address: 0x41, Frequency: 1000, Outputs: []Output{
		{Output: 0, Name: "dimmer", Safe: "0", Smallest: "0", Largest: "100"},
		{Output: 15, Name: "fan", Safe: "30", Smallest: "20", Largest: "90"},
	}}
}

func open(t *testing.T, cfg Config) (*Device, *Slave, *i2c.Sim) {
	t.Helper()
	s := Simulate(cfg).(*Slave)
	d, sim := i2ctest.Open(t, uint16(cfg.Address), Open, cfg, i2c.Slave(s))
	return d, s, sim
}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x41, Open, Simulate, config(), i2c.Dead, i2c.Stuck)
}

func set(t *testing.T, d *Device, channel, percent string) error {
	t.Helper()
	n, err := drivers.ParseNumber(percent)
	if err != nil {
		t.Fatal(err)
	}
	return d.Set(t.Context(), channel, drivers.Decimal(n))
}

func TestDuties(t *testing.T) {
	d, s, _ := open(t, config())
	for percent, want := range map[string]int{"0": 0, "0.01": 0, "0.02": 1, "50": 2048, "33.33": 1365, "99.99": 4096, "99.97": 4095, "100": 4096} {
		if err := set(t, d, "dimmer", percent); err != nil {
			t.Fatal(err)
		}
		if got := s.Duties(); got[0] != want || got[15] != 1229 {
			t.Errorf("%s %%: %d of 4096, want %d; the fan has %d", percent, got[0], want, got[15])
		}
	}
	for _, percent := range []string{"10", "90.01", "100", "-1"} {
		if err := set(t, d, "fan", percent); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("fan at %s %%: %v", percent, err)
		}
	}
}

func TestFrequencies(t *testing.T) {
	for _, f := range []int{24, 50, 200, 1000, 1526} {
		cfg := config()
		cfg.Frequency = f
		d, s, _ := open(t, cfg)
		if _, err := d.Read(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := s.Frequency(); math.Abs(got/float64(f)-1) > 0.07 {
			t.Errorf("%v Hz, want %d", got, f)
		}
	}
}

// TestNothingMovesWhenSetUp: an output goes from off, or from what it had, to
// its safe duty and nowhere else.
func TestNothingMovesWhenSetUp(t *testing.T) {
	d, s, sim := open(t, config())
	var seen []int
	watch := func(duties [16]int) { seen = append(seen, duties[15]) }
	s.Watch(watch)
	if _, err := d.Read(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, v := range seen {
		if v != 0 && v != 1229 {
			t.Errorf("at power-on: %d", v)
		}
	}
	if err := set(t, d, "fan", "80"); err != nil {
		t.Fatal(err)
	}
	seen = nil
	next, err := Open(t.Context(), sim, config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Read(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, v := range seen {
		if v != 3277 && v != 1229 {
			t.Errorf("taken over: %d", v)
		}
	}
	if got := s.Duties()[15]; got != 1229 {
		t.Errorf("taken over: left at %d", got)
	}
	_ = set(t, next, "fan", "80")
	if err := next.Close(); err != nil || s.Duties()[15] != 1229 {
		t.Errorf("after Close: %v, %v", s.Duties(), err)
	}
}

func TestPowerLost(t *testing.T) {
	d, s, sim := open(t, config())
	if err := set(t, d, "fan", "80"); err != nil {
		t.Fatal(err)
	}
	sim.SetFault(0x41, i2c.Dead)
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrGone) {
		t.Fatal(err)
	}
	sim.SetFault(0x41, i2c.Healthy)
	if got, err := d.Read(t.Context(), nil); err != nil || got[1].Value.String() != "80.00" {
		t.Errorf("a bus that was away moved the fan: %v, %v", got, err)
	}
	sim.SetFault(0x41, i2c.BrownOut)
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) || !strings.Contains(err.Error(), "lost its power") {
		t.Errorf("the loss is not told: %v", err)
	}
	if got, err := d.Read(t.Context(), nil); err != nil || got[1].Value.String() != "30.00" || s.Duties()[15] != 1229 {
		t.Errorf("then %v, %v", got, err)
	}
}

func TestConfig(t *testing.T) {
	for says, change := range map[string]func(*Config){
		"not in 0x40..0x7f": func(c *Config) { c.Address = 0x20 },
		"all such chips":    func(c *Config) { c.Address = 0x70 },
		"frequency":         func(c *Config) { c.Frequency = 2000 },
		"at least one":      func(c *Config) { c.Outputs = nil },
		"not in 0..15":      func(c *Config) { c.Outputs[0].Output = 16 },
		"twice":             func(c *Config) { c.Outputs[0].Output = 15 },
		"lower case":        func(c *Config) { c.Outputs[0].Name = "Dimmer 1" },
		"not a percentage":  func(c *Config) { c.Outputs[0].Safe = "101" },
		"safe must be":      func(c *Config) { c.Outputs[1].Safe = "10" },
		"not above largest": func(c *Config) { c.Outputs[0].Smallest, c.Outputs[0].Largest = "60", "50" },
	} {
		cfg := config()
		change(&cfg)
		if _, err := Open(t.Context(), i2c.NewSim("sim"), cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
