package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"postern/internal/store"
)

// Config is what a Scheduler is made of.
type Config struct {
	Store *store.DB // required
	// Do carries an entry out, through the same rules as a command from afar,
	// and returns once it is done. Again in its error's chain: later.
	Do func(ctx context.Context, e Entry) error // required
	// Check tells whether an entry could be carried out at all: its output is
	// there and takes the value. It moves nothing.
	Check func(e Entry) error // required
	Place Place
	Now   func() time.Time // nil for time.Now
	// ClockSane tells whether the wall clock can be believed. Nil: always.
	ClockSane func() bool
	Logger    *slog.Logger // nil discards
}

// ErrAgain is in the chain of errors of Do when it is worth trying later.
var ErrAgain = errors.New("later")

// Scheduler keeps the calendar and carries it out. Make one with New and Run
// it; its other methods are safe for concurrent use.
type Scheduler struct {
	cfg    Config
	look   chan struct{} // the calendar changed
	moving sync.Mutex    // held while something is changed or due

	mu      sync.Mutex
	place   Place
	entries map[string]*kept
	pending []attempt // in the order of their times
}

// kept is an entry with its rule made ready. Where the rule cannot be read,
// from a store of another version, broken says so and nothing runs.
type kept struct {
	Entry
	when   When
	broken error
}

// attempt is a due time that is being carried out, or waits to be tried again.
type attempt struct {
	name  string
	due   time.Time
	until time.Time // of its lateness
	next  time.Time
}

// New reads the calendar from the store. Entries that cannot be read are
// reported and left alone.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Store == nil || cfg.Do == nil || cfg.Check == nil {
		return nil, errors.New("schedule: Config lacks Store, Do or Check")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ClockSane == nil {
		cfg.ClockSane = func() bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Scheduler{cfg: cfg, look: make(chan struct{}, 1), place: cfg.Place, entries: make(map[string]*kept)}
	err := cfg.Store.View(func(tx *store.Tx) error {
		for e := range bucket.All(tx, "") {
			if e.Err != nil {
				cfg.Logger.Error("a schedule cannot be read and does not run", slog.String("name", e.Key), slog.Any("err", e.Err))
				continue
			}
			k := &kept{Entry: e.Value}
			k.when, k.broken = ParseWhen(k.When)
			s.entries[e.Key] = k
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	return s, nil
}

// Move changes where the calendar runs, as a changed configuration may.
func (s *Scheduler) Move(p Place) {
	s.mu.Lock()
	s.place = p
	s.mu.Unlock()
	s.wake()
}

func (s *Scheduler) wake() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// Listed is an entry with what is coming.
type Listed struct {
	Entry
	Next    time.Time // zero for none: paused, over, or the clock is not set
	Waiting bool      // it is due, was refused for now, and is tried again
	Problem string    // why it cannot run; empty when it can
}

// List returns the calendar, sorted by name.
func (s *Scheduler) List() []Listed {
	now, sane := s.cfg.Now(), s.cfg.ClockSane()
	s.mu.Lock()
	out := make([]Listed, 0, len(s.entries))
	for _, k := range s.entries {
		l := Listed{Entry: k.Entry}
		switch {
		case k.broken != nil:
			l.Problem = k.broken.Error()
		case k.when.NeedsPosition() && s.place.Position == nil:
			l.Problem = errNoPosition.Error()
		case !sane:
			l.Problem = "the gateway's clock is not set"
		case !k.Paused:
			l.Next, _ = k.when.Next(now, s.place)
		}
		for _, a := range s.pending {
			l.Waiting = l.Waiting || a.name == k.Name
		}
		out = append(out, l)
	}
	s.mu.Unlock()
	for i := range out {
		if out[i].Problem == "" {
			if err := s.cfg.Check(out[i].Entry); err != nil {
				out[i].Problem = err.Error()
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Add keeps a new entry. It is on the disk when Add returns nil.
func (s *Scheduler) Add(e Entry) (Listed, error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	w, next, err := s.check(&e)
	if err != nil {
		return Listed{}, err
	}
	e.Notice = Notice{Handled: s.cfg.Now()}
	if err := s.put(e); err != nil {
		return Listed{}, err
	}
	s.mu.Lock()
	s.entries[e.Name] = &kept{Entry: e, when: w}
	s.mu.Unlock()
	s.wake()
	return Listed{Entry: e, Next: next}, nil
}

// check completes an entry and tells whether Add would take it.
func (s *Scheduler) check(e *Entry) (w When, next time.Time, err error) {
	s.mu.Lock()
	place, taken, full := s.place, s.entries[strings.TrimSpace(e.Name)] != nil, len(s.entries) >= MaxEntries
	s.mu.Unlock()
	w, err = e.check(place)
	switch {
	case err != nil:
		return w, next, err
	case taken:
		return w, next, fmt.Errorf("%q: %w", e.Name, ErrTaken)
	case full:
		return w, next, ErrFull
	}
	if err := s.cfg.Check(*e); err != nil {
		return w, next, err
	}
	next, coming := w.Next(s.cfg.Now(), place)
	if !coming {
		return w, next, fmt.Errorf("%q never comes again", e.When)
	}
	return w, next, nil
}

func (s *Scheduler) put(entries ...Entry) error {
	err := s.cfg.Store.Update(func(tx *store.Tx) error {
		for _, e := range entries {
			if err := bucket.Put(tx, e.Name, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	return nil
}

// Remove forgets an entry.
func (s *Scheduler) Remove(name string) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.Lock()
	known := s.entries[name] != nil
	s.mu.Unlock()
	if !known {
		return fmt.Errorf("%q: %w", name, ErrUnknown)
	}
	if err := s.cfg.Store.Update(func(tx *store.Tx) error { return bucket.Delete(tx, name) }); err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	s.mu.Lock()
	delete(s.entries, name)
	s.drop(name)
	s.mu.Unlock()
	s.wake()
	return nil
}

// drop gives up what waits of an entry. s.mu is held.
func (s *Scheduler) drop(name string) {
	left := s.pending[:0]
	for _, a := range s.pending {
		if a.name != name {
			left = append(left, a)
		}
	}
	s.pending = left
}

// Pause keeps an entry from running until Resume.
func (s *Scheduler) Pause(name string) error { return s.setPaused(name, true) }

// Resume lets an entry run again, from its next time on.
func (s *Scheduler) Resume(name string) error { return s.setPaused(name, false) }

func (s *Scheduler) setPaused(name string, paused bool) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.Lock()
	k := s.entries[name]
	if k == nil {
		s.mu.Unlock()
		return fmt.Errorf("%q: %w", name, ErrUnknown)
	}
	e := k.Entry
	s.mu.Unlock()
	if e.Paused == paused {
		return nil
	}
	e.Paused = paused
	if now := s.cfg.Now(); now.After(e.Notice.Handled) {
		e.Notice.Handled = now // what came meanwhile is not made up for
	}
	if err := s.put(e); err != nil {
		return err
	}
	s.mu.Lock()
	k.Entry = e
	s.drop(name)
	s.mu.Unlock()
	s.wake()
	return nil
}
