package outbox

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"mellium.im/xmpp/jid"
)

// subscriber is an account with what waits for it. Guarded by Outbox.mu.
type subscriber struct {
	id     uint32
	bare   string
	stored bool
	n      uint64 // last number given in this run
	lanes  [classes][]*entry
	flying int // entries in flight
	past   int // of these, of the class History

	wake chan struct{}
	stop context.CancelFunc

	// full is where it was last sent to, and receipts what is known about the
	// client there; ask: not any more.
	full     jid.JID
	receipts bool
	ask      bool
	until    time.Time     // nothing is sent before
	patience time.Duration // how long receipts may take
	refilled bool          // the Source had nothing more

	delivered, resent, dropped uint64
	lastDelivered              time.Time
	trouble                    string
}

// Receipts are waited for this long, then twice as long each time.
const (
	firstPatience = time.Minute
	mostPatience  = 10 * time.Minute
)

// enter makes a subscriber. mu is held.
func (o *Outbox) enter(bare string, id uint32) *subscriber {
	s := &subscriber{id: id, bare: bare, wake: make(chan struct{}, 1), ask: true, patience: firstPatience}
	o.subs[bare] = s
	o.nextSub = max(o.nextSub, id+1)
	return s
}

// all iterates over what waits, in flight or not, by class and in order. mu is
// held.
func (s *subscriber) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for c := range s.lanes {
			for _, e := range s.lanes[c] {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// entry returns the entry whose message has an id; nil for none. mu is held.
func (s *subscriber) entry(id string) *entry {
	for e := range s.all() {
		if e.id() == id {
			return e
		}
	}
	return nil
}

func (s *subscriber) kick() {
	s.refilled = false
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// append gives an entry its number and its place. mu is held.
func (o *Outbox) append(e *entry) {
	s := e.sub
	s.n++
	e.seq = Seq{o.boot, s.n}
	o.place(e)
	o.changed(e.class.urgent())
	s.kick()
}

// place puts an entry at the end of its lane. mu is held.
func (o *Outbox) place(e *entry) {
	if e.order == 0 {
		o.order++
		e.order = o.order
	}
	e.sub.lanes[e.class] = append(e.sub.lanes[e.class], e)
	o.count++
	o.octets += e.octets()
}

// forget takes an entry off the books; the caller takes it out of its lane. mu
// is held.
func (o *Outbox) forget(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	e.land()
	o.count--
	o.octets -= e.octets()
	if e.stored {
		o.removed = append(o.removed, e.key())
		o.changed(false)
	}
}

// launch counts an entry as in flight. mu is held.
func (e *entry) launch(now time.Time) {
	e.sent = now
	e.sub.flying++
	if e.class == History {
		e.sub.past++
	}
}

// land ends launch. mu is held.
func (e *entry) land() {
	if e.sent.IsZero() {
		return
	}
	e.sent = time.Time{}
	e.sub.flying--
	if e.class == History {
		e.sub.past--
	}
}

// recall takes back what is in flight: it waits in its place again. mu is held.
func (s *subscriber) recall() {
	for e := range s.all() {
		if !e.sent.IsZero() {
			e.land()
			s.resent++
		}
	}
}

// take launches what may go out next. mu is held.
func (o *Outbox) take(s *subscriber, now time.Time) []*entry {
	var out []*entry
	for c := range s.lanes {
		for _, e := range s.lanes[c] {
			if s.flying >= Window || e.class == History && s.past >= historyWindow {
				break
			}
			if !e.sent.IsZero() {
				continue
			}
			// A reference has to have its number for good before it goes out:
			// after a crash it would get another one.
			if e.class == History && !e.stored && o.cfg.DB != nil && o.broken == nil {
				break
			}
			e.launch(now)
			out = append(out, e)
		}
	}
	return out
}

// deliver ends entries: there is proof of their delivery. mu is held.
func (o *Outbox) deliver(s *subscriber, es []*entry) {
	now := o.cfg.Now()
	for _, e := range es {
		if !e.gone {
			o.forget(e)
			s.delivered++
			s.lastDelivered = now
		}
	}
	for c := range s.lanes {
		s.lanes[c] = slices.DeleteFunc(s.lanes[c], func(e *entry) bool { return e.gone })
	}
}

// shed drops what there is no room for: of the subscriber with the most octets
// the least urgent and oldest that is not in flight. mu is held.
func (o *Outbox) shed() {
	for o.count > o.cfg.Messages || o.octets > o.cfg.Octets {
		e := o.victim()
		if e == nil {
			return
		}
		s := e.sub
		s.dropped++
		o.forget(e)
		s.lanes[e.class] = slices.DeleteFunc(s.lanes[e.class], func(x *entry) bool { return x.gone })
		o.tell(s, e)
	}
}

func (o *Outbox) victim() *entry {
	list := make([]*subscriber, 0, len(o.subs))
	for _, s := range o.subs {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *subscriber) int {
		return cmp.Or(cmp.Compare(b.waiting(), a.waiting()), cmp.Compare(a.id, b.id))
	})
	for _, c := range [...]Class{Momentary, Audit, Control, Alarm} {
		for _, s := range list {
			for _, e := range s.lanes[c] {
				if e.sent.IsZero() && e.gap == nil {
					return e
				}
			}
		}
	}
	return nil
}

// waiting is how many octets wait for the subscriber.
func (s *subscriber) waiting() (n int) {
	for e := range s.all() {
		n += e.octets()
	}
	return n
}

// tell adds a dropped entry to the gap record of its class, which stands at the
// front of the lane: what it tells was before what is still there. mu is held.
func (o *Outbox) tell(s *subscriber, e *entry) {
	at := time.UnixMilli(e.at)
	for _, x := range s.lanes[e.class] {
		if x.gap == nil || x.gap.Why != WhyFull || !x.sent.IsZero() {
			continue
		}
		g := x.gap
		g.Count++
		if at.Before(g.From) {
			g.From = at
		}
		if at.After(g.To) {
			g.To = at
		}
		g.Last = e.seq
		x.again = true
		o.changed(false)
		return
	}
	g := &entry{sub: s, class: e.class, at: e.at, gap: &Gap{Why: WhyFull, Class: e.class, From: at, To: at, Count: 1, First: e.seq, Last: e.seq}}
	o.append(g)
	lane := s.lanes[e.class]
	copy(lane[1:], lane[:len(lane)-1])
	lane[0] = g
	// Its place in the store is that of what it stands for.
	g.order = e.order
}
