package serial

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
)

func read(t *testing.T, s *Sim, within time.Duration) (string, error) {
	t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for b := make([]byte, 16); ; {
		n, err := s.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			return string(all), err
		}
	}
}

// What a simulated instrument does under each fault, in the time that it takes.
func TestSimFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSim(func(time.Time) []byte { return []byte("0123456789") })
		for _, c := range []struct {
			fault Fault
			want  string
			err   error
		}{
			{Healthy, "0123456789", os.ErrDeadlineExceeded},
			{Silent, "", os.ErrDeadlineExceeded},
			{Torn, "01234", os.ErrDeadlineExceeded},
			{Noise, "01\xa034\xa767\xaa9", os.ErrDeadlineExceeded},
			{Late, "", os.ErrDeadlineExceeded},
			{Unplugged, "", drivers.ErrGone},
			{Healthy, "0123456789", os.ErrDeadlineExceeded},
		} {
			s.SetFault(c.fault)
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			if got, err := read(t, s, 1100*time.Millisecond); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("fault %d: %q, %v; want %q, %v", c.fault, got, err, c.want, c.err)
			}
		}
		s.SetFault(Late)
		if got, _ := read(t, s, 4*time.Second); got == "" {
			t.Error("a late instrument says nothing at all")
		}
	})
}

func TestSimIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSim(func(time.Time) []byte { return []byte("W 1\n") })
		s.Asked = "W?\r\n"
		if got, err := read(t, s, time.Minute); got != "" {
			t.Errorf("spoke unasked: %q, %v", got, err)
		}
		for _, part := range []string{"x\nW", "?\r", "\n"} {
			if _, err := s.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := read(t, s, time.Second); got != "W 1\n" {
			t.Errorf("%q", got)
		}
		done := make(chan error)
		go func() { _, err := s.Read(make([]byte, 1)); done <- err }()
		_ = s.SetReadDeadline(time.Time{})
		synctest.Wait()
		_ = s.Close()
		if err := <-done; !errors.Is(err, drivers.ErrClosed) {
			t.Errorf("a waiting Read beside Close: %v", err)
		}
		if _, err := s.Write(nil); !errors.Is(err, drivers.ErrClosed) {
			t.Errorf("Write after Close: %v", err)
		}
	})
}
