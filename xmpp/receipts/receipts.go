// Package receipts asks for delivery receipts and gives them (XEP-0184).
package receipts

import (
	"context"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// NS is the namespace and the feature in service discovery.
const NS = "urn:xmpp:receipts"

var (
	nameRequest  = exi.N(NS, "request")
	nameReceived = exi.N(NS, "received")
	attrID       = exi.N("", "id")
)

// Request asks for a receipt; the message that carries it needs an id
// (XEP-0184 §5.2).
var Request xmpp.Payload = xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(nameRequest, exi.Value{}) })

// Requested reports whether a received message may be answered with a receipt:
// it asks for one, has an id, and is neither an error nor a receipt itself
// (XEP-0184 §5.2, §5.3).
func Requested(st *xmpp.Stanza) bool {
	return st.Kind == xmpp.Message && st.Type != xmpp.TypeError && st.Type != "groupchat" && st.ID != "" &&
		st.Elem.Child(nameRequest).Valid() && !st.Elem.Child(nameReceived).Valid()
}

// For is the message that says that st has arrived. It goes back to where st
// came from and is of the same type.
func For(st *xmpp.Stanza) xmpp.Stanza {
	id := st.ID
	return xmpp.Stanza{Kind: xmpp.Message, Type: st.Type, To: st.From, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameReceived)
		d.Attr(attrID, exi.Str(id))
		d.End()
	})}
}

// Register has got called for every receipt: from says that the message with
// this id has arrived.
func Register(m *xmpp.Mux, got func(from jid.JID, id string)) {
	m.HandleFunc(xmpp.Message, "*", nameReceived, func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		v, _ := st.Elem.Child(nameReceived).Attr(attrID)
		if id := v.String(); id != "" {
			got(st.From, id)
		}
		return nil, nil
	})
}
