package terminator

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// link is one client and its connection to the server.
type link struct {
	t      *Terminator
	client *tcp.Conn
	server *tcp.Conn
	addr   net.Addr

	clientSide, serverSide *waiting // below both

	via   entry
	port  *compress.PortCodec   // on the dedicated port
	codec agreedCodec           // nil on an XML stream
	exi   *compress.Negotiation // until the login has ended

	account string // who logs in, as the client says; the server has checked it

	mu   sync.Mutex // of server, until it is set, and gone
	gone bool       // cut was called

	timer *time.Timer // cuts a client off that does not get on with its login
	late  atomic.Bool
	doc   exi.Doc // read last from the client
	from  exi.Doc // read last from the server
	out   exi.Doc
}

// agreedCodec tells about an EXI stream.
type agreedCodec interface {
	Traffic() compress.Traffic
	Params() compress.Params
	Schemas() []string
}

// beforeLogin bounds what a stranger may send (core decision D13).
const beforeLogin = 10_000

// serve brings one client through login and has it relayed. It calls gone when
// the client has left, which is after it returned.
func (t *Terminator) serve(ctx context.Context, nc net.Conn, via entry, gone func()) {
	l := &link{t: t, addr: nc.RemoteAddr(), via: via}
	nc = tcp.Nonblocking(nc)
	if t.cfg.Rate > 0 {
		nc = &slowed{Conn: nc, rate: t.cfg.Rate}
	}
	l.clientSide = &waiting{Conn: nc}
	nc = l.clientSide
	opts := tcp.Options{Limits: xmltext.Limits{Octets: beforeLogin, Depth: 16}}
	if via == viaDirect {
		hs, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
		layer := tls.Server(nc, t.direct)
		err := layer.HandshakeContext(hs)
		cancel()
		if err != nil {
			t.failed.Add(1)
			_ = nc.Close()
			gone()
			return
		}
		nc = layer
	}
	l.client = tcp.Server(nc, opts)
	stop := context.AfterFunc(ctx, l.cut)
	l.timer = time.AfterFunc(t.cfg.Timeout, func() {
		l.late.Store(true)
		_ = l.client.Abort()
	})
	err := l.login(ctx)
	l.timer.Stop()
	if l.exi != nil && l.exi.Loading() { // else an idle client need not keep it
		whole, exi := gone, l.exi
		gone = func() {
			exi.Close()
			whole()
		}
	}
	l.exi = nil
	if err != nil {
		t.failed.Add(1)
		t.log.Info("a client did not log in", "addr", l.addr, "late", l.late.Load(), "err", err)
		l.fail(err)
		stop()
		gone()
		return
	}
	t.loggedIn.Add(1)
	compressed := l.client.Codec() == "exi"
	if compressed {
		t.compressed.Add(1)
	}
	t.log.Debug("a client is logged in", "addr", l.addr, "account", l.account, "exi", compressed, "dedicated_port", l.port != nil)
	l.relay(func() {
		stop()
		if compressed {
			t.compressed.Add(-1)
			l.traffic()
		}
		gone()
	})
}

// traffic logs what compression saved on a stream that has ended.
func (l *link) traffic() {
	if l.codec == nil {
		return
	}
	n := l.codec.Traffic()
	l.t.exi.Add(n.In + n.Out)
	l.t.asXML.Add(n.XMLIn + n.XMLOut)
	l.t.log.Info("an EXI stream has ended", "addr", l.addr, "account", l.account, "options", l.codec.Params().Names(),
		"schemas", len(l.codec.Schemas()), "in", n.In, "in_as_xml", n.XMLIn, "out", n.Out, "out_as_xml", n.XMLOut)
}

// cut breaks both sides off, so that the session stays resumable.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	_ = l.client.Abort()
	if l.server != nil {
		_ = l.server.Abort()
	}
}

// connected notes the connection to the server.
func (l *link) connected(c *tcp.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		_ = c.Abort()
		return net.ErrClosed
	}
	l.server = c
	return nil
}

