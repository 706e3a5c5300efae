package control

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/live"
	"postern/internal/node"
)

// tick is how often rules that depend on time are looked at. Changes of
// readings are looked at when they come.
const tick = 250 * time.Millisecond

// restTick is the same while nothing depends on time: no output has rules, and
// nobody at the machine holds one. The processor need not wake for it then.
const restTick = time.Second

// rests tells whether nothing depends on time. s.safety is held.
func (s *Service) rests(st *state) bool {
	if len(st.rules) > 0 || len(s.overrides.persons) > 0 || len(s.overrides.switches) > 0 {
		return false
	}
	for _, o := range s.outputs {
		if o.due != "" || o.moving || o.tripping {
			return false
		}
	}
	return true
}

// stateOf returns the state of an output with rules. s.safety is held.
func (s *Service) stateOf(o Output) *outState {
	st := s.outputs[o]
	if st == nil {
		st = new(outState)
		s.outputs[o] = st
	}
	return st
}

// note records a write, successful or not. What was written to a device that
// was replaced meanwhile says nothing about its successor.
func (s *Service) note(to *state, w *write, err error) {
	s.safety.Lock()
	defer s.safety.Unlock()
	if !s.state.Load().sameDevice(to, w.node.Device) {
		return
	}
	st := s.stateOf(w.output())
	if err != nil {
		st.lost(w.param, w.value, s.cfg.Now())
	} else {
		st.wrote(w.param, w.value, s.cfg.Now())
		st.by = w.by
	}
}

// Link tells the service whether the network is there. Until the first call
// it counts as there.
func (s *Service) Link(up bool) {
	s.safety.Lock()
	defer s.safety.Unlock()
	switch {
	case up:
		s.linkLost = time.Time{}
	case s.linkLost.IsZero():
		s.linkLost = s.cfg.Now()
	}
}

// watch makes outputs safe whose rules demand it, until ctx is done.
func (s *Service) watch(ctx context.Context) {
	stop := s.cfg.Live.Observe(func(live.Change) {
		select {
		case s.look <- struct{}{}:
		default:
		}
	})
	defer stop()
	every := tick
	t := time.NewTicker(every)
	defer t.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.look:
		case <-t.C:
		}
		st := s.state.Load()
		s.safety.Lock()
		notes := s.switched(st, s.cfg.Now())
		s.safety.Unlock()
		for _, n := range notes {
			s.noteOverride(n.out, n.v, n.begun)
		}
		// Side by side: an output that hangs does not keep others dangerous.
		for _, t := range s.trips(st) {
			wg.Go(func() { s.trip(ctx, st, t) })
		}
		s.safety.Lock()
		taken := s.takeovers(st, s.cfg.Now())
		next := tick
		if s.rests(st) {
			next = restTick
		}
		s.safety.Unlock()
		if next != every {
			every = next
			t.Reset(every)
		}
		for _, t := range taken {
			wg.Go(func() { s.takeOver(ctx, st, t) })
		}
	}
}

// trip is an output that has to be made safe.
type trip struct {
	out   Output
	node  *node.Node
	param *node.Parameter
	why   string
	again bool // it was tried before
}

// trips lists the outputs that have to be made safe: active ones whose rules
// demand it, and those whose safe value is due.
func (s *Service) trips(st *state) (list []trip) {
	now := s.cfg.Now()
	s.safety.Lock()
	defer s.safety.Unlock()
	for o := range st.rules {
		s.stateOf(o)
	}
	// In a fixed order, so that what happens can be told from the rules.
	outputs := slices.Collect(maps.Keys(s.outputs))
	sort.Slice(outputs, func(i, j int) bool { return outputs[i].String() < outputs[j].String() })
	for _, o := range outputs {
		r, state := st.rules[o], s.outputs[o]
		if state.tripping {
			continue
		}
		t := trip{out: o, node: st.tree.Node(o.Node), why: state.due, again: state.due != "" && state.failures > 0}
		switch {
		case t.why != "":
			if now.Before(state.after) {
				continue
			}
		case r == nil:
			continue
		case state.activeSince.IsZero():
			state.blind = time.Time{}
			continue
		default:
			if t.why = s.mustTrip(st, r, state, now); t.why == "" {
				continue
			}
			if held := s.overrides.of(o); held != nil && r.MaxOn > 0 && now.Sub(state.activeSince) >= r.MaxOn {
				held.spent, held.why = true, t.why
			}
		}
		if t.node != nil {
			t.param = t.node.Parameter(o.Parameter)
		}
		if t.param == nil || t.param.Safe.Kind() == drivers.KindNone { // not in the configuration any more
			if !st.passing {
				state.due = ""
			}
			continue
		}
		state.epoch++ // commands for it that are under way do not go on
		state.tripping = true
		list = append(list, t)
	}
	return list
}

// mustTrip says why an active output has to be made safe, or nothing.
func (s *Service) mustTrip(st *state, r *rule, state *outState, now time.Time) string {
	if r.MaxOn > 0 && now.Sub(state.activeSince) >= r.MaxOn {
		return fmt.Sprintf("it was active for its longest time, %v", r.MaxOn)
	}
	// Whoever stands at the machine needs no network.
	if r.LinkLost > 0 && s.overrides.of(r.out) == nil && !s.linkLost.IsZero() && now.Sub(s.linkLost) >= r.LinkLost {
		return fmt.Sprintf("the network has been away for %v", r.LinkLost)
	}
	blind := ""
	for i, c := range r.conds {
		switch truth, because := c.Truth(func(rd formula.Reading) (drivers.Value, bool) { return s.reading(st, rd) }); {
		case truth == formula.False:
			return "interlock: " + r.reason[i].Text
		case truth == formula.Unknown && blind == "":
			blind = fmt.Sprintf("interlock: %s has not been known for %v", because, r.Blind)
		}
	}
	switch {
	case blind == "":
		state.blind = time.Time{}
	case state.blind.IsZero():
		state.blind = now
	case now.Sub(state.blind) >= r.Blind:
		return blind
	}
	return ""
}

// trip makes one output safe. Where that fails it is due.
func (s *Service) trip(ctx context.Context, st *state, t trip) {
	if !t.again {
		s.cfg.Logger.Warn("an output is made safe", slog.String("output", t.out.String()), slog.String("why", t.why))
	}
	_ = s.makeSafe(ctx, st, []write{{node: t.node, param: t.param, value: t.param.Safe}}, t.why) // is in the log
}
