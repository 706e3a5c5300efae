package hub

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/register"
	"postern/xmpp/tcp"
)

var (
	nameFeatures    = exi.N(xmpp.NSStream, "features")
	nameStartTLS    = exi.N(xmpp.NSTLS, "starttls")
	nameProceed     = exi.N(xmpp.NSTLS, "proceed")
	nameRequired    = exi.N(xmpp.NSTLS, "required")
	nameBind        = exi.N(xmpp.NSBind, "bind")
	nameResource    = exi.N(xmpp.NSBind, "resource")
	nameBindJID     = exi.N(xmpp.NSBind, "jid")
	nameSession     = exi.N(xmpp.NSSession, "session")
	nameOptional    = exi.N(xmpp.NSSession, "optional")
	nameRosterVer   = exi.N("urn:xmpp:features:rosterver", "ver")
	namePreApproval = exi.N("urn:xmpp:features:pre-approval", "sub")
	attrType        = exi.N("", "type")
)

// negotiate takes the connection up to a session:
//
//	[STARTTLS] → SASL → bind or resume
//
// with a new stream behind each of the first two (RFC 6120 §4.3).
func (c *client) negotiate() (*session, error) {
	c.deadline(c.h.lim.Negotiation)
	if err := c.secure(); err != nil {
		return nil, err
	}
	if _, err := c.open(func(d *exi.Doc) {
		c.appendMechanisms(d)
		if c.h.cfg.Register {
			d.Element(register.Feature, exi.Value{})
		}
	}); err != nil {
		return nil, err
	}
	acc, err := c.login()
	if err != nil {
		return nil, err
	}
	c.conn.SetLimits(c.limits(c.h.lim.Stanza))
	lang, err := c.open(func(d *exi.Doc) {
		c.offer(d)
		c.h.appendFeatures(d)
	})
	if err != nil {
		return nil, err
	}
	s, err := c.join(acc, lang)
	if err != nil {
		return nil, err
	}
	c.deadline(0)
	return s, nil
}

// offer says that the stream can be EXI; on the dedicated port it is.
func (c *client) offer(d *exi.Doc) {
	switch exi := c.h.cfg.EXI; {
	case exi == nil || c.port != nil:
	case c.h.exiPort > 0:
		exi.OfferPort(c.h.exiPort).AppendEvents(d)
	default:
		exi.Offer().AppendEvents(d)
	}
}

func (c *client) options() tcp.Options {
	return tcp.Options{Limits: c.limits(c.h.lim.BeforeLogin), WriteTimeout: c.h.lim.Timeout}
}

// secure brings the connection to TLS.
func (c *client) secure() error {
	if c.way == direct {
		cfg := c.h.tls.Clone()
		inner, err := cfg.GetConfigForClient(nil)
		if err != nil {
			return err
		}
		inner = inner.Clone()
		inner.NextProtos = []string{"xmpp-client"} // XEP-0368 §4
		t := tls.Server(c.nc, inner)
		if err := t.HandshakeContext(context.Background()); err != nil {
			return fmt.Errorf("hub: TLS handshake: %w", err)
		}
		c.setConn(tcp.Server(t, c.options()))
		return nil
	}
	c.setConn(tcp.Server(c.nc, c.options()))
	if c.way == dedicated {
		var err error
		if c.port, err = c.h.cfg.EXI.Port(); err != nil {
			return err
		}
		if err := c.conn.SetCodec(c.port); err != nil {
			return err
		}
	}
	if _, err := c.open(func(d *exi.Doc) {
		d.Start(nameStartTLS)
		d.Element(nameRequired, exi.Value{})
		d.End()
	}); err != nil {
		return err
	}
	var d exi.Doc
	if err := c.conn.ReadElement(&d); err != nil {
		return err
	}
	if d.Root().Name() != nameStartTLS {
		// Whatever it is, it comes too early (CORE-R36, R54).
		return notAuthorized
	}
	if err := c.write(func(d *exi.Doc) { d.Element(nameProceed, exi.Value{}) }); err != nil {
		return err
	}
	c.deadline(c.h.lim.Negotiation)
	return c.conn.StartTLS(context.Background(), c.h.tls)
}

func (c *client) setConn(conn *tcp.Conn) {
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
}

// open answers a stream header and sends the features (RFC 6120 §4.3.2).
func (c *client) open(features func(*exi.Doc)) (lang string, err error) {
	c.deadline(c.h.lim.Negotiation)
	got, err := c.conn.Open(context.Background(), xmpp.Header{From: c.h.domain, Version: "1.0", Lang: "en"})
	switch {
	case err != nil:
		return "", err
	case !got.To.Equal(c.h.domain):
		return "", xmpp.NewStreamError("host-unknown", "")
	case got.Version == "" || strings.HasPrefix(got.Version, "0"):
		return "", xmpp.NewStreamError("unsupported-version", "")
	}
	c.deadline(c.h.lim.Negotiation)
	return got.Lang, c.write(func(d *exi.Doc) {
		d.Start(nameFeatures)
		features(d)
		d.End()
		if c.port != nil {
			c.port.Prune(d)
		}
	})
}

