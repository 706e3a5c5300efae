package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/provisioning"
	"postern/xmpp"
)

// Timers of notices (notes §5).
const (
	disownTimeout = 20 * time.Second
	noticeTimeout = 30 * time.Second
)

func notFound() error { return xmpp.NewError(xmpp.ItemNotFound, "") }

// register takes a thing's own description (XEP-0347 §3.5).
func (s *Server) register(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseRegister(st.Child())
	if err != nil {
		return nil, err
	}
	if !q.SelfOwned && s.cfg.MinKeyBits > 0 && provisioning.KeyBits(q.Tags) < s.cfg.MinKeyBits {
		return nil, xmpp.NewError(xmpp.BadRequest, "the tags need a KEY that nobody can guess") // 0347-D17
	}
	bare := st.From.Bare().String()
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.get(bare, q.Ref)
	if old != nil && old.Owner != "" { // 0347-R11
		return s.toThing(old), nil
	}
	if old == nil {
		if err := s.roomFor(bare); err != nil {
			return nil, err
		}
	}
	now := &record{JID: bare, Ref: q.Ref, Tags: q.Tags}
	if q.SelfOwned { // 0347-R15
		now.Owner, now.Claimed = bare, s.cfg.Now().UTC()
	} else {
		now.Claim = s.claimDigest(q.Tags)
	}
	return nil, s.replace(old, now)
}

func (s *Server) roomFor(bare string) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.things) >= s.lim.Things || len(s.byJID[bare]) >= s.lim.PerJID {
		return xmpp.NewError(xmpp.ResourceConstraint, "the registry is full")
	}
	return nil
}

// toThing tells a thing its owner.
func (s *Server) toThing(r *record) xmpp.Payload {
	return provisioning.Claimed{Ref: r.Ref, JID: address(r.Owner), Private: r.Private}
}

// mine claims a thing (XEP-0347 §3.8). Unknown things and those of others are
// answered alike, after the same work (0347-R21).
func (s *Server) mine(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseMine(st.Child())
	if err != nil {
		return nil, err
	}
	owner := st.From.Bare()
	now := s.cfg.Now()
	// What an account has too much does not count against its domain: one
	// account alone must not keep the others of its domain from claiming.
	if !s.byAcct.allow(owner.String(), now) || !s.byDom.allow(owner.Domainpart(), now) {
		s.refused.Add(1)
		if unsaid, ok := s.stormSaid.every(10*time.Second, now); ok { // thousands a second may come
			s.log.Warn("too many claims", "account", owner.String(), "more_since_last", unsaid)
		}
		return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many claims: wait a minute")
	}
	r, changed, err := s.claim(q, owner.String(), now)
	if err != nil {
		return nil, err
	}
	if changed {
		s.log.Info("a thing was claimed", "thing", r.JID, "node", r.Ref.String(), "owner", r.Owner)
		s.pushClear(ctx, r.JID, now)
		s.notify(ctx, r)
	}
	return provisioning.Claimed{Ref: r.Ref, JID: r.addr(), Private: r.Private}, nil
}

// claim gives a thing to its owner. Nothing is sent under the lock: where the
// receiver is unknown, the answer to a notice can come before Send returns.
func (s *Server) claim(q provisioning.Mine, owner string, now time.Time) (r *record, changed bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.claimable(s.claimDigest(q.Tags), q.Ref, owner)
	switch {
	case old == nil:
		return nil, false, notFound()
	case old.Owner != "" && !old.Removed: // 0347-R20
		return old, false, nil
	}
	claimed := *old
	claimed.Owner, claimed.Private, claimed.Removed = owner, q.Private, false
	claimed.Claimed, claimed.TellOwner, claimed.TellGone = now.UTC(), true, false
	claimed.Tags = q.Tags
	return &claimed, true, s.replace(old, &claimed, claimed.JID)
}

