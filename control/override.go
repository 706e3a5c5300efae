package control

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// Somebody at the machine may take an output over: by a switch, or as the
// technician at the local door. That wins over every other command and over
// schedules, and over limits of times, rates and counts; interlocks, groups and
// the longest time protect the machine from local hands as well.
//
//	           switch on, or technician
//	 remote ─────────────────────────────▶ overridden: has the given value, or
//	        ◀───────────────────────────── stays; other commands are refused
//	           released, or time over
//	           (a given value: made safe)

// Switch is an override by a condition, usually the contact of a switch.
type Switch struct {
	Condition string        // the output is taken over while it is true
	Value     drivers.Value // what it then has; kind none: what it has
	Name      string        // what people call the switch; empty: the condition
}

// Override is what somebody at the machine wants of an output.
type Override struct {
	Who    string        // for example "technician"
	Reason string        // free text
	Value  drivers.Value // what the output is to have; kind none: what it has
	Until  time.Time     // when it ends by itself; zero: when it is released
}

// taken is an output that was taken over.
type taken struct {
	Override
	spent bool   // its longest time is over: not activated again
	why   string // it does not have its value yet, because
}

// said says who holds the output and until when, for whoever is refused.
func (t *taken) said(now time.Time) *node.Phrase {
	s := t.Who
	if t.Reason != "" {
		s += " (" + t.Reason + ")"
	}
	if t.Until.IsZero() {
		return node.Phrasef("%s, until that is released", s)
	}
	return node.Phrasef("%s, until %s (%d min more)", s, t.Until.Format("15:04"), int((t.Until.Sub(now)+time.Minute-1)/time.Minute))
}

// OverrideField is the name of the status field that shows whether a parameter
// is overridden, and by whom.
func OverrideField(parameter string) string { return parameter + ", override" }

// NotOverridden is the value of that field when nobody holds the output.
const NotOverridden = "no"

// overrides are the outputs taken over. Service.safety guards them.
type overrides struct {
	switches map[Output]*taken
	persons  map[Output]*taken
	seen     map[Output]bool // its switch could be read once
}

// of returns who holds an output, the switch before the person, or nil.
func (v *overrides) of(o Output) *taken {
	if t := v.switches[o]; t != nil {
		return t
	}
	return v.persons[o]
}

// Override takes an output over for somebody at the machine. Its value is
// checked as that of a command; it is written soon, without waiting for a
// record.
func (s *Service) Override(o Output, v Override) error {
	n, p, err := s.findOutput(o)
	if err != nil {
		return err
	}
	if v.Value.Kind() != drivers.KindNone {
		if err := p.Check(v.Value); err != nil {
			return fmt.Errorf("%s of %s %w", p.Name, n.Title(), err)
		}
	}
	if !v.Until.IsZero() && !v.Until.After(s.cfg.Now()) {
		return errors.New("it would be over already")
	}
	s.safety.Lock()
	s.overrides.persons[o] = &taken{Override: v}
	s.stateOf(o).epoch++ // commands under way do not go on
	s.safety.Unlock()
	s.noteOverride(o, v, true)
	s.poke()
	return nil
}

// Release ends the override of a person; ok is false when there is none. A
// value that it gave is made safe.
func (s *Service) Release(o Output, who string) (ok bool) {
	s.safety.Lock()
	t := s.overrides.persons[o]
	if t != nil {
		s.endOverride(s.state.Load(), s.overrides.persons, o, t)
	}
	s.safety.Unlock()
	if t == nil {
		return false
	}
	s.noteOverride(o, Override{Who: who}, false)
	s.poke()
	return true
}

// findOutput finds an output.
func (s *Service) findOutput(o Output) (*node.Node, *node.Parameter, error) {
	n := s.state.Load().tree.Node(o.Node)
	if n == nil {
		return nil, nil, fmt.Errorf("there is no node %s", o.Node)
	}
	p := n.Parameter(o.Parameter)
	if p == nil {
		var have []string
		for i := range n.Parameters {
			have = append(have, n.Parameters[i].Name)
		}
		if have == nil {
			return nil, nil, fmt.Errorf("%s has nothing that can be switched", n.Title())
		}
		return nil, nil, fmt.Errorf("%s has no parameter %s; there is %s", n.Title(), o.Parameter, strings.Join(have, ", "))
	}
	return n, p, nil
}

// poke lets the watchdog look now.
func (s *Service) poke() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// endOverride takes an override away; what had a value of its own is made safe
// unless somebody else holds it now. s.safety is held.
func (s *Service) endOverride(st *state, from map[Output]*taken, o Output, t *taken) {
	delete(from, o)
	if t.Value.Kind() == drivers.KindNone || s.overrides.of(o) != nil {
		return
	}
	n, state := st.tree.Node(o.Node), s.stateOf(o)
	if n == nil {
		return
	}
	if p := n.Parameter(o.Parameter); p != nil && p.Safe.Kind() != drivers.KindNone && !(state.known && same(state.value, p.Safe)) {
		state.owe("it was given back at the machine")
	}
}

