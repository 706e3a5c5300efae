package pms5003

import (
	"os"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Fault is what a simulated sensor does wrong.
type Fault uint8

// The faults. They last until another one is set.
const (
	Healthy   Fault = iota
	Silent          // sends nothing: no supply, or put to sleep
	Noise           // octets have flipped bits
	Torn            // the second half of each frame is lost
	Unplugged       // the adapter is gone
)

// Sensor is the near end of a line with a simulated PMS5003, which sends by
// itself. It is safe for concurrent use.
type Sensor struct {
	// PM25 is the mass up to 2.5 µm in µg/m³; the other quantities follow from
	// it. Set both before use.
	PM25   drivers.Drift
	Period time.Duration

	mu       sync.Mutex
	fault    Fault
	deadline time.Time
	closed   bool
	buf      []byte
	next     time.Time
}

// Simulate returns a sensor in a city's air.
func Simulate() *Sensor {
	return &Sensor{PM25: drivers.Drift{Base: 9, Amplitude: 4, Period: 3 * time.Hour, Phase: 0.8}, Period: 800 * time.Millisecond}
}

// SetFault makes the sensor misbehave from now on.
func (s *Sensor) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.buf = f, nil
}

// Read implements serial.Conn.
func (s *Sensor) Read(b []byte) (int, error) {
	for {
		n, err := s.read(b, time.Now())
		if n > 0 || err != nil {
			return n, err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *Sensor) read(b []byte, now time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, drivers.ErrClosed
	case s.fault == Unplugged:
		return 0, drivers.ErrGone
	case !s.deadline.IsZero() && !now.Before(s.deadline):
		return 0, os.ErrDeadlineExceeded
	}
	if len(s.buf) == 0 && s.fault != Silent && !now.Before(s.next) {
		s.buf, s.next = s.frame(now), now.Add(s.Period)
	}
	n := copy(b[:min(len(b), 7)], s.buf) // in pieces, as a line does
	s.buf = s.buf[n:]
	return n, nil
}

func (s *Sensor) frame(now time.Time) []byte {
	f := append(make([]byte, 0, frameSize), head...)
	pm := s.PM25.At(now)
	for _, share := range [...]float64{0.7, 1, 1.1, 0.7, 1, 1.1, 180, 50, 9, 1, 0.4, 0.1, 0} {
		v := uint16(min(max(pm*share+0.5, 0), 65535))
		f = append(f, byte(v>>8), byte(v))
	}
	c := sum(f)
	f = append(f, byte(c>>8), byte(c))
	switch s.fault {
	case Noise:
		for i := 5; i < len(f); i += 9 {
			f[i] ^= 0x12
		}
	case Torn:
		f = f[:frameSize/2]
	}
	return f
}

// Write implements serial.Conn; the sensor need not be told anything.
func (s *Sensor) Write(b []byte) (int, error) { return len(b), nil }

// SetReadDeadline implements serial.Conn.
func (s *Sensor) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

// Flush drops what was sent and not read.
func (s *Sensor) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = nil
	return nil
}

// Close implements serial.Conn.
func (s *Sensor) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

var _ serial.Conn = (*Sensor)(nil)
