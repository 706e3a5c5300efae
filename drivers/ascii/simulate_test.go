package ascii

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/serial"
)

func TestDevice(t *testing.T) {
	for name, fault := range map[string]serial.Fault{"silent": serial.Silent, "noise": serial.Noise, "late": serial.Late, "unplugged": serial.Unplugged} {
		t.Run(name, func(t *testing.T) {
			cfg := config
			cfg.Timeout = 300 * time.Millisecond
			var s *serial.Sim
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				var err error
				if s, err = Simulate(cfg); err != nil {
					t.Fatal(err)
				}
				d, err := Open(t.Context(), s, cfg)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{
				Break: func(broken bool) {
					s.SetFault(serial.Healthy)
					if broken {
						s.SetFault(fault)
					}
				},
				Slow: func() { s.SetFault(serial.Silent) },
			})
		})
	}
}

// The simulator speaks whatever the pattern wants, or says that it cannot.
func TestSimulatedLines(t *testing.T) {
	for _, c := range []struct{ pattern, typ, line string }{
		{`ST,GS,\s*([-+]?[0-9.]+)kg`, "number", `^ST,GS,[0-9]+\.[0-9]+kg$`},
		{`^([+-][0-9]{3}\.[0-9])V$`, "number", ``},
		{`(?:^|[^A-Za-z])T= *(-?[0-9.]+) *'C`, "number", ``},
		{`^F=([0-9A-F]{4})$`, "hex", `^F=00[0-9A-F]{2}$`},
		{`^MODE (AUTO|MANUAL)$`, "text", `^MODE AUTO$`},
		{`(?i)^depth\b.*?([0-9]+)$`, "number", ``},
		{`^(?:VAL ([0-9]+)|ERR)`, "number", `^VAL [0-9]+$`},
		{`^[^\x00-\x7f]([0-9.]+)`, "number", ``},
		{`^\[(\d{2}\.\d)\]$`, "number", `^\[[0-9]{2}\.[0-9]\]$`},
		{`^(0[0-9]{6})$`, "number", ``},
		{`a{0,3}b*(c+)d?`, "text", ``},
	} {
		cfg := config
		cfg.Request, cfg.Fields = "", []Field{{Name: "x", Pattern: c.pattern, Type: c.typ}}
		s, err := Simulate(cfg)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		d, err := Open(t.Context(), s, cfg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		said := s.Says(time.Now())
		if err != nil || got[0].Err != nil || !regexp.MustCompile("(?m)"+c.line).Match(said) {
			t.Errorf("%s: %v, %v of %q", c.pattern, got, err, said)
		}
	}
	for _, pattern := range []string{`^x\by([0-9])$`, `^$(1)`, `^(7[0-9]{40})$`} {
		cfg := config
		cfg.Fields = []Field{{Name: "x", Pattern: pattern, Type: "number"}}
		if s, err := Simulate(cfg); err == nil || !strings.Contains(err.Error(), "values[0] x") {
			t.Errorf("%s: %v, %v", pattern, s, err)
		}
	}
}

// No pattern that a configuration may hold makes the simulator fail otherwise
// than by an error, or say what the driver does not understand.
func FuzzSimulate(f *testing.F) {
	f.Add(`ST,GS,\s*([-+]?[0-9.]+)kg`, "number")
	f.Add(`^(?:VAL ([0-9]+)|ERR)`, "number")
	f.Add(`(a*)*`, "text")
	f.Add(`^([0-9A-F]{1,4})\b`, "hex")
	f.Fuzz(func(t *testing.T, pattern, typ string) {
		cfg := config
		cfg.Request, cfg.Timeout = "", time.Second
		cfg.Fields = []Field{{Name: "x", Pattern: pattern, Type: typ}}
		s, err := Simulate(cfg)
		if err != nil {
			return
		}
		if said := s.Says(time.Now()); len(said) > 1<<20 {
			t.Errorf("%d octets for a pattern of %d", len(said), len(pattern))
		}
		d, err := Open(t.Context(), s, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Read(t.Context(), nil); err != nil || got[0].Err != nil {
			t.Errorf("%q %s: %v, %v of %q", pattern, typ, got, err, s.Says(time.Now()))
		}
	})
}
