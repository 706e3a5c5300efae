package xmpp

import (
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// NSDelay is the namespace of delayed delivery (XEP-0203).
const NSDelay = "urn:xmpp:delay"

var (
	nameDelay       = exi.N(NSDelay, "delay")
	nameLegacyDelay = exi.N("jabber:x:delay", "x")
	attrStamp       = exi.N("", "stamp")
)

// Delay returns the oldest delay stamp of a received stanza (XEP-0203 §4, and
// the legacy jabber:x:delay). Anybody may have written it: it can only prove
// that a stanza is old, never that it is fresh. A stamp that cannot be read is
// left out.
func (st *Stanza) Delay() (stamp time.Time, ok bool) { return st.DelayBy(nil) }

// DelayBy is Delay for the stamps of trusted parties. from is the zero JID
// where the element names nobody. A nil function trusts everybody.
func (st *Stanza) DelayBy(trusted func(from jid.JID) bool) (stamp time.Time, ok bool) {
	for c := range st.Elem.Children() {
		if c.Name() != nameDelay && c.Name() != nameLegacyDelay {
			continue
		}
		v, _ := c.Attr(attrStamp)
		t, good := parseStamp(v)
		if !good || trusted != nil && !trusted(delayFrom(c)) {
			continue
		}
		if !ok || t.Before(stamp) {
			stamp, ok = t, true
		}
	}
	return stamp, ok
}

// Age returns how old a received stanza may be at now: by its delay stamps and
// by QueuedSince. 0 means that nothing says it was delayed. Commands older than
// their limit must not be carried out (XEP-0203, XEP-0198).
func (st *Stanza) Age(now time.Time) time.Duration {
	var age time.Duration
	if t, ok := st.Delay(); ok {
		// Even a stamp in the future says that the stanza was kept somewhere.
		age = max(now.Sub(t), 1)
	}
	if !st.QueuedSince.IsZero() {
		age = max(age, now.Sub(st.QueuedSince), 1)
	}
	return age
}

func delayFrom(c exi.Cursor) jid.JID {
	v, ok := c.Attr(attrFrom)
	if !ok {
		return jid.JID{}
	}
	j, err := ParseJID(v.String())
	if err != nil {
		return jid.JID{}
	}
	return j
}

// parseStamp reads a XEP-0082 dateTime, or the legacy CCYYMMDDThh:mm:ss in UTC.
func parseStamp(v exi.Value) (time.Time, bool) {
	if t, _, ok := v.Time(time.UTC); ok {
		return t, true
	}
	t, err := time.Parse("20060102T15:04:05", strings.TrimSpace(v.View()))
	return t, err == nil
}

// delayPayload is a delay element that this side adds.
type delayPayload struct {
	from  jid.JID
	stamp time.Time
}

func (p delayPayload) AppendEvents(d *exi.Doc) {
	d.Start(nameDelay)
	appendJID(d, attrFrom, p.from)
	d.Attr(attrStamp, exi.TimeValue(p.stamp.UTC(), 3))
	d.End()
}
