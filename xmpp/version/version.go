// Package version tells what software this is (XEP-0092).
package version

import (
	"context"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// NS is the namespace of XEP-0092.
const NS = "jabber:iq:version"

var (
	nameQuery   = exi.N(NS, "query")
	nameName    = exi.N(NS, "name")
	nameVersion = exi.N(NS, "version")
	nameOS      = exi.N(NS, "os")
)

// Software is what is told. Name is needed; an exact Version helps an attacker,
// so an empty one is told as "unspecified", and an empty OS is left out.
type Software struct {
	Name, Version, OS string
}

// Register answers version requests with s.
func Register(m *xmpp.Mux, s Software) {
	if s.Version == "" {
		s.Version = "unspecified"
	}
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameQuery, func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) { return s, nil })
}

// AppendEvents writes the query element.
func (s Software) AppendEvents(d *exi.Doc) {
	d.Start(nameQuery)
	d.Element(nameName, exi.Str(s.Name))
	d.Element(nameVersion, exi.Str(s.Version))
	if s.OS != "" {
		d.Element(nameOS, exi.Str(s.OS))
	}
	d.End()
}

// Querier is the part of xmpp.Session that is used here.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Ask asks what software to is.
func Ask(ctx context.Context, q Querier, to jid.JID) (s Software, err error) {
	err = q.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(nameQuery, exi.Value{})
	})}, func(st *xmpp.Stanza) error {
		c := st.Elem.Child(nameQuery)
		s = Software{
			Name: c.Child(nameName).Text().String(), Version: c.Child(nameVersion).Text().String(),
			OS: c.Child(nameOS).Text().String(),
		}
		return nil
	})
	return s, err
}
