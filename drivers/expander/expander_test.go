package expander

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

const address = 0x21

func config(chip string) Config {
	return Config{Bus: "sim", Address: address, Chip: chip, Lines: []Line{
		{Line: 0, Name: "door", Use: "input", Safe: "off", ActiveLow: true},
		{Line: 2, Name: "pump", Use: "output", Safe: "off", ActiveLow: true},
		{Line: 7, Name: "lamp", Use: "output", Safe: "off"},
		{Line: 5, Name: "valve", Use: "output", Safe: "on"},
	}}
}

// Levels of config's outputs when safe, and their lines.
const (
	safe    = 1<<2 | 1<<5
	outputs = 1<<2 | 1<<5 | 1<<7
)

func open(t *testing.T, cfg Config) (*Device, *Slave, *i2c.Sim) {
	t.Helper()
	s := Simulate(cfg).(*Slave)
	d, sim := i2ctest.Open(t, uint16(cfg.Address), Open, cfg, i2c.Slave(s))
	return d, s, sim
}

func chips() []string { return slices.Sorted(maps.Keys(families)) }

func TestDevice(t *testing.T) {
	for _, chip := range chips() {
		t.Run(chip, func(t *testing.T) {
			i2ctest.TestChip(t, address, Open, Simulate, config(chip), i2c.Dead, i2c.Stuck)
		})
	}
}

func read(t *testing.T, d *Device) map[string]string {
	t.Helper()
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, s := range got {
		out[s.Channel] = s.Value.String()
		if s.Err != nil {
			out[s.Channel] = "error"
		}
	}
	return out
}

// TestNothingMovesWhenSetUp looks at the lines after every octet on the wire.
// A chip that has been set up before, and one that comes from its power supply.
func TestNothingMovesWhenSetUp(t *testing.T) {
	for _, chip := range chips() {
		t.Run(chip, func(t *testing.T) {
			d, s, sim := open(t, config(chip))
			quasi := families[chip].direction == none
			wrong := 0
			s.Watch(func(driven, levels uint16) {
				if (levels^safe)&driven&outputs != 0 {
					wrong++
				}
			})
			if !quasi { // such a chip drives nothing until it is told to
				if driven, _ := s.Driven(); driven != 0 {
					t.Fatalf("driven at power-on: %b", driven)
				}
			}
			read(t, d)
			if wrong > 0 {
				t.Errorf("at power-on: wrong %d times", wrong)
			}
			s.Watch(nil)
			if err := d.Set(t.Context(), "pump", drivers.Bool(true)); err != nil {
				t.Fatal(err)
			}
			// Another process takes over: the pump goes off, nothing else moves.
			s.Watch(func(driven, levels uint16) {
				if (levels^safe)&(driven|1<<2)&(outputs&^(1<<2)) != 0 {
					wrong++
				}
			})
			next, err := Open(t.Context(), sim, config(chip))
			if err != nil {
				t.Fatal(err)
			}
			read(t, next)
			if _, levels := s.Driven(); wrong > 0 || (levels^safe)&outputs != 0 {
				t.Errorf("taken over: wrong %d times, levels %b", wrong, levels)
			}
		})
	}
}

func TestLines(t *testing.T) {
	for _, chip := range chips() {
		t.Run(chip, func(t *testing.T) {
			d, s, _ := open(t, config(chip))
			if got := read(t, d); got["door"] != "false" || got["pump"] != "false" || got["lamp"] != "false" || got["valve"] != "true" {
				t.Errorf("at first %v", got)
			}
			s.Feed(0xfffe)
			for _, c := range []struct {
				channel string
				on      bool
			}{{"pump", true}, {"lamp", true}, {"valve", false}} {
				if err := d.Set(t.Context(), c.channel, drivers.Bool(c.on)); err != nil {
					t.Fatal(err)
				}
			}
			if got := read(t, d); got["door"] != "true" || got["pump"] != "true" || got["lamp"] != "true" || got["valve"] != "false" {
				t.Errorf("then %v", got)
			}
			if _, levels := s.Driven(); levels&outputs != 1<<7 {
				t.Errorf("levels %b", levels)
			}
			if err := d.Set(t.Context(), "door", drivers.Bool(true)); !errors.Is(err, drivers.ErrChannel) {
				t.Errorf("an input is set: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if _, levels := s.Driven(); (levels^safe)&outputs != 0 {
				t.Errorf("after Close: levels %b", levels)
			}
		})
	}
}

func TestPowerLost(t *testing.T) {
	for _, chip := range chips() {
		t.Run(chip, func(t *testing.T) {
			d, s, sim := open(t, config(chip))
			if err := d.Set(t.Context(), "lamp", drivers.Bool(true)); err != nil {
				t.Fatal(err)
			}
			if err := d.Set(t.Context(), "pump", drivers.Bool(true)); err != nil {
				t.Fatal(err)
			}
			sim.SetFault(address, i2c.BrownOut)
			if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) || !strings.Contains(err.Error(), "lost its power") {
				t.Fatalf("the loss is not told: %v", err)
			}
			if got := read(t, d); got["lamp"] != "false" || got["pump"] != "false" || got["valve"] != "true" {
				t.Errorf("then %v", got)
			}
			if _, levels := s.Driven(); (levels^safe)&outputs != 0 {
				t.Errorf("levels %b", levels)
			}
		})
	}
}

