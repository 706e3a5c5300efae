package outbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/xmpp"
	"postern/xmpp/receipts"
)

// start gives a subscriber its courier. mu is held.
func (o *Outbox) start(s *subscriber) {
	ctx, cancel := context.WithCancel(o.ctx)
	s.stop = cancel
	o.couriers.Add(1)
	go func() {
		defer o.couriers.Done()
		defer cancel()
		o.courier(ctx, s)
	}()
}

// idle is how long a courier sleeps when nothing calls it.
const idle = 10 * time.Minute

// courier sends what waits for a subscriber until ctx is done.
func (o *Outbox) courier(ctx context.Context, s *subscriber) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(o.rounds(ctx, s))
	}
}

// rounds sends as long as there is something to send, and returns when to look
// again.
func (o *Outbox) rounds(ctx context.Context, s *subscriber) time.Duration {
	for ctx.Err() == nil {
		now := o.cfg.Now()
		full, ok := o.cfg.Where(s.bare)
		o.mu.Lock()
		if !ok || !full.Equal(s.full) {
			s.recall() // what is on its way to where it was may never arrive
			s.full, s.ask = full, true
		}
		wait := s.until.Sub(now)
		ask := s.ask
		s.ask = false
		o.mu.Unlock()
		switch {
		case !ok:
			return idle
		case wait > 0:
			return wait
		}
		if ask {
			gives := o.cfg.Receipts(ctx, full)
			o.mu.Lock()
			s.receipts = gives
			o.mu.Unlock()
		}
		o.refill(ctx, s)
		o.mu.Lock()
		if o.overdue(s, now) {
			o.mu.Unlock()
			continue
		}
		batch, gives := o.take(s, now), s.receipts
		next := s.nextLook(now)
		o.mu.Unlock()
		if len(batch) == 0 {
			return next
		}
		o.send(ctx, s, full, batch, gives)
	}
	return idle
}

// nextLook is when the oldest receipt is overdue. mu is held.
func (s *subscriber) nextLook(now time.Time) time.Duration {
	wait := idle
	if s.flying == 0 {
		return wait
	}
	for e := range s.all() {
		if !e.sent.IsZero() {
			wait = min(wait, e.sent.Add(s.patience).Sub(now))
		}
	}
	return max(wait, time.Millisecond)
}

// overdue takes everything back when receipts do not come. mu is held.
func (o *Outbox) overdue(s *subscriber, now time.Time) bool {
	if s.flying == 0 {
		return false
	}
	for e := range s.all() {
		if !e.sent.IsZero() && now.Sub(e.sent) >= s.patience {
			s.recall()
			s.patience = min(2*s.patience, mostPatience)
			s.trouble = "it gives no receipts"
			s.ask = true
			return true
		}
	}
	return false
}

// refillMost is how many references are numbered with one commit.
const refillMost = 256

// refill asks the Source for more when the lane of the past is short.
func (o *Outbox) refill(ctx context.Context, s *subscriber) {
	if o.src == nil {
		return
	}
	o.mu.Lock()
	// One who cannot follow live data is left behind until it can.
	enough := s.refilled || len(s.lanes[History]) >= historyWindow || len(s.lanes[Momentary]) >= Window
	o.mu.Unlock()
	if enough {
		return
	}
	// References and what the Source knows as taken are committed together.
	o.writing.Lock()
	defer o.writing.Unlock()
	refs := o.src.More(ctx, s.bare, refillMost)
	o.mu.Lock()
	for i := range refs {
		r := &refs[i]
		o.append(&entry{sub: s, class: History, at: r.At.UnixMilli(), ref: r.Ref, gap: r.Gap})
	}
	s.refilled = len(refs) == 0
	o.mu.Unlock()
	if len(refs) == 0 && !o.src.Unsaved() {
		return
	}
	if err := o.commitLocked(false); err != nil {
		o.cfg.Logger.Warn("what goes out of the history is not on the disk; after a crash it may come again under other numbers", "err", err)
	}
}

