package registry

import (
	"context"
	"errors"
	"slices"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
	"postern/xmpp"
)

// serveOwner takes what owners ask in provisioning.NSOwner. Everything is about
// the sender's own things; those of others are item-not-found, like unknown
// ones.
func (s *Server) serveOwner(m *xmpp.Mux) {
	list := func(f func(owner string, p provisioning.Page) (provisioning.Owned, error)) xmpp.HandlerFunc {
		return s.limited(func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
			p, err := provisioning.ParsePage(st.Child())
			if err != nil {
				return nil, err
			}
			o, err := f(st.From.Bare().String(), p)
			if err != nil {
				return nil, err
			}
			o.Name = p.Name
			return o, nil
		})
	}
	if !s.cfg.NoRegistry {
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameOwnThings, list(s.ownThings))
		m.HandleFunc(xmpp.IQ, xmpp.Set, provisioning.NameTransfer, s.limited(s.transfer))
		m.HandleFunc(xmpp.IQ, xmpp.Set, provisioning.NameAccept, s.limited(s.accept))
	}
	if !s.cfg.NoProvisioning {
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameRules, list(s.ownRules))
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameFriends, list(s.ownFriends))
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameQuestions, list(s.ownQuestions))
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameMay, s.limited(s.ownMay))
		m.HandleFunc(xmpp.IQ, xmpp.Set, provisioning.NameRule, s.limited(s.ownRule))
		m.HandleFunc(xmpp.IQ, xmpp.Set, provisioning.NameDropRule, s.limited(s.ownDropRule))
		m.HandleFunc(xmpp.IQ, xmpp.Set, provisioning.NameDecide, s.limited(s.ownDecide))
	}
}

// limited bounds what one account may ask, together with its searches.
func (s *Server) limited(f xmpp.HandlerFunc) xmpp.HandlerFunc {
	return func(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		if !s.finds.allow(st.From.Bare().String(), s.cfg.Now()) {
			return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many requests: wait a minute")
		}
		return f(ctx, st)
	}
}

// owns reports whether somebody may decide about nodes of a device: all of
// them, or the device itself where none is named.
func (s *Server) owns(who, device string, nodes []provisioning.Ref) bool {
	if len(nodes) == 0 {
		nodes = []provisioning.Ref{{}}
	}
	for _, n := range nodes {
		if s.owner(device, n) != who {
			return false
		}
	}
	return true
}

// page cuts a page out of a list.
func page[T any](all []T, offset int) (part []T, more bool) {
	all = all[min(offset, len(all)):]
	return all[:min(len(all), pageSize)], len(all) > pageSize
}

