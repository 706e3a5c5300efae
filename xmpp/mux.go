package xmpp

import (
	"context"
	"fmt"
	"slices"

	"postern/exi"
)

// Handler answers stanzas. For an iq of type get or set the Payload is what
// the result carries (nil for an empty result); an error becomes the stanza
// error, a *Error as it is. For messages and presence both are ignored but for
// logging: they are never answered by themselves.
//
// Stanzas of one sender are handled one after the other, those of several
// senders concurrently. What takes long must return and answer later.
type Handler interface {
	HandleStanza(ctx context.Context, st *Stanza) (Payload, error)
}

// HandlerFunc makes a function a Handler.
type HandlerFunc func(ctx context.Context, st *Stanza) (Payload, error)

// HandleStanza calls f.
func (f HandlerFunc) HandleStanza(ctx context.Context, st *Stanza) (Payload, error) {
	return f(ctx, st)
}

// Answer is a Payload with what a result may need besides.
type Answer struct {
	Payload
	// Lang is the language of its texts, which becomes xml:lang of the result;
	// empty for that of the stream (RFC 6120 §8.1.5).
	Lang string
	// Then must follow the result directly, in the same write: the data of a
	// read-out behind its acceptance.
	Then []Stanza
}

// Mux selects the handler of a stanza by kind, type and payload name. All
// Handle calls come before the first dispatch; after that a Mux is safe for
// concurrent use. The zero Mux is ready to use.
type Mux struct {
	routes map[route]Handler
}

type route struct {
	kind    StanzaKind
	typ     string
	payload exi.Name
}

// Handle registers h for stanzas of the given kind and type that have a child
// element named payload. Type "*" stands for every type but error; the zero
// Name for every stanza of that kind and type that nothing else takes, and the
// local name "*" for every element of a namespace that nothing else takes. A
// duplicate panics: it is a mistake in the calling code.
func (m *Mux) Handle(kind StanzaKind, typ string, payload exi.Name, h Handler) {
	r := route{kind, typ, payload}
	if _, dup := m.routes[r]; dup {
		panic(fmt.Sprintf("xmpp: two handlers for %v type=%q %v", kind, typ, payload))
	}
	if m.routes == nil {
		m.routes = make(map[route]Handler)
	}
	m.routes[r] = h
}

// HandleFunc is Handle with a function.
func (m *Mux) HandleFunc(kind StanzaKind, typ string, payload exi.Name, f HandlerFunc) {
	m.Handle(kind, typ, payload, f)
}

// Lookup returns the handler for st, or nil.
func (m *Mux) Lookup(st *Stanza) Handler {
	for c := st.Elem.First(); c.Valid(); c = c.Next() {
		if h := m.find(st, c.Name()); h != nil {
			return h
		}
		if st.Kind == IQ {
			break // exactly one payload (RFC 6120 §8.2.3)
		}
	}
	return m.find(st, exi.Name{})
}

func (m *Mux) find(st *Stanza, payload exi.Name) Handler {
	if h := m.routes[route{st.Kind, st.Type, payload}]; h != nil {
		return h
	}
	if st.Type == TypeError {
		return nil
	}
	if h := m.routes[route{st.Kind, "*", payload}]; h != nil || payload == (exi.Name{}) {
		return h
	}
	return m.routes[route{st.Kind, st.Type, exi.N(payload.Value().Space, "*")}]
}

// HandleStanza dispatches st. An iq nobody takes is service-unavailable
// (RFC 6120 §8.4); other stanzas are ignored.
func (m *Mux) HandleStanza(ctx context.Context, st *Stanza) (Payload, error) {
	if h := m.Lookup(st); h != nil {
		return h.HandleStanza(ctx, st)
	}
	if st.Kind == IQ {
		return nil, NewError(ServiceUnavailable, "")
	}
	return nil, nil
}

// Namespaces returns the namespaces of the iq requests that have a handler,
// sorted: what an entity may truthfully call its features (XEP-0030).
func (m *Mux) Namespaces() []string {
	var list []string
	for r := range m.routes {
		if r.kind == IQ && r.typ != TypeError && r.typ != Result && r.payload != (exi.Name{}) {
			list = append(list, r.payload.Value().Space)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
