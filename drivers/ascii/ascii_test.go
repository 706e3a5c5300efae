package ascii

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

var config = Config{
	Serial:  serial.Config{Port: "/dev/ttyS0", Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"},
	Request: "W?\r\n", End: "\n", Checksum: "none", Timeout: time.Second,
	Fields: []Field{
		{Name: "weight", Pattern: `ST,GS,\s*([-+]?[0-9.]+)kg`, Type: "number", Unit: "kg", Doc: "weight"},
		{Name: "status", Pattern: `^STATUS ([A-Z]+)$`, Type: "text"},
		{Name: "flags", Pattern: `^F=([0-9A-F]+)$`, Type: "hex"},
	},
}

// scale is an instrument that answers requests; what it says can be changed.
type scale struct{ says atomic.Value }

func newScale(t *testing.T, says string) (*scale, serial.Conn) {
	near, far := net.Pipe()
	s := &scale{}
	s.says.Store(says)
	t.Cleanup(func() { _ = far.Close() })
	go func() {
		r := bufio.NewReader(far)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "W?\r\n" {
				_ = far.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = far.Write([]byte(s.says.Load().(string)))
			}
		}
	}()
	return s, near
}

const answer = "ST,GS,   12.340kg\r\nSTATUS OK\r\nF=1F\r\n"

func TestValues(t *testing.T) {
	s, c := newScale(t, answer)
	d, err := Open(t.Context(), c, config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Value.String() != "12.340" || got[1].Value != drivers.String("OK") || got[2].Value.String() != "31" {
		t.Errorf("%v", got)
	}
	s.says.Store("ST,GS, 1.2.3kg\r\nSTATUS OK\r\n")
	got, err = d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(got[0].Err, drivers.ErrProtocol) || got[1].Err != nil || !errors.Is(got[2].Err, drivers.ErrTimeout) {
		t.Errorf("%v", got)
	}
	s.says.Store(strings.Repeat("x", 12000) + "\nSTATUS OK\n")
	if got, err = d.Read(t.Context(), nil); err != nil || got[1].Value != drivers.String("OK") {
		t.Errorf("after a line without end: %v, %v", got, err)
	}
	s.says.Store("")
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("silence: %v", err)
	}
}

func TestChecksum(t *testing.T) {
	cfg := config
	cfg.Checksum = "nmea"
	cfg.Fields = []Field{{Name: "depth", Pattern: `^SDDBT,[^,]*,f,([^,]*),M`, Type: "number", Unit: "m"}}
	s, c := newScale(t, "$SDDBT,7.8,f,2.4,M,1.3,F*0D\r\n")
	d, err := Open(t.Context(), c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "2.4" {
		t.Errorf("%v, %v", got, err)
	}
	s.says.Store("$SDDBT,7.8,f,9.4,M,1.3,F*0D\r\n")
	if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestConfigRefused(t *testing.T) {
	for hint, change := range map[string]func(*Config){
		"groups":             func(c *Config) { c.Fields[0].Pattern = "x" },
		"missing clos":       func(c *Config) { c.Fields[0].Pattern = "(" },
		"type":               func(c *Config) { c.Fields[0].Type = "float" },
		"scale":              func(c *Config) { c.Fields[0].Scale = "0" },
		"name":               func(c *Config) { c.Fields[1].Name = "weight" },
		"none; name a model": func(c *Config) { c.Fields = nil },
		"end":                func(c *Config) { c.End = "" },
		"checksum":           func(c *Config) { c.Checksum = "crc" },
		"port":               func(c *Config) { c.Serial.Port = "" },
	} {
		cfg := config
		cfg.Fields = append([]Field(nil), config.Fields...)
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s: %v", hint, err)
		}
	}
}

// Whatever an instrument says, a value is a number or an error.
func FuzzTake(f *testing.F) {
	cfg := config
	fields, err := cfg.compile()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("ST,GS,   12.340kg", "none")
	f.Add("F=FFFFFFFFFFFFFFFFFF", "none")
	f.Add("$STATUS OK*2D", "nmea")
	f.Fuzz(func(t *testing.T, line, checksum string) {
		cfg.Checksum = checksum
		samples := make([]drivers.Sample, len(fields))
		n, err := cfg.take(line, fields, samples)
		for _, s := range samples {
			if s.Channel != "" {
				n--
				if (s.Err == nil) == (s.Value.Kind() == drivers.KindNone) {
					t.Errorf("%q: %v beside %v", line, s.Value, s.Err)
				}
			}
		}
		if n != 0 {
			t.Errorf("%q: %d samples too few, %v", line, n, err)
		}
	})
}
