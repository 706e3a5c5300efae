package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// negotiation brings one connection to the point where stanzas flow:
//
//	stream → [STARTTLS → stream] → SASL → stream → [compression → stream]
//	       → resume, or bind → [session] → enable
//
// (RFC 6120 §4.3, XEP-0170, XEP-0198). It is a straight line of steps, each
// bounded in time by breaking the connection off.
type negotiation struct {
	s     *Session
	conn  Conn
	timer *time.Timer // breaks the connection off when a step takes too long
	doc   exi.Doc     // the element read last
	feat  features
	link  *link
}

// negotiate logs in on conn. On error conn is closed.
func (s *Session) negotiate(ctx context.Context, conn Conn, t Target) (*link, error) {
	n := &negotiation{s: s, conn: conn, link: &link{s: s, conn: conn}}
	var late atomic.Bool
	n.timer = time.AfterFunc(s.cfg.Timeout, func() { late.Store(true); abort(conn) })
	stop := context.AfterFunc(ctx, func() { abort(conn) })
	err := n.run(ctx, t)
	n.timer.Stop()
	stop()
	switch {
	case err == nil && ctx.Err() == nil && !late.Load():
		return n.link, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case late.Load():
		err = fmt.Errorf("xmpp: %s did not answer within %v: %w", t.Addr, s.cfg.Timeout, context.DeadlineExceeded)
	}
	for _, d := range n.link.early {
		putDoc(d)
	}
	if cerr := EndWith(conn, err); cerr != nil {
		s.log.Debug("closing a connection that did not come up", "err", cerr)
	}
	return nil, err
}

// abort breaks a connection off at once.
func abort(c Conn) {
	// The error of breaking off says nothing that the reader will not see.
	if up, ok := c.(Upgrader); ok {
		_ = up.Abort()
		return
	}
	_ = c.Close()
}

func (n *negotiation) run(ctx context.Context, t Target) error {
	if err := n.secure(ctx, t); err != nil {
		return err
	}
	if f := n.s.cfg.BeforeLogin; f != nil {
		n.step()
		if err := f(ctx, n.conn, n.doc.Root()); err != nil {
			return err
		}
	}
	if err := n.login(ctx); err != nil {
		return err
	}
	if err := n.open(ctx); err != nil {
		return err
	}
	if compress := n.s.cfg.Compress; compress != nil {
		n.step()
		again, err := compress(ctx, n.conn, n.doc.Root())
		if err != nil {
			return err
		}
		if again {
			if err := n.open(ctx); err != nil {
				return err
			}
		}
	}
	n.link.features = n.feat.names
	if done, err := n.resume(); done || err != nil {
		return err
	}
	return n.begin()
}

// step gives the next step its time.
func (n *negotiation) step() { n.timer.Reset(n.s.cfg.Timeout) }

func (n *negotiation) write(append func(*exi.Doc)) error {
	n.step()
	d := getDoc()
	defer putDoc(d)
	append(d)
	return n.conn.WriteElements(d)
}

func (n *negotiation) read() (exi.Cursor, error) {
	n.step()
	if err := n.conn.ReadElement(&n.doc); err != nil {
		return exi.Cursor{}, err
	}
	return n.doc.Root(), nil
}

// open starts the stream, anew if there was one, and reads the features.
// Whatever was known before is forgotten (RFC 6120 §4.3.3).
func (n *negotiation) open(ctx context.Context) error {
	n.step()
	n.feat = features{}
	h := Header{To: n.s.cfg.JID.Domain(), Lang: n.s.cfg.Lang, Version: "1.0"}
	if tlsState(n.conn) != nil {
		h.From = n.s.cfg.JID.Bare() // not in the clear (RFC 6120 §4.7.1)
	}
	got, err := n.conn.Open(ctx, h)
	if err != nil {
		return err
	}
	c, err := n.read()
	if err != nil {
		return err
	}
	if got.Version == "" || got.Version == "0.9" {
		return NewStreamError("unsupported-version", "the server speaks XMPP older than 1.0")
	}
	if c.Name() != nameFeatures {
		return NewStreamError("bad-format", "stream features expected")
	}
	n.feat = parseFeatures(c)
	if u := n.feat.unsupported; u != (exi.Name{}) {
		return NewStreamError("unsupported-feature", u.Value().Space+" "+u.Value().Local)
	}
	return nil
}

func tlsState(c Conn) *tls.ConnectionState {
	if t, ok := c.(interface{ TLS() *tls.ConnectionState }); ok {
		return t.TLS()
	}
	return nil
}

// secure opens the stream and sees to TLS.
func (n *negotiation) secure(ctx context.Context, t Target) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	if t.Direct {
		if tlsState(n.conn) == nil {
			return errors.New("xmpp: the transport has no TLS layer")
		}
		return nil
	}
	up, ok := n.conn.(Upgrader)
	if !ok {
		return errors.New("xmpp: the transport cannot start TLS")
	}
	// Also where it is not offered: an attacker may have taken it out
	// (RFC 7590 §3.1). There is no way on without.
	offered := n.feat.startTLS
	if err := n.write(func(d *exi.Doc) { d.Element(nameStartTLS, exi.Value{}) }); err != nil {
		return err
	}
	c, err := n.read()
	switch {
	case err != nil && !offered:
		return fmt.Errorf("xmpp: the server does not offer TLS, and there is no login without it: %w", err)
	case err != nil:
		return err
	case c.Name() == nameTLSFail:
		return errors.New("xmpp: the server cannot start TLS; look at its certificate")
	case c.Name() != nameProceed:
		return NewStreamError("bad-format", "an answer to starttls expected")
	}
	n.step()
	if err := up.StartTLS(ctx, n.s.tlsConfig()); err != nil {
		return err
	}
	if up.TLS() == nil {
		return errors.New("xmpp: the transport has no TLS layer")
	}
	return n.open(ctx)
}

