package serial

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"postern/drivers"
)

func TestLines(t *testing.T) {
	near, far := net.Pipe()
	l := NewLines(near, "\n")
	go func() {
		_, _ = far.Write([]byte("one\r\ntw"))
		_, _ = far.Write([]byte("o\n\nthree"))
	}()
	soon := func() time.Time { return time.Now().Add(100 * time.Millisecond) }
	for _, want := range []string{"one", "two", ""} {
		if got, err := l.Next(t.Context(), soon()); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if got, err := l.Next(t.Context(), soon()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an incomplete line: %q, %v", got, err)
	}
	go func() { _, _ = far.Write([]byte("!\n")) }()
	if got, err := l.Next(t.Context(), soon()); err != nil || got != "three!" {
		t.Errorf("%q, %v", got, err)
	}
	_ = far.Close()
	if _, err := l.Next(t.Context(), soon()); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("a line that ended: %v", err)
	}
}

func TestCheckNMEA(t *testing.T) {
	for line, want := range map[string]string{
		"$SDDBT,7.8,f,2.4,M,1.3,F*0D": "SDDBT,7.8,f,2.4,M,1.3,F",
		"$SDDBT,7.8,f,2.4,M,1.3,F*0d": "SDDBT,7.8,f,2.4,M,1.3,F",
		"$*00":                        "",
	} {
		if got, err := CheckNMEA(line); err != nil || got != want {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "$SDDBT,7.8", "$SDDBT*0D0", "$SDDBT,7.9,f,2.4,M,1.3,F*0D", "$A*4", "$A*zz"} {
		if got, err := CheckNMEA(line); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
}

func FuzzCheckNMEA(f *testing.F) {
	f.Add("$SDDBT,7.8,f,2.4,M,1.3,F*0D")
	f.Fuzz(func(t *testing.T, line string) {
		if body, err := CheckNMEA(line); err == nil && !strings.Contains(line, body+"*") {
			t.Errorf("%q is not in %q", body, line)
		}
	})
}

// However a stream is cut into pieces, lines come out as they are in it, and
// what is kept stays bounded.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\n"), "\n", uint8(3))
	f.Add([]byte("x;;y;"), ";;", uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, end string, piece uint8) {
		if end == "" || len(end) > 16 || len(stream) > 3000 {
			return
		}
		s := NewSim(func(time.Time) []byte { return nil })
		s.Asked = "?" // it never speaks by itself
		l := NewLines(chunks{s, &stream, int(piece)%64 + 1}, end)
		want := strings.Split(string(stream), end)
		for _, w := range want[:len(want)-1] {
			got, err := l.Next(t.Context(), time.Now().Add(time.Minute))
			if err != nil || got != Trim(w) {
				t.Fatalf("%q, %v; want %q of %q", got, err, Trim(w), want)
			}
		}
		if got, err := l.Next(t.Context(), time.Now().Add(time.Minute)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q, %v behind the last line", got, err)
		}
	})
}

// chunks is a connection over which a stream comes in pieces.
type chunks struct {
	Conn
	rest *[]byte
	size int
}

func (c chunks) Read(b []byte) (int, error) {
	n := copy(b[:min(len(b), c.size)], *c.rest)
	if *c.rest = (*c.rest)[n:]; n == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return n, nil
}
