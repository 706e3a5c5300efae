package xmpp

import (
	"strconv"
	"time"

	"postern/exi"
)

// Elements and attributes of XEP-0198.
var (
	nameSM       = exi.N(NSSM, "sm")
	nameEnable   = exi.N(NSSM, "enable")
	nameEnabled  = exi.N(NSSM, "enabled")
	nameResume   = exi.N(NSSM, "resume")
	nameResumed  = exi.N(NSSM, "resumed")
	nameFailed   = exi.N(NSSM, "failed")
	nameR        = exi.N(NSSM, "r")
	nameA        = exi.N(NSSM, "a")
	nameTooHigh  = exi.N(NSSM, "handled-count-too-high")
	attrH        = exi.N("", "h")
	attrMax      = exi.N("", "max")
	attrPrevID   = exi.N("", "previd")
	attrResume   = exi.N("", "resume")
	attrLocation = exi.N("", "location")
	attrSent     = exi.N("", "send-count")
)

// smState is what makes a session resumable (XEP-0198 §5). handled and the
// queue's counters belong to the session, not to a connection.
type smState struct {
	on       bool          // the server counts and acknowledges
	id       string        // empty: not resumable
	max      time.Duration // how long the server keeps the session after a loss
	location string        // where the server would like to be resumed
}

// defaultHibernation is assumed when the server does not say (D3).
const defaultHibernation = 300 * time.Second

func parseEnabled(c exi.Cursor) smState {
	sm := smState{on: true, max: defaultHibernation}
	if v, ok := c.Attr(attrResume); ok {
		if yes, _ := v.Bool(); yes {
			id, _ := c.Attr(attrID)
			sm.id = id.String()
		}
	}
	if v, ok := c.Attr(attrMax); ok {
		if n, ok := v.Int(); ok && n > 0 && n < 1<<31 {
			sm.max = time.Duration(n) * time.Second
		}
	}
	if v, ok := c.Attr(attrLocation); ok {
		sm.location = v.String()
	}
	return sm
}

// parseH reads the unsignedInt h.
func parseH(c exi.Cursor) (h uint32, ok bool) {
	v, ok := c.Attr(attrH)
	if !ok {
		return 0, false
	}
	n, ok := v.Int()
	if !ok || n < 0 || n > 1<<32-1 {
		return 0, false
	}
	return uint32(n), true
}

func appendEnable(d *exi.Doc) {
	d.Start(nameEnable)
	d.Attr(attrResume, exi.Str("true"))
	d.End()
}

func appendResume(d *exi.Doc, id string, h uint32) {
	d.Start(nameResume)
	d.Attr(attrPrevID, exi.Str(id))
	d.Attr(attrH, exi.IntValue(int64(h)))
	d.End()
}

func appendA(d *exi.Doc, h uint32) {
	d.Start(nameA)
	d.Attr(attrH, exi.IntValue(int64(h)))
	d.End()
}

func appendR(d *exi.Doc) { d.Element(nameR, exi.Value{}) }

// tooHigh is the stream error for an h beyond what was sent (XEP-0198 §4).
func tooHigh(h, sent uint32) *StreamError {
	e := NewStreamError("undefined-condition",
		"acknowledged "+strconv.FormatUint(uint64(h), 10)+" of "+strconv.FormatUint(uint64(sent), 10))
	e.App = PayloadFunc(func(d *exi.Doc) {
		d.Start(nameTooHigh)
		d.Attr(attrH, exi.IntValue(int64(h)))
		d.Attr(attrSent, exi.IntValue(int64(sent)))
		d.End()
	})
	return e
}
