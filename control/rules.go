package control

import (
	"errors"
	"fmt"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/node"
)

// Output names a parameter of a node.
type Output struct {
	Node      node.Ref
	Parameter string
}

// String writes the output for logs and messages.
func (o Output) String() string { return o.Node.String() + " " + o.Parameter }

// Rules keep one output within what its machine can bear. They bind every
// command, remote or local, and none of them holds up a move into the safe
// state. Zero fields do not apply.
//
// An output is active while it has another value than its safe one; without a
// safe state, while it is on or not zero.
type Rules struct {
	// MinOn and MinOff are how long the output stays active and inactive at
	// least.
	MinOn, MinOff time.Duration
	// MaxOn is how long it stays active at most; then it is made safe. Setting
	// it again while it is active does not prolong that.
	MaxOn time.Duration
	// MaxRate is how much a number may change per second since it was last
	// set; a second's worth is always allowed.
	MaxRate drivers.Number
	// PerHour is how many times within an hour it may be changed.
	PerHour int
	// Group names outputs of which at most one may be active.
	Group string
	// Interlocks must all be true for the output to be activated or changed
	// while active. When one becomes false the output is made safe at once. A
	// reading that does not exist, like one that failed, makes them unknown: a
	// device may appear later.
	Interlocks []Interlock
	// Blind is how long an interlock may be unknown, because a reading failed
	// or is old, before an active output is made safe; 0 stands for 10 s.
	Blind time.Duration
	// LinkLost is how long the network may be away before the output is made
	// safe.
	LinkLost time.Duration
	// Confirm asks for a second step to activate the output from afar: the
	// first set is refused with a code that the second has to carry. With
	// TwoPersons the second has to come from another account, which needs the
	// right of its own.
	Confirm, TwoPersons bool
	// Override is a switch at the machine that takes the output over; nil for
	// none.
	Override *Switch
}

// Interlock is a condition with what to tell people when it does not hold.
type Interlock struct {
	Condition string // see package formula
	Reason    string // for example "the door is open"; empty shows the condition
}

// rule is Rules made ready.
type rule struct {
	Rules
	out    Output
	node   *node.Node
	param  *node.Parameter
	conds  []*formula.Formula
	sw     *formula.Formula // of the override; nil for none
	reason []*node.Phrase
}

// compileRules checks rules against the tree they are for.
func compileRules(tree *node.Tree, rules map[Output]Rules) (map[Output]*rule, error) {
	out := make(map[Output]*rule, len(rules))
	var errs []error
	for o, r := range rules {
		c, err := compileRule(tree, o, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("control: rules of %s: %w", o, err))
			continue
		}
		out[o] = c
	}
	return out, errors.Join(errs...)
}

func compileRule(tree *node.Tree, o Output, r Rules) (*rule, error) {
	n := tree.Node(o.Node)
	if n == nil {
		return nil, errors.New("there is no such node")
	}
	c := &rule{Rules: r, out: o, node: n, param: n.Parameter(o.Parameter)}
	if c.param == nil {
		return nil, errors.New("the node has no such parameter")
	}
	if !confirmable(n, r) {
		return nil, errors.New("a node with a parameter called " + confirmName + " cannot ask for confirmation")
	}
	if c.Blind <= 0 {
		c.Blind = 10 * time.Second
	}
	moves := r.MaxOn > 0 || r.LinkLost > 0 || len(r.Interlocks) > 0
	if moves && c.param.Safe.Kind() == drivers.KindNone {
		return nil, errors.New("longest time, link loss and interlocks need an output with a safe state")
	}
	if r.MinOn < 0 || r.MinOff < 0 || r.MaxOn < 0 || r.LinkLost < 0 || r.PerHour < 0 || r.MaxRate.Mant < 0 {
		return nil, errors.New("times, rates and counts are not negative")
	}
	if r.MaxOn > 0 && r.MaxOn < r.MinOn {
		return nil, errors.New("the longest time is shorter than the shortest")
	}
	for _, il := range r.Interlocks {
		cond, err := formula.Parse(il.Condition)
		if err != nil {
			return nil, err
		}
		reason := node.Verbatim(il.Reason)
		if il.Reason == "" {
			reason = node.Phrasef("this must hold: %s", il.Condition)
		}
		c.conds, c.reason = append(c.conds, cond), append(c.reason, reason)
	}
	if v := r.Override; v != nil {
		var err error
		if c.sw, err = formula.Parse(v.Condition); err != nil {
			return nil, err
		}
		if v.Value.Kind() != drivers.KindNone {
			if err := c.param.Check(v.Value); err != nil {
				return nil, fmt.Errorf("override: the value %w", err)
			}
		}
	}
	return c, nil
}

// active reports whether v is another value than the safe one.
func active(p *node.Parameter, v drivers.Value) bool {
	if p.Safe.Kind() != drivers.KindNone {
		return !same(v, p.Safe)
	}
	if b, ok := v.Bool(); ok {
		return b
	}
	n, ok := v.Number()
	return ok && n.Mant != 0
}

// outState is what is known of an output with rules.
type outState struct {
	known bool // value is what the output has
	value drivers.Value
	since time.Time // when it became active or inactive
	set   time.Time // when it was last set
	// activeSince is when it became active, also while value is not known;
	// zero while it is inactive.
	activeSince time.Time
	changes     []time.Time // within the last hour, oldest first
	blind       time.Time   // since when an interlock is unknown; zero while none is
	epoch       uint64      // counts moves into the safe state
	tripping    bool        // it is being made safe
	moving      bool        // being written for somebody at the machine
	by          holder      // who set it last
	// due is why its safe value has to be written still: a move into the safe
	// state failed, or an override ended. Empty when that is not so.
	due      string
	after    time.Time // no further attempt of the gateway's own before that
	failures int       // attempts in a row
}

// wrote notes that the output was set to v.
func (st *outState) wrote(p *node.Parameter, v drivers.Value, now time.Time) {
	on, was := active(p, v), !st.activeSince.IsZero()
	if !st.known || !same(st.value, v) {
		st.changes = append(st.recent(now), now)
	}
	if !st.known || on != was {
		st.since = now
	}
	switch {
	case !on:
		st.activeSince = time.Time{}
	case !was:
		st.activeSince = now
	}
	st.known, st.value, st.set = true, v, now
	st.due, st.failures, st.after = "", 0, time.Time{}
}

// retry notes that an attempt of the gateway's own failed: the next one comes
// after a second, then ever more rarely up to every half minute.
func (st *outState) retry(now time.Time) {
	st.after = now.Add(min(30*time.Second, time.Second<<min(st.failures, 5)))
	st.failures++
}

// owe lets the watchdog write the safe value as soon as it can.
func (st *outState) owe(why string) { st.due, st.after = why, time.Time{} }

// lost notes that the output may have any value: a write failed. What was
// active counts as active still, and what was meant to be.
func (st *outState) lost(p *node.Parameter, meant drivers.Value, now time.Time) {
	st.known = false
	if st.activeSince.IsZero() && active(p, meant) {
		st.activeSince = now
	}
}

// recent drops changes that are more than an hour old.
func (st *outState) recent(now time.Time) []time.Time {
	i := 0
	for i < len(st.changes) && now.Sub(st.changes[i]) >= time.Hour {
		i++
	}
	return append(st.changes[:0:0], st.changes[i:]...)
}

// shadow returns a copy to try things on.
func (st *outState) shadow() *outState {
	c := *st
	c.changes = append(c.changes[:0:0], c.changes...)
	return &c
}
