package gateway

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"postern/provisioning"
)

// window lets a gateway without an owner be claimed only for some time after
// somebody has pressed its button: who wants it has to stand before it. Its
// methods are safe for concurrent use, and do nothing on a nil window, which
// is one that always stands open.
type window struct {
	log   *slog.Logger
	thing *provisioning.Thing
	time  time.Duration
	press chan struct{}
	ajar  atomic.Bool
}

// newWindow returns a shut window, or nil when the configuration has none.
func newWindow(g *Gateway, t *provisioning.Thing) *window {
	if g.cfg.Board.ClaimWindow <= 0 {
		return nil
	}
	t.Shut(true)
	return &window{log: g.log.With("part", "provisioning"), thing: t, time: g.cfg.Board.ClaimWindow, press: make(chan struct{}, 1)}
}

// open opens the window for its time, from now on.
func (w *window) open() {
	if w == nil {
		return
	}
	select {
	case w.press <- struct{}{}:
	default: // one press waits already
	}
}

// run opens and shuts until ctx is done.
func (w *window) run(ctx context.Context) {
	if w == nil {
		return
	}
	var end <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.press:
			end = time.After(w.time)
			w.set(true)
		case <-end:
			end = nil
			w.set(false)
		}
	}
}

func (w *window) set(open bool) {
	if w.ajar.Swap(open) == open {
		return
	}
	w.thing.Shut(!open)
	if open {
		w.log.Info("this gateway can be claimed, if it has no owner", "for", w.time)
	} else {
		w.log.Info("this gateway can no longer be claimed; its button opens the window again")
	}
}

// status is what postern status shows.
func (w *window) status() string {
	switch {
	case w == nil:
		return ""
	case w.ajar.Load():
		return "open"
	}
	return "shut"
}