func (c *client) write(f func(*exi.Doc)) error {
	var d exi.Doc
	f(&d)
	return c.conn.WriteElements(&d)
}

// appendFeatures lists what a client that logged in can negotiate.
func (h *Hub) appendFeatures(d *exi.Doc) {
	d.Element(nameBind, exi.Value{})
	d.Start(nameSession)
	d.Element(nameOptional, exi.Value{})
	d.End()
	d.Element(nameSM, exi.Value{})
	d.Element(nameRosterVer, exi.Value{})
	d.Element(namePreApproval, exi.Value{})
	h.caps.AppendEvents(d)
}

// join binds a resource or resumes a session; errors of either leave the
// client another try.
func (c *client) join(acc *account, lang string) (*session, error) {
	var d exi.Doc
	e := c.compression()
	if e.n != nil {
		e.n.Account = acc.name
	}
	for range c.h.lim.LoginTries {
		if err := e.next(&d, &lang); err != nil {
			return nil, err
		}
		root := d.Root()
		switch root.Name() {
		case nameResume:
			s, cond, err := c.resume(acc, root, lang)
			if s != nil || err != nil {
				return s, err
			}
			if err := c.write(func(d *exi.Doc) { appendFailed(d, cond) }); err != nil {
				return nil, err
			}
			continue
		case nameEnable:
			if err := c.write(func(d *exi.Doc) { appendFailed(d, xmpp.UnexpectedRequest) }); err != nil {
				return nil, err
			}
			continue
		}
		var st xmpp.Stanza
		perr := st.Parse(root)
		if st.Kind != xmpp.IQ || st.Type != xmpp.Set || st.Child().Name() != nameBind {
			return nil, notAuthorized // no stanza before bind (CORE-R36)
		}
		s, err := c.bind(acc, st.Child(), lang)
		if err == nil {
			err = perr
		}
		if err != nil {
			reply := st.ErrorReply(err)
			if err := c.write(reply.AppendEvents); err != nil {
				return nil, err
			}
			continue
		}
		reply := st.Reply(xmpp.Result, xmpp.PayloadFunc(func(d *exi.Doc) {
			d.Start(nameBind)
			d.Element(nameBindJID, exi.Str(s.full.String()))
			d.End()
		}))
		// Nothing else can be written before: the session has no writer yet
		// (CORE-R107).
		if err := c.write(reply.AppendEvents); err != nil {
			s.end()
			return nil, err
		}
		return s, nil
	}
	return nil, xmpp.NewStreamError("policy-violation", "too many attempts to bind")
}

// compression is the part of the negotiation that may switch to EXI.
type compression struct {
	c *client
	n *compress.Negotiation // nil where it is not offered
}

func (c *client) compression() compression {
	if c.h.cfg.EXI == nil {
		return compression{c: c}
	}
	if c.port != nil {
		return compression{c, c.h.cfg.EXI.AcceptPort(c.port)}
	}
	return compression{c, c.h.cfg.EXI.Accept()}
}

// next reads the next element that does not belong to XEP-0322. After a switch
// lang is that of the new stream.
func (e compression) next(d *exi.Doc, lang *string) error {
	c := e.c
	for {
		c.deadline(c.h.lim.Negotiation)
		if err := c.conn.ReadElement(d); err != nil || e.n == nil {
			return err
		}
		res, err := e.n.Handle(d.Root())
		if err != nil || !res.Handled {
			return err
		}
		if res.Reply != nil {
			if err := c.write(res.Reply.AppendEvents); err != nil {
				return err
			}
		}
		if res.Codec == nil {
			continue
		}
		if err := c.conn.SetCodec(res.Codec); err != nil {
			return err
		}
		if p, ok := res.Codec.(*compress.PortCodec); ok {
			c.port = p
		}
		if *lang, err = c.open(c.h.appendFeatures); err != nil {
			return err
		}
	}
}

// bind makes a session. A client that asks for a resource in use gets it: the
// usual reason is a device that restarted (D11).
func (c *client) bind(acc *account, el exi.Cursor, lang string) (*session, error) {
	want := el.Child(nameResource).Text().String()
	if want == "" {
		want = strings.ToLower(rand.Text()[:16])
	}
	full, err := acc.bare.WithResource(want)
	if err != nil || full.Resourcepart() == "" {
		return nil, xmpp.NewError(xmpp.BadRequest, "the resource is not a valid one")
	}
	s := &session{h: c.h, acc: acc, full: full, res: full.Resourcepart(), q: newQueue(c.h.lim), directed: make(map[string]jid.JID), muted: make(map[string]bool)}
	for {
		acc.mu.Lock()
		old := acc.sessions[s.res]
		switch {
		case acc.gone:
			acc.mu.Unlock()
			return nil, xmpp.NewError(xmpp.NotAllowed, "")
		case old == nil && len(acc.sessions) >= c.h.lim.Resources:
			acc.mu.Unlock()
			return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many resources are in use")
		case old == nil:
			acc.sessions[s.res] = s
			c.attach(s, lang)
			acc.mu.Unlock()
			return s, nil
		}
		acc.mu.Unlock()
		old.kick(xmpp.NewStreamError("conflict", "the resource was taken by a newer session"))
	}
}
