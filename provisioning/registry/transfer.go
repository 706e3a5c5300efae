package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"postern/exi"
	"postern/provisioning"
	"postern/xmpp"
)

// offerLife is how long an offer of a thing stands.
const offerLife = 7 * 24 * time.Hour

// offeredTo reports whether a thing is offered to somebody.
func (r *record) offeredTo(who string, now time.Time) bool {
	return r.Offer != "" && r.Offer == who && now.Before(r.OfferEnds)
}

// answered wraps what a device would be answered.
type answered struct{ p xmpp.Payload }

// AppendEvents writes the may element around the answer.
func (a answered) AppendEvents(d *exi.Doc) {
	d.Start(provisioning.NameMay)
	a.p.AppendEvents(d)
	d.End()
}

// transfer offers a thing to somebody, who becomes its owner by accepting:
// nobody gets a thing, and the blame for it, without wanting it.
func (s *Server) transfer(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	t, err := provisioning.ParseTransfer(st.Child())
	if err != nil {
		return nil, err
	}
	owner, to := st.From.Bare().String(), ""
	if t.To.String() != "" {
		to = t.To.String()
	}
	if to == owner || to == t.JID.String() {
		return nil, xmpp.NewError(xmpp.BadRequest, "a thing is offered to somebody else")
	}
	// The offer is told by a message, so it is counted like a claim.
	if to != "" && !s.byAcct.allow(owner, s.cfg.Now()) {
		return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many offers: wait a minute")
	}
	if err := s.keepOffer(owner, t, to); err != nil || to == "" {
		return nil, err
	}
	s.log.Info("a thing is offered", "thing", t.JID.String(), "node", t.Ref.String(), "owner", owner, "to", to)
	msg := xmpp.Stanza{Kind: xmpp.Message, ID: rand.Text(), To: t.To, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(nameBody, exi.Str(fmt.Sprintf("%s offers you %s. To take it: postern transfer %s --accept. The offer stands for %d days.",
			owner, what(t.JID.String(), t.Ref), t.JID.String(), int(offerLife.Hours()/24))))
	})}
	if err := s.send(ctx, msg); err != nil {
		s.log.Warn("an offer was not told", "to", to, "err", err)
	}
	return nil, nil
}

func what(thing string, ref provisioning.Ref) string {
	if ref == (provisioning.Ref{}) {
		return thing
	}
	return ref.String() + " of " + thing
}

func (s *Server) keepOffer(owner string, t provisioning.Transfer, to string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.ownerOf(owner, t.JID, t.Ref)
	if old == nil {
		return notFound()
	}
	now := *old
	now.Offer, now.OfferEnds = to, time.Time{}
	if to != "" {
		now.OfferEnds = s.cfg.Now().UTC().Add(offerLife)
	}
	return s.replace(old, &now)
}

// accept makes the sender the owner of a thing that was offered. What the
// former owner decided about it ends in the same commit.
func (s *Server) accept(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	t, err := provisioning.ParseTransfer(st.Child())
	if err != nil {
		return nil, err
	}
	r, err := s.takeOffer(st.From.Bare().String(), t)
	if err != nil {
		return nil, err
	}
	s.log.Info("a thing was taken over", "thing", r.JID, "node", r.Ref.String(), "owner", r.Owner)
	s.pushClear(ctx, r.JID, s.cfg.Now())
	s.notify(ctx, r)
	return provisioning.Claimed{Ref: r.Ref, JID: r.addr(), Private: r.Private}, nil
}

func (s *Server) takeOffer(who string, t provisioning.Transfer) (*record, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.get(t.JID.String(), t.Ref)
	now := s.cfg.Now()
	if old == nil || old.Owner == "" || !old.offeredTo(who, now) {
		return nil, notFound()
	}
	taken := *old
	taken.Owner, taken.Claimed, taken.Offer, taken.OfferEnds = who, now.UTC(), "", time.Time{}
	taken.TellOwner, taken.TellGone = true, false
	about := func(nodes []provisioning.Ref) bool {
		return t.Ref == provisioning.Ref{} || slices.Contains(nodes, t.Ref)
	}
	s.mu.RLock()
	var left []Rule
	var gone, open []string
	for _, r := range s.rules[old.JID] {
		if about(r.Nodes) {
			gone = append(gone, r.ID)
		} else {
			left = append(left, r)
		}
	}
	for k, q := range s.questions {
		if q.Device == old.JID && about(q.Nodes) {
			open = append(open, k)
		}
	}
	s.mu.RUnlock()
	err := s.commit([]string{old.JID}, func(tx Tx) error {
		for _, id := range gone {
			if err := ruleBucket.Delete(tx, id); err != nil {
				return err
			}
		}
		for _, k := range open {
			if err := questionBucket.Delete(tx, k); err != nil {
				return err
			}
		}
		return thingBucket.Put(tx, taken.key(), taken)
	}, func() {
		if s.rules[old.JID] = left; len(left) == 0 {
			delete(s.rules, old.JID)
		}
		for _, k := range open {
			delete(s.questions, k)
		}
		s.index(old, &taken, true)
	})
	if err != nil {
		return nil, err
	}
	return &taken, nil
}
