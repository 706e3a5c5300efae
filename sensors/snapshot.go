package sensors

import (
	"context"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/sensors/history"
	"postern/xmpp"
)

// What events need of the service: the readings there are, without a device
// being asked.

// Covered lists the nodes that refs stand for, the parts of those named
// included, and the references that mean no node. Without refs it is every
// node.
func (s *Service) Covered(refs []node.Ref) (nodes, unknown []node.Ref) {
	found, unknown := s.state.Load().tree.Resolve(refs, true)
	for _, n := range found {
		nodes = append(nodes, n.Ref)
	}
	return nodes, unknown
}

// Fields lists the names of a node's measured fields that have one of the
// types.
func (s *Service) Fields(ref node.Ref, types node.Types) (names []string) {
	n := s.state.Load().tree.Node(ref)
	if n == nil {
		return nil
	}
	for i := range n.Fields {
		if f := &n.Fields[i]; f.Types&types != 0 && !f.Constant() && !f.State {
			names = append(names, f.Name)
		}
	}
	return names
}

// Snapshot returns the latest readings of what is asked for and the requester
// may read, and, where the request has historical types, the readings of the
// past, most of them. The error is a *xmpp.Error, as for a read-out.
func (s *Service) Snapshot(ctx context.Context, req Request, from, bare string, most int) ([]Item, []Fault, error) {
	p, err := s.newPlan(ctx, s.state.Load(), req, from, bare)
	if err != nil {
		return nil, nil, err
	}
	out := &outgoing{svc: s, r: &readout{plan: p}}
	now := s.cfg.Now()
	for i := range p.entries {
		s.report(&out.rep, p, &p.entries[i], nil, now)
	}
	for i := range p.entries {
		e := &p.entries[i]
		for j := range e.past {
			s.recent(out, e.node.Ref, &e.past[j], most)
		}
	}
	return out.rep.items, out.rep.faults, nil
}

// recent adds a field's history until there are most items.
func (s *Service) recent(out *outgoing, ref node.Ref, p *past, most int) {
	all, err := s.sources(ref, p, &out.r.plan.req)
	if err != nil {
		out.rep.fault(ref, s.cfg.Now(), p.field.Name+": the history cannot be read: "+err.Error())
		return
	}
	var now []*source
	for len(out.rep.items) < most {
		var t time.Time
		var err error
		if now, t, err = earliest(all, now[:0]); err != nil {
			out.rep.fault(ref, s.cfg.Now(), p.field.Name+": the history cannot be read: "+err.Error())
			return
		}
		if len(now) == 0 {
			return
		}
		for _, src := range now {
			src.take(out, ref, p, t.In(s.cfg.Location))
		}
	}
	out.rep.fault(ref, s.cfg.Now(), p.field.Name+": there is more of the past than fits in an event")
}

// ItemOf makes an item of a reading; ok is false for a field that is not there,
// or has no value.
func (s *Service) ItemOf(ref node.Ref, name string, rd live.Reading) (it Item, ok bool) {
	n, f := s.field(ref, name)
	if f == nil || rd.Value.Kind() == drivers.KindNone {
		return it, false
	}
	it = Item{
		Ref: ref, Time: rd.Time, Name: name, Types: f.Types, Value: cleanValue(rd.Value), Unit: rd.Unit,
		Quality: rd.Quality, Writable: No, DataType: f.DataType, Module: f.Module, StringIDs: f.StringIDs,
	}
	if f.Unit != "" && rd.Unit == "" {
		it.Unit = f.Unit
	}
	if n.Parameter(name) != nil {
		it.Writable = Yes
	}
	return it, true
}

// PastOf makes an item of a reading of the past.
func (s *Service) PastOf(ref node.Ref, name string, p history.Point) (it Item, ok bool) {
	_, f := s.field(ref, name)
	if f == nil {
		return it, false
	}
	return Item{
		Ref: ref, Time: p.Time, Name: name, Types: node.HistoricalOther, Value: cleanValue(p.Value), Unit: p.Unit,
		Quality: p.Quality, DataType: f.DataType, Module: f.Module, StringIDs: f.StringIDs,
	}, true
}

func (s *Service) field(ref node.Ref, name string) (*node.Node, *node.Field) {
	n := s.state.Load().tree.Node(ref)
	if n == nil {
		return nil, nil
	}
	return n, n.Field(name)
}

// Pack makes messages of items and faults, the last one with the end marker.
// Items of one node follow each other.
func (s *Service) Pack(seq int32, items []Item, faults []Fault) (out []xmpp.Payload) {
	limit := s.cfg.Limits.Octets
	for rest := faults; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size+rest[n].size() <= limit) {
			size += rest[n].size()
			n++
		}
		out = append(out, &Failure{Seq: seq, Faults: rest[:n:n]})
		rest = rest[n:]
	}
	for rest := items; ; {
		n := cut(rest, limit)
		f := &Fields{Seq: seq, Items: rest[:n:n], Done: n == len(rest)}
		out = append(out, f)
		if rest = rest[n:]; f.Done {
			return out
		}
	}
}

// Size is about how many octets an item takes as XML.
func (it *Item) Size() int { return it.size() }

// Check reports why a request cannot be served, without serving it. The error
// is a *xmpp.Error: forbidden, item-not-found.
func (s *Service) Check(ctx context.Context, req Request, from, bare string) error {
	_, err := s.newPlan(ctx, s.state.Load(), req, from, bare)
	return err
}

// Latest returns the latest reading of a field; ok is false while there was
// none.
func (s *Service) Latest(ref node.Ref, name string) (live.Reading, bool) {
	return s.cfg.Live.Get(ref, name)
}
