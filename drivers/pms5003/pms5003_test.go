package pms5003

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
	"postern/drivers/serial/serialtest"
)

var config = Config{
	Serial:  serial.Config{Port: "/dev/ttyS0", Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"},
	Timeout: 300 * time.Millisecond,
}

func TestDevice(t *testing.T) {
	serialtest.TestInstrument(t, Open, Simulate, config, serial.Silent, serial.Noise, serial.Torn, serial.Late, serial.Unplugged)
}

// Frames of sensors that were sold, as the tests of others have them: of a
// PMS7003 those of pms7003-cli (in Rust), which also say what they mean; of a
// PMSA003I those of the Go package pmsa003i.
var (
	real7003 = []byte{
		0x42, 0x4d, 0x00, 0x1c, 0x00, 0x03, 0x00, 0x04, 0x00, 0x07, 0x00, 0x03, 0x00, 0x04, 0x00, 0x07,
		0x02, 0xd0, 0x00, 0xb8, 0x00, 0x19, 0x00, 0x08, 0x00, 0x04, 0x00, 0x02, 0x97, 0x00, 0x03, 0x0f,
	}
	realA003 = []byte{
		0x42, 0x4d, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x01, 0x00, 0x05, 0x00, 0x00, 0x00, 0x01, 0x00, 0x05,
		0x00, 0x7e, 0x00, 0x2a, 0x00, 0x0f, 0x00, 0x09, 0x00, 0x03, 0x00, 0x03, 0x97, 0x00, 0x02, 0x14,
	}
)

func TestRealFrames(t *testing.T) {
	for _, c := range []struct {
		frame []byte
		want  [9]string
	}{
		{real7003, [9]string{"3", "4", "7", "7.20", "1.84", "0.25", "0.08", "0.04", "0.02"}},
		{realA003, [9]string{"0", "1", "5", "1.26", "0.42", "0.15", "0.09", "0.03", "0.03"}},
	} {
		frame, rest, err := next(bytes.Clone(c.frame))
		if frame == nil || len(rest) != 0 || err != nil {
			t.Fatalf("% x: % x, % x, %v", c.frame, frame, rest, err)
		}
		for i, s := range decode(nil, frame, time.Now()) {
			if s.Value.String() != c.want[i] {
				t.Errorf("%s is %v, want %s", s.Channel, s.Value, c.want[i])
			}
		}
	}
}

func TestNext(t *testing.T) {
	damaged := bytes.Clone(real7003)
	damaged[9]++
	for name, c := range map[string]struct {
		in    []byte
		found bool
		rest  int
		bad   bool
	}{
		"nothing":            {nil, false, 0, false},
		"no head":            {[]byte("no frame at all"), false, 3, false},
		"beginning":          {real7003[:20], false, 20, false},
		"behind noise":       {append([]byte{1, 0x42, 0x4d, 9}, real7003...), true, 0, false},
		"behind a torn one":  {append(bytes.Clone(real7003[:16]), real7003...), true, 0, false},
		"damaged":            {damaged, false, 3, true},
		"behind a damaged":   {append(bytes.Clone(damaged), realA003...), true, 0, false},
		"with the next ones": {append(bytes.Clone(realA003), real7003[:5]...), true, 5, false},
	} {
		frame, rest, err := next(bytes.Clone(c.in))
		if (frame != nil) != c.found || len(rest) != c.rest || errors.Is(err, drivers.ErrProtocol) != c.bad {
			t.Errorf("%s: % x, % x, %v", name, frame, rest, err)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add(real7003)
	f.Add(append(bytes.Clone(real7003[:16]), realA003...))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, rest, _ := next(bytes.Clone(b))
		if frame == nil && len(rest) >= frameSize {
			t.Errorf("%d octets are kept", len(rest))
		}
		if frame != nil && (len(decode(nil, frame, time.Now())) != len(quantities) || !bytes.Contains(b, frame)) {
			t.Errorf("frame % x out of % x", frame, b)
		}
	})
}
