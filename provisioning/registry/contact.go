package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/provisioning"
	"postern/xmpp"
)

// contact is what is known about the whereabouts of a device: where requests
// reach it, and what it has to be told.
type contact struct {
	Full  string `json:",omitempty"` // last full address; empty while it is known to be away
	Asked bool   `json:",omitempty"` // it asked the provisioning server, so it may hold answers
	Dirty uint64 `json:",omitempty"` // counts changes it has not acknowledged by clearing its cache; 0: none

	busy     bool      // a clearCache is on its way
	attempt  int       // counts them
	next     time.Time // when to repeat it
	nextTell time.Time // when to repeat other notices
}

// retryAfter is how long after a failed notice the next one is tried.
const retryAfter = 30 * time.Second

// knows reports whether an account has things here, or asked for rights.
func (s *Server) knows(j jid.JID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	bare := j.Bare().String()
	return s.contacts[bare] != nil || len(s.byJID[bare]) > 0
}

// seen notes where a device is: every stanza says so (0324-D23). What it
// missed is sent before its request is answered.
func (s *Server) seen(ctx context.Context, st *xmpp.Stanza) {
	if st.Type == xmpp.TypeError || st.From.Localpart() != "" && st.From.Resourcepart() == "" {
		return
	}
	bare, full := st.From.Bare().String(), st.From.String()
	gone := st.Kind == xmpp.Presence && st.Type == "unavailable"
	name := st.Child().Name()
	asks := st.Kind == xmpp.IQ && (name == provisioning.NameCanRead || name == provisioning.NameCanControl || name == provisioning.NameIsFriend) && !s.cfg.NoProvisioning
	joins := asks || st.Kind == xmpp.IQ && name == provisioning.NameRegister && !s.cfg.NoRegistry
	s.mu.RLock()
	c := s.contacts[bare]
	same := c != nil && c.Full == full && (c.Asked || !asks)
	quiet := c == nil && !joins
	s.mu.RUnlock()
	if quiet || same && !gone {
		if same {
			s.flush(ctx, bare)
		}
		return
	}
	err := s.changeContact(bare, joins, func(c *contact) bool {
		switch {
		case gone && c.Full == full:
			c.Full = ""
		case gone:
			return false
		default:
			// What is on its way to where the device was does not count any more.
			c.Full, c.Asked, c.next, c.nextTell, c.busy = full, c.Asked || asks, time.Time{}, time.Time{}, c.busy && c.Full == full
		}
		return true
	})
	if err != nil {
		s.log.Error("where a device is cannot be kept", "device", bare, "err", err)
	}
	if !gone {
		s.flush(ctx, bare)
	}
}

// changeContact commits a change of a contact, which f makes on a copy.
func (s *Server) changeContact(bare string, create bool, f func(*contact) bool) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.RLock()
	old, full := s.contacts[bare], len(s.contacts) >= s.lim.Devices
	s.mu.RUnlock()
	if old == nil && (!create || full) {
		return nil
	}
	var c contact
	if old != nil {
		c = *old
	}
	if !f(&c) {
		return nil
	}
	if old == nil || old.Full != c.Full || old.Asked != c.Asked || old.Dirty != c.Dirty {
		err := s.cfg.Store.Update(func(tx Tx) error { return contactBucket.Put(tx, bare, c) })
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.contacts[bare] = &c
	s.mu.Unlock()
	return nil
}

// reach returns the address at which a device answers requests, or none
// (0347-D4).
func (s *Server) reach(bare string) jid.JID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.contacts[bare]; c != nil {
		return address(c.Full)
	}
	return jid.JID{}
}

// lost notes that a device did not answer at an address.
func (s *Server) lost(bare, full string) {
	err := s.changeContact(bare, false, func(c *contact) bool {
		if c.Full != full {
			return false
		}
		c.Full = ""
		return true
	})
	if err != nil {
		s.log.Error("where a device is cannot be kept", "device", bare, "err", err)
	}
}

// notify tells a thing what happened to it, now or when it comes back.
func (s *Server) notify(ctx context.Context, r *record) {
	to := s.reach(r.JID)
	if to.String() == "" {
		return
	}
	next := s.cfg.Now().Add(retryAfter)
	if err := s.changeContact(r.JID, false, func(c *contact) bool { c.nextTell = next; return true }); err != nil {
		s.log.Error("a contact cannot be kept", "device", r.JID, "err", err)
	}
	// The answer may come long after the request that led to this is over.
	ctx = context.WithoutCancel(ctx)
	if r.TellOwner {
		s.ask(ctx, to, s.toThing(r), noticeTimeout, s.told(r, to, func(n *record) { n.TellOwner = false }))
	}
	if r.TellGone {
		s.ask(ctx, to, provisioning.Notice{Name: provisioning.NameRemoved, Ref: r.Ref}, noticeTimeout,
			s.told(r, to, func(n *record) { n.TellGone = false }))
	}
}

