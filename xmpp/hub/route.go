package hub

import (
	"context"
	"errors"
	"fmt"

	"postern/exi"
	"postern/xmpp"
)

// Send routes stanzas of a component, or of the domain itself. From must be
// an address of either. It returns when the stanzas are with their receivers'
// queues or handlers, or were answered by an error stanza.
func (h *Hub) Send(_ context.Context, sts ...xmpp.Stanza) error {
	for i := range sts {
		st := &sts[i]
		if _, ok := h.cfg.Components[st.From.Domainpart()]; !ok && st.From.Domainpart() != h.domain.Domainpart() {
			return fmt.Errorf("hub: stanza from %q, which is no address of this site", st.From)
		}
		if st.To.String() == "" {
			return errors.New("hub: stanza without an address")
		}
	}
	for i := range sts {
		h.sendStanza(&sts[i])
	}
	return nil
}

// route delivers a stanza by the domain it is for (RFC 6120 §10.3, §10.4).
// Presence of the four subscription types was seen to at the sender's side.
func (h *Hub) route(p *packet) {
	domain := p.to.Domainpart()
	comp, isComp := h.cfg.Components[domain]
	switch {
	case isComp:
		h.handle(p, comp.Handler)
	case domain != h.domain.Domainpart():
		h.refuse(p, xmpp.NewError(xmpp.RemoteServerNotFound, "this site does not talk to other servers"))
	case p.to.Localpart() == "":
		h.toDomain(p)
	default:
		acc, err := h.account(p.to.Localpart())
		switch {
		case err != nil:
			h.log.Error("an account cannot be read", "account", p.to.Localpart(), "err", err)
			h.refuse(p, xmpp.NewError(xmpp.InternalServerError, "").WithType(xmpp.Wait))
		case acc == nil:
			h.toNobody(p)
		default:
			acc.receive(p)
		}
	}
}

// toNobody answers for accounts that do not exist (core-im §4, first row).
func (h *Hub) toNobody(p *packet) {
	switch p.st.Kind {
	case xmpp.IQ:
		h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, ""))
	case xmpp.Message:
		if p.st.Type != "headline" {
			h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, ""))
		}
	case xmpp.Presence:
		if p.st.Type == "subscribe" { // D18
			h.sendStanza(&xmpp.Stanza{Kind: xmpp.Presence, Type: "unsubscribed", From: p.to.Bare(), To: p.from.Bare()})
		}
	}
}

// toDomain handles what is addressed to the domain itself.
func (h *Hub) toDomain(p *packet) {
	if p.to.Resourcepart() != "" && p.st.Kind == xmpp.IQ {
		h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, ""))
		return
	}
	if p.st.Kind == xmpp.IQ && h.mux.Lookup(p.st) != nil {
		h.handle(p, &h.mux)
		return
	}
	h.handle(p, h.cfg.Handler)
}

// handle gives a stanza to a handler inside the process and sends its answer.
func (h *Hub) handle(p *packet, to xmpp.Handler) {
	if to == nil {
		if p.st.Kind == xmpp.IQ {
			h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, ""))
		}
		return
	}
	st := *p.st
	st.From, st.To = p.from, p.to
	reply, err := to.HandleStanza(context.Background(), &st)
	then, more := reply.(xmpp.Answer)
	request := st.Kind == xmpp.IQ && (st.Type == xmpp.Get || st.Type == xmpp.Set)
	switch {
	case errors.Is(err, xmpp.ErrLater):
	case !request:
		if err != nil {
			h.log.Info("a component could not handle a stanza", "to", p.to, "from", p.from, "err", err)
		}
	case err != nil:
		h.refuse(p, err)
	default:
		h.answer(p, st.Reply(xmpp.Result, reply))
	}
	if more && err == nil {
		for i := range then.Then {
			h.sendStanza(&then.Then[i])
		}
	}
}

// receive delivers a stanza to the account (RFC 6121 §8.5).
func (acc *account) receive(p *packet) {
	switch p.st.Kind {
	case xmpp.IQ:
		acc.receiveIQ(p)
	case xmpp.Message:
		acc.receiveMessage(p)
	case xmpp.Presence:
		acc.receivePresence(p)
	}
}

// session returns the session of the resource that p is addressed to.
func (acc *account) session(p *packet) *session {
	res := p.to.Resourcepart()
	if res == "" {
		return nil
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	return acc.sessions[res]
}

func (acc *account) receiveIQ(p *packet) {
	if p.to.Resourcepart() != "" {
		if s := acc.session(p); s == nil || p.give(s) != nil {
			acc.h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, ""))
		}
		return
	}
	// The server answers for the account; clients never see it (IM-R46).
	if p.st.Type == xmpp.Result || p.st.Type == xmpp.TypeError {
		return
	}
	acc.serveIQ(p)
}

// messageType reads unknown types as normal (IM-R43).
func messageType(st *xmpp.Stanza) string {
	switch st.Type {
	case "chat", "groupchat", "headline", xmpp.TypeError:
		return st.Type
	}
	return "normal"
}

func (acc *account) receiveMessage(p *packet) {
	typ := messageType(p.st)
	if p.to.Resourcepart() != "" {
		if s := acc.session(p); s != nil && p.give(s) == nil {
			return
		}
		switch typ {
		case "chat":
			// As for the bare address: below.
		case xmpp.TypeError, "headline":
			return
		default:
			acc.h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, "")) // D12
			return
		}
	}
	switch typ {
	case "groupchat":
		acc.h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, ""))
		return
	case xmpp.TypeError:
		return
	}
	acc.mu.Lock()
	lost, err := acc.deliver(p, typ)
	acc.mu.Unlock()
	if err != nil {
		acc.h.refuse(p, err)
	}
	for _, l := range lost {
		l.session.requeue(l.item)
	}
}

// lostItem is something else than a message that a session did not get.
type lostItem struct {
	session *session
	item
}

// deliver gives a message to the resources that it is for, or keeps it
// (RFC 6121 §8.5.2). acc.mu is held.
func (acc *account) deliver(p *packet, typ string) (lost []lostItem, err error) {
	delivered := false
	for _, s := range acc.available() {
		if s.priority < 0 {
			continue
		}
		err := p.give(s)
		if errors.Is(err, errFull) && !p.secondChance() {
			// What is in the queue comes before p: it must not wait until the
			// session has ended (IM-R56).
			lost = append(lost, acc.spill(s)...)
		}
		if err == nil {
			delivered = true
			if typ != "headline" {
				break // D1: the most available one
			}
		}
	}
	if !delivered && typ != "headline" {
		err = acc.keep(p)
	}
	return lost, err
}

// spill closes the queue of a session that takes no more and delivers its
// messages elsewhere. acc.mu is held.
func (acc *account) spill(s *session) (lost []lostItem) {
	for _, it := range s.q.close() {
		var st xmpp.Stanza
		if err := st.Parse(it.doc.Root()); err != nil || st.Kind != xmpp.Message {
			lost = append(lost, lostItem{s, it})
			continue
		}
		more, err := acc.deliver(&packet{st: &st, from: st.From, to: acc.bare, delay: it.at}, messageType(&st))
		if err != nil {
			acc.h.log.Warn("a message is lost", "account", acc.name, "from", st.From, "err", err)
		}
		lost = append(lost, more...)
	}
	return lost
}

var nameBody = exi.N(xmpp.NSClient, "body")
