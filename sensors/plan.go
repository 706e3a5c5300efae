package sensors

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// plan is what a request comes down to: the fields it may read, node by node,
// and the devices that have to be read for them.
type plan struct {
	st      *state
	req     Request
	entries []entry
	unknown []node.Ref
	history bool // some entry has a past
}

// entry is a node with at least one field to report. The fields are those at
// the set bits of the mask, or all of them where whole is set.
type entry struct {
	node   *node.Node
	ref    node.Ref // as the requester addressed it
	unit   *unit    // nil where every field is constant or the device is missing
	fields []*node.Field
	needs  bool // some field is measured
	past   []past
}

// newPlan resolves the request against nodes and rights. The error is a
// *xmpp.Error in the order of notes §3: stranger, unknown node, no privilege.
func (s *Service) newPlan(ctx context.Context, st *state, req Request, from, bare string) (*plan, error) {
	nodes, unknown := st.tree.Resolve(req.Nodes, true)
	ask := node.Request{
		From: from, Bare: bare, Fields: req.Fields, Types: req.Types,
		ServiceToken: req.ServiceToken, DeviceToken: req.DeviceToken, UserToken: req.UserToken,
	}
	if len(req.Nodes) > 0 {
		for _, n := range nodes {
			ask.Nodes = append(ask.Nodes, n.Ref)
		}
	}
	d, err := st.access.CanRead(ctx, ask)
	if err != nil {
		var refusal *xmpp.Error
		if errors.As(err, &refusal) {
			return nil, refusal
		}
		s.cfg.Logger.Warn("access could not be decided, so it is denied", "from", from, "err", err)
		return nil, xmpp.NewError(xmpp.Forbidden, "access could not be decided")
	}
	if d.Denied() {
		return nil, xmpp.NewError(xmpp.Forbidden, "you may not read this thing")
	}
	if len(nodes) == 0 && len(req.Nodes) > 0 {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "none of these nodes exists")
	}
	p := &plan{st: st, req: req, unknown: unknown}
	past := func(r node.Ref) bool { return s.cfg.History != nil || s.cfg.Journals[r] != nil }
	if !p.choose(nodes, d, past) {
		return nil, xmpp.NewError(xmpp.Forbidden, "you may not read any of this")
	}
	return p, nil
}

// choose fills the entries. It reports false when everything that was asked
// for was taken away by the decision.
func (p *plan) choose(nodes []*node.Node, d node.Decision, hasPast func(node.Ref) bool) bool {
	wanted, covered := false, false
	for _, n := range nodes {
		covered = covered || d.Covers(n.Ref)
		e := entry{node: n, ref: p.addressed(n.Ref), unit: p.st.units[n.Device]}
		for i := range n.Fields {
			f := &n.Fields[i]
			if pa, ok := newPast(f, p.req.Types, p.req.Fields); ok && hasPast(n.Ref) {
				wanted = true
				if pa.types = d.Readable(n.Ref, f.Name, pa.types); pa.types != 0 {
					e.past = append(e.past, pa)
					p.history = true
				}
			}
			if f.Types&p.req.Types == 0 || len(p.req.Fields) > 0 && !slices.Contains(p.req.Fields, f.Name) {
				continue
			}
			wanted = true
			if d.Readable(n.Ref, f.Name, f.Types&p.req.Types) == 0 {
				continue
			}
			e.fields = append(e.fields, f)
			e.needs = e.needs || f.Measured()
		}
		if len(e.fields)+len(e.past) > 0 {
			p.entries = append(p.entries, e)
		}
	}
	if len(nodes) == 0 {
		return true // a gateway without nodes has nothing to hide
	}
	return len(p.entries) > 0 || covered && !wanted
}

// addressed is a node's reference as the requester knows it: who names the data
// source gets it back (XEP-0326 §2.3).
func (p *plan) addressed(r node.Ref) node.Ref {
	if r.Source == "" && slices.ContainsFunc(p.req.Nodes, func(q node.Ref) bool { return q.Source == node.MeteringTopology }) {
		r.Source = node.MeteringTopology
	}
	return r
}

