package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/drivers"
)

// Relay is an output with a safe state: it is there from OpenRelay on, after
// the line was lost and found again, and from Close on.
type Relay struct {
	cfg  RelayConfig
	line Line

	mu     sync.Mutex
	on     bool // as commanded
	lost   bool
	closed bool
}

// OpenRelay makes line an output in its safe state, without a moment in the
// other one. The relay owns the line from then on, also when OpenRelay fails.
func OpenRelay(ctx context.Context, line Line, cfg RelayConfig) (*Relay, error) {
	r := &Relay{cfg: cfg, line: line}
	err := cfg.Validate()
	if err == nil {
		err = r.setUp()
	}
	if err != nil {
		_ = line.Close()
		return nil, fmt.Errorf("relay: %w", err)
	}
	return r, nil
}

// ResumeRelay goes on with an adopted line in the state it is in, without a
// move (see Adopt). The relay owns the line from then on.
func ResumeRelay(ctx context.Context, line Line, cfg RelayConfig) (*Relay, error) {
	r := &Relay{cfg: cfg, line: line}
	err := cfg.Validate()
	if err == nil {
		var level Level
		if level, err = line.Level(); err == nil {
			r.on = bool(level) != cfg.ActiveLow
			return r, nil
		}
	}
	_ = line.Close()
	return nil, fmt.Errorf("relay: resume: %w", err)
}

func (r *Relay) level(on bool) Level { return Level(on != r.cfg.ActiveLow) }

func (r *Relay) setUp() error {
	safe := r.cfg.Safe == "on"
	if err := r.line.Output(r.cfg.Drive, r.level(safe)); err != nil {
		return err
	}
	r.on, r.lost = safe, false
	return nil
}

// Channels implements drivers.Describer.
func (r *Relay) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: "state", Kind: drivers.KindBool, Doc: "the output is on", Writable: true, Safe: drivers.Bool(r.cfg.Safe == "on")}}
}

// Read implements drivers.Device: it reads the line back. A line that is not
// where it was put gives an error and no state.
func (r *Relay) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	if ctx.Err() != nil {
		return dst, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return dst, fmt.Errorf("relay: %w", err)
	}
	level, err := r.line.Level()
	if err != nil {
		return dst, fmt.Errorf("relay: %w", r.fault(err))
	}
	s := drivers.Sample{Channel: "state", Time: time.Now()}
	if on := bool(level) != r.cfg.ActiveLow; on == r.on {
		s.Value = drivers.Bool(on)
	} else {
		s.Err = r.mismatch()
	}
	return append(dst, s), nil
}

func (r *Relay) mismatch() error {
	return fmt.Errorf("the line does not read what it was set to (%v); look for a short circuit or another program: %w", r.level(r.on), drivers.ErrProtocol)
}

// Set implements drivers.Setter. It returns once the line reads back what was
// set.
func (r *Relay) Set(ctx context.Context, channel string, v drivers.Value) error {
	if channel != "state" {
		return fmt.Errorf("relay: %q: %w", channel, drivers.ErrChannel)
	}
	on, ok := v.Bool()
	if !ok {
		return fmt.Errorf("relay: %v is no boolean: %w", v, drivers.ErrValue)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if err := r.line.Out(r.level(on)); err != nil {
		return fmt.Errorf("relay: %w", r.fault(err))
	}
	r.on = on
	level, err := r.line.Level()
	if err != nil {
		return fmt.Errorf("relay: read back: %w", r.fault(err))
	}
	if level != r.level(on) {
		return fmt.Errorf("relay: %w", r.mismatch())
	}
	return nil
}

func (r *Relay) usable() error {
	if r.closed {
		return drivers.ErrClosed
	}
	if r.lost {
		return r.setUp() // back in its safe state, whatever it was before
	}
	return nil
}

func (r *Relay) fault(err error) error {
	r.lost = !errors.Is(err, drivers.ErrClosed)
	return err
}

// Close implements drivers.Device: it moves to the safe state and releases the
// line.
func (r *Relay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	var err error
	if !r.lost {
		err = r.line.Out(r.level(r.cfg.Safe == "on"))
	}
	return errors.Join(err, r.line.Close())
}

var (
	_ drivers.Device    = (*Relay)(nil)
	_ drivers.Describer = (*Relay)(nil)
	_ drivers.Setter    = (*Relay)(nil)
)
