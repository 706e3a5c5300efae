package events

import (
	"sync"
	"time"

	"postern/exi"
	"postern/internal/outbox"
	"postern/sensors"
	"postern/xmpp"
)

// Inbox is the subscriber's side: it knows which numbered messages of a gateway
// came already. It is safe for concurrent use; the zero Inbox is ready.
//
// Of each run of the gateway it remembers the number up to which everything
// came, and those beyond that came already, within bounds: a gateway has 32
// messages on their way at a time.
type Inbox struct {
	mu   sync.Mutex
	runs []*gatewayRun // the latest seen last
}

// gatewayRun is what came from one run of a gateway.
type gatewayRun struct {
	from, boot string
	upTo       uint64          // all of these came
	beyond     map[uint64]bool // and these
}

const (
	runsKept  = 64
	beyondMax = 10_000
)

// Delivery is a message that came for the first time.
type Delivery struct {
	Seq outbox.Seq
	// Sub is the seqnr of the subscription; Last says that the event ends here.
	Sub    int32
	Last   bool
	Items  []sensors.Item
	Faults []sensors.Fault
	// Gap is set where the message tells that something never comes, Command
	// where it tells what became of a command.
	Gap     *outbox.Gap
	Command *Command
}

// Take reads a message; fresh is false for one without a number, and for one
// that came already. A receipt is due for both of them (receipts.Requested).
func (b *Inbox) Take(st *xmpp.Stanza) (d Delivery, fresh bool) {
	seq, ok := outbox.ParseSeq(st)
	if !ok || st.Kind != xmpp.Message || st.Type == xmpp.TypeError || !b.first(st.From.Bare().String(), seq) {
		return d, false
	}
	d.Seq = seq
	if g, ok := outbox.ParseGap(st); ok {
		d.Gap = &g
	}
	if c, ok := ParseCommand(st); ok {
		d.Command = &c
	}
	d.content(st)
	return d, true
}

// content reads fields and failures; ok is false where there is neither.
func (d *Delivery) content(st *xmpp.Stanza) (ok bool) {
	if c := st.Elem.Child(exi.N(sensors.NS, "fields")); c.Valid() {
		d.Sub, ok = seqOf(c)
		done, _ := c.Attr(at("done"))
		d.Last, _ = done.Bool()
		d.Items = sensors.ParseFields(nil, c, time.UTC)
	}
	if c := st.Elem.Child(exi.N(sensors.NS, "failure")); c.Valid() {
		d.Sub, ok = seqOf(c)
		done, _ := c.Attr(at("done"))
		d.Last, _ = done.Bool()
		d.Faults = sensors.ParseFailure(nil, c, time.UTC)
	}
	return ok
}

// first notes a number and reports whether it is new.
func (b *Inbox) first(from string, seq outbox.Seq) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	var r *gatewayRun
	for _, x := range b.runs {
		if x.from == from && x.boot == seq.Boot {
			r = x
		}
	}
	if r == nil {
		r = &gatewayRun{from: from, boot: seq.Boot, beyond: make(map[uint64]bool)}
		b.runs = append(b.runs, r)
		if len(b.runs) > runsKept {
			b.runs = append(b.runs[:0], b.runs[1:]...)
		}
	}
	if seq.N <= r.upTo || r.beyond[seq.N] {
		return false
	}
	r.beyond[seq.N] = true
	for r.beyond[r.upTo+1] || len(r.beyond) > beyondMax {
		r.upTo++
		delete(r.beyond, r.upTo)
	}
	return true
}

// Missing lists the numbers up to the highest that came, from a gateway's run,
// that did not come yet: they are on their way, or a gap record names them.
func (b *Inbox) Missing(from, boot string) (ns []uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.runs {
		if r.from != from || r.boot != boot {
			continue
		}
		var top uint64
		for n := range r.beyond {
			top = max(top, n)
		}
		for n := r.upTo + 1; n < top && len(ns) < beyondMax; n++ {
			if !r.beyond[n] {
				ns = append(ns, n)
			}
		}
	}
	return ns
}