// claimable returns the one thing that a claimant can mean (0347-D25).
func (s *Server) claimable(digest []byte, ref provisioning.Ref, owner string) (found *record) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.claims[string(digest)] {
		if r.Owner != "" && r.Owner != owner || !narrows(ref, r.Ref) {
			continue
		}
		if found != nil {
			return nil
		}
		found = r
	}
	return found
}

// narrows reports whether the parts of a reference that are given fit.
func narrows(p, r provisioning.Ref) bool {
	return (p.ID == "" || p.ID == r.ID) && (p.Source == "" || p.Source == r.Source) && (p.Cache == "" || p.Cache == r.Cache)
}

// owned returns the thing that owner names, if it is the owner's; nil
// otherwise, also for a tombstone unless buried.
func (s *Server) owned(st *xmpp.Stanza, n provisioning.Notice, buried bool) *record {
	r := s.get(n.JID.String(), n.Ref)
	if r == nil || r.Owner != st.From.Bare().String() || r.Removed && !buried {
		return nil
	}
	return r
}

// remove takes a thing from view (XEP-0347 §3.9). The owner stays known, so
// that nobody else gets hold of a thing that was reset (0347-D1).
func (s *Server) remove(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	n, err := notice(st)
	if err != nil {
		return nil, err
	}
	r, err := s.bury(st, n)
	if err != nil {
		return nil, err
	}
	s.notify(ctx, r)
	return nil, nil
}

func (s *Server) bury(st *xmpp.Stanza, n provisioning.Notice) (*record, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.owned(st, n, false)
	if old == nil {
		return nil, notFound()
	}
	now := *old
	now.Removed, now.Tags, now.TellGone = true, nil, true
	return &now, s.replace(old, &now)
}

func notice(st *xmpp.Stanza) (provisioning.Notice, error) {
	n, err := provisioning.ParseNotice(st.Child())
	if err == nil && n.JID.String() == "" {
		err = xmpp.NewError(xmpp.BadRequest, "jid is missing")
	}
	return n, err
}

