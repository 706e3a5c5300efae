package i2c

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"periph.io/x/conn/v3/physic"

	"postern/drivers"
)

// What one Do may cost at most, so that a chip whose ready bit is stuck cannot
// hold a library's polling loop for ever.
//
// Libraries poll a ready bit as fast as the bus allows; from freeTransactions
// on each transaction waits a little first, which spares the processor.
const (
	maxDuration      = 3 * time.Second
	maxTransactions  = 4000
	freeTransactions = 16
	pollInterval     = time.Millisecond
)

// Chip is one chip's view of a bus. It is itself a Bus, to be handed to a
// periph driver, and gives that driver what it lacks: calls that end with
// their context, a bound on its loops, the cause of its errors, and Close.
type Chip struct {
	bus    Bus
	addr   uint16
	turn   chan struct{} // holds one token: the right to run Do
	closed atomic.Bool

	// Of the running Do; owned by the holder of the turn.
	ctx   context.Context
	end   time.Time
	count int
	cause error
}

// NewChip returns the view of the chip at addr.
func NewChip(bus Bus, addr uint16) *Chip {
	return &Chip{bus: bus, addr: addr, turn: make(chan struct{}, 1)}
}

// Do runs f, which may use the chip as a Bus, and serialises it with other
// calls. When a transaction failed, the error is that of the transaction and
// not what f made of it.
func (c *Chip) Do(ctx context.Context, f func() error) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.closed.Load() {
		return drivers.ErrClosed
	}
	c.ctx, c.end, c.count, c.cause = ctx, time.Now().Add(maxDuration), 0, nil
	err := f()
	c.ctx = nil
	if err != nil && c.cause != nil {
		return c.cause
	}
	return err
}

// Tx implements periph's i2c.Bus. It must be called within Do.
func (c *Chip) Tx(addr uint16, w, r []byte) error {
	err := c.tx(addr, w, r)
	if err != nil {
		c.cause = err
	}
	return err
}

func (c *Chip) tx(addr uint16, w, r []byte) error {
	switch {
	case c.ctx == nil:
		return errors.New("i2c: transaction outside of Do")
	case c.closed.Load():
		return drivers.ErrClosed
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	}
	if c.count++; c.count > maxTransactions || time.Now().After(c.end) {
		return fmt.Errorf("i2c: chip 0x%02x on %s does not become ready: %w", c.addr, c.bus, drivers.ErrTimeout)
	}
	if c.count > freeTransactions {
		if err := c.Sleep(pollInterval); err != nil {
			return err
		}
	}
	if b, ok := c.bus.(ContextBus); ok {
		return b.TxContext(c.ctx, addr, w, r)
	}
	return c.bus.Tx(addr, w, r)
}

// SetSpeed implements periph's i2c.Bus.
func (c *Chip) SetSpeed(f physic.Frequency) error { return c.bus.SetSpeed(f) }

// String names bus and address.
func (c *Chip) String() string { return fmt.Sprintf("%s(0x%02x)", c.bus, c.addr) }

// Sleep waits within Do, for conversions.
func (c *Chip) Sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// Close lets a running Do fail at its next transaction, waits for it and makes
// further ones return drivers.ErrClosed. The bus stays open.
func (c *Chip) Close() {
	c.closed.Store(true)
	c.turn <- struct{}{}
	<-c.turn
}
