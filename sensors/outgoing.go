package sensors

import (
	"context"
	"log/slog"

	"postern/xmpp"
)

// outgoing gathers the stanzas of a read-out and sends them together: the
// acceptance, all fields, all failures, an empty fields element with the end
// marker. That order is what every known peer understands: one drops a
// read-out at its first failure, one sees its end only on fields, one loses
// data that share a message with the end marker.
type outgoing struct {
	svc *Service
	r   *readout

	rep    report
	failed bool   // something could not be sent
	given  []bool // entries already reported
	sts    []xmpp.Stanza
	fields []Fields // payloads of sts; grows only while sts is empty
}

// maxItems bounds the items gathered before they are sent.
const maxItems = 1000

func (s *Service) outgoing(r *readout) *outgoing {
	o, _ := s.spare.Get().(*outgoing)
	if o == nil {
		o = new(outgoing)
	}
	o.svc, o.r = s, r
	for range r.plan.entries {
		o.given = append(o.given, false)
	}
	if r.answer.Kind != 0 {
		o.sts = append(o.sts, r.answer)
		r.answer = xmpp.Stanza{}
	}
	return o
}

// release gives the memory back.
func (o *outgoing) release() {
	o.rep.reset()
	o.clearSent()
	o.given = o.given[:0]
	svc := o.svc
	o.svc, o.r, o.failed = nil, nil, false
	svc.spare.Put(o)
}

func (o *outgoing) clearSent() {
	clear(o.sts)
	clear(o.fields)
	o.sts, o.fields = o.sts[:0], o.fields[:0]
}

func (o *outgoing) add(p xmpp.Payload) {
	o.sts = append(o.sts, xmpp.Stanza{Kind: xmpp.Message, To: o.r.to, Payload: p})
}

// ready reports every entry whose device is done.
func (o *outgoing) ready(waits []*wait) {
	p := o.r.plan
	now := o.svc.cfg.Now()
	for i := range p.entries {
		e := &p.entries[i]
		if o.given[i] {
			continue
		}
		var bad error
		if e.needs && e.unit != nil {
			w := waitFor(waits, e.unit)
			if !w.done {
				continue
			}
			bad = w.err
		}
		o.given[i] = true
		o.svc.report(&o.rep, p, e, bad, now)
		if len(o.rep.items) >= maxItems {
			o.flush(o.svc.runContext())
		}
	}
}

func waitFor(waits []*wait, u *unit) *wait {
	for _, w := range waits {
		if w.unit == u {
			return w
		}
	}
	return &wait{done: true, err: errNoDevice} // not reached: every unit of a plan is waited for
}

// pack makes messages of the items gathered so far.
func (o *outgoing) pack() {
	seq, limit := o.r.key.seq, o.svc.cfg.Limits.Octets
	for rest := o.rep.items; len(rest) > 0; {
		n := cut(rest, limit)
		o.fields = append(o.fields, Fields{Seq: seq, Items: rest[:n:n]})
		rest = rest[n:]
	}
	for i := range o.fields {
		o.add(&o.fields[i])
	}
}

// cut returns how many of the items fit in one fields element of about limit
// octets. It cuts between instants unless one alone is larger (0323-D17).
func cut(items []Item, limit int) int {
	size, whole := 100, 0
	for i := range items {
		it := &items[i]
		if i == 0 || it.Ref != items[i-1].Ref || !sameInstant(it, &items[i-1]) {
			whole = i
			size += refSize(it.Ref)
		}
		if size += it.size(); size > limit && i > 0 {
			if whole > 0 {
				return whole
			}
			return i
		}
	}
	return len(items)
}

// flush sends what has been gathered, faults excepted: they come last.
func (o *outgoing) flush(ctx context.Context) {
	o.pack()
	o.send(ctx)
	clear(o.rep.items)
	o.rep.items = o.rep.items[:0]
}

// finish sends the rest, the failures and the end marker with one write.
func (o *outgoing) finish(ctx context.Context) {
	seq := o.r.key.seq
	o.pack()
	now := o.svc.cfg.Now()
	for _, ref := range o.r.plan.unknown { // 0323-D19
		o.rep.fault(ref, now, "there is no such node")
	}
	limit := o.svc.cfg.Limits.Octets
	for rest := o.rep.faults; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size+rest[n].size() <= limit) {
			size += rest[n].size()
			n++
		}
		o.add(&Failure{Seq: seq, Faults: rest[:n:n]})
		rest = rest[n:]
	}
	o.add(&Fields{Seq: seq, Done: true})
	o.send(ctx)
}

func (o *outgoing) send(ctx context.Context) {
	if len(o.sts) == 0 {
		return
	}
	// The payloads are copied into the session's queue before Send returns.
	if err := o.svc.cfg.Sender.Send(ctx, o.sts...); err != nil {
		o.svc.cfg.Logger.Debug("read-out not sent", slog.String("to", o.r.key.from), slog.Any("err", err))
		o.failed = true
	}
	o.clearSent()
}