// told returns what happens when a notice was answered. An error of the thing
// itself ends the matter too: it would say the same again.
func (s *Server) told(r *record, to jid.JID, mark func(*record)) func(error) {
	return func(err error) {
		if away(err) {
			s.log.Info("a thing is away", "thing", r.JID, "err", err)
			s.lost(r.JID, to.String())
			return
		}
		s.writing.Lock()
		defer s.writing.Unlock()
		old := s.get(r.JID, r.Ref)
		if old == nil || old.Owner != r.Owner || !old.Claimed.Equal(r.Claimed) {
			return
		}
		now := *old
		mark(&now)
		if err := s.replace(old, &now); err != nil {
			s.log.Error("that a notice arrived cannot be kept", "thing", r.JID, "err", err)
		}
	}
}

// away reports whether an error means that a device did not get a request.
func away(err error) bool {
	var e *xmpp.Error
	if !errors.As(err, &e) {
		return err != nil
	}
	switch e.Condition {
	case xmpp.ServiceUnavailable, xmpp.RecipientUnavailable, xmpp.RemoteServerNotFound, xmpp.RemoteServerTimeout, xmpp.ResourceConstraint, xmpp.Gone:
		return true
	}
	return false
}

// flush sends what a device missed.
func (s *Server) flush(ctx context.Context, bare string) {
	s.mu.RLock()
	var late []*record
	if c := s.contacts[bare]; c != nil && !s.cfg.Now().Before(c.nextTell) {
		for _, r := range s.byJID[bare] {
			if r.TellOwner || r.TellGone {
				late = append(late, r)
			}
		}
	}
	s.mu.RUnlock()
	for _, r := range late {
		s.notify(ctx, r)
	}
	s.pushClear(ctx, bare, s.cfg.Now())
}

// commit makes a change and shows it, and notes in the same transaction that
// answers these devices may hold are no longer true (0324-R42): a device must
// not keep a yes because the note about it was lost. show runs under s.mu;
// s.writing is held.
func (s *Server) commit(devices []string, change func(Tx) error, show func()) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	dirty := make(map[string]*contact)
	s.mu.RLock()
	for _, d := range devices {
		if c := s.contacts[d]; c != nil && c.Asked {
			now := *c
			now.Dirty++
			now.next = time.Time{}
			dirty[d] = &now
		}
	}
	s.mu.RUnlock()
	err := s.cfg.Store.Update(func(tx Tx) error {
		for d, c := range dirty {
			if err := contactBucket.Put(tx, d, *c); err != nil {
				return err
			}
		}
		return change(tx)
	})
	if err != nil {
		return fmt.Errorf("registry: a change cannot be kept: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, c := range dirty {
		s.contacts[d] = c
	}
	show()
	return nil
}

// clearCache is the request to forget cached answers.
type clearCache struct{}

// AppendEvents writes the element.
func (clearCache) AppendEvents(d *exi.Doc) { d.Element(provisioning.NameClearCache, exi.Value{}) }

// pushClear asks a device to clear its cache, one request at a time, until it
// has acknowledged the last change (0324-R43).
func (s *Server) pushClear(ctx context.Context, bare string, now time.Time) {
	var d contact
	start := false
	_ = s.changeContact(bare, false, func(c *contact) bool { // changes nothing that is kept
		if c.Dirty == 0 || c.busy || c.Full == "" || now.Before(c.next) {
			return false
		}
		c.busy, start = true, true
		c.attempt++
		d = *c
		return true
	})
	if !start {
		return
	}
	to := address(d.Full)
	ctx = context.WithoutCancel(ctx)
	s.ask(ctx, to, clearCache{}, noticeTimeout, func(err error) {
		changed := false
		cerr := s.changeContact(bare, false, func(c *contact) bool {
			if c.attempt != d.attempt || c.Full != d.Full {
				return false // the device has moved, and was asked again
			}
			c.busy = false
			switch {
			case err == nil && c.Dirty == d.Dirty:
				c.Dirty = 0
			case err == nil:
				changed = true
			default:
				c.next = s.cfg.Now().Add(retryAfter)
				if away(err) && !errors.Is(err, context.DeadlineExceeded) {
					c.Full = "" // until it shows up again
				}
			}
			return true
		})
		if cerr != nil {
			s.log.Error("that a device cleared its cache cannot be kept", "device", bare, "err", cerr)
		}
		if changed {
			s.pushClear(ctx, bare, s.cfg.Now())
		}
	})
}

// repeatNotices sends again what nobody acknowledged.
func (s *Server) repeatNotices(ctx context.Context, now time.Time) {
	s.mu.RLock()
	var late []string
	for bare, c := range s.contacts {
		if c.Full != "" && c.Dirty != 0 && !c.busy && !now.Before(c.next) {
			late = append(late, bare)
		}
	}
	s.mu.RUnlock()
	for _, bare := range late {
		s.pushClear(ctx, bare, now)
	}
}
