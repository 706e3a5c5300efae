package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/drivers"
)

// Contact is an input: whether it is active, and how often it became so.
type Contact struct {
	cfg  ContactConfig
	line Line

	mu     sync.Mutex // guards set-up after a fault
	lost   bool
	before uint64 // activations counted before the line was lost
	count  uint64 // activations as last read
}

// OpenContact makes line an input. The contact owns the line from then on,
// also when OpenContact fails.
func OpenContact(ctx context.Context, line Line, cfg ContactConfig) (*Contact, error) {
	c := &Contact{cfg: cfg, line: line}
	err := cfg.Validate()
	if err == nil {
		err = c.setUp()
	}
	if err != nil {
		_ = line.Close()
		return nil, fmt.Errorf("contact: %w", err)
	}
	return c, nil
}

func (c *Contact) setUp() error {
	return c.line.Input(InputOptions{Bias: c.cfg.Bias, Debounce: c.cfg.Debounce})
}

// Channels implements drivers.Describer.
func (c *Contact) Channels() []drivers.Channel {
	return []drivers.Channel{
		{Name: "state", Kind: drivers.KindBool, Doc: "the contact is active"},
		{Name: "count", Kind: drivers.KindLong, Doc: "activations since the start"},
	}
}

// Read implements drivers.Device.
func (c *Contact) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	if ctx.Err() != nil {
		return dst, context.Cause(ctx)
	}
	state, count, _, err := c.sense()
	if err != nil {
		return dst, fmt.Errorf("contact: %w", err)
	}
	now := time.Now()
	return append(dst,
		drivers.Sample{Channel: "state", Value: drivers.Bool(state), Time: now},
		drivers.Sample{Channel: "count", Value: drivers.Long(int64(count)), Time: now},
	), nil
}

func (c *Contact) sense() (state bool, count uint64, last time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost {
		if err := c.setUp(); err != nil {
			return false, 0, last, err
		}
		c.lost, c.before = false, c.count
	}
	level, err := c.line.Level()
	var e Edges
	if err == nil {
		e, err = c.line.Edges()
	}
	if err != nil {
		c.lost = !errors.Is(err, drivers.ErrClosed)
		return false, 0, last, err
	}
	n := e.Rising
	if c.cfg.ActiveLow {
		n = e.Falling
	}
	c.count = c.before + n
	return bool(level) != c.cfg.ActiveLow, c.count, e.Last, nil
}

// Watch implements drivers.Watcher.
func (c *Contact) Watch(ctx context.Context, changed func(drivers.Sample)) error {
	state, count, _, err := c.sense()
	if err != nil {
		return fmt.Errorf("contact: %w", err)
	}
	for {
		if err := c.line.Wait(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("contact: %w", err)
		}
		s, n, at, err := c.sense()
		if err != nil {
			return fmt.Errorf("contact: %w", err)
		}
		if at.IsZero() {
			at = time.Now()
		}
		if s != state || n != count { // a short pulse changes only the count
			changed(drivers.Sample{Channel: "state", Value: drivers.Bool(s), Time: at})
		}
		if n != count {
			changed(drivers.Sample{Channel: "count", Value: drivers.Long(int64(n)), Time: at})
		}
		state, count = s, n
	}
}

// Close implements drivers.Device.
func (c *Contact) Close() error { return c.line.Close() }

var (
	_ drivers.Device    = (*Contact)(nil)
	_ drivers.Describer = (*Contact)(nil)
	_ drivers.Watcher   = (*Contact)(nil)
)
