package hub

import (
	"errors"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

var (
	attrTo    = exi.N("", "to")
	attrFrom  = exi.N("", "from")
	attrLang  = exi.N(exi.NSXML, "lang")
	attrStamp = exi.N("", "stamp")
	nameDelay = exi.N(xmpp.NSDelay, "delay")
)

// packet is a stanza on its way through the hub. Its addresses were checked;
// from is who sent it, whatever the element says.
type packet struct {
	st       *xmpp.Stanza // with Elem
	from, to jid.JID
	lang     string // of the sender's stream
	src      *session
	delay    time.Time // not zero: when it was sent first
}

// doc writes the stanza as the receiver gets it (CORE-R43, R108, R123).
func (p *packet) doc(h *Hub, to jid.JID, lang string) *exi.Doc {
	d := h.getDoc()
	c := p.st.Elem
	d.Start(c.Name())
	hasLang := false
	first := true
	for e := range c.Events() {
		switch {
		case first:
			first = false
			continue
		case e.Kind == exi.AT && (e.Name == attrTo || e.Name == attrFrom):
			continue
		case e.Kind == exi.AT:
			hasLang = hasLang || e.Name == attrLang
			d.Attr(e.Name, own(d, e.Value))
			continue
		case e.Kind == exi.NS:
			// Always possible here: only attributes came before.
			_ = d.Add(*e)
			continue
		}
		break
	}
	d.Attr(attrFrom, exi.Str(p.from.String()))
	d.Attr(attrTo, exi.Str(to.String()))
	if !hasLang && p.lang != "" && p.lang != lang {
		d.Attr(attrLang, exi.Str(p.lang)) // D15
	}
	stamped := false
	for k := range c.Children() {
		if k.Name() == nameDelay {
			v, _ := k.Attr(attrFrom)
			stamped = stamped || v.Is(h.domain.String())
		}
		d.AppendElement(k)
	}
	if !p.delay.IsZero() && !stamped {
		appendDelay(d, h.domain, p.delay) // once for each place (0203-R03)
	}
	d.End()
	return d
}

// own copies a value that borrows from another Doc.
func own(d *exi.Doc, v exi.Value) exi.Value {
	if v.Kind() == exi.Lexical {
		return d.Borrow([]byte(v.View()))
	}
	return v.Clone()
}

func appendDelay(d *exi.Doc, from jid.JID, stamp time.Time) {
	d.Start(nameDelay)
	d.Attr(attrFrom, exi.Str(from.String()))
	d.Attr(attrStamp, exi.TimeValue(stamp.UTC(), 3))
	d.End()
}

// secondChance says that the stanza comes from the queue of another session.
func (p *packet) secondChance() bool { return !p.delay.IsZero() }

// give hands the stanza to a session.
func (p *packet) give(s *session) error {
	d := p.doc(s.h, s.full, s.lang())
	var err error
	if p.secondChance() {
		err = s.q.add(d, time.Now(), second)
	} else {
		err = s.push(d)
	}
	if err != nil {
		s.h.putDoc(d)
		return err
	}
	return nil
}

// stanza handles one stanza of the session's client. An error ends the
// stream.
func (s *session) stanza(c exi.Cursor) error {
	var st xmpp.Stanza
	perr := st.Parse(c)
	if st.From.String() != "" && !st.From.Equal(s.full) && !st.From.Equal(s.acc.bare) {
		return xmpp.NewStreamError("invalid-from", "")
	}
	p := &packet{st: &st, from: s.full, to: st.To, src: s}
	if l := s.link.Load(); l != nil {
		p.lang = l.lang
	}
	if perr != nil {
		var e *xmpp.Error
		if errors.As(perr, &e) && e.Condition == xmpp.JIDMalformed {
			if v, ok := c.Attr(attrFrom); ok && st.From.String() == "" && !v.IsZero() {
				if _, err := xmpp.ParseJID(v.String()); err != nil {
					return xmpp.NewStreamError("invalid-from", "")
				}
			}
		}
		p.to = jid.JID{}
		s.h.refuse(p, perr)
		return nil
	}
	switch st.Kind {
	case xmpp.IQ:
		s.iq(p)
	case xmpp.Message:
		if p.to.String() == "" {
			p.to = s.acc.bare // CORE-R120
		}
		s.h.route(p)
	case xmpp.Presence:
		s.sendPresence(p)
	}
	return nil
}

// iq checks and routes an iq (RFC 6120 §8.2.3).
func (s *session) iq(p *packet) {
	st := p.st
	switch st.Type {
	case xmpp.Get, xmpp.Set:
		if st.ID == "" || !st.Child().Valid() || st.Child().Next().Valid() {
			s.h.refuse(p, xmpp.NewError(xmpp.BadRequest, "an iq has an id and exactly one payload"))
			return
		}
	case xmpp.Result, xmpp.TypeError:
	default:
		s.h.refuse(p, xmpp.NewError(xmpp.BadRequest, "the type of an iq is get, set, result or error"))
		return
	}
	if p.to.String() == "" {
		p.to = s.acc.bare
	}
	s.h.route(p)
}

// refuse answers a stanza with an error. Errors, results and presence get none
// (RFC 6120 §8.3.1); a subscription request that went nowhere does.
func (h *Hub) refuse(p *packet, err error) {
	st := p.st
	if st.Type == xmpp.TypeError || st.Type == xmpp.Result ||
		st.Kind == xmpp.Presence && st.Type != "subscribe" && st.Type != "probe" && !errors.Is(err, &xmpp.Error{Condition: xmpp.JIDMalformed}) && !errors.Is(err, &xmpp.Error{Condition: xmpp.BadRequest}) {
		return
	}
	reply := st.ErrorReply(err)
	h.answer(p, reply)
}

// answer sends a stanza back to where p came from, in the name of whom it was
// sent to. Without an address that is the account (RFC 6120 §8.1.2.1).
func (h *Hub) answer(p *packet, reply xmpp.Stanza) {
	reply.From, reply.To = p.to, p.from
	if p.src != nil {
		d := h.getDoc()
		reply.AppendEvents(d)
		if err := p.src.push(d); err != nil {
			h.putDoc(d)
		}
		return
	}
	h.sendStanza(&reply)
}

// sendStanza routes a stanza made here.
func (h *Hub) sendStanza(st *xmpp.Stanza) {
	d := h.getDoc()
	defer h.putDoc(d)
	st.AppendEvents(d)
	made := *st
	made.Elem = d.Root()
	h.route(&packet{st: &made, from: st.From, to: st.To})
}
