package roster

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/disco"
)

// Types of presence (RFC 6121 §4.7.1).
const (
	unavailable  = "unavailable"
	subscribe    = "subscribe"
	subscribed   = "subscribed"
	unsubscribe  = "unsubscribe"
	unsubscribed = "unsubscribed"
)

func (s *Service) presence(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	if st.From.String() == "" {
		return nil, nil
	}
	switch st.Type {
	case "":
		s.arrived(st)
	case unavailable, xmpp.TypeError: // an error says that the contact cannot be reached (D9)
		s.left(st)
	case subscribe:
		return nil, s.requested(ctx, st.From.Bare())
	case unsubscribe, unsubscribed:
		s.mu.Lock()
		delete(s.pending, st.From.Bare().String())
		if st.Type == unsubscribed {
			delete(s.present, st.From.Bare().String())
		}
		s.mu.Unlock()
		if s.cfg.OnUnsubscribed != nil {
			s.cfg.OnUnsubscribed(st.From.Bare())
		}
	}
	return nil, nil
}

func (s *Service) arrived(st *xmpp.Stanza) {
	p := Presence{From: st.From, Status: st.Elem.Child(nameStatus).Text().String()}
	switch show := st.Elem.Child(nameShow).Text().String(); show {
	case "away", "chat", "dnd", "xa":
		p.Show = show
	}
	if n, ok := st.Elem.Child(namePriority).Text().Int(); ok && n >= -128 && n <= 127 {
		p.Priority = int(n)
	}
	key := st.From.Bare().String()
	s.mu.Lock()
	// The presence of a new contact can overtake the roster push that makes it
	// one: they have different senders, so different workers. It is kept for
	// strangers too, within bounds, and shown when they are contacts.
	_, known := s.items[key]
	of := s.present[key]
	if of == nil && (known || len(s.present) < len(s.items)+maxStrangers) {
		of = make(map[string]Presence)
		s.present[key] = of
	}
	old, again := of[st.From.Resourcepart()]
	if c, ok := disco.ParseCaps(st); ok {
		p.Caps = c
	} else {
		p.Caps = old.Caps
	}
	if of != nil && (again || len(of) < maxResources) {
		of[st.From.Resourcepart()] = p
	}
	s.mu.Unlock()
	if s.cfg.OnPresence != nil {
		s.cfg.OnPresence(st, p, true)
	}
}

func (s *Service) left(st *xmpp.Stanza) {
	key := st.From.Bare().String()
	s.mu.Lock()
	of := s.present[key]
	if r := st.From.Resourcepart(); r == "" {
		delete(s.present, key)
	} else {
		delete(of, r)
		if len(of) == 0 {
			delete(s.present, key)
		}
	}
	s.mu.Unlock()
	if s.cfg.OnPresence != nil {
		s.cfg.OnPresence(st, Presence{From: st.From}, false)
	}
}

// requested answers a subscription request by policy.
func (s *Service) requested(ctx context.Context, from jid.JID) error {
	d := s.cfg.Policy(ctx, from)
	s.log.Info("subscription request", "from", from.String(), "decision", d.String())
	switch d {
	case Accepted:
		return s.answer(ctx, from, subscribed)
	case Refused:
		return s.answer(ctx, from, unsubscribed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) < maxPending {
		s.pending[from.String()] = from
	}
	return nil
}

// String returns the decision in a word.
func (d Decision) String() string {
	return [...]string{"pending", "accepted", "refused"}[d]
}

// answer sends subscription presence to a bare address (RFC 6121 §3).
func (s *Service) answer(ctx context.Context, to jid.JID, typ string) error {
	s.mu.Lock()
	delete(s.pending, to.Bare().String())
	s.mu.Unlock()
	st := xmpp.Stanza{Kind: xmpp.Presence, Type: typ, To: to.Bare(), ID: rand.Text()}
	if err := s.sess().Send(ctx, st); err != nil {
		return fmt.Errorf("roster: %s to %s: %w", typ, to, err)
	}
	return nil
}

// Requests returns the accounts whose subscription requests wait for a
// decision, sorted.
func (s *Service) Requests() []jid.JID {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.pending))
	for k := range s.pending {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	list := make([]jid.JID, len(keys))
	for i, k := range keys {
		list[i] = s.pending[k]
	}
	return list
}

// Accept lets an account see our presence, as answer to its request; without
// one nothing is sent (RFC 6121 §3.4 knows pre-approval only where offered).
func (s *Service) Accept(ctx context.Context, j jid.JID) error {
	return s.decide(ctx, j, subscribed)
}

// Refuse declines an account's request.
func (s *Service) Refuse(ctx context.Context, j jid.JID) error {
	return s.decide(ctx, j, unsubscribed)
}

func (s *Service) decide(ctx context.Context, j jid.JID, typ string) error {
	s.mu.Lock()
	_, ok := s.pending[j.Bare().String()]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("roster: there is no request from %s", j.Bare())
	}
	return s.answer(ctx, j, typ)
}

// Subscribe asks an account for its presence.
func (s *Service) Subscribe(ctx context.Context, j jid.JID) error {
	return s.answer(ctx, j, subscribe)
}

// Cancel ends both directions with an account and takes it off the roster
// (RFC 6121 §2.5).
func (s *Service) Cancel(ctx context.Context, j jid.JID) error {
	set := xmpp.Stanza{Type: xmpp.Set, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameQuery)
		d.Start(nameItem)
		d.Attr(attrJID, exi.Str(j.Bare().String()))
		d.Attr(attrSub, exi.Str("remove"))
		d.End()
		d.End()
	})}
	if err := s.sess().Query(ctx, set, nil); err != nil {
		return fmt.Errorf("roster: removing %s: %w", j.Bare(), err)
	}
	return nil
}