// ownThings lists what somebody owns or is offered, in the order of addresses.
func (s *Server) ownThings(owner string, p provisioning.Page) (o provisioning.Owned, err error) {
	now := s.cfg.Now()
	var mine []*record
	s.mu.RLock()
	for _, r := range s.things {
		if (r.Owner == owner || r.offeredTo(owner, now)) && (p.Device.String() == "" || p.Device.String() == r.JID) {
			mine = append(mine, r)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(mine, func(a, b *record) int { return strings.Compare(a.key(), b.key()) })
	mine, o.More = page(mine, p.Offset)
	for _, r := range mine {
		t := provisioning.OwnThing{Ref: r.Ref, JID: r.addr(), Owner: address(r.Owner), Private: r.Private, Removed: r.Removed,
			Online: s.reach(r.JID).String() != "", Since: r.Claimed, Tags: public(r.Tags)}
		if r.Offer != "" && now.Before(r.OfferEnds) {
			t.To = address(r.Offer)
		}
		o.Things = append(o.Things, t)
	}
	return o, nil
}

// ownRules lists the rules that somebody could have made.
func (s *Server) ownRules(owner string, p provisioning.Page) (o provisioning.Owned, err error) {
	if p.Device.String() != "" && !s.ownsPart(owner, p.Device.String()) {
		return o, notFound()
	}
	own := s.Rules(p.Device.String())
	own = slices.DeleteFunc(own, func(r Rule) bool { return !s.owns(owner, r.Device, r.Nodes) })
	own, o.More = page(own, p.Offset)
	for i := range own {
		o.Rules = append(o.Rules, own[i].wire())
	}
	return o, nil
}

// ownsPart reports whether anything of a device is somebody's.
func (s *Server) ownsPart(owner, device string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.byJID[device] {
		if r.Owner == owner {
			return true
		}
	}
	return false
}

func (r *Rule) wire() provisioning.Rule {
	return provisioning.Rule{ID: r.ID, Device: address(r.Device), Subject: r.Subject, Action: string(r.Action), Deny: r.Deny,
		Nodes: r.Nodes, Names: r.Names, Types: r.Types, Range: r.Range, Since: r.Since, Until: r.Until, Once: r.Once}
}

// ownFriends lists the people that rules of a device are about, and whether
// they may be its friends.
func (s *Server) ownFriends(owner string, p provisioning.Page) (o provisioning.Owned, err error) {
	device := p.Device.String()
	if device == "" || !s.owns(owner, device, nil) {
		return o, notFound()
	}
	people := []string{owner}
	for _, r := range s.Rules(device) {
		if address(r.Subject).Localpart() != "" && !slices.Contains(people, r.Subject) {
			people = append(people, r.Subject)
		}
	}
	people, o.More = page(people, p.Offset)
	for _, who := range people {
		o.Friends = append(o.Friends, provisioning.Friend{JID: address(who), Yes: s.friends(device, who)})
	}
	return o, nil
}

// asksOf reports whether a question is somebody's to answer.
func (s *Server) asksOf(q Question, who string) bool {
	owner := s.Owner(q.Device, q.Nodes)
	return owner != "" && owner == who
}

func (s *Server) ownQuestions(owner string, p provisioning.Page) (o provisioning.Owned, err error) {
	open := slices.DeleteFunc(s.Questions(), func(q Question) bool {
		return !s.asksOf(q, owner) || p.Device.String() != "" && p.Device.String() != q.Device || s.cfg.Now().Sub(q.Asked) > questionLife
	})
	open, o.More = page(open, p.Offset)
	for _, q := range open {
		o.Questions = append(o.Questions, provisioning.Asked{ID: q.ID, Device: address(q.Device), Who: address(q.Who),
			Action: string(q.Action), Nodes: q.Nodes, Names: q.Names, Types: q.Types, When: q.Asked})
	}
	return o, nil
}

// ownMay answers as the device would be answered; nothing is used up.
func (s *Server) ownMay(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	m, err := provisioning.ParseMay(st.Child())
	if err != nil {
		return nil, err
	}
	device := m.Device.String()
	if !s.owns(st.From.Bare().String(), device, m.Question.Nodes) {
		return nil, notFound()
	}
	if m.Friend {
		yes, _ := s.friendship(device, m.Question.JID)
		return answered{provisioning.Friendship{JID: m.Question.JID, Result: yes, SecondaryTrust: s.cfg.SecondaryTrust}}, nil
	}
	return answered{s.May(device, m.Question)}, nil
}

func (s *Server) ownRule(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	w, err := provisioning.ParseRule(st.Child())
	if err != nil {
		return nil, err
	}
	r := Rule{Device: w.Device.String(), Subject: w.Subject, Action: Action(w.Action), Deny: w.Deny, Nodes: w.Nodes, Names: w.Names,
		Types: w.Types, Range: w.Range, Since: w.Since, Until: w.Until, Once: w.Once}
	if !s.owns(st.From.Bare().String(), r.Device, r.Nodes) {
		return nil, notFound()
	}
	if r, err = s.AddRule(ctx, r); err != nil {
		return nil, ruleError(err)
	}
	return r.wire(), nil
}

// ruleError tells an owner what is wrong with a rule.
func ruleError(err error) error {
	if errors.Is(err, ErrRule) {
		return xmpp.NewError(xmpp.BadRequest, strings.TrimPrefix(err.Error(), ErrRule.Error()+": "))
	}
	return err
}

func (s *Server) ownDropRule(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	w, err := provisioning.ParseDropRule(st.Child())
	if err != nil {
		return nil, err
	}
	for _, r := range s.Rules("") {
		if r.ID != w.ID {
			continue
		}
		if !s.owns(st.From.Bare().String(), r.Device, r.Nodes) {
			break
		}
		return nil, ruleError(s.RemoveRule(ctx, r.ID))
	}
	return nil, notFound()
}

func (s *Server) ownDecide(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	w, err := provisioning.ParseDecision(st.Child())
	if err != nil {
		return nil, err
	}
	known := false
	for _, v := range verdicts {
		known = known || string(v.v) == w.Verdict
	}
	if !known {
		return nil, xmpp.NewError(xmpp.BadRequest, "there is no such verdict")
	}
	s.mu.RLock()
	q, ok := s.questions[w.ID]
	s.mu.RUnlock()
	if !ok || !s.asksOf(q, st.From.Bare().String()) {
		return nil, notFound()
	}
	return nil, ruleError(s.Decide(ctx, q.ID, Verdict(w.Verdict)))
}

// ownerOf returns the record that somebody names, if it is theirs.
func (s *Server) ownerOf(who string, thing jid.JID, ref provisioning.Ref) *record {
	r := s.get(thing.String(), ref)
	if r == nil || r.Owner != who {
		return nil
	}
	return r
}
