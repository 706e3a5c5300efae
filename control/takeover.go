package control

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// takeover is a write that somebody at the machine asks for, or the move into
// the safe state after it.
type takeover struct {
	out   Output
	node  *node.Node
	param *node.Parameter
	value drivers.Value
	held  *taken // nil for the move afterwards
}

// takeovers lists what has to be written for those at the machine, and marks
// it as under way. s.safety is held.
func (s *Service) takeovers(st *state, now time.Time) (list []takeover) {
	want := func(o Output, t *taken) {
		n := st.tree.Node(o.Node)
		if n == nil {
			return
		}
		p := n.Parameter(o.Parameter)
		state := s.stateOf(o)
		if p == nil || state.tripping || state.moving || now.Before(state.moveAfter) {
			return
		}
		to := takeover{out: o, node: n, param: p, held: t, value: p.Safe}
		if t != nil {
			if to.value = t.Value; to.value.Kind() == drivers.KindNone || t.spent && active(p, to.value) {
				return
			}
		}
		if state.known && same(state.value, to.value) {
			state.letGo = false
			return
		}
		state.moving = true
		list = append(list, to)
	}
	for _, o := range s.overrides.overridden() {
		want(o, s.overrides.of(o))
	}
	for o, state := range s.outputs {
		if state.letGo && s.overrides.of(o) == nil {
			want(o, nil)
		} else if state.letGo {
			state.letGo = false // somebody else holds it now
		}
	}
	return list
}

// takeOver writes what was asked for at the machine. Interlocks and groups
// still forbid; another output of the group that nobody at the machine holds
// gives way first.
func (s *Service) takeOver(ctx context.Context, st *state, to takeover) {
	release, ok := s.holdGates(ctx, st, to)
	why, rival := "its device is busy", (*rule)(nil)
	var err error
	if ok {
		why, rival, err = s.takeOverAt(ctx, st, to)
		release()
	}
	if rival != nil {
		why = rival.out.String() + " gives way"
		err = s.makeSafe(ctx, st, []write{{node: rival.node, param: rival.param, value: rival.param.Safe}}, "local override of "+to.out.String())
	}
	s.safety.Lock()
	state := s.stateOf(to.out)
	state.moving = false
	if err != nil {
		state.moveAfter = s.cfg.Now().Add(min(30*time.Second, time.Second<<min(state.failures, 5)))
		state.failures++
	}
	changed := false
	if to.held != nil {
		changed, to.held.why = to.held.why != why, why
	}
	s.safety.Unlock()
	if changed {
		s.showOverride(st, to.out)
	}
	if rival != nil {
		s.poke()
	}
}

// takeOverAt writes, with the gates of everything concerned held. It returns
// why it did not, or the output that has to give way.
func (s *Service) takeOverAt(ctx context.Context, st *state, to takeover) (why string, rival *rule, err error) {
	now := s.cfg.Now()
	s.safety.Lock()
	if s.overrides.of(to.out) != to.held {
		s.safety.Unlock()
		return "", nil, nil // somebody changed their mind
	}
	if r := st.rules[to.out]; r != nil && active(to.param, to.value) {
		t := trial{svc: s, st: st, now: now, states: make(map[Output]*outState)}
		if fault := t.interlocks(r); fault != nil {
			s.safety.Unlock()
			return fault.Text, nil, nil
		}
		if fault := t.group(r); fault != nil {
			rival = s.rival(st, r)
			s.safety.Unlock()
			return fault.Text, rival, nil
		}
	}
	state := s.stateOf(to.out)
	state.epoch++
	state.letGo = false
	for o, r := range st.rules { // whoever passed the rules before does not go on
		if mine := st.rules[to.out]; mine != nil && mine.Group != "" && r.Group == mine.Group && o != to.out {
			s.stateOf(o).epoch++
		}
	}
	j := &job{state: st, ctx: ctx, epoch: s.epoch.Load(), cmd: Command{
		Origin: OriginOverride, At: now, Reason: "it was given back at the machine",
		Nodes: []node.Ref{to.node.Ref}, Assignments: []Assignment{{to.param.Name, to.value}},
	}}
	w := write{node: to.node, param: to.param, value: to.value, epoch: state.epoch}
	if to.held != nil {
		j.cmd.From, j.cmd.Reason = to.held.Who, to.held.Reason
		w.by = holder{OriginOverride, to.held.Who}
	}
	s.safety.Unlock()
	err = s.set(j, &w)
	s.note(&w, err)
	if s.overtaken(j, &w) && w.param.Safe.Kind() != drivers.KindNone {
		again := w
		again.value, again.by = w.param.Safe, holder{}
		s.note(&again, s.set(j, &again))
	}
	if err != nil {
		s.cfg.Logger.Error("an output could not be given to somebody at the machine; it is tried again", slog.String("output", to.out.String()), slog.Any("err", err))
		s.unknown(w, now)
		why = "writing it failed: " + err.Error()
	} else {
		j.result.Written = 1
		j.result.Verified = s.publish(ctx, st, []write{w}, []write{w})
	}
	s.cfg.Auditor.End(ctx, &j.cmd, j.result, err)
	return why, nil, err
}

// rival returns an output of the same group that is active, or may be, and can
// be made safe for one that is wanted at the machine. s.safety is held.
func (s *Service) rival(st *state, r *rule) *rule {
	for o, other := range st.rules {
		if o == r.out || other.Group != r.Group || other.param.Safe.Kind() == drivers.KindNone {
			continue
		}
		os := s.stateOf(o)
		t := s.overrides.of(o)
		if (!os.activeSince.IsZero() || !os.known) && (t == nil || t.Value.Kind() == drivers.KindNone) {
			os.epoch++
			return other
		}
	}
	return nil
}

// holdGates takes the gates of the output's device and of those of its group, so
// that nothing of the group moves meanwhile. Each is waited for no longer than
// a write may take.
func (s *Service) holdGates(ctx context.Context, st *state, to takeover) (release func(), ok bool) {
	names := []string{to.node.Device}
	if mine := st.rules[to.out]; mine != nil && mine.Group != "" {
		for _, r := range st.rules {
			if r.Group == mine.Group && !slices.Contains(names, r.node.Device) {
				names = append(names, r.node.Device)
			}
		}
	}
	slices.Sort(names)
	var mine []chan struct{}
	release = func() {
		for _, g := range mine {
			<-g
		}
	}
	for _, name := range names {
		d := st.devices[name]
		patience := time.NewTimer(d.timeout())
		gate := s.gate(name)
		select {
		case gate <- struct{}{}:
			patience.Stop()
			mine = append(mine, gate)
		case <-patience.C:
			release()
			return nil, false
		case <-ctx.Done():
			patience.Stop()
			release()
			return nil, false
		}
	}
	return release, true
}
