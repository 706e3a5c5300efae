package i2c

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"periph.io/x/conn/v3/physic"

	"postern/drivers"
)

// Slave is a simulated chip at the level of bus transactions: w is what the
// master writes behind the address, then r is to be filled. An error is a
// missing acknowledge.
type Slave interface {
	Tx(w, r []byte) error
}

// Resetter is a Slave that can lose its power: registers fall back to their
// power-on values.
type Resetter interface{ PowerOn() }

// Fault is what a simulated chip or bus does wrong.
type Fault uint8

// The faults. They last until another one is set.
const (
	Healthy  Fault = iota
	Dead           // does not acknowledge
	Noise          // octets that are read have flipped bits
	Late           // answers after Sim.Lateness
	Stuck          // holds a line low: every transaction on the bus times out
	BrownOut       // lost its power once: registers at power-on values; then healthy
)

// BusTimeout is how long a transaction on a stuck simulated bus takes.
const BusTimeout = 50 * time.Millisecond

// Sim is a simulated bus. It is safe for concurrent use; one transaction runs
// at a time, as on a wire.
type Sim struct {
	name string
	wire chan struct{} // holds one token: the right to use the wire

	mu       sync.Mutex
	slaves   map[uint16]*simSlave
	lateness time.Duration
	noise    *rand.Rand
	closed   bool
}

type simSlave struct {
	Slave
	fault Fault
}

// NewSim returns an empty bus.
func NewSim(name string) *Sim {
	return &Sim{
		name:     name,
		wire:     make(chan struct{}, 1),
		slaves:   map[uint16]*simSlave{},
		lateness: 30 * time.Millisecond,
		noise:    rand.New(rand.NewPCG(1, 2)), // the same disturbance in each run
	}
}

// Attach puts a chip on the bus, in place of what was at that 7-bit address;
// nil takes it off.
func (s *Sim) Attach(addr uint16, slave Slave) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slave == nil {
		delete(s.slaves, addr)
		return
	}
	s.slaves[addr] = &simSlave{Slave: slave}
}

// SetFault makes the chip at addr misbehave from now on. It panics when there
// is no chip.
func (s *Sim) SetFault(addr uint16, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl, ok := s.slaves[addr]
	if !ok {
		panic(fmt.Sprintf("i2c: no simulated chip at 0x%02x", addr))
	}
	if f == BrownOut {
		if r, ok := sl.Slave.(Resetter); ok {
			r.PowerOn()
		}
		f = Healthy
	}
	sl.fault = f
}

// SetLateness sets how long a Late chip stretches the clock.
func (s *Sim) SetLateness(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lateness = d
}

// Tx implements periph's i2c.Bus.
func (s *Sim) Tx(addr uint16, w, r []byte) error {
	return s.TxContext(context.Background(), addr, w, r)
}

// TxContext implements ContextBus.
func (s *Sim) TxContext(ctx context.Context, addr uint16, w, r []byte) error {
	select {
	case s.wire <- struct{}{}:
		defer func() { <-s.wire }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	stuck, closed := false, s.closed
	for _, sl := range s.slaves {
		stuck = stuck || sl.fault == Stuck
	}
	sl, late := s.slaves[addr], s.lateness
	fault := Dead
	if sl != nil {
		fault = sl.fault
	}
	s.mu.Unlock()
	switch {
	case closed:
		return drivers.ErrClosed
	case addr > 0x7f:
		return fmt.Errorf("i2c: tx 0x%02x on %s: not a 7-bit address", addr, s.name)
	case len(w) == 0 && len(r) == 0:
		return nil // as periph's bus does
	case stuck:
		if err := wait(ctx, BusTimeout); err != nil {
			return err
		}
		return classify(s.name, addr, syscall.ETIMEDOUT)
	case fault == Dead:
		return classify(s.name, addr, syscall.ENXIO)
	case fault == Late:
		if err := wait(ctx, late); err != nil {
			return err
		}
	}
	if err := sl.Tx(w, r); err != nil {
		return classify(s.name, addr, err)
	}
	if fault == Noise {
		s.mu.Lock()
		for i := range r {
			r[i] ^= byte(s.noise.UintN(255) + 1)
		}
		s.mu.Unlock()
	}
	return nil
}

// SetSpeed implements periph's i2c.Bus.
func (s *Sim) SetSpeed(physic.Frequency) error { return nil }

// String returns the name.
func (s *Sim) String() string { return s.name }

// Close ends the bus; closing twice is allowed.
func (s *Sim) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
