// Package ping answers and sends application pings (XEP-0199).
package ping

import (
	"context"
	"errors"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// NS is the namespace of XEP-0199.
const NS = xmpp.NSPing

var name = exi.N(NS, "ping")

// Register answers pings.
func Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Get, name, func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) { return nil, nil })
}

// Querier is the part of xmpp.Session that is used here.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Ask pings to; the zero JID is the own server. Any answer, errors included,
// proves that the way to whoever answered works; but for an address with a
// resource some errors come from a server on the way and say that the resource
// is not there (XEP-0199 §4): these are returned.
func Ask(ctx context.Context, q Querier, to jid.JID) error {
	err := q.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(name, exi.Value{})
	})}, nil)
	var refused *xmpp.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Condition {
	case xmpp.RecipientUnavailable, xmpp.RemoteServerNotFound, xmpp.RemoteServerTimeout:
		return err
	case xmpp.ServiceUnavailable:
		if to.Resourcepart() != "" {
			return err
		}
	}
	return nil
}
