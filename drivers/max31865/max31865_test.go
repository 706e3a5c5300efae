package max31865

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/spi"
)

var config = Config{Port: "sim", Nominal: "100", Reference: "430", Wires: 3, Mains: "50Hz"}

func TestDevice(t *testing.T) {
	var sim *spi.Sim
	var slave *Slave
	for name, brk := range map[string]func(bool){
		"absent":      func(b bool) { sim.SetFault(map[bool]spi.Fault{true: spi.Absent}[b]) },
		"shorted":     func(b bool) { sim.SetFault(map[bool]spi.Fault{true: spi.Shorted}[b]) },
		"broken wire": func(b bool) { slave.Break(b) },
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				slave = Simulate(config).(*Slave)
				sim = spi.NewSim("sim", slave)
				d, err := Open(t.Context(), sim, config)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{Break: brk})
		})
	}
}

// The table of IEC 60751 for Pt100.
func TestTable(t *testing.T) {
	for celsiusWant, ohm := range map[float64]float64{
		-200: 18.52, -100: 60.26, -50: 80.31, 0: 100, 50: 119.40, 100: 138.51, 200: 175.86, 400: 247.09, 600: 313.71, 850: 390.48,
	} {
		if got := celsius(ohm / 100); math.Abs(got-celsiusWant) > 0.02 {
			t.Errorf("%v Ω is %.3f °C, the table says %v", ohm, got, celsiusWant)
		}
		if got := 100 * ratio(celsiusWant); math.Abs(got-ohm) > 0.006 {
			t.Errorf("%v °C is %.3f Ω, the table says %v", celsiusWant, got, ohm)
		}
	}
}

func TestTemperatures(t *testing.T) {
	for _, c := range []struct {
		cfg     Config
		celsius float64
	}{
		{config, -40}, {config, 0}, {config, 65.5}, {config, 350},
		{Config{Nominal: "1000", Reference: "4300", Wires: 2, Mains: "60Hz"}, 21.5},
	} {
		s := Simulate(c.cfg).(*Slave)
		s.Temperature = drivers.Drift{Base: c.celsius}
		d, err := Open(t.Context(), spi.NewSim("sim", s), c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := got[0].Value.Number(); math.Abs(n.Float64()-c.celsius) > 0.03 || n.Exp != -2 {
			t.Errorf("%v °C reads %v", c.celsius, got[0].Value)
		}
	}
}

func TestBrokenWireSaysSo(t *testing.T) {
	s := Simulate(config).(*Slave)
	s.Break(true)
	d, err := Open(t.Context(), spi.NewSim("sim", s), config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v", err)
	}
}

// A Pt1000 that is taken for a Pt100, a bad contact and a short circuit are no
// temperatures, although the formula has one for each.
func TestResistanceOfNoThermometer(t *testing.T) {
	wide := Config{Port: "sim", Nominal: "100", Reference: "4300", Wires: 2, Mains: "50Hz"}
	for _, ohm := range []float64{1080, 400, 12, 4299} {
		s := Simulate(wide).(*Slave)
		s.nominal, s.Temperature = ohm, drivers.Drift{Base: 0}
		d, err := Open(t.Context(), spi.NewSim("sim", s), wide)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("%v Ω: %v, %v", ohm, got, err)
		}
	}
}

// A reading that is given up leaves no current in the thermometer.
func TestNoCurrentAfterACancelledRead(t *testing.T) {
	s := Simulate(config).(*Slave)
	d, err := Open(t.Context(), spi.NewSim("sim", s), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := d.Read(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if s.config&bias != 0 {
		t.Errorf("configuration 0x%02x", s.config)
	}
}

func TestConfigRefused(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Wires = 5 }, func(c *Config) { c.Mains = "55Hz" }, func(c *Config) { c.Nominal = "0" },
		func(c *Config) { c.Reference = "x" }, func(c *Config) { c.Nominal = "1000" },
	} {
		cfg := config
		change(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
