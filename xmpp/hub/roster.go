package hub

import (
	"crypto/rand"
	"slices"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

const nsRoster = "jabber:iq:roster"

var (
	nameRoster       = exi.N(nsRoster, "query")
	nameItem         = exi.N(nsRoster, "item")
	nameGroup        = exi.N(nsRoster, "group")
	attrJID          = exi.N("", "jid")
	attrName         = exi.N("", "name")
	attrSubscription = exi.N("", "subscription")
	attrAsk          = exi.N("", "ask")
	attrApproved     = exi.N("", "approved")
	attrVer          = exi.N("", "ver")
)

// maxRosterText bounds names and groups (D16), maxGroups the groups of one
// contact.
const (
	maxRosterText = 1023
	maxGroups     = 50
)

func randomText() string { return rand.Text()[:12] }

func (c *contact) appendItem(d *exi.Doc, key string) {
	d.Start(nameItem)
	d.Attr(attrJID, exi.Str(key))
	if c.Name != "" {
		d.Attr(attrName, exi.Str(c.Name))
	}
	d.Attr(attrSubscription, exi.Str(c.Sub.String()))
	if c.Sub.Ask {
		d.Attr(attrAsk, exi.Str("subscribe"))
	}
	if c.Sub.Approved {
		d.Attr(attrApproved, exi.Str("true"))
	}
	for _, g := range c.Groups {
		d.Element(nameGroup, exi.Str(g))
	}
	d.End()
}

// getRoster answers a roster request and makes the session an interested
// resource (RFC 6121 §2.2).
func (s *session) getRoster(p *packet) {
	acc := s.acc
	acc.mu.Lock()
	defer acc.mu.Unlock()
	s.interested = true
	ver, known := p.st.Child().Attr(attrVer)
	if known && ver.Is(acc.version()) {
		s.h.answer(p, p.st.Reply(xmpp.Result, nil))
		return
	}
	s.h.answer(p, p.st.Reply(xmpp.Result, xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameRoster)
		d.Attr(attrVer, exi.Str(acc.version()))
		for key, c := range acc.roster {
			if c.visible() {
				c.appendItem(d, key)
			}
		}
		d.End()
	})))
}

// pushRoster tells the interested resources of a changed entry; nil says that
// it is gone (IM-R08). acc.mu is held.
func (acc *account) pushRoster(key string, c *contact) {
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, From: acc.bare}
	st.Payload = xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameRoster)
		d.Attr(attrVer, exi.Str(acc.version()))
		if c != nil {
			c.appendItem(d, key)
		} else {
			d.Start(nameItem)
			d.Attr(attrJID, exi.Str(key))
			d.Attr(attrSubscription, exi.Str("remove"))
			d.End()
		}
		d.End()
	})
	for _, s := range acc.sessions {
		if !s.interested {
			continue
		}
		st.ID, st.To = acc.h.id(), s.full
		d := acc.h.getDoc()
		st.AppendEvents(d)
		if err := s.push(d); err != nil {
			acc.h.putDoc(d)
		}
	}
}

// setRoster changes the roster (RFC 6121 §2.3 to §2.5). Only name and groups
// are the client's to say (IM-R10).
func (acc *account) setRoster(p *packet) error {
	item := p.st.Child().First()
	if !item.Valid() || item.Name() != nameItem || item.Next().Valid() {
		return xmpp.NewError(xmpp.BadRequest, "a roster set has exactly one item")
	}
	v, _ := item.Attr(attrJID)
	who, err := xmpp.ParseJID(v.String())
	if err != nil {
		return xmpp.NewError(xmpp.JIDMalformed, "the item's jid")
	}
	who = who.Bare()
	if who.Equal(acc.bare) {
		return xmpp.NewError(xmpp.NotAllowed, "one is not one's own contact") // D17
	}
	if sub, ok := item.Attr(attrSubscription); ok && sub.Is("remove") {
		return acc.removeContact(who)
	}
	name, _ := item.Attr(attrName)
	groups, err := readGroups(item)
	if err != nil {
		return err
	}
	if len(name.View()) > maxRosterText {
		return xmpp.NewError(xmpp.NotAcceptable, "the name is too long")
	}
	key := who.String()
	acc.mu.Lock()
	defer acc.mu.Unlock()
	c := acc.entry(who)
	if c == nil {
		return xmpp.NewError(xmpp.ResourceConstraint, "the roster is full")
	}
	c.Listed, c.Name, c.Groups = true, name.String(), groups
	if err := acc.save(key, c, true); err != nil {
		return acc.broken(err)
	}
	acc.pushRoster(key, c)
	return nil
}