// fail ends a link that is not relayed yet: the client hears why, the server
// sees the connection end.
func (l *link) fail(err error) {
	if l.server != nil {
		_ = l.server.Abort()
	}
	if errors.Is(err, compress.ErrShortcut) {
		// The client takes another connection (0322-R62, R63).
		l.out.Reset()
		compress.AppendRefusal(&l.out)
		_ = l.client.WriteElements(&l.out)
		_ = l.client.Close()
		return
	}
	var se *xmpp.StreamError
	switch {
	case errors.As(err, &se) && se.Local:
	case errors.As(err, &se): // what the server said to the terminator
		err = xmpp.NewStreamError("remote-connection-failed", "the server ended the stream: "+se.Condition)
	case errors.Is(err, xmpp.ErrStreamEnd), errors.Is(err, io.EOF):
	default:
		err = xmpp.NewStreamError("remote-connection-failed", "")
	}
	_ = xmpp.EndWith(l.client, err)
}

// step gives the next step of the login its time.
func (l *link) step() { l.timer.Reset(l.t.cfg.Timeout) }

// login secures the client's stream and relays until its session begins.
func (l *link) login(ctx context.Context) error {
	if l.via == viaPort {
		var err error
		if l.port, err = l.t.cfg.EXI.Port(); err != nil {
			return err
		}
		if err := l.client.SetCodec(l.port); err != nil {
			return err
		}
		l.codec = l.port
	}
	if l.via != viaDirect {
		if err := l.startTLS(ctx); err != nil {
			return err
		}
	}
	h, err := l.accept(ctx)
	if err != nil {
		return err
	}
	l.step()
	dial, cancel := context.WithTimeout(ctx, l.t.cfg.Timeout)
	defer cancel()
	up := xmpp.Header{To: l.t.cfg.Domain, From: h.From, Lang: h.Lang, Version: "1.0"}
	server, side, err := l.t.dial(dial, l.addr, up, &l.from)
	if err != nil {
		return err
	}
	l.serverSide = side
	if err := l.connected(server); err != nil {
		return err
	}
	if err := l.offer(nil); err != nil {
		return err
	}
	if err := l.sasl(); err != nil {
		return err
	}
	l.client.SetLimits(xmltext.Limits{Octets: int64(l.t.cfg.MaxStanza)})
	return l.begin(ctx)
}

// accept opens the client's stream.
func (l *link) accept(ctx context.Context) (xmpp.Header, error) {
	l.step()
	h, err := l.client.Open(ctx, xmpp.Header{From: l.t.cfg.Domain, Lang: "en", Version: "1.0"})
	if err == nil && !h.To.Equal(l.t.cfg.Domain) {
		err = xmpp.NewStreamError("host-unknown", "this server is "+l.t.cfg.Domain.String())
	}
	return h, err
}

func (l *link) startTLS(ctx context.Context) error {
	if _, err := l.accept(ctx); err != nil {
		return err
	}
	d := &l.out
	d.Reset()
	d.Start(nameFeatures)
	d.Start(nameStartTLSFeature)
	d.Element(nameRequired, exi.Value{})
	d.End()
	d.End()
	if err := l.client.WriteElements(d); err != nil {
		return err
	}
	if err := l.client.ReadElement(&l.doc); err != nil {
		return err
	}
	if l.doc.Root().Name() != nameStartTLS {
		return xmpp.NewStreamError("not-authorized", "TLS first")
	}
	d.Reset()
	d.Element(nameProceed, exi.Value{})
	if err := l.client.WriteElements(d); err != nil {
		return err
	}
	return l.client.StartTLS(ctx, l.t.cfg.TLS)
}

