package events

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/exi"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/sensors"
	"postern/xmpp"
)

// accepted is the answer to a subscription (proto-XEP, momentary values).
type accepted int32

// AppendEvents writes the element.
func (a accepted) AppendEvents(d *exi.Doc) {
	d.Start(nameAccepted)
	d.Attr(at("seqnr"), exi.IntValue(int64(a)))
	d.End()
}

// subscribe takes a subscription.
func (s *Service) subscribe(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	r, err := ParseRequest(st.Child(), s.cfg.Names)
	if err != nil {
		return nil, err
	}
	if r.Types == 0 {
		return nil, xmpp.NewError(xmpp.BadRequest, "say which types of fields to send")
	}
	full, bare := st.From.String(), st.From.Bare().String()
	if err := s.cfg.Sensors.Check(ctx, r.reads(nil, time.Time{}), full, bare); err != nil {
		return nil, err // forbidden, item-not-found
	}
	if !s.cfg.Friend(st.From.Bare()) {
		return nil, xmpp.NewError(xmpp.SubscriptionRequired, "this thing has to see whether you are online: accept its request to see your presence")
	}
	if err := s.cfg.Outbox.Subscribe(bare); err != nil {
		if errors.Is(err, outbox.ErrMany) {
			return nil, xmpp.NewError(xmpp.ResourceConstraint, "there are too many subscribers").WithType(xmpp.Wait)
		}
		return nil, err
	}
	if err := s.enter(bare, full, r); err != nil {
		return nil, err
	}
	s.cfg.Outbox.Changed(true)
	s.cfg.Outbox.Wake(bare, true)
	s.kick()
	return accepted(r.Seq), nil
}

// reads is the read-out that gives the values of an event of some nodes.
func (r *Request) reads(nodes []node.Ref, now time.Time) sensors.Request {
	out := sensors.Request{
		Seq: r.Seq, Types: r.Types, Nodes: nodes,
		ServiceToken: r.ServiceToken, DeviceToken: r.DeviceToken, UserToken: r.UserToken,
	}
	if nodes == nil {
		out.Nodes = r.Nodes
	}
	for i := range r.Fields {
		out.Fields = append(out.Fields, r.Fields[i].Name)
	}
	if r.MaxAge > 0 && !now.IsZero() {
		out.From = now.Add(-r.MaxAge)
	}
	return out
}

// enter puts a subscription in the place of those that it covers.
func (s *Service) enter(bare, full string, r Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order++
	sub := &subscription{id: newID(bare, s.order), bare: bare, full: full, req: r, order: s.order, dirty: true}
	sub.prepare()
	count := 0
	for _, old := range s.subs {
		if old.bare != bare || old.configured {
			continue
		}
		if covers(&r, &old.req) {
			sub.inherit(old)
			s.drop(old)
			continue
		}
		count++
	}
	if count >= s.cfg.PerAccount {
		return xmpp.NewError(xmpp.ResourceConstraint, "you have too many subscriptions; end some of them").WithType(xmpp.Wait)
	}
	s.subs[sub.id] = sub
	s.reroute()
	s.begin(sub)
	return nil
}

// covers reports whether a stands for everything that b was for.
func covers(a, b *Request) bool {
	if len(a.Nodes) == 0 {
		return true
	}
	return len(b.Nodes) > 0 && !slices.ContainsFunc(b.Nodes, func(n node.Ref) bool { return !slices.Contains(a.Nodes, n) })
}

// inherit takes over what the subscriber has missed: it subscribes anew when it
// comes back.
func (s *subscription) inherit(old *subscription) {
	if !s.req.Keep || !old.req.Keep {
		return
	}
	s.behind = s.behind || old.behind
	for k, sp := range old.spans {
		if s.wants(k.name) && s.spans[k] == nil {
			s.spans[k] = sp
		}
	}
	for k, ms := range old.live {
		if s.wants(k.name) {
			s.live[k] = ms
		}
	}
}

// begin sets what conditions count from: the values given, else the present
// ones. mu is held.
func (s *Service) begin(sub *subscription) {
	now := s.cfg.Now()
	for _, n := range sub.nodes {
		w := sub.watch(n)
		w.sent = now
		if sub.req.Now {
			// The acceptance goes first.
			w.due, w.sent, w.notYet = true, time.Time{}, now.Add(2*s.cfg.Gather)
		}
		for name, f := range sub.fields {
			if f.Current != nil {
				w.base[name] = magnitude{num: *f.Current}
			} else if rd, ok := s.cfg.Sensors.Latest(n, name); ok {
				if m, ok := magnitudeOf(rd.Value); ok {
					w.base[name] = m
				}
			}
		}
	}
}

// unsubscribe ends a subscription; one that is not there is no error (proto-XEP,
// unsubscribing).
func (s *Service) unsubscribe(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	seq, ok := seqOf(st.Child())
	if !ok {
		return nil, xmpp.NewError(xmpp.BadRequest, "seqnr is missing or not a 32-bit whole number")
	}
	bare := st.From.Bare().String()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if sub.bare == bare && !sub.configured && sub.req.Seq == seq {
			s.drop(sub)
			s.settle(bare)
		}
	}
	return nil, nil
}