func readGroups(item exi.Cursor) ([]string, error) {
	var groups []string
	for g := range item.Children() {
		if g.Name() != nameGroup {
			continue
		}
		text := g.Text().String()
		switch {
		case text == "" || len(text) > maxRosterText || len(groups) >= maxGroups:
			return nil, xmpp.NewError(xmpp.NotAcceptable, "a group's name is empty or too long, or there are too many")
		case slices.Contains(groups, text):
			return nil, xmpp.NewError(xmpp.BadRequest, "a group occurs twice")
		}
		groups = append(groups, text)
	}
	return groups, nil
}

// entry returns a copy of the contact's entry to be changed and saved, or nil
// when the roster is full. acc.mu is held.
func (acc *account) entry(who jid.JID) *contact {
	if c := acc.roster[who.String()]; c != nil {
		changed := *c
		return &changed
	}
	if len(acc.roster) >= acc.h.lim.Roster {
		return nil
	}
	return &contact{jid: who}
}

func (acc *account) broken(err error) error {
	acc.h.log.Error("a roster cannot be stored", "account", acc.name, "err", err)
	return xmpp.NewError(xmpp.InternalServerError, "").WithType(xmpp.Wait)
}

// removeContact deletes a contact and both subscriptions (RFC 6121 §2.5.2).
func (acc *account) removeContact(who jid.JID) error {
	acc.h.subs.Lock()
	defer acc.h.subs.Unlock()
	key := who.String()
	acc.mu.Lock()
	c := acc.roster[key]
	if c == nil || !c.visible() {
		acc.mu.Unlock()
		return xmpp.NewError(xmpp.ItemNotFound, "")
	}
	if err := acc.save(key, nil, true); err != nil {
		acc.mu.Unlock()
		return acc.broken(err)
	}
	acc.pushRoster(key, nil)
	seen := acc.available()
	acc.mu.Unlock()
	acc.cancel(c, seen)
	return nil
}

// cancel ends both directions towards a contact that is no more in the roster.
// seen are the sessions that were available when it was taken out.
func (acc *account) cancel(c *contact, seen []*session) {
	if c.Sub.To || c.Sub.Ask {
		acc.tell(c.jid, "unsubscribe")
	}
	if c.Sub.From || c.Sub.In {
		acc.tell(c.jid, "unsubscribed")
	}
	if c.Sub.From {
		showAll(seen, c.jid, true)
	}
}

// cancelAll ends all subscriptions of an account that is removed.
func (acc *account) cancelAll() {
	acc.h.subs.Lock()
	defer acc.h.subs.Unlock()
	acc.mu.Lock()
	acc.gone = true
	var list []*contact
	for _, c := range acc.roster {
		list = append(list, c)
	}
	clear(acc.roster)
	seen := acc.available() // those that end later have nobody to tell any more
	acc.mu.Unlock()
	for _, c := range list {
		acc.cancel(c, seen)
	}
}

// tell sends a subscription stanza in the account's name.
func (acc *account) tell(who jid.JID, typ string) {
	acc.h.sendStanza(&xmpp.Stanza{Kind: xmpp.Presence, Type: typ, ID: acc.h.id(), From: acc.bare, To: who})
}

// sendSubscription takes a subscription stanza of one of the account's clients
// (RFC 6121 §3, outbound).
func (acc *account) sendSubscription(p *packet) {
	to := p.to.Bare() // IM-R17
	if to.Equal(acc.bare) {
		return // D6
	}
	// One at a time in the whole hub: both ends must come to know of two
	// changes in the order in which they were made.
	acc.h.subs.Lock()
	defer acc.h.subs.Unlock()
	key := to.String()
	acc.mu.Lock()
	c := acc.entry(to)
	if c == nil {
		acc.mu.Unlock()
		acc.h.refuse(p, xmpp.NewError(xmpp.ResourceConstraint, "the roster is full"))
		return
	}
	before := c.Sub
	var route bool
	c.Sub, route = before.outbound(p.st.Type)
	if c.Sub != before {
		if !c.Sub.In {
			c.Request = ""
		}
		c.Listed = c.Listed || c.Sub.Ask || c.Sub.From || c.Sub.Approved
		shown := before.String() != c.Sub.String() || before.Ask != c.Sub.Ask || before.Approved != c.Sub.Approved
		if err := acc.save(key, c, shown); err != nil {
			acc.mu.Unlock()
			acc.h.refuse(p, acc.broken(err))
			return
		}
		if shown {
			acc.pushRoster(key, c)
		}
	}
	seen := acc.available()
	acc.mu.Unlock()
	if route {
		acc.h.route(&packet{st: p.st, from: acc.bare, to: to, lang: p.lang, src: p.src})
	}
	if before.From != c.Sub.From {
		showAll(seen, to, !c.Sub.From)
	}
}