// switched looks at the switches and at the time, and says what began or
// ended. s.safety is held.
func (s *Service) switched(st *state, now time.Time) (notes []overrideNote) {
	v := &s.overrides
	for o, t := range v.persons {
		if !t.Until.IsZero() && !now.Before(t.Until) || st.tree.Node(o.Node) == nil && !st.passing {
			s.endOverride(st, v.persons, o, t)
			notes = append(notes, overrideNote{o, Override{Who: t.Who, Reason: "its time is over"}, false})
		}
	}
	for o, t := range v.switches {
		if r := st.rules[o]; (r == nil || r.sw == nil) && !st.passing {
			s.endOverride(st, v.switches, o, t)
			notes = append(notes, overrideNote{o, Override{Who: t.Who, Reason: "the switch is not configured any more"}, false})
		}
	}
	for o, r := range st.rules {
		if r.sw == nil {
			continue
		}
		t := v.switches[o]
		switch truth, _ := r.sw.Truth(func(rd formula.Reading) (drivers.Value, bool) { return s.reading(st, rd) }); {
		case truth == formula.True && t == nil:
			t = &taken{Override: Override{Who: r.swName(), Value: r.Override.Value}}
			v.switches[o], v.seen[o] = t, true
			s.stateOf(o).epoch++
			notes = append(notes, overrideNote{o, t.Override, true})
		case truth == formula.False && t != nil:
			s.endOverride(st, v.switches, o, t)
			notes = append(notes, overrideNote{o, Override{Who: t.Who}, false})
			v.seen[o] = true
		case truth == formula.False:
			v.seen[o] = true
		}
		// Unknown: a switch that cannot be read stays as it was.
	}
	return notes
}

func (r *rule) swName() string {
	if r.Override.Name != "" {
		return r.Override.Name
	}
	return "the switch " + r.Override.Condition
}

// held refuses a write to an output that somebody at the machine holds, or that
// has to be made safe first. s.safety is held.
func (s *Service) held(st *state, w *write, now time.Time) *xmpp.Error {
	o := w.output()
	if t := s.overrides.of(o); t != nil {
		return w.refuse(xmpp.Conflict, node.Phrasef("it is held at the machine by %s", t.said(now)))
	}
	if r := st.rules[o]; r != nil && r.sw != nil && !s.overrides.seen[o] && active(w.param, w.value) {
		return w.refuse(xmpp.Conflict, node.Phrasef("it is not known yet whether %s holds it", r.swName()))
	}
	if due := s.stateOf(o).due; due != "" && active(w.param, w.value) {
		return w.refuse(xmpp.Conflict, node.Phrasef("it has to be made safe first (%s), which its device has not done yet", node.Verbatim(due)))
	}
	return nil
}

// overrideNote is an override that began or ended.
type overrideNote struct {
	out   Output
	v     Override
	begun bool
}

// noteOverride shows an override in the output's field, and records it when it
// can. s.safety is not held.
func (s *Service) noteOverride(o Output, v Override, begun bool) {
	st := s.state.Load()
	s.showOverride(st, o)
	c := Command{Origin: OriginOverride, At: s.cfg.Now(), From: v.Who, Nodes: []node.Ref{o.Node}, Reason: v.Reason}
	if v.Value.Kind() != drivers.KindNone {
		c.Assignments = []Assignment{{o.Parameter, v.Value}}
	} else {
		c.Asked = []Asked{{o.Parameter, "as it is"}}
	}
	s.cfg.Logger.Info("an output was taken over or given back at the machine", "output", o.String(), "by", v.Who, "taken", begun)
	s.cfg.Auditor.Overridden(&c, begun)
}

// showOverride publishes who holds an output under a field of its own.
func (s *Service) showOverride(st *state, o Output) {
	n := st.tree.Node(o.Node)
	name := OverrideField(o.Parameter)
	if n == nil {
		return
	}
	now := s.cfg.Now()
	s.safety.Lock()
	text, flag := NotOverridden, live.Quality(0)
	if t := s.overrides.of(o); t != nil {
		// What is read is right, but nobody afar has a say in it: warning, which
		// does not rank a value (0323-D24).
		flag = live.Warning
		text = t.said(now).Text
		if t.why != "" {
			text += "; " + t.why
		}
	}
	s.safety.Unlock()
	if p := n.Parameter(o.Parameter); p != nil {
		s.cfg.Live.Mark(o.Node, p.Name, flag)
		for i := range n.Fields {
			if f := &n.Fields[i]; f.Measured() && f.SourceChannel() == p.TargetChannel() {
				s.cfg.Live.Mark(o.Node, f.Name, flag)
			}
		}
	}
	if n.Field(name) == nil {
		return
	}
	s.cfg.Live.Put(o.Node, name, live.Reading{Value: drivers.String(text), Time: now, Quality: live.AutomaticReadout | s.clockFlag()})
}

// showOverrides publishes the field of every output.
func (s *Service) showOverrides(st *state) {
	for _, n := range st.tree.Nodes() {
		for i := range n.Parameters {
			s.showOverride(st, Output{n.Ref, n.Parameters[i].Name})
		}
	}
}

// overridden lists the outputs held, sorted. s.safety is held.
func (v *overrides) overridden() []Output {
	var out []Output
	for _, m := range []map[Output]*taken{v.switches, v.persons} {
		for o := range m {
			if !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].String() < out[j].String() })
	return out
}

// ValueOf reads a value by the type of a parameter, as it stands in a form,
// and checks it; on and off are understood for booleans.
func ValueOf(p *node.Parameter, text string) (drivers.Value, error) {
	if p.Kind == drivers.KindBool {
		switch text {
		case "on":
			text = "true"
		case "off":
			text = "false"
		}
	}
	w := want{name: p.Name, text: text}
	return w.value(p, time.Local)
}
