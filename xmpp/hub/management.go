package hub

import (
	"crypto/rand"
	"strconv"
	"time"

	"postern/exi"
	"postern/xmpp"
)

// Elements and attributes of XEP-0198.
var (
	nameSM      = exi.N(xmpp.NSSM, "sm")
	nameEnable  = exi.N(xmpp.NSSM, "enable")
	nameEnabled = exi.N(xmpp.NSSM, "enabled")
	nameResume  = exi.N(xmpp.NSSM, "resume")
	nameResumed = exi.N(xmpp.NSSM, "resumed")
	nameFailed  = exi.N(xmpp.NSSM, "failed")
	nameR       = exi.N(xmpp.NSSM, "r")
	nameA       = exi.N(xmpp.NSSM, "a")
	nameTooHigh = exi.N(xmpp.NSSM, "handled-count-too-high")
	attrH       = exi.N("", "h")
	attrMax     = exi.N("", "max")
	attrPrevID  = exi.N("", "previd")
	attrResume  = exi.N("", "resume")
	attrSent    = exi.N("", "send-count")
	attrID      = exi.N("", "id")
)

func appendA(d *exi.Doc, h uint32) {
	d.Start(nameA)
	d.Attr(attrH, exi.IntValue(int64(h)))
	d.End()
}

func appendFailed(d *exi.Doc, cond xmpp.Condition) {
	d.Start(nameFailed)
	d.Element(exi.N(xmpp.NSStanzas, string(cond)), exi.Value{})
	d.End()
}

func counter(c exi.Cursor, name exi.Name) (n uint32, ok bool) {
	v, ok := c.Attr(name)
	if !ok {
		return 0, false
	}
	i, ok := v.Int()
	if !ok || i < 0 || i > 1<<32-1 {
		return 0, false
	}
	return uint32(i), true
}

// management handles the elements of XEP-0198 within a session.
func (s *session) management(c exi.Cursor) error {
	switch c.Name() {
	case nameEnable:
		return s.enable(c)
	case nameR:
		if s.smOn.Load() {
			s.answer.Store(true) // several requests get one answer (D12)
			s.q.signal()
		}
		return nil
	case nameA:
		h, ok := counter(c, attrH)
		if !ok {
			return xmpp.NewStreamError("bad-format", "an acknowledgement without h")
		}
		if !s.smOn.Load() {
			return nil
		}
		return s.acked(h)
	case nameResume:
		d := new(exi.Doc)
		appendFailed(d, xmpp.UnexpectedRequest)
		s.q.pushControl(d)
		return nil
	}
	return xmpp.NewStreamError("bad-format", "unknown element of stream management")
}

func (s *session) acked(h uint32) error {
	done, sent, ok := s.q.ack(h)
	if !ok {
		return tooHigh(h, sent)
	}
	for _, d := range done {
		s.h.putDoc(d)
	}
	return nil
}

// tooHigh is the stream error for an h beyond what was sent.
func tooHigh(h, sent uint32) *xmpp.StreamError {
	e := xmpp.NewStreamError("undefined-condition", "")
	e.App = xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameTooHigh)
		d.Attr(attrH, exi.IntValue(int64(h)))
		d.Attr(attrSent, exi.IntValue(int64(sent)))
		d.End()
	})
	return e
}

// enable turns acknowledgements on, once (0198-R05).
func (s *session) enable(c exi.Cursor) error {
	if s.smOn.Load() {
		return xmpp.NewStreamError("policy-violation", "stream management is on already")
	}
	s.max = s.h.lim.Hibernation
	if v, ok := c.Attr(attrMax); ok {
		if n, ok := v.Int(); ok && n > 0 && time.Duration(n) < s.max/time.Second {
			s.max = time.Duration(n) * time.Second
		}
	}
	wanted := false
	if v, ok := c.Attr(attrResume); ok {
		wanted, _ = v.Bool()
	}
	d := new(exi.Doc)
	d.Start(nameEnabled)
	if wanted {
		s.h.mu.Lock()
		s.smID = rand.Text()
		s.h.resumes[s.smID] = s
		s.h.mu.Unlock()
		d.Attr(attrID, exi.Str(s.smID))
		d.Attr(attrResume, exi.Str("true"))
		d.Attr(attrMax, exi.IntValue(int64(s.max/time.Second)))
	}
	d.End()
	s.handled.Store(0)
	s.smOn.Store(true)
	s.q.enable(d)
	return nil
}

// resume gives a session that lost its connection a new one (XEP-0198 §5). It
// returns nil and what to tell the client when that is not possible.
func (c *client) resume(acc *account, el exi.Cursor, lang string) (*session, xmpp.Condition, error) {
	prev, _ := el.Attr(attrPrevID)
	h, ok := counter(el, attrH)
	if !ok {
		return nil, "", xmpp.NewStreamError("bad-format", "a resumption without h")
	}
	c.h.mu.Lock()
	s := c.h.resumes[prev.String()]
	c.h.mu.Unlock()
	if s == nil || s.acc != acc {
		return nil, xmpp.ItemNotFound, nil
	}
	if old := s.link.Load(); old != nil {
		old.fail(detached{xmpp.NewStreamError("conflict", "the session was resumed elsewhere")})
		<-old.over
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	if s.over {
		return nil, xmpp.ItemNotFound, nil
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if err := s.acked(h); err != nil {
		// The session stays hibernated: the fault is this connection's.
		s.link.Store(nil)
		s.timer = time.AfterFunc(s.max, s.expire)
		return nil, "", err
	}
	s.q.rewind()
	d := new(exi.Doc)
	d.Start(nameResumed)
	d.Attr(attrPrevID, exi.Str(s.smID))
	d.Attr(attrH, exi.Str(strconv.FormatUint(uint64(s.handled.Load()), 10)))
	d.End()
	s.q.pushControl(d)
	s.answer.Store(false)
	c.attach(s, lang)
	return s, "", nil
}

// attach makes the connection the session's.
func (c *client) attach(s *session, lang string) {
	l := newLink(c, lang)
	s.link.Store(l)
	c.mu.Lock()
	c.link = l
	stopped := c.stopped
	c.mu.Unlock()
	if stopped != nil {
		l.fail(stopped)
	}
}