// resume tries to continue the former session (XEP-0198 §5).
func (n *negotiation) resume() (done bool, err error) {
	s := n.s
	if s.sm.id == "" || !n.feat.sm {
		s.lost(ErrOffline)
		return false, nil
	}
	h := s.handled.Load()
	if err := n.write(func(d *exi.Doc) { appendResume(d, s.sm.id, h) }); err != nil {
		return false, err
	}
	c, err := n.read()
	if err != nil {
		return false, err
	}
	h, hasH := parseH(c)
	switch c.Name() {
	case nameResumed:
		if id, _ := c.Attr(attrPrevID); !hasH || !id.Is(s.sm.id) {
			return false, NewStreamError("bad-format", "a resumption of another session")
		}
		if sent, ok := s.q.ack(h); !ok {
			s.lost(ErrOffline)
			return false, tooHigh(h, sent)
		}
		s.q.rewind()
		n.link.resumed = true
		return true, nil
	case nameFailed:
		if hasH {
			s.q.ack(h) // what is beyond it cannot be known better
		}
		s.lost(ErrOffline)
		return false, nil
	}
	return false, NewStreamError("bad-format", "an answer to resume expected")
}

// begin binds a resource and enables stream management.
func (n *negotiation) begin() error {
	s := n.s
	if !n.feat.bind {
		return NewStreamError("unsupported-feature", "the server offers no resource binding")
	}
	addr, err := n.bind(s.cfg.JID.Resourcepart())
	var refused *Error
	if errors.As(err, &refused) && s.cfg.JID.Resourcepart() != "" {
		addr, err = n.bind("")
	}
	if err != nil {
		return err
	}
	if n.feat.session {
		if _, err := n.ask(func(d *exi.Doc) { d.Element(nameSession, exi.Value{}) }); err != nil {
			return err
		}
	}
	var sm smState
	if n.feat.sm && !s.cfg.NoResume {
		if sm, err = n.enable(); err != nil {
			return err
		}
	}
	s.started(addr, sm)
	return nil
}

func (n *negotiation) bind(resource string) (jid.JID, error) {
	c, err := n.ask(func(d *exi.Doc) {
		d.Start(nameBind)
		if resource != "" {
			d.Element(nameResource, exi.Str(resource))
		}
		d.End()
	})
	if err != nil {
		return jid.JID{}, err
	}
	addr, err := ParseJID(c.Child(nameBind).Child(nameBindJID).Text().String())
	if err != nil || addr.Resourcepart() == "" {
		return jid.JID{}, NewStreamError("bad-format", "the server bound no full address")
	}
	return addr, nil
}

// ask sends an iq set and returns the iq that answers it.
func (n *negotiation) ask(payload PayloadFunc) (exi.Cursor, error) {
	st := Stanza{Kind: IQ, Type: Set, ID: n.s.newID(), Payload: payload}
	if err := n.write(st.AppendEvents); err != nil {
		return exi.Cursor{}, err
	}
	for {
		c, err := n.read()
		if err != nil {
			return exi.Cursor{}, err
		}
		id, _ := c.Attr(attrID)
		typ, _ := c.Attr(attrType)
		if c.Name() == nameIQ && id.Is(st.ID) && typ.Is(Result) {
			return c, nil
		}
		if c.Name() == nameIQ && id.Is(st.ID) && typ.Is(TypeError) {
			got := Stanza{Kind: IQ, Type: TypeError, Elem: c}
			e := *got.Err()
			e.Elem = exi.Cursor{}
			return exi.Cursor{}, &e
		}
		if err := n.keepEarly(c); err != nil {
			return exi.Cursor{}, err
		}
	}
}

// maxEarly bounds the stanzas that arrive before stream management is on.
const maxEarly = 32

// keepEarly keeps a stanza that arrives during the last steps.
func (n *negotiation) keepEarly(c exi.Cursor) error {
	if KindOf(c.Name()) == 0 || len(n.link.early) >= maxEarly {
		return NewStreamError("bad-format", "an answer expected")
	}
	d := getDoc()
	d.Copy(&n.doc)
	n.link.early = append(n.link.early, d)
	return nil
}

// enable turns stream management on (XEP-0198 §3). A refusal is no fault.
func (n *negotiation) enable() (smState, error) {
	if err := n.write(appendEnable); err != nil {
		return smState{}, err
	}
	for {
		c, err := n.read()
		if err != nil {
			return smState{}, err
		}
		switch c.Name() {
		case nameEnabled:
			return parseEnabled(c), nil
		case nameFailed:
			return smState{}, nil
		}
		if err := n.keepEarly(c); err != nil {
			return smState{}, err
		}
	}
}
