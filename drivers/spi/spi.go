// Package spi opens the SPI devices of a Linux board and simulates one. Its
// seam is periph's spi.PortCloser: a port is one chip select, so that the
// device that sits on it owns it.
package spi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/host/v3/sysfs"

	"postern/drivers"
)

// Port is periph's.
type Port = spi.PortCloser

// Open opens an SPI device of this machine by bus and chip select: "0.1",
// "spidev0.1" or "/dev/spidev0.1".
func Open(name string) (Port, error) {
	bus, cs, err := parse(name)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/dev/spidev%d.%d", bus, cs)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("spi: there is no %s; enable it in the board's settings (on a Raspberry Pi dtparam=spi=on): %w", path, drivers.ErrGone)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("spi: %w; put the user in the group that owns it (usually spi)", err)
	case err != nil:
		return nil, fmt.Errorf("spi: %w", err)
	}
	_ = f.Close() // it was only to say what is wrong
	p, err := sysfs.NewSPI(bus, cs)
	if err != nil {
		return nil, fmt.Errorf("spi: open %s: %w", path, err)
	}
	return p, nil
}

func parse(name string) (bus, cs int, err error) {
	short := strings.TrimPrefix(strings.TrimPrefix(name, "/dev/"), "spidev")
	b, c, ok := strings.Cut(short, ".")
	n, errB := strconv.ParseUint(b, 10, 8)
	m, errC := strconv.ParseUint(c, 10, 8)
	if !ok || errB != nil || errC != nil {
		return 0, 0, fmt.Errorf("spi: %q is not BUS.CHIPSELECT, for example 0.0", name)
	}
	return int(n), int(m), nil
}

// Slave is a simulated chip: r, as long as w, is what it sends while it takes
// w. An error is one of the controller; a chip that is not there sends nothing
// and the line reads as it floats.
type Slave interface {
	Tx(w, r []byte) error
}

// Fault is what a simulated chip does wrong. It lasts until another one is set.
type Fault uint8

// The faults.
const (
	Healthy Fault = iota
	Absent        // the line floats high: all ones
	Shorted       // the line is low: all zeros
)

// Sim is a simulated port. It is safe for concurrent use.
type Sim struct {
	name  string
	slave Slave

	mu     sync.Mutex
	fault  Fault
	closed bool
}

// NewSim returns a port with a chip.
func NewSim(name string, slave Slave) *Sim { return &Sim{name: name, slave: slave} }

// SetFault makes the chip misbehave, or behave again.
func (s *Sim) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// String returns the name.
func (s *Sim) String() string { return s.name }

// Connect implements periph's spi.Port.
func (s *Sim) Connect(physic.Frequency, spi.Mode, int) (spi.Conn, error) { return simConn{s}, nil }

// LimitSpeed implements periph's spi.PortCloser.
func (s *Sim) LimitSpeed(physic.Frequency) error { return nil }

// Close implements periph's spi.PortCloser; closing twice is allowed.
func (s *Sim) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

type simConn struct{ *Sim }

func (c simConn) Duplex() conn.Duplex { return conn.Full }

func (c simConn) TxPackets([]spi.Packet) error {
	return errors.New("spi: the simulated port takes single transfers")
}

func (c simConn) Tx(w, r []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return drivers.ErrClosed
	}
	if r == nil {
		r = make([]byte, len(w))
	}
	if len(w) != len(r) {
		return fmt.Errorf("spi: %d octets out and %d in", len(w), len(r))
	}
	fill := map[Fault]byte{Absent: 0xff}[c.fault]
	if c.fault != Healthy {
		for i := range r {
			r[i] = fill
		}
		return nil
	}
	return c.slave.Tx(w, r)
}

// Chip is a chip on its port; it serialises the calls of its device.
type Chip struct {
	name string
	port Port
	conn spi.Conn
	turn chan struct{} // holds one token: the right to use conn

	mu     sync.Mutex
	closed bool
}

// Connect takes a port for a chip. The chip owns the port from then on, also
// when Connect fails.
func Connect(name string, port Port, f physic.Frequency, mode spi.Mode) (*Chip, error) {
	c, err := port.Connect(f, mode, 8)
	if err != nil {
		_ = port.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Chip{name: name, port: port, conn: c, turn: make(chan struct{}, 1)}, nil
}

// Tx sends w and returns what came at the same time. It is called within Do.
func (c *Chip) Tx(w ...byte) ([]byte, error) {
	r := make([]byte, len(w))
	if err := c.conn.Tx(w, r); err != nil {
		return nil, fmt.Errorf("tx on %s: %w", c.port, err)
	}
	return r, nil
}

// Do runs f alone, unless ctx is done or the chip is closed.
func (c *Chip) Do(ctx context.Context, f func() error) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("%s: %w", c.name, drivers.ErrClosed)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// Sleep waits for a conversion.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close waits for a running Do and closes the port; closing twice is allowed.
func (c *Chip) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.port.Close()
}

// Modes of clock and phase that the chips of Postern use.
const (
	Mode0 = spi.Mode0
	Mode1 = spi.Mode1
)