// TestOutputsStayOverAFault: a bus that was away for a moment moves nothing.
func TestOutputsStayOverAFault(t *testing.T) {
	for _, chip := range chips() {
		t.Run(chip, func(t *testing.T) {
			d, s, sim := open(t, config(chip))
			if err := d.Set(t.Context(), "lamp", drivers.Bool(true)); err != nil {
				t.Fatal(err)
			}
			for _, fault := range []i2c.Fault{i2c.Dead, i2c.Stuck} {
				sim.SetFault(address, fault)
				if _, err := d.Read(t.Context(), nil); err == nil {
					t.Error("no fault is told")
				}
				sim.SetFault(address, i2c.Healthy)
				if got := read(t, d); got["lamp"] != "true" || got["valve"] != "true" {
					t.Errorf("after %v: %v", fault, got)
				}
			}
			if _, levels := s.Driven(); levels&outputs != safe|1<<7 {
				t.Errorf("levels %b", levels)
			}
		})
	}
}

func TestShortCircuitIsTold(t *testing.T) {
	d, s, _ := open(t, config("pcf8574"))
	read(t, d)
	s.Feed(0xffff &^ (1 << 5)) // somebody pulls the valve's line low
	if got := read(t, d); got["valve"] != "error" || got["lamp"] != "false" {
		t.Errorf("%v", got)
	}
	if err := d.Set(t.Context(), "valve", drivers.Bool(true)); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("%v", err)
	}
}

func TestPullUps(t *testing.T) {
	cfg := config("mcp23017")
	cfg.Lines = []Line{{Line: 9, Name: "door", Use: "input", Safe: "off", PullUp: true}}
	d, s, sim := open(t, cfg)
	read(t, d)
	if got := s.value(0x0c); got != 1<<9 {
		t.Errorf("pull-ups %b", got)
	}
	sim.SetFault(address, i2c.BrownOut)
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("%v", err)
	}
	if got := s.value(0x0c); got != 1<<9 {
		t.Errorf("pull-ups after the loss %b", got)
	}
}

func TestConfig(t *testing.T) {
	for says, change := range map[string]func(*Config){
		"chip":               func(c *Config) { c.Chip = "mcp1" },
		"address":            func(c *Config) { c.Address = 0x28 },
		"none that a MCP":    func(c *Config) { c.Address = 0x38 },
		"at least one":       func(c *Config) { c.Lines = nil },
		"not in 0..15":       func(c *Config) { c.Lines[0].Line = 16 },
		"lines[1]":           func(c *Config) { c.Lines[1].Line = 0 },
		"twice":              func(c *Config) { c.Lines[1].Name = "door" },
		"lower case":         func(c *Config) { c.Lines[0].Name = "Door" },
		"input nor output":   func(c *Config) { c.Lines[0].Use = "both" },
		"neither off nor on": func(c *Config) { c.Lines[1].Safe = "hold" },
		"pull_up":            func(c *Config) { c.Lines[1].PullUp = true },
	} {
		cfg := config("mcp23017")
		change(&cfg)
		if _, err := Open(t.Context(), i2c.NewSim("sim"), cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	cfg := config("pcf8574")
	cfg.Address = 0x3f
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}