// update changes tags, for the thing or its owner (XEP-0347 §3.10).
func (s *Server) update(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseUpdate(st.Child())
	if err != nil {
		return nil, err
	}
	sender := st.From.Bare()
	byThing := q.JID.String() == "" || q.JID.Equal(sender)
	if q.JID.String() == "" {
		q.JID = sender
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.get(q.JID.String(), q.Ref)
	switch {
	case old == nil || old.Removed:
		return nil, notFound()
	case !byThing && old.Owner != sender.String(): // 0347-R36
		return nil, notFound()
	case old.Owner == "": // 0347-R33
		return provisioning.Notice{Name: provisioning.NameDisowned, Ref: q.Ref}, nil
	}
	now := *old
	if now.Tags, err = merge(old.Tags, q.Tags); err != nil {
		return nil, err
	}
	if slices.Equal(now.Tags, old.Tags) { // a thing that asks whose it is
		return nil, nil
	}
	return nil, s.replace(old, &now)
}

// merge overwrites tags by name; an empty string removes one (0347-R31, R32,
// D11).
func merge(old, change []provisioning.Tag) ([]provisioning.Tag, error) {
	tags := slices.Clone(old)
	for _, t := range change {
		i := slices.IndexFunc(tags, func(o provisioning.Tag) bool {
			return provisioning.FoldTag(o.Name) == provisioning.FoldTag(t.Name)
		})
		empty := !t.Numeric && t.Value == ""
		switch {
		case empty && i >= 0:
			tags = slices.Delete(tags, i, i+1)
		case empty:
		case i >= 0:
			tags[i] = t
		default:
			tags = append(tags, t)
		}
	}
	if len(tags) > provisioning.MaxTags {
		return nil, xmpp.NewError(xmpp.BadRequest, "too many tags")
	}
	return tags, nil
}

// unregister forgets a thing at its own wish (XEP-0347 §3.13; 0347-R48).
func (s *Server) unregister(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	n, err := provisioning.ParseNotice(st.Child())
	if err != nil {
		return nil, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.get(st.From.Bare().String(), n.Ref)
	if old == nil {
		return nil, nil
	}
	return nil, s.replaceForgetting(old, nil) // the rules were its owner's
}

// disown ends an ownership, if the thing agrees (XEP-0347 §3.12): it is told
// first, and the owner is answered when it has answered (0347-R51).
func (s *Server) disown(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	n, err := notice(st)
	if err != nil {
		return nil, err
	}
	r := s.owned(st, n, true)
	if r == nil {
		return nil, notFound()
	}
	full := s.reach(r.JID)
	if full.String() == "" { // 0347-R50
		return nil, xmpp.NewError(xmpp.NotAllowed, "the thing is offline")
	}
	yes := st.Reply(xmpp.Result, nil)
	no := func(err error) xmpp.Stanza { return st.Reply(xmpp.TypeError, xmpp.AsError(err)) }
	refused := no(xmpp.NewError(xmpp.NotAllowed, "the thing does not answer")) // 0347-R53
	gone, broken := no(notFound()), no(xmpp.NewError(xmpp.InternalServerError, ""))
	owner, told := r.Owner, provisioning.Notice{Name: provisioning.NameDisowned, Ref: r.Ref}
	s.ask(ctx, full, told, disownTimeout, func(err error) {
		reply := refused
		if err == nil {
			switch ok, err := s.release(n, owner); {
			case err != nil:
				s.log.Error("a thing could not be released", "thing", n.JID.String(), "err", err)
				reply = broken
			case !ok:
				reply = gone
			default:
				reply = yes
				s.pushClear(ctx, n.JID.String(), s.cfg.Now())
			}
		}
		if err := s.send(context.WithoutCancel(ctx), reply); err != nil {
			s.log.Warn("an owner got no answer", "owner", owner, "err", err)
		}
	})
	return nil, xmpp.ErrLater
}

// release makes a thing unclaimed, without tags and with a KEY that nobody
// knows (0347-R52). ok is false when it changed hands meanwhile.
func (s *Server) release(n provisioning.Notice, owner string) (ok bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.get(n.JID.String(), n.Ref)
	if old == nil || old.Owner != owner {
		return false, nil
	}
	key := provisioning.Tag{Name: provisioning.KeyTag, Value: provisioning.NewKey()}
	err = s.replaceForgetting(old, &record{JID: old.JID, Ref: old.Ref, Tags: []provisioning.Tag{key}})
	return err == nil, err
}

// search finds things (XEP-0347 §3.14) for anybody (0347-R66), not too often:
// each looks at everything that is listed.
func (s *Server) search(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseSearch(st.Child())
	if err != nil {
		return nil, err
	}
	if !s.finds.allow(st.From.Bare().String(), s.cfg.Now()) {
		return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many searches: wait a minute")
	}
	return s.find(q), nil
}

// Pages of search results (0347-D22).
const (
	pageSize = 50
	maxPage  = 100
)

func (s *Server) find(q provisioning.Search) provisioning.Found {
	page := min(q.MaxCount, maxPage)
	if page == 0 {
		page = pageSize
	}
	var f provisioning.Found
	s.mu.RLock()
	defer s.mu.RUnlock()
	skip, query := q.Offset, q.Compile()
	for _, r := range s.listed {
		if !query.Matches(r.ix) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(f.Things) == page {
			f.More = true
			break
		}
		f.Things = append(f.Things, provisioning.FoundThing{Ref: r.Ref, JID: r.addr(), Owner: address(r.Owner), Tags: public(r.Tags)})
	}
	return f
}

// public leaves KEY out (0347-R43).
func public(tags []provisioning.Tag) []provisioning.Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(t provisioning.Tag) bool {
		return strings.EqualFold(t.Name, provisioning.KeyTag)
	})
}
