package control

import (
	"math"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/node"
	"postern/xmpp"
)

// refusedBy tries the writes of a job on copies of the outputs' states, in
// order, and returns the first rule that forbids one. s.safety is held.
func (s *Service) refusedBy(j *job, now time.Time) *xmpp.Error {
	for i := range j.writes {
		if fault := s.held(j.state, &j.writes[i], now); fault != nil {
			return fault
		}
	}
	if len(j.state.rules) == 0 {
		return nil
	}
	t := trial{svc: s, st: j.state, now: now, states: make(map[Output]*outState), planned: make(map[Output]drivers.Value)}
	for i := range j.writes {
		w := &j.writes[i]
		if fault := t.write(w); fault != nil {
			return fault
		}
	}
	return nil
}

// trial is a job carried out on paper.
type trial struct {
	svc     *Service
	st      *state
	now     time.Time
	states  map[Output]*outState
	planned map[Output]drivers.Value // seen by interlocks in place of live
}

func (t *trial) state(o Output) *outState {
	st := t.states[o]
	if st == nil {
		st = t.svc.stateOf(o).shadow()
		t.states[o] = st
	}
	return st
}

func (t *trial) write(w *write) *xmpp.Error {
	o := w.output()
	r := t.st.rules[o]
	defer func() { t.planned[o] = w.value }()
	if r == nil {
		return nil
	}
	st := t.state(o)
	if fault := r.times(st, w.value, t.now); fault != nil {
		return fault
	}
	if active(w.param, w.value) {
		if fault := t.interlocks(r); fault != nil {
			return fault
		}
		if fault := t.group(r); fault != nil {
			return fault
		}
	}
	st.wrote(w.param, w.value, t.now)
	return nil
}

func (r *rule) refuse(c xmpp.Condition, typ, format string, args ...any) *xmpp.Error {
	return refuseOf(r.node, r.out.Parameter, c, node.Phrasef(format, args...)).WithType(typ)
}

// times checks what depends on when the output was set before.
func (r *rule) times(st *outState, v drivers.Value, now time.Time) *xmpp.Error {
	on := active(r.param, v)
	if st.known && on == st.activeSince.IsZero() {
		if left := r.MinOff - now.Sub(st.since); on && left > 0 {
			return r.refuse(xmpp.Conflict, xmpp.Wait, "it has to stay off for %d s more", seconds(left))
		}
		if left := r.MinOn - now.Sub(st.since); !on && left > 0 {
			return r.refuse(xmpp.Conflict, xmpp.Wait, "it has to stay on for %d s more", seconds(left))
		}
	}
	if st.known && same(st.value, v) {
		return nil // not a change
	}
	if r.PerHour > 0 {
		if c := st.recent(now); len(c) >= r.PerHour {
			return r.refuse(xmpp.ResourceConstraint, xmpp.Wait, "it was changed %d times within an hour; it can be changed again in %d s",
				len(c), seconds(time.Hour-now.Sub(c[len(c)-r.PerHour])))
		}
	}
	return r.rate(st, v, now)
}

// rate bounds the change of a number by the time since it was last set.
func (r *rule) rate(st *outState, v drivers.Value, now time.Time) *xmpp.Error {
	to, ok := v.Number()
	from, okFrom := st.value.Number()
	if r.MaxRate.Mant == 0 || !st.known || !ok || !okFrom {
		return nil
	}
	tenths := max(10, min(now.Sub(st.set)/(100*time.Millisecond), math.MaxInt32))
	allowed, err := r.MaxRate.Mul(drivers.Num(int64(tenths), -1))
	neg, errNeg := from.Neg()
	diff, errDiff := to.Add(neg)
	if errNeg != nil || errDiff != nil {
		return r.refuse(xmpp.BadRequest, xmpp.Modify, "the change is too large")
	}
	if diff.Mant < 0 {
		diff, _ = diff.Neg()
	}
	if err == nil && diff.Cmp(allowed) > 0 {
		return r.refuse(xmpp.Conflict, xmpp.Wait, "it may change by %s per second; try %s at most now", r.MaxRate, allowed)
	}
	return nil
}

// seconds rounds up, so that waiting that long is enough.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// interlocks checks the conditions; unknown denies.
func (t *trial) interlocks(r *rule) *xmpp.Error {
	for i, c := range r.conds {
		truth, because := c.Truth(t.source)
		if truth == formula.True {
			continue
		}
		if truth == formula.Unknown && because != (formula.Reading{}) {
			return r.refuse(xmpp.NotAllowed, xmpp.Cancel, "interlock: %s is not known", because)
		}
		return r.refuse(xmpp.NotAllowed, xmpp.Cancel, "interlock: %s", r.reason[i])
	}
	return nil
}

// group checks that no other output of the group is active, or may be.
func (t *trial) group(r *rule) *xmpp.Error {
	if r.Group == "" {
		return nil
	}
	for o, other := range t.st.rules {
		if o == r.out || other.Group != r.Group {
			continue
		}
		switch st := t.state(o); {
		case !st.activeSince.IsZero():
			return r.refuse(xmpp.Conflict, xmpp.Wait, "%s is active; only one of the group may be", other.node.Title())
		case !st.known, st.tripping:
			return r.refuse(xmpp.Conflict, xmpp.Wait, "it is not known whether %s is active", other.node.Title())
		}
	}
	return nil
}

// source gives conditions the planned value of an output, else the live one.
func (t *trial) source(r formula.Reading) (drivers.Value, bool) {
	if found := t.st.tree.Lookup(nil, r.Node); len(found) == 1 {
		if v, ok := t.planned[Output{found[0].Ref, r.Field}]; ok {
			return v, true
		}
	}
	return t.svc.reading(t.st, r)
}

// reading gives conditions a reading they can rely on.
func (s *Service) reading(st *state, r formula.Reading) (drivers.Value, bool) {
	var buf [2]*node.Node
	found := st.tree.Lookup(buf[:0], r.Node)
	if len(found) != 1 {
		return drivers.Value{}, false
	}
	if f := found[0].Field(r.Field); f != nil && f.Const.Kind() != drivers.KindNone {
		return f.Const, true
	}
	rd, ok := s.cfg.Live.Get(found[0].Ref, r.Field)
	return rd.Value, ok && rd.Fresh(s.cfg.Now())
}
