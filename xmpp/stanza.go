package xmpp

import (
	"fmt"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// StanzaKind is one of the three stanzas.
type StanzaKind uint8

// The stanza kinds (RFC 6120 §8.2).
const (
	IQ StanzaKind = iota + 1
	Message
	Presence
)

// String returns the element's name.
func (k StanzaKind) String() string {
	switch k {
	case IQ:
		return "iq"
	case Message:
		return "message"
	case Presence:
		return "presence"
	}
	return "stanza?"
}

// Types of an iq.
const (
	Get    = "get"
	Set    = "set"
	Result = "result"
	// TypeError marks a stanza of any kind that reports an error.
	TypeError = "error"
)

// Payload is content that can write itself into a Doc. What it appends are
// whole elements.
type Payload interface {
	AppendEvents(d *exi.Doc)
}

// PayloadFunc makes a function a Payload.
type PayloadFunc func(d *exi.Doc)

// AppendEvents calls f.
func (f PayloadFunc) AppendEvents(d *exi.Doc) { f(d) }

// Payloads writes several in order; nil ones are left out.
type Payloads []Payload

// AppendEvents writes each Payload.
func (ps Payloads) AppendEvents(d *exi.Doc) {
	for _, p := range ps {
		if p != nil {
			p.AppendEvents(d)
		}
	}
}

// Copied is a Payload that copies the element at a Cursor.
type Copied exi.Cursor

// AppendEvents copies the element.
func (c Copied) AppendEvents(d *exi.Doc) { d.AppendElement(exi.Cursor(c)) }

// Stanza is an iq, message or presence (RFC 6120 §8).
//
// Outgoing stanzas carry Payload. Received ones have Elem, which together
// with everything reached through it is valid until the handler returns; the
// other fields may be kept.
type Stanza struct {
	Kind     StanzaKind
	Type     string // empty where the attribute is absent
	ID       string
	To, From jid.JID // zero where the attribute is absent
	Lang     string  // xml:lang

	Payload Payload    // outgoing content
	Elem    exi.Cursor // the received stanza element

	// QueuedSince is set on received stanzas that the server may have kept
	// while the connection was broken: it is when the connection was last
	// known to work. Such a stanza is as old as that, although it may carry no
	// delay stamp (servers stamp no iq on resumption). See Age.
	QueuedSince time.Time
}

var (
	nameIQ       = exi.N(NSClient, "iq")
	nameMessage  = exi.N(NSClient, "message")
	namePresence = exi.N(NSClient, "presence")
	attrTo       = exi.N("", "to")
	attrFrom     = exi.N("", "from")
	attrID       = exi.N("", "id")
	attrType     = exi.N("", "type")
	attrLang     = exi.N(exi.NSXML, "lang")
)

// KindOf returns the stanza kind of an element name, 0 for other elements.
func KindOf(n exi.Name) StanzaKind {
	switch n {
	case nameIQ:
		return IQ
	case nameMessage:
		return Message
	case namePresence:
		return Presence
	}
	return 0
}

// Parse reads the stanza element at c. It returns a *Error with jid-malformed
// for an address that fails RFC 7622, and bad-request for an element that is
// no stanza. st is filled as far as possible then, so that an answer can be
// addressed.
func (st *Stanza) Parse(c exi.Cursor) error { return st.parse(c, nil) }

func (st *Stanza) parse(c exi.Cursor, jids *jidCache) error {
	*st = Stanza{Kind: KindOf(c.Name()), Elem: c}
	if st.Kind == 0 {
		return NewError(BadRequest, "not a stanza")
	}
	var fault *Error
	for name, v := range c.Attrs() {
		var err error
		switch name {
		case attrType:
			st.Type = typeString(v)
		case attrID:
			st.ID = v.String()
		case attrLang:
			st.Lang = v.String()
		case attrTo:
			st.To, err = jids.parse(v.View())
		case attrFrom:
			st.From, err = jids.parse(v.View())
		}
		if err != nil && fault == nil {
			fault = NewError(JIDMalformed, name.Value().Local+": "+err.Error())
		}
	}
	if fault != nil {
		return fault
	}
	return nil
}

// typeString is v.String without an allocation for the usual types.
func typeString(v exi.Value) string {
	switch s := v.View(); s {
	case Get:
		return Get
	case Set:
		return Set
	case Result:
		return Result
	case TypeError:
		return TypeError
	case "unavailable":
		return "unavailable"
	case "chat":
		return "chat"
	case "normal":
		return "normal"
	case "headline":
		return "headline"
	}
	return v.String()
}

// AppendEvents writes the stanza as one element.
func (st *Stanza) AppendEvents(d *exi.Doc) {
	switch st.Kind {
	case IQ:
		d.Start(nameIQ)
	case Message:
		d.Start(nameMessage)
	case Presence:
		d.Start(namePresence)
	default:
		panic(fmt.Sprintf("xmpp: stanza of kind %d", st.Kind))
	}
	appendAttr(d, attrType, st.Type)
	appendAttr(d, attrID, st.ID)
	appendJID(d, attrTo, st.To)
	appendJID(d, attrFrom, st.From)
	appendAttr(d, attrLang, st.Lang)
	if st.Payload != nil {
		st.Payload.AppendEvents(d)
	}
	d.End()
}

func appendAttr(d *exi.Doc, name exi.Name, s string) {
	if s != "" {
		d.Attr(name, exi.Str(s))
	}
}

func appendJID(d *exi.Doc, name exi.Name, j jid.JID) {
	if j.Equal(jid.JID{}) {
		return
	}
	var buf [128]byte
	d.Attr(name, d.Borrow(appendAddr(buf[:0], j)))
}

// appendAddr appends j's text.
func appendAddr(b []byte, j jid.JID) []byte {
	if l := j.Localpart(); l != "" {
		b = append(b, l...)
		b = append(b, '@')
	}
	b = append(b, j.Domainpart()...)
	if r := j.Resourcepart(); r != "" {
		b = append(b, '/')
		b = append(b, r...)
	}
	return b
}

// Child returns the first child element of a received stanza, for an iq its
// payload.
func (st *Stanza) Child() exi.Cursor { return st.Elem.First() }

// Reply returns a stanza of the same kind and id addressed back to the sender.
// Of an Answer it has payload and language; Then is for the caller.
func (st *Stanza) Reply(typ string, p Payload) Stanza {
	out := Stanza{Kind: st.Kind, Type: typ, ID: st.ID, To: st.From, Payload: p}
	if a, ok := p.(Answer); ok {
		out.Payload, out.Lang = a.Payload, a.Lang
	}
	return out
}

// ErrorReply returns the error stanza that answers st (RFC 6120 §8.3). The
// language of the error's text is also that of the stanza, for the texts of
// application elements, which have no xml:lang of their own.
func (st *Stanza) ErrorReply(err error) Stanza {
	e := AsError(err)
	out := st.Reply(TypeError, e)
	out.Lang = e.Lang
	return out
}
