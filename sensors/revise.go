package sensors

import (
	"context"
	"slices"
	"time"

	"postern/internal/node"
	"postern/xmpp"
)

// Revise looks at the rights of those whose read-outs go on, after rights have
// changed. A read-out of which something may not be read any more ends with a
// failure that says so and has the end marker; what may still be read can be
// asked for anew. One that has begun to send its end is left alone.
func (s *Service) Revise(ctx context.Context) {
	for _, r := range s.desk.going() {
		now, err := s.newPlan(ctx, s.state.Load(), r.req, r.key.from, r.bare)
		if ctx.Err() != nil {
			return
		}
		old := s.desk.planOf(r)
		if err == nil && old.within(now) || !s.desk.drop(r.key) {
			continue
		}
		s.cfg.Logger.Info("a read-out ends, rights have changed", "from", r.key.from)
		f := Revoked(r.key.seq, s.cfg.Now(), old.refs()...)
		if err := s.cfg.Sender.Send(ctx, xmpp.Stanza{Kind: xmpp.Message, To: r.to, Payload: f}); err != nil {
			s.cfg.Logger.Warn("the end of a read-out is not told", "to", r.key.from, "err", err)
		}
	}
}

// going lists the read-outs whose acceptance was given and whose end was not.
func (k *desk) going() (list []*readout) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.open {
		if r.stage == running || r.stage == queued && r.parked {
			list = append(list, r)
		}
	}
	return list
}

func (k *desk) planOf(r *readout) *plan {
	k.mu.Lock()
	defer k.mu.Unlock()
	return r.plan
}

// within reports whether everything of p is in o, too.
func (p *plan) within(o *plan) bool {
	for i := range p.entries {
		e := &p.entries[i]
		j := slices.IndexFunc(o.entries, func(x entry) bool { return x.ref == e.ref })
		if j < 0 {
			return false
		}
		for _, f := range e.fields {
			if !slices.ContainsFunc(o.entries[j].fields, func(x *node.Field) bool { return x.Name == f.Name }) {
				return false
			}
		}
		for _, a := range e.past {
			if !slices.ContainsFunc(o.entries[j].past, func(b past) bool { return a.field.Name == b.field.Name && a.types&^b.types == 0 }) {
				return false
			}
		}
	}
	return true
}

// refs are the nodes of a plan, as the requester addressed them.
func (p *plan) refs() (list []node.Ref) {
	for i := range p.entries {
		list = append(list, p.entries[i].ref)
	}
	return list
}

// revokedMost bounds the nodes that Revoked names.
const revokedMost = 100

// Revoked is what ends a read-out or a subscription whose right has ended: a
// failure with the end marker, for each of some nodes.
func Revoked(seq int32, now time.Time, refs ...node.Ref) *Failure {
	f := &Failure{Seq: seq, Done: true}
	for _, r := range refs[:min(len(refs), revokedMost)] {
		f.Faults = append(f.Faults, Fault{Ref: r, Time: now, Text: "you may not read this any more; what was going on has ended"})
	}
	return f
}