// units lists the devices to read, each once.
func (p *plan) units() []*unit {
	var us []*unit
	for i := range p.entries {
		e := &p.entries[i]
		if e.needs && e.unit != nil && !slices.Contains(us, e.unit) {
			us = append(us, e.unit)
		}
	}
	return us
}

// report turns entry e into items and faults; bad is why its device could not
// be read, or nil.
func (s *Service) report(out *report, p *plan, e *entry, bad error, now time.Time) {
	if e.needs && e.unit == nil {
		bad = errNoDevice
	}
	if e.needs && bad != nil {
		out.fault(e.ref, now, bad.Error())
	}
	for _, f := range e.fields {
		it := Item{
			Ref: e.ref, Time: now, Name: f.Name, Types: f.Types, Value: f.Const, Unit: f.Unit,
			Quality: live.AutomaticReadout, Writable: No,
			DataType: f.DataType, Module: f.Module, StringIDs: f.StringIDs,
		}
		if e.node.Parameter(f.Name) != nil {
			it.Writable = Yes
		}
		if f.State {
			it.Value = s.deviceState(p, e.unit)
		} else if !f.Constant() {
			if bad != nil && f.Measured() || !s.measured(out, e, f, &it, now) {
				continue
			}
		} else if !s.cfg.ClockSane() {
			it.Quality |= live.TimeOffset
		}
		it.Value = cleanValue(it.Value)
		out.items = append(out.items, it)
	}
}

// deviceState is the value of a field that tells how a device is. It is known
// also when the device is not: that is what it tells.
func (s *Service) deviceState(p *plan, u *unit) drivers.Value {
	if u == nil {
		return drivers.Enum("missing")
	}
	o := p.st.owners[u]
	o.mu.Lock()
	defer o.mu.Unlock()
	return drivers.Enum(u.condition())
}

// measured fills in the latest reading of a field. A field that failed is
// reported as a fault, and as missing with its last value where there is one:
// never as a good value, and never left out in silence.
func (s *Service) measured(out *report, e *entry, f *node.Field, it *Item, now time.Time) bool {
	rd, ok := s.cfg.Live.Get(e.node.Ref, f.Name)
	if !ok {
		why := live.ErrNoSample
		if f.Computed {
			why = errNoSource
		}
		out.fault(e.ref, now, f.Name+": "+why.Error())
		return false
	}
	if rd.Err != nil {
		out.fault(e.ref, now, f.Name+": "+rd.Err.Error())
		if rd.Value.Kind() == drivers.KindNone {
			return false
		}
	} else {
		it.Time = rd.Time
		if !rd.Fresh(now) {
			rd.Quality |= live.Warning // old: its time says how old
		}
	}
	it.Value, it.Quality = rd.Value, rd.Quality
	if rd.Unit != "" {
		it.Unit = rd.Unit
	}
	return true
}

// report collects what goes out for some entries of a read-out. Its memory is
// used again.
type report struct {
	items  []Item
	faults []Fault
}

func (r *report) reset() {
	clear(r.items)
	clear(r.faults)
	r.items, r.faults = r.items[:0], r.faults[:0]
}

func (r *report) fault(ref node.Ref, now time.Time, text string) {
	const longest = 500
	if len(text) > longest {
		text = text[:longest]
	}
	r.faults = append(r.faults, Fault{Ref: ref, Time: now, Text: cleanText(text)})
}

// cleanValue replaces characters in texts of devices that XML cannot carry.
func cleanValue(v drivers.Value) drivers.Value {
	s, ok := v.Text()
	if !ok {
		return v
	}
	if c := cleanText(s); c != s {
		return drivers.Text(v.Kind(), c)
	}
	return v
}

func cleanText(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, notXML) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if notXML(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// notXML reports the characters outside XML 1.0's Char.
func notXML(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}
