package hub

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

var namePriority = exi.N(xmpp.NSClient, "priority")

// sendPresence handles presence of the session's client.
func (s *session) sendPresence(p *packet) {
	st := p.st
	toAll := p.to.String() == ""
	switch st.Type {
	case "":
		if toAll {
			s.broadcast(p)
			return
		}
		s.direct(p, true)
	case "unavailable":
		if toAll {
			s.unavailable(p)
			return
		}
		s.direct(p, false)
	case "subscribe", "unsubscribe", "subscribed", "unsubscribed":
		if toAll {
			s.h.refuse(p, xmpp.NewError(xmpp.BadRequest, "whose presence?"))
			return
		}
		s.acc.sendSubscription(p)
	case "probe":
		if !toAll {
			p.from = s.acc.bare
			s.h.route(p)
		}
	case xmpp.TypeError:
		if !toAll {
			s.h.route(p)
		}
	default:
		s.h.refuse(p, xmpp.NewError(xmpp.BadRequest, "unknown type of presence"))
	}
}

// direct sends presence to one receiver and remembers it (RFC 6121 §4.6).
func (s *session) direct(p *packet, available bool) {
	s.acc.mu.Lock()
	key := p.to.String()
	switch {
	case !available:
		delete(s.directed, key)
	case len(s.directed) < s.h.lim.DirectedPresences:
		s.directed[key] = p.to
	default:
		s.acc.mu.Unlock()
		s.h.refuse(p, xmpp.NewError(xmpp.ResourceConstraint, ""))
		return
	}
	s.acc.mu.Unlock()
	s.h.route(p)
}

func priority(st *xmpp.Stanza) int {
	n, ok := st.Elem.Child(namePriority).Text().Int()
	if !ok || n < -128 || n > 127 {
		return 0
	}
	return int(n)
}

// broadcast takes the client's own presence (RFC 6121 §4.2, §4.4).
func (s *session) broadcast(p *packet) {
	acc := s.acc
	late := *p // who asks for it later is told how old it is (0203-R08)
	late.delay = time.Now()
	kept := late.doc(s.h, acc.bare, "")
	acc.mu.Lock()
	if s.over {
		acc.mu.Unlock()
		return
	}
	initial := s.presence == nil
	if !initial {
		s.h.putDoc(s.presence)
	}
	acc.seq++
	s.presence, s.priority, s.seq = kept, priority(p.st), acc.seq
	// The account's own resources, this one included (IM-R29, R30).
	for _, other := range acc.available() {
		if err := p.give(other); err != nil {
			s.h.log.Debug("presence not delivered", "to", other.full, "err", err)
		}
		if initial && other != s {
			s.showPresence(other)
		}
	}
	if initial {
		s.redeliverRequests()
	}
	if s.priority >= 0 && !s.asked {
		s.asked = true
		acc.flush(s)
	}
	audience := s.audience()
	var seen []jid.JID
	if initial {
		seen = acc.contactsWith(false)
	}
	acc.mu.Unlock()
	for _, to := range audience {
		s.h.route(&packet{st: p.st, from: s.full, to: to, lang: p.lang})
	}
	for _, to := range seen {
		s.probe(to)
	}
}

// audience is whom the session's presence goes to: contacts that see the
// account and did not answer by an error (IM-R53).
// The account is locked.
func (s *session) audience() []jid.JID {
	return slices.DeleteFunc(s.acc.contactsWith(true), func(j jid.JID) bool { return s.muted[j.String()] })
}

// mute takes an error that answers the session's presence.
func (s *session) mute(p *packet) {
	s.acc.mu.Lock()
	defer s.acc.mu.Unlock()
	// Only contacts count, which bounds the map.
	if key := p.from.Bare().String(); s.acc.roster[key] != nil {
		s.muted[key] = true
	}
	if err := p.give(s); err != nil {
		s.h.log.Debug("presence not delivered", "to", s.full, "err", err)
	}
}

// showPresence gives the session the presence of another resource. The
// other's account is locked.
func (s *session) showPresence(other *session) {
	st := xmpp.Stanza{}
	if err := st.Parse(other.presence.Root()); err != nil {
		return
	}
	p := &packet{st: &st, from: other.full}
	if err := p.give(s); err != nil {
		s.h.log.Debug("presence not delivered", "to", s.full, "err", err)
	}
}

// redeliverRequests gives the session the requests of contacts that wait for
// an answer (IM-R21). acc.mu is held.
func (s *session) redeliverRequests() {
	for key, c := range s.acc.roster {
		if !c.Sub.In {
			continue
		}
		d := s.h.getDoc()
		if c.Request == "" || xmltext.ParseElement(c.Request, d) != nil {
			d.Reset()
			st := xmpp.Stanza{Kind: xmpp.Presence, Type: "subscribe", From: c.jid, To: s.acc.bare}
			st.AppendEvents(d)
			s.h.log.Debug("a stored request is rebuilt", "account", s.acc.name, "contact", key)
		}
		if err := s.push(d); err != nil {
			s.h.putDoc(d)
		}
	}
}

