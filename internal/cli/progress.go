package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// patience is a context that ends when nothing has come for a while, however
// long the whole takes, and a line that tells how far a long transfer is.
type patience struct {
	limit time.Duration
	timer *time.Timer

	out   io.Writer // nil: no line is shown
	begin time.Time

	mu    sync.Mutex
	shown time.Time
	line  bool // the line stands on the screen
}

// lineAfter is how long a transfer lasts before it gets a line, lineEvery how
// often that changes.
const (
	lineAfter = 2 * time.Second
	lineEvery = 250 * time.Millisecond
)

// lapsing is a context that a timer ends as a deadline would: who waits is told
// DeadlineExceeded. Its channel is its own, so that children ask it for the
// reason.
type lapsing struct {
	context.Context
	done chan struct{}
}

func (l lapsing) Done() <-chan struct{} { return l.done }

func (l lapsing) Err() error {
	select {
	case <-l.done:
	default:
		return nil
	}
	if errors.Is(context.Cause(l.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return l.Context.Err()
}

// wait returns a context that ends limit after the last call of progress.
func (e *Env) wait(ctx context.Context, limit time.Duration) (context.Context, *patience, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{limit: limit, begin: time.Now()}
	if e.ErrTerminal {
		p.out = e.Stderr
	}
	p.timer = time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	l := lapsing{ctx, make(chan struct{})}
	context.AfterFunc(ctx, func() { close(l.done) })
	return l, p, func() {
		p.timer.Stop()
		cancel(nil)
	}
}

// progress is told how many values have come, and the time of the newest.
func (p *patience) progress(values int, at time.Time) {
	p.timer.Reset(p.limit)
	now := time.Now()
	if p.out == nil || now.Sub(p.begin) < lineAfter {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.shown) < lineEvery {
		return
	}
	p.shown, p.line = now, true
	rate := float64(values) / now.Sub(p.begin).Seconds()
	fmt.Fprintf(p.out, "\r%d values, up to %s, %.0f a second\x1b[K", values, timeText(at, now), rate)
}

// end takes the line away.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line {
		p.line = false
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
