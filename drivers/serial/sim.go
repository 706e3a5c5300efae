package serial

import (
	"bytes"
	"os"
	"sync"
	"time"

	"postern/drivers"
)

// Fault is what a simulated instrument or its line does wrong.
type Fault uint8

// The faults. They last until another one is set.
const (
	Healthy   Fault = iota
	Silent          // says nothing: no supply, asleep, stuck
	Noise           // octets have flipped bits, so checksums are wrong
	Torn            // the second half of what it says is lost
	Late            // says it after Sim.Lateness
	Unplugged       // the adapter is gone
)

// Sim is the near end of a line with a simulated instrument at the other. It is
// safe for concurrent use; its fields are set before.
type Sim struct {
	// Says returns what the instrument says at a time: a frame, or lines.
	Says func(now time.Time) []byte
	// Asked is the request that it answers; empty: it speaks by itself.
	Asked string
	// Period is the time from one saying to the next of an instrument that
	// speaks by itself.
	Period time.Duration
	// Lateness is the additional time of a Late instrument.
	Lateness time.Duration

	wake chan struct{} // holds one token: something changed for a waiting Read

	mu       sync.Mutex
	fault    Fault
	deadline time.Time
	closed   bool
	heard    []byte    // what was sent to it and is no request yet
	out      []byte    // what it said and nobody has read
	due      time.Time // when out begins to arrive
	next     time.Time // when it speaks by itself
}

// NewSim returns an instrument that speaks by itself, once a second.
func NewSim(says func(now time.Time) []byte) *Sim {
	return &Sim{Says: says, Period: time.Second, Lateness: 2 * time.Second, wake: make(chan struct{}, 1), next: time.Now()}
}

// maxHeard bounds what is kept of a request.
const maxHeard = 4096

func (s *Sim) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// SetFault makes the instrument misbehave from now on, or behave again.
func (s *Sim) SetFault(f Fault) { s.change(func() { s.fault, s.out, s.heard = f, nil, nil }) }

// Read implements Conn. One goroutine reads at a time.
func (s *Sim) Read(b []byte) (int, error) {
	for {
		n, wait, err := s.take(b, time.Now())
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.wake:
		}
		t.Stop()
	}
}

// take gives what has arrived, or how long nothing will.
func (s *Sim) take(b []byte, now time.Time) (n int, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, 0, drivers.ErrClosed
	case s.fault == Unplugged:
		return 0, 0, drivers.ErrGone
	case !s.deadline.IsZero() && !now.Before(s.deadline):
		return 0, 0, os.ErrDeadlineExceeded
	}
	if s.Asked == "" && len(s.out) == 0 && !now.Before(s.next) {
		s.say(now)
		s.next = now.Add(s.Period)
	}
	if len(s.out) > 0 && !now.Before(s.due) {
		n = copy(b[:min(len(b), 7)], s.out) // in pieces, as a line does
		s.out = s.out[n:]
		return n, 0, nil
	}
	wait = time.Hour
	if !s.deadline.IsZero() {
		wait = min(wait, s.deadline.Sub(now))
	}
	if len(s.out) > 0 {
		wait = min(wait, s.due.Sub(now))
	} else if s.Asked == "" {
		wait = min(wait, s.next.Sub(now))
	}
	return 0, wait, nil
}

// say puts what the instrument says on the line.
func (s *Sim) say(now time.Time) {
	s.out, s.due = bytes.Clone(s.Says(now)), now
	switch s.fault {
	case Silent:
		s.out = nil
	case Noise:
		for i := 2; i < len(s.out); i += 3 {
			s.out[i] ^= 0x92
		}
	case Torn:
		s.out = s.out[:len(s.out)/2]
	case Late:
		s.due = now.Add(s.Lateness)
	}
}

// Write implements Conn.
func (s *Sim) Write(b []byte) (n int, err error) {
	s.change(func() {
		switch {
		case s.closed:
			err = drivers.ErrClosed
		case s.fault == Unplugged:
			err = drivers.ErrGone
		case s.Asked != "":
			s.heard = append(s.heard, b...)
			if bytes.Contains(s.heard, []byte(s.Asked)) {
				s.heard = nil
				s.say(time.Now())
			}
			s.heard = s.heard[max(0, len(s.heard)-maxHeard):]
		}
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// SetReadDeadline implements Conn.
func (s *Sim) SetReadDeadline(t time.Time) error {
	s.change(func() { s.deadline = t })
	return nil
}

// Flush drops what was said and not read; an instrument that speaks by itself
// says the next thing at its next turn.
func (s *Sim) Flush() error {
	s.change(func() {
		s.out = nil
		if now := time.Now(); s.Asked == "" && s.Period > 0 && !s.next.After(now) {
			s.next = s.next.Add(now.Sub(s.next).Truncate(s.Period) + s.Period)
		}
	})
	return nil
}

// Close implements Conn.
func (s *Sim) Close() error {
	s.change(func() { s.closed = true })
	return nil
}

var _ Conn = (*Sim)(nil)
