package ascii

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/drivers/serial"
	"postern/drivers/serial/serialtest"
)

func TestDevice(t *testing.T) {
	cfg := config
	cfg.Timeout = 300 * time.Millisecond
	serialtest.TestInstrument(t, Open, func(c Config) *serial.Sim {
		s, err := Simulate(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, cfg, serial.Silent, serial.Noise, serial.Late, serial.Unplugged)
}

// stream is a line on which lines wait, and more come by and by, as from the
// kernel's buffer.
type stream struct {
	serial.Conn
	text string
	more func() string
}

func (s *stream) SetReadDeadline(time.Time) error { return nil }

func (s *stream) Read(b []byte) (int, error) {
	if s.text == "" && s.more != nil {
		s.text = s.more()
	}
	if s.text == "" {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, s.text)
	s.text = s.text[n:]
	return n, nil
}

func (s *stream) Flush() error { s.text = ""; return nil }

// An instrument that speaks more often than it is read: the newest line counts,
// not the next one of those that wait; and where the buffer was full, none.
func TestNewestLine(t *testing.T) {
	cfg := config
	cfg.Request, cfg.Timeout, cfg.Fields = "", time.Second, []Field{{Name: "x", Pattern: `^V=([0-9]+)$`, Type: "number"}}
	s := &stream{}
	d, err := Open(t.Context(), s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.text = "V=1\r\nV=2\r\nother\r\nV=3\r\nV=4"
		if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "3" {
			t.Errorf("%v, %v", got, err)
		}
		s.text = "\r\n"
		if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "4" {
			t.Errorf("the line that was not complete: %v, %v", got, err)
		}
	}
	s.text = strings.Repeat("V=5\r\n", 1000)
	n := 0
	s.more = func() string { n++; return []string{"", "=6\r\n", "V=7\r\n"}[min(n, 2)] }
	if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "7" {
		t.Errorf("behind a full buffer: %v, %v", got, err)
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