// sasl relays the login, in which each side speaks in turn, until success.
// Registration before login (XEP-0077) is relayed as well.
func (l *link) sasl() error {
	for {
		l.step()
		if err := l.client.ReadElement(&l.doc); err != nil {
			return err
		}
		root := l.doc.Root()
		if root.Name().Value().Space != xmpp.NSSASL && xmpp.KindOf(root.Name()) != xmpp.IQ {
			return xmpp.NewStreamError("not-authorized", "log in first")
		}
		if mech, ok := root.Attr(exi.N("", "mechanism")); ok && !relayable(mech.String()) {
			l.out.Reset()
			l.out.Start(exi.N(xmpp.NSSASL, "failure"))
			l.out.Element(exi.N(xmpp.NSSASL, "invalid-mechanism"), exi.Value{})
			l.out.End()
			if err := l.client.WriteElements(&l.out); err != nil {
				return err
			}
			continue
		} else if ok {
			first, _ := root.Text().Bytes(exi.Base64)
			l.account = authcid(mech.String(), first)
		}
		if err := l.server.WriteElements(&l.doc); err != nil {
			return err
		}
		if err := l.server.ReadElement(&l.from); err != nil {
			return err
		}
		if err := l.client.WriteElements(&l.from); err != nil {
			return err
		}
		if l.from.Root().Name() == nameSuccess {
			return nil
		}
	}
}

// begin restarts both streams behind the login and negotiates EXI. It returns
// when the client begins its session (binding or resumption), with that first
// element passed on.
func (l *link) begin(ctx context.Context) error {
	h, err := l.accept(ctx)
	if err != nil {
		return err
	}
	up := xmpp.Header{To: l.t.cfg.Domain, From: h.From, Lang: h.Lang, Version: "1.0"}
	if err := reopen(ctx, l.server, up, &l.from); err != nil {
		return err
	}
	n := l.negotiation()
	l.exi = n
	if err := l.offer(l.methods()); err != nil {
		return err
	}
	for {
		l.step()
		if err := l.client.ReadElement(&l.doc); err != nil {
			return err
		}
		l.step() // it may have to wait for a download
		r, err := n.Handle(l.doc.Root())
		if err != nil {
			return err
		}
		if !r.Handled {
			return l.server.WriteElements(&l.doc)
		}
		if r.Reply != nil {
			l.out.Reset()
			r.Reply.AppendEvents(&l.out)
			if err := l.client.WriteElements(&l.out); err != nil {
				return err
			}
		}
		if r.Codec == nil {
			continue
		}
		if err := l.client.SetCodec(r.Codec); err != nil {
			return err
		}
		if p, ok := r.Codec.(*compress.PortCodec); ok {
			l.port = p
		}
		l.codec, _ = r.Codec.(agreedCodec)
		if _, err := l.accept(ctx); err != nil {
			return err
		}
		if err := l.offer(nil); err != nil {
			return err
		}
	}
}

// negotiation starts the negotiation of EXI for the account.
func (l *link) negotiation() *compress.Negotiation {
	n := l.t.cfg.EXI.Accept()
	if l.port != nil {
		n = l.t.cfg.EXI.AcceptPort(l.port)
	}
	n.Account = l.account
	n.Send = func(p xmpp.Payload) error {
		var d exi.Doc
		p.AppendEvents(&d)
		return l.client.WriteElements(&d)
	}
	return n
}

// methods is the offer to compress; on the dedicated port all is EXI already.
func (l *link) methods() xmpp.Payload {
	switch {
	case l.port != nil:
		return nil
	case l.t.cfg.Port > 0:
		return l.t.cfg.EXI.OfferPort(l.t.cfg.Port)
	}
	return l.t.cfg.EXI.Offer()
}

// offer passes the server's features on, without those that the client's
// grammar cannot carry.
func (l *link) offer(extra xmpp.Payload) error {
	features(l.from.Root(), &l.out, extra)
	if l.port != nil {
		l.port.Prune(&l.out)
	}
	return l.client.WriteElements(&l.out)
}

// authcid reads who wants to log in off the first message of PLAIN (RFC 4616)
// or SCRAM (RFC 5802).
func authcid(mechanism string, message []byte) string {
	sep, at := ",", 2
	if mechanism == "PLAIN" {
		sep, at = "\x00", 1
	}
	parts := strings.Split(string(message), sep)
	if at >= len(parts) {
		return ""
	}
	name, scram := strings.CutPrefix(parts[at], "n=")
	if scram != (mechanism != "PLAIN") {
		return ""
	}
	return name
}
