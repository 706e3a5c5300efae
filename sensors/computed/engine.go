package computed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"postern/internal/live"
	"postern/internal/node"
)

// settle is how long the engine waits after a change: a device's channels are
// stored one after the other, and a sum of half of them would be wrong.
const settle = 10 * time.Millisecond

// Engine computes fields whenever a source changes. It is safe for concurrent
// use.
type Engine struct {
	cfg  Config
	wake chan struct{}

	mu     sync.Mutex
	set    *set
	dirty  []bool
	meters map[key]*meter // of all energy, also of what is no longer configured
	unsure bool           // totals were not saved
}

// New returns an Engine and reads the totals that were kept.
func New(cfg Config) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Save == nil {
		cfg.Save = func() time.Duration { return 5 * time.Minute }
	}
	e := &Engine{cfg: cfg, wake: make(chan struct{}, 1), set: &set{}, meters: map[key]*meter{}}
	if cfg.DB != nil {
		if err := e.load(); err != nil {
			cfg.Logger.Error("totals of energy cannot be read and begin at zero", "err", err)
		}
	}
	return e
}

// Apply replaces the fields. Meters that stay the same go on; so do totals of
// meters that were away for a while. The error is ErrCycle.
func (e *Engine) Apply(fields []Field) error {
	s, err := newSet(fields)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range s.fields {
		f := &s.fields[i]
		if f.Energy == nil {
			continue
		}
		k := key{f.Ref, f.Name}
		m := e.meters[k]
		if m == nil {
			m = &meter{}
			e.meters[k] = m
		}
		if m.source != *f.Energy {
			m.source, m.last = *f.Energy, live.Reading{}
		}
		s.meters[i] = m
	}
	e.set = s
	e.dirty = make([]bool, len(s.fields))
	for i := range e.dirty {
		e.dirty[i] = true
	}
	e.kick()
	return nil
}

func (e *Engine) kick() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// changed is told of every reading. Meters count at once, so that none is
// missed; the rest is done in Run.
func (e *Engine) changed(c live.Change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	readers := e.set.readers[key{c.Ref, c.Name}]
	for _, i := range readers {
		if m := e.set.meters[i]; m != nil {
			if m.take(&c.New) {
				e.unsure = true
			}
		}
		e.dirty[i] = true
	}
	if len(readers) > 0 {
		e.kick()
	}
}

// saveTick is how often it is looked, at least, whether totals are due to be
// saved.
const saveTick = 5 * time.Second

// Run computes until ctx is done, then keeps the totals. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	cancel := e.cfg.Live.Observe(e.changed)
	defer e.save()
	defer cancel()
	saved := e.cfg.Now()
	every := max(min(saveTick, e.cfg.Save()/4), time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if now := e.cfg.Now(); now.Sub(saved)+every > e.cfg.Save() {
				e.save()
				saved = now
			}
		case <-e.wake:
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return nil
			}
			e.pass()
		}
	}
}

// pass computes what is due, in order: results that others need come first.
func (e *Engine) pass() {
	e.mu.Lock()
	s := e.set
	e.mu.Unlock()
	for i := range s.fields {
		e.mu.Lock()
		due := e.set == s && e.dirty[i]
		if due {
			e.dirty[i] = false
		}
		var t total
		var flags live.Quality
		if m := s.meters[i]; m != nil && due {
			t, flags = m.total, m.flags
		}
		e.mu.Unlock()
		if !due {
			continue
		}
		f := &s.fields[i]
		in := e.gather(f)
		rd, err := in.result(f, t, flags)
		if _, had := e.cfg.Live.Get(f.Ref, f.Name); errors.Is(err, errNever) && !had {
			continue // just started: a read-out says that there is no reading
		}
		if err != nil {
			e.cfg.Live.Fail(f.Ref, f.Name, e.cfg.Now(), err)
			continue
		}
		e.cfg.Live.Put(f.Ref, f.Name, rd)
	}
}

// Explain tells how a field is computed: the formula, and for energy what its
// total lacks. ok is false for a field that is not computed here.
func (e *Engine) Explain(ref node.Ref, name string) (how string, sources []string, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.set.fields {
		f := &e.set.fields[i]
		if f.Ref != ref || f.Name != name {
			continue
		}
		for _, u := range f.uses() {
			sources = append(sources, u.String())
		}
		if m := e.set.meters[i]; m != nil {
			return m.explain(), sources, true
		}
		return f.Formula.String(), sources, true
	}
	return "", nil, false
}
