package gpio

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
)

var pulseConfig = PulseConfig{
	Line: "sim:meter", ActiveLow: true, Bias: "pull-up", Debounce: 2 * time.Millisecond,
	PerPulse: "0.001", Unit: "kWh", Start: "1234.5", RateUnit: "kW", RateOf: time.Hour,
}

func TestPulse(t *testing.T) {
	var line *SimLine
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		line = NewSimLine("meter")
		line.Drive(High)
		p, err := OpenPulse(t.Context(), line, pulseConfig)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}, drivertest.Options{Break: func(broken bool) {
		line.Fail(nil)
		if broken {
			line.Fail(errUnplugged)
		}
	}})
}

func TestPulseTotalAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := NewSimLine("meter")
		line.Drive(High)
		p, err := OpenPulse(t.Context(), line, pulseConfig)
		if err != nil {
			t.Fatal(err)
		}
		pulses := func(n int, every time.Duration) {
			for range n {
				line.Drive(Low)
				time.Sleep(30 * time.Millisecond)
				line.Level() // the simulation settles when it is looked at
				line.Drive(High)
				time.Sleep(every - 30*time.Millisecond)
				line.Level()
			}
		}
		check := func(what, total, count, rate string) {
			t.Helper()
			got := read(t, p)
			if got[0].Value.String() != total || got[1].Value.String() != count || got[2].Value.String() != rate {
				t.Errorf("%s: %v kWh, %v pulses, %v kW; want %s, %s, %s", what, got[0].Value, got[1].Value, got[2].Value, total, count, rate)
			}
		}
		check("at first", "1234.500", "0", "0.000")
		pulses(1, 3600*time.Millisecond)
		check("one pulse", "1234.501", "1", "0.000")
		pulses(10, 3600*time.Millisecond) // 1000 an hour
		check("1 kW", "1234.511", "11", "1.000")
		pulses(10, 1800*time.Millisecond)
		check("2 kW", "1234.521", "21", "1.818") // over the ten pulses: the first came after 3.6 s
		time.Sleep(10 * time.Second)
		check("a pause", "1234.521", "21", "0.306") // one pulse in 11.77 s at most
		time.Sleep(10 * time.Minute)
		check("nothing", "1234.521", "21", "0.000")
	})
}

func TestPulseConfigRefused(t *testing.T) {
	for _, change := range []func(*PulseConfig){
		func(c *PulseConfig) { c.PerPulse = "0" }, func(c *PulseConfig) { c.PerPulse = "-1" }, func(c *PulseConfig) { c.Start = "x" },
		func(c *PulseConfig) { c.Line = "17" }, func(c *PulseConfig) { c.RateOf = 0 },
	} {
		cfg := pulseConfig
		change(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
