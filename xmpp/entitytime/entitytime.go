// Package entitytime tells and asks the time (XEP-0202).
package entitytime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// NS is the namespace of XEP-0202.
const NS = "urn:xmpp:time"

var (
	nameTime = exi.N(NS, "time")
	nameTZO  = exi.N(NS, "tzo")
	nameUTC  = exi.N(NS, "utc")
)

// Clock is the clock that is told.
type Clock struct {
	// Now returns the time in the zone to tell. nil: time.Now.
	Now func() time.Time
	// Sane reports whether the time can be believed: boards start without. nil:
	// always.
	Sane func() bool
}

// Register answers time requests; while the clock is not set, by an error
// (XEP-0202 has none for that; service-unavailable tells nobody a wrong time).
func Register(m *xmpp.Mux, c Clock) {
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameTime, func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
		if c.Sane != nil && !c.Sane() {
			return nil, xmpp.NewError(xmpp.ServiceUnavailable, "the clock is not set")
		}
		if c.Now == nil {
			return answer(time.Now()), nil
		}
		return answer(c.Now()), nil
	})
}

type answer time.Time

// AppendEvents writes the time element.
func (a answer) AppendEvents(d *exi.Doc) {
	t := time.Time(a)
	d.Start(nameTime)
	d.Element(nameTZO, exi.Str(t.Format("-07:00")))
	d.Element(nameUTC, exi.Str(t.UTC().Format("2006-01-02T15:04:05.000Z")))
	d.End()
}

// Querier is the part of xmpp.Session that is used here.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Ask asks for to's time and returns it in to's zone. Nobody but the own server
// (the zero JID or its domain) should be believed when the clock is to be set.
func Ask(ctx context.Context, q Querier, to jid.JID) (t time.Time, err error) {
	err = q.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(nameTime, exi.Value{})
	})}, func(st *xmpp.Stanza) error {
		t, err = Parse(st.Elem.Child(nameTime))
		return err
	})
	return t, err
}

// Parse reads a time element. A zone that cannot be read is taken as UTC.
func Parse(c exi.Cursor) (time.Time, error) {
	utc := c.Child(nameUTC).Text()
	if utc.IsZero() {
		return time.Time{}, errors.New("entitytime: the answer has no utc")
	}
	t, _, ok := utc.Time(time.UTC)
	if !ok {
		return time.Time{}, fmt.Errorf("entitytime: %q is no time", utc.String())
	}
	return t.In(zone(c.Child(nameTZO).Text().String())), nil
}

func zone(s string) *time.Location {
	if t, err := time.Parse("Z07:00", s); err == nil {
		if _, off := t.Zone(); off != 0 {
			return time.FixedZone("", off)
		}
	}
	return time.UTC
}
