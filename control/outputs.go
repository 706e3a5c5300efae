package control

import (
	"slices"
	"sort"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// OutputStatus is what an operator is shown about an output.
type OutputStatus struct {
	Output
	Known  bool   // Value is what it has
	Value  string // in lexical form
	Active bool   // it has, or may have, another value than its safe one
	Since  time.Time
	// By tells who set it last: OriginSafe for a move into the safe state,
	// empty while nobody did. From is the full JID of somebody far away.
	By   Origin
	From string
	// ActiveSince is since when it is or may be active; zero while it is not.
	// It is before Since where a write failed in between.
	ActiveSince time.Time
	// Due is why its safe value has to be written still: the device did not take
	// it. Empty when it did.
	Due string
	// Locked is why commands are refused altogether; empty when they are not.
	Locked string
	// Override tells who at the machine holds it, and until when; empty when
	// nobody does. OverrideWaits is why it does not have the value they want.
	Override, OverrideWaits string

	Left   time.Duration // until its longest time is over; 0 where it does not apply
	Hold   time.Duration // until it may be switched on or off again; 0 for at once
	Change time.Duration // until the changes of an hour allow another one
	// Confirm is how long a command that would switch it on still waits for its
	// second step.
	Confirm time.Duration
	// Interlock is why it cannot be switched on now; empty when nothing keeps
	// it from that.
	Interlock string
}

// holder is who set an output last.
type holder struct {
	origin Origin // empty for a move into the safe state
	from   string // full JID, empty for local origins
}

// Outputs lists every parameter of every node, sorted by name.
func (s *Service) Outputs() []OutputStatus {
	st, now := s.state.Load(), s.cfg.Now()
	waiting := s.confirm.waiting(now)
	var out []OutputStatus
	for _, n := range st.tree.Nodes() {
		reason, _ := s.locked(n.Ref)
		for i := range n.Parameters {
			p := &n.Parameters[i]
			o := OutputStatus{Output: Output{n.Ref, p.Name}, Locked: reason}
			o.Confirm = waiting[o.Output]
			o.Value, o.Known = s.present(n, p)
			s.rulesOf(st, &o, n, p, now)
			out = append(out, o)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Output.String() < out[j].Output.String() })
	return out
}

// rulesOf adds what is known of an output from having set it, and what its
// rules say now.
func (s *Service) rulesOf(st *state, o *OutputStatus, n *node.Node, p *node.Parameter, now time.Time) {
	s.safety.Lock()
	defer s.safety.Unlock()
	os := s.outputs[o.Output]
	if os == nil { // nobody has set it yet
		os = new(outState)
	}
	if os.known {
		o.Known, o.Value = true, lexicalForm(os.value)
	}
	o.Active, o.Since, o.From = !os.activeSince.IsZero(), os.since, os.by.from
	o.ActiveSince = os.activeSince
	if o.By = os.by.origin; o.By == "" && !os.set.IsZero() {
		o.By = OriginSafe
	}
	o.Due = os.due
	if t := s.overrides.of(o.Output); t != nil {
		o.Override, o.OverrideWaits = t.said(now).Text, t.why
	}
	r := st.rules[o.Output]
	if r == nil {
		return
	}
	least := r.MinOff
	if o.Active {
		least = r.MinOn
		if r.MaxOn > 0 {
			o.Left = max(0, r.MaxOn-now.Sub(os.activeSince))
		}
	}
	if os.known {
		o.Hold = max(0, least-now.Sub(os.since))
	}
	if c := os.recent(now); r.PerHour > 0 && len(c) >= r.PerHour {
		o.Change = time.Hour - now.Sub(c[len(c)-r.PerHour])
	}
	t := trial{svc: s, st: st, now: now, states: make(map[Output]*outState)}
	fault := t.interlocks(r)
	if fault == nil && !o.Active {
		fault = t.group(r)
	}
	if fault != nil {
		o.Interlock = fault.Text
	}
}

// Resume tells the service of an output that a former process of the gateway
// set and that has stayed as it was: its value, since when it is on or off, and
// who set it. Rules count from there.
func (s *Service) Resume(o Output, v drivers.Value, since time.Time, by Origin, from string) {
	st := s.state.Load()
	n := st.tree.Node(o.Node)
	if n == nil || n.Parameter(o.Parameter) == nil {
		return
	}
	s.safety.Lock()
	defer s.safety.Unlock()
	os := s.stateOf(o)
	os.wrote(n.Parameter(o.Parameter), v, since)
	os.by = holder{by, from}
}

// waiting returns how long each output still waits for the second step of a
// command.
func (c *confirmations) waiting(now time.Time) map[Output]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[Output]time.Duration)
	for _, q := range c.open {
		for _, o := range q.outputs {
			if left := q.until.Sub(now); left > out[o] {
				out[o] = left
			}
		}
	}
	return out
}

// outputs are what a job writes, each once.
func (j *job) outputs() []Output {
	var out []Output
	for i := range j.writes {
		if o := j.writes[i].output(); !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}
