package events

import (
	"context"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// Querier sends an iq and waits for its answer; *xmpp.Session is one.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Subscribe asks the thing at a full address for events. They come as messages
// with the request's seqnr; Inbox reads those of Postern, which are numbered. A
// refusal is a *xmpp.Error.
func Subscribe(ctx context.Context, q Querier, to jid.JID, r *Request) error {
	return q.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: to, Payload: r}, nil)
}

// Unsubscribe ends the subscription with that seqnr.
func Unsubscribe(ctx context.Context, q Querier, to jid.JID, seq int32) error {
	return q.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: to, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameUnsubscribe)
		d.Attr(at("seqnr"), exi.IntValue(int64(seq)))
		d.End()
	})}, nil)
}

// Ended reports whether a message without a number, of a thing that numbers
// its events, says that the subscription has ended.
func (d *Delivery) Ended() bool {
	return d.Seq.Boot == "" && d.Last && len(d.Items) == 0 && len(d.Faults) > 0
}

// Take reads an event of a thing that does not number its messages; ok is false
// where there is none.
func Take(st *xmpp.Stanza) (d Delivery, ok bool) {
	if st.Kind != xmpp.Message || st.Type == xmpp.TypeError {
		return d, false
	}
	return d, d.content(st)
}