// receiveSubscription takes a subscription stanza of a contact (RFC 6121 §3,
// inbound).
func (acc *account) receiveSubscription(p *packet) {
	from := p.from.Bare()
	if from.Equal(acc.bare) {
		return
	}
	key := from.String()
	acc.mu.Lock()
	c := acc.entry(from)
	if c == nil {
		acc.mu.Unlock()
		return // a full roster takes no more requests
	}
	before := c.Sub
	var deliver, answer bool
	c.Sub, deliver, answer = before.inbound(p.st.Type)
	request := &packet{st: p.st, from: from, to: acc.bare, lang: p.lang}
	if c.Sub.In && p.st.Type == "subscribe" {
		c.Request = acc.h.text(request, acc.bare) // the newest one counts
	} else if !c.Sub.In {
		c.Request = ""
	}
	if c.Sub != before || c.Sub.In {
		c.Listed = c.Listed || answer
		shown := before.String() != c.Sub.String() || before.Ask != c.Sub.Ask
		if err := acc.save(key, c, shown); err != nil {
			acc.mu.Unlock()
			acc.h.log.Error("a subscription cannot be stored", "account", acc.name, "err", err)
			return
		}
		if shown {
			acc.pushRoster(key, c)
		}
	}
	if deliver {
		acc.deliverSubscription(request)
	}
	seen := acc.available()
	acc.mu.Unlock()
	if answer {
		acc.tell(from, "subscribed")
	}
	if before.From != c.Sub.From {
		showAll(seen, from, !c.Sub.From)
	}
}

// deliverSubscription gives a subscription stanza to the clients that it is
// for: requests to available resources, answers to those that keep a roster.
// acc.mu is held.
func (acc *account) deliverSubscription(p *packet) {
	for _, s := range acc.sessions {
		if p.st.Type == "subscribe" && s.presence == nil || p.st.Type != "subscribe" && !s.interested {
			continue
		}
		if err := p.give(s); err != nil {
			acc.h.log.Debug("subscription not delivered", "to", s.full, "err", err)
		}
	}
}

// text renders a stanza for the store; empty when that is not possible.
func (h *Hub) text(p *packet, to jid.JID) string {
	d := p.doc(h, to, "")
	defer h.putDoc(d)
	b, err := xmltext.AppendElement(nil, d, xmltext.Scope{})
	if err != nil {
		h.log.Warn("a stanza cannot be stored", "from", p.from, "err", err)
		return ""
	}
	return string(b)
}

// showAll sends a new subscriber the presence of every available resource
// (IM-R23), or takes it back (IM-R24). seen are those that were available when
// the roster was changed: the others tell for themselves.
func showAll(seen []*session, to jid.JID, gone bool) {
	for _, s := range seen {
		s.showTo(to, gone)
	}
}

// showTo sends the session's presence to a contact. When it changes meanwhile
// it is sent once more, so that the contact's last word is the last presence.
func (s *session) showTo(to jid.JID, gone bool) {
	d := s.h.getDoc()
	defer s.h.putDoc(d)
	for last := uint64(0); ; {
		s.acc.mu.Lock()
		seq := s.seq
		if seq == last {
			s.acc.mu.Unlock()
			return
		}
		d.Reset()
		if gone || s.presence == nil {
			st := xmpp.Stanza{Kind: xmpp.Presence, Type: "unavailable", From: s.full}
			st.AppendEvents(d)
		} else {
			d.Copy(s.presence)
		}
		s.acc.mu.Unlock()
		var st xmpp.Stanza
		if st.Parse(d.Root()) == nil {
			s.h.route(&packet{st: &st, from: st.From, to: to})
		}
		if last = seq; gone {
			return
		}
	}
}
