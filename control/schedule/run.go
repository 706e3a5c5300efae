package schedule

import (
	"context"
	"errors"
	"log/slog"
	"sort"
	"time"
)

const (
	// lookEvery bounds a sleep: timers count elapsed time, and the wall clock
	// may be set.
	lookEvery = 30 * time.Second
	// lookForClock is how often a clock that cannot be believed is asked again.
	lookForClock = 2 * time.Second
	// retryEvery is the time between two tries of what was refused for now.
	retryEvery = 15 * time.Second
	// aheadMost is how far in the future a time may be dealt with: the clock was
	// wrong by more than what setting it right may leave out.
	aheadMost = 26 * time.Hour
)

// Run carries the calendar out until ctx is done. What is being carried out
// then is finished first. It may be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	for {
		wait := lookForClock
		if s.cfg.ClockSane() {
			s.runDue(ctx)
			wait = s.untilNext()
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.look:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// untilNext is how long nothing has to be done.
func (s *Scheduler) untilNext() time.Duration {
	now := s.cfg.Now()
	wait := lookEvery
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.entries {
		if k.Paused || k.broken != nil {
			continue
		}
		if next, ok := k.when.Next(now, s.place); ok {
			wait = min(wait, next.Sub(now))
		}
	}
	for _, a := range s.pending {
		wait = min(wait, a.next.Sub(now))
	}
	return max(wait, time.Millisecond)
}

// runDue deals with all times that have come, one after the other in the order
// of their times.
func (s *Scheduler) runDue(ctx context.Context) {
	s.moving.Lock()
	defer s.moving.Unlock()
	now := s.cfg.Now()
	if !s.collect(now) {
		return
	}
	for _, a := range s.ready(now) {
		if ctx.Err() != nil {
			return
		}
		s.try(ctx, a)
	}
}

// collect notes the times that have come, on the disk first, and reports
// whether anything may be done about them.
func (s *Scheduler) collect(now time.Time) bool {
	s.mu.Lock()
	var changed []Entry
	var due []attempt
	for _, k := range s.entries {
		if k.Paused || k.broken != nil {
			continue
		}
		e := k.Entry
		if e.Notice.Handled.Sub(now) > aheadMost {
			s.cfg.Logger.Warn("the clock was ahead when a schedule last ran; it goes on from now",
				slog.String("schedule", e.Name), slog.Time("handled", e.Notice.Handled))
			e.Notice.Handled = now
			changed = append(changed, e)
			continue
		}
		at, ok := k.when.Latest(now, s.place)
		if !ok || !at.After(k.Notice.Handled) {
			continue
		}
		e.Notice.Handled = at
		if now.Sub(at) > e.Late {
			e.Notice.Missed = at
			s.cfg.Logger.Warn("a scheduled time passed while it could not be carried out; it is left out",
				slog.String("schedule", e.Name), slog.Time("at", at))
		} else {
			due = append(due, attempt{name: e.Name, due: at, until: at.Add(e.Late), next: now})
		}
		changed = append(changed, e)
	}
	s.mu.Unlock()
	if len(changed) == 0 {
		return true
	}
	if err := s.put(changed...); err != nil {
		// Tried again with the next look: until then the times stay as they are.
		s.cfg.Logger.Error("scheduled times cannot be noted on the disk, so nothing is switched; see that there is room",
			slog.Any("err", err))
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range changed {
		s.entries[e.Name].Entry = e
	}
	s.pending = append(s.pending, due...)
	sort.Slice(s.pending, func(i, j int) bool {
		a, b := s.pending[i], s.pending[j]
		return a.due.Before(b.due) || a.due.Equal(b.due) && a.name < b.name
	})
	return true
}

// ready takes out what is to be tried now: of several times for one output
// the latest only, nothing whose lateness is over.
func (s *Scheduler) ready(now time.Time) []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := map[output]int{}
	for i, a := range s.pending {
		last[s.entries[a.name].output()] = i
	}
	var out, left []attempt
	for i, a := range s.pending {
		k := s.entries[a.name]
		switch {
		case last[k.output()] != i:
			s.cfg.Logger.Info("a scheduled time gives way to a later one for the same output", slog.String("schedule", a.name))
		case a.due.Before(now) && now.After(a.until):
			s.cfg.Logger.Warn("a schedule was refused until it was too late for it", slog.String("schedule", a.name), slog.String("err", k.Notice.Error))
		case now.Before(a.next):
			left = append(left, a)
		default:
			out = append(out, a)
		}
	}
	s.pending = left
	return out
}

// try carries one entry out and notes what became of it.
func (s *Scheduler) try(ctx context.Context, a attempt) {
	s.mu.Lock()
	k := s.entries[a.name]
	e := k.Entry
	s.mu.Unlock()
	err := s.cfg.Do(ctx, e)
	before := e.Notice
	e.Notice.Run, e.Notice.Done, e.Notice.Error = a.due, err == nil, ""
	again := false
	if err != nil {
		e.Notice.Error = short(err.Error())
		again = errors.Is(err, ErrAgain)
		s.cfg.Logger.Warn("a schedule could not be carried out", slog.String("schedule", e.Name), slog.Any("err", err), slog.Bool("again", again))
	}
	if e.Notice != before {
		if err := s.put(e); err != nil {
			s.cfg.Logger.Error("what became of a schedule is not on the disk", slog.String("schedule", e.Name), slog.Any("err", err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.Entry = e
	if again {
		a.next = s.cfg.Now().Add(retryEvery)
		s.pending = append(s.pending, a)
	}
}

// short bounds what is kept of an error.
func short(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