// probe asks for the presence of a contact in the account's name
// (RFC 6121 §4.3).
func (s *session) probe(to jid.JID) {
	st := xmpp.Stanza{Kind: xmpp.Presence, Type: "probe", From: s.acc.bare, To: to}
	if to.Domainpart() != s.h.domain.Domainpart() || to.Localpart() == "" {
		s.h.sendStanza(&st)
		return
	}
	acc, err := s.h.account(to.Localpart())
	if err != nil || acc == nil || !acc.sees(s.full) {
		return
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	for _, other := range acc.available() {
		s.showPresence(other)
	}
}

// farewell is who has to be told that a session is unavailable.
type farewell struct {
	was      bool // available before
	audience []jid.JID
	directed map[string]jid.JID
}

// withdraw makes the session unavailable. The account is locked: whoever sees
// the session is told either by it or by what takes its sight away meanwhile.
func (s *session) withdraw() (f farewell) {
	f.was, f.directed = s.presence != nil, s.directed
	if f.was {
		f.audience = s.audience()
	}
	s.acc.seq++
	s.presence, s.priority, s.asked, s.seq = nil, 0, false, s.acc.seq
	s.directed = make(map[string]jid.JID)
	return f
}

// unavailable is withdraw, and tells everybody who saw the session (IM-R36).
func (s *session) unavailable(p *packet) {
	s.acc.mu.Lock()
	f := s.withdraw()
	s.acc.mu.Unlock()
	s.tellUnavailable(f, p)
}

// tellUnavailable tells those who saw a session. Without a packet the stream
// ended.
func (s *session) tellUnavailable(f farewell, p *packet) {
	if p == nil {
		d := s.h.getDoc()
		defer s.h.putDoc(d)
		st := xmpp.Stanza{Kind: xmpp.Presence, Type: "unavailable"}
		st.AppendEvents(d)
		st.Elem = d.Root()
		p = &packet{st: &st, from: s.full}
	}
	told := make(map[string]bool)
	if f.was {
		acc := s.acc
		acc.mu.Lock()
		// p was parsed from a client or made here: the receiver is set by give.
		for _, other := range acc.available() {
			if err := p.give(other); err != nil {
				s.h.log.Debug("presence not delivered", "to", other.full, "err", err)
			}
		}
		if !s.over {
			if err := p.give(s); err != nil {
				s.h.log.Debug("presence not delivered", "to", s.full, "err", err)
			}
		}
		acc.mu.Unlock()
		for _, to := range f.audience {
			told[to.String()] = true
			s.h.route(&packet{st: p.st, from: s.full, to: to, lang: p.lang})
		}
	}
	for key, to := range f.directed {
		if !told[key] && !told[to.Bare().String()] {
			s.h.route(&packet{st: p.st, from: s.full, to: to, lang: p.lang})
		}
	}
}

// receivePresence delivers presence to the account.
func (acc *account) receivePresence(p *packet) {
	switch p.st.Type {
	case "", "unavailable":
		acc.deliverPresence(p)
	case xmpp.TypeError:
		if s := acc.session(p); s != nil {
			s.mute(p)
		}
	case "subscribe", "unsubscribe", "subscribed", "unsubscribed":
		acc.receiveSubscription(p)
	case "probe":
		acc.answerProbe(p)
	}
}

func (acc *account) deliverPresence(p *packet) {
	acc.mu.Lock()
	defer acc.mu.Unlock()
	if res := p.to.Resourcepart(); res != "" {
		s := acc.sessions[res]
		// A resource that has not sent presence gets none (IM-R38).
		if s != nil && (s.presence != nil || p.st.Type == "unavailable") {
			if err := p.give(s); err != nil {
				acc.h.log.Debug("presence not delivered", "to", s.full, "err", err)
			}
		}
		return
	}
	for _, s := range acc.available() {
		if s.full.Equal(p.from) {
			continue
		}
		if err := p.give(s); err != nil {
			acc.h.log.Debug("presence not delivered", "to", s.full, "err", err)
		}
	}
}

// answerProbe tells the account's presence to those who may know it
// (RFC 6121 §4.3.2); others hear nothing.
func (acc *account) answerProbe(p *packet) {
	if !acc.sees(p.from) {
		return
	}
	acc.mu.Lock()
	var docs []*exi.Doc
	for _, s := range acc.available() {
		if res := p.to.Resourcepart(); res != "" && res != s.res {
			continue
		}
		d := acc.h.getDoc()
		d.Copy(s.presence)
		docs = append(docs, d)
	}
	acc.mu.Unlock()
	for _, d := range docs {
		var st xmpp.Stanza
		if st.Parse(d.Root()) == nil {
			acc.h.route(&packet{st: &st, from: st.From, to: p.from})
		}
		acc.h.putDoc(d)
	}
}

// id makes ids that nobody guesses (CORE-R115).
func (h *Hub) id() string {
	return strings.ToLower("h" + strconv.FormatInt(time.Now().UnixNano(), 36) + randomText())
}