// send sends a batch. With receipts it stays in flight, else it is delivered
// when the server has acknowledged it.
func (o *Outbox) send(ctx context.Context, s *subscriber, full jid.JID, batch []*entry, gives bool) {
	sts := make([]xmpp.Stanza, 0, len(batch))
	var bad []*entry
	for _, e := range batch {
		p, err := o.content(ctx, s, e)
		if err != nil {
			o.cfg.Logger.Error("a message that waits for a subscriber cannot be read and is left out", "to", s.bare, "err", err)
			bad = append(bad, e)
			continue
		}
		st := xmpp.Stanza{Kind: xmpp.Message, ID: e.id(), To: full, Payload: xmpp.Payloads{e.seq, p}}
		if gives {
			st.Payload = xmpp.Payloads{e.seq, p, receipts.Request}
		}
		sts = append(sts, st)
	}
	err := o.cfg.Sender.Send(ctx, sts...)
	if err == nil && !gives {
		err = o.cfg.Sender.Flush(ctx)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.deliver(s, bad)
	switch {
	case err == nil && gives:
		// An early receipt may have come already.
	case err == nil:
		o.deliver(s, slices.DeleteFunc(batch, func(e *entry) bool { return e.sent.IsZero() }))
		s.trouble = ""
	default:
		for _, e := range batch {
			e.land()
		}
		s.until = o.cfg.Now().Add(retry)
		if errors.Is(err, xmpp.ErrOffline) {
			s.until = o.cfg.Now().Add(idle) // until Online
		}
	}
}

// retry is the pause after a send that failed.
const retry = 10 * time.Second

// content is what goes out for an entry: what the subscriber may have now.
func (o *Outbox) content(ctx context.Context, s *subscriber, e *entry) (xmpp.Payload, error) {
	switch {
	case e.gap != nil:
		o.mu.Lock()
		defer o.mu.Unlock()
		return *e.gap, nil
	case !o.allowed(ctx, s, e):
		// Its number is told, so that nobody waits for it.
		return Gap{Why: WhyDenied, Class: e.class}, nil
	case e.ref != nil:
		if o.src == nil {
			return Gap{Why: WhyExpired, Class: e.class}, nil
		}
		return o.src.Content(ctx, s.bare, e.ref)
	}
	return decode(e.text)
}

// WhyDenied: the subscriber may not have it any more.
const WhyDenied = "denied"

// allowed asks for the rights that an entry needs.
func (o *Outbox) allowed(ctx context.Context, s *subscriber, e *entry) bool {
	for i := range e.need {
		n := &e.need[i]
		r := node.Request{From: s.bare, Bare: s.bare, Nodes: []node.Ref{n.Node},
			ServiceToken: n.ServiceToken, DeviceToken: n.DeviceToken, UserToken: n.UserToken}
		if e.class == Control || e.class == Audit {
			r.Parameters = n.Names
			d, err := o.cfg.Access.CanControl(ctx, r)
			if err != nil || !d.Covers(n.Node) || slices.ContainsFunc(n.Names, func(p string) bool { return !d.Settable(n.Node, p) }) {
				return false
			}
			continue
		}
		r.Fields, r.Types = n.Names, n.Types
		d, err := o.cfg.Access.CanRead(ctx, r)
		if err != nil || !d.Covers(n.Node) || slices.ContainsFunc(n.Names, func(f string) bool { return d.Readable(n.Node, f, n.Types) == 0 }) {
			return false
		}
	}
	return true
}

// Received takes a receipt (XEP-0184).
func (o *Outbox) Received(from jid.JID, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.subs[from.Bare().String()]
	if s == nil {
		return
	}
	if e := s.entry(id); e != nil {
		o.deliver(s, []*entry{e})
		s.patience, s.trouble = firstPatience, ""
		s.nudge()
	}
}

// Register takes receipts, and messages that come back.
func (o *Outbox) Register(m *xmpp.Mux) {
	receipts.Register(m, o.Received)
	m.HandleFunc(xmpp.Message, xmpp.TypeError, nameSeq, o.bounced)
}

// bounced takes back a message that could not be delivered. The subscriber gets
// a pause: its server knows best that it is not there.
func (o *Outbox) bounced(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.subs[st.From.Bare().String()]
	if s == nil {
		return nil, nil
	}
	if e := s.entry(st.ID); e != nil && !e.sent.IsZero() {
		s.recall()
		s.until = o.cfg.Now().Add(time.Minute)
		s.trouble = "messages come back"
		if err := st.Err(); err != nil {
			s.trouble += ": " + string(err.Condition)
		}
		s.nudge()
	}
	return nil, nil
}
