package control

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// takeover is a write that somebody at the machine asks for.
type takeover struct {
	out   Output
	node  *node.Node
	param *node.Parameter
	held  *taken
}

// takeovers lists what has to be written for those at the machine, and marks
// it as under way. What has to be made safe first has to wait. s.safety is held.
func (s *Service) takeovers(st *state, now time.Time) (list []takeover) {
	for _, o := range s.overrides.overridden() {
		n, t, state := st.tree.Node(o.Node), s.overrides.of(o), s.stateOf(o)
		if n == nil || t.Value.Kind() == drivers.KindNone || state.tripping || state.moving || state.due != "" || now.Before(state.after) {
			continue
		}
		p := n.Parameter(o.Parameter)
		if p == nil || t.spent && active(p, t.Value) || state.known && same(state.value, t.Value) {
			continue
		}
		state.moving = true
		list = append(list, takeover{out: o, node: n, param: p, held: t})
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
		state.retry(s.cfg.Now())
	}
	changed := to.held.why != why
	to.held.why = why
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
	if s.overrides.of(to.out) != to.held || s.state.Load() != st {
		s.safety.Unlock()
		return "", nil, nil // somebody changed their mind, or the configuration
	}
	if r := st.rules[to.out]; r != nil && active(to.param, to.held.Value) {
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
	for o, r := range st.rules { // whoever passed the rules before does not go on
		if mine := st.rules[to.out]; mine != nil && mine.Group != "" && r.Group == mine.Group && o != to.out {
			s.stateOf(o).epoch++
		}
	}
	j := &job{state: st, ctx: ctx, epoch: s.epoch.Load(), cmd: Command{
		Origin: OriginOverride, At: now, From: to.held.Who, Reason: to.held.Reason,
		Nodes: []node.Ref{to.node.Ref}, Assignments: []Assignment{{to.param.Name, to.held.Value}},
	}}
	w := write{node: to.node, param: to.param, value: to.held.Value, epoch: state.epoch, by: holder{OriginOverride, to.held.Who}}
	s.safety.Unlock()
	err = s.set(j, &w)
	s.note(st, &w, err)
	if s.overtaken(j, &w) && w.param.Safe.Kind() != drivers.KindNone {
		_ = s.setSafe(j, &w, "it was made safe meanwhile")
	}
	if err == nil {
		j.result.Written = 1
		var other []write
		if j.result.Verified, other = s.publish(ctx, st, []write{w}, []write{w}); other != nil && !s.overtaken(j, &w) {
			err = errOther
			s.note(st, &w, err)
		}
	} else {
		s.unknown(&w, now)
	}
	if err != nil {
		s.cfg.Logger.Error("an output could not be given to somebody at the machine; it is tried again", slog.String("output", to.out.String()), slog.Any("err", err))
		why = "writing it failed: " + err.Error()
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
		if (!os.activeSince.IsZero() || !os.known) && !os.tripping && (t == nil || t.Value.Kind() == drivers.KindNone) {
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
		// A write that hangs ends just at its time-out.
		patience := time.NewTimer(d.timeout() + safePatience)
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
