package xmpptest

import (
	"bytes"
	"context"
	"encoding/base64"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdg-go/scram"
	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

func attr(local string) exi.Name { return exi.N("", local) }

// Peer is the server's end of one connection. Its methods belong to the
// test's goroutine and end the test when something else happens than the
// script says.
type Peer struct {
	*tcp.Conn
	t       testing.TB
	srv     *Server
	nc      net.Conn
	in      chan read // set by Pump
	sm      bool
	handled atomic.Uint32 // stanzas of the client since stream management is on
	// Bound is the address that Bind gave out.
	Bound jid.JID
}

type read struct {
	doc *exi.Doc
	err error
}

// Open awaits the client's stream header and answers it.
func (p *Peer) Open() xmpp.Header {
	p.t.Helper()
	h, err := p.Conn.Open(p.ctx(), xmpp.Header{From: jid.MustParse(p.srv.o.Domain)})
	if err != nil {
		p.t.Fatalf("xmpptest: stream header: %v", err)
	}
	return h
}

// TryOpen is Open that returns its error.
func (p *Peer) TryOpen() error {
	_, err := p.Conn.Open(p.ctx(), xmpp.Header{From: jid.MustParse(p.srv.o.Domain)})
	return err
}

// TryHandshake is Handshake that returns its error.
func (p *Peer) TryHandshake() error { return p.Conn.StartTLS(p.ctx(), p.srv.tls) }

// Raw takes the client's header off the wire and answers by text just as it is.
func (p *Peer) Raw(xml string) {
	p.t.Helper()
	var buf [4096]byte
	if _, err := p.nc.Read(buf[:]); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.nc.Write([]byte(xml)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *Peer) ctx() context.Context { return context.Background() }

// StartTLS opens the stream, demands TLS and starts it.
func (p *Peer) StartTLS() {
	p.t.Helper()
	p.Open()
	p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")
	p.Expect("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.Handshake()
}

// Handshake starts TLS on the connection.
func (p *Peer) Handshake() {
	p.t.Helper()
	if err := p.Conn.StartTLS(p.ctx(), p.srv.tls); err != nil {
		p.t.Fatalf("xmpptest: TLS: %v", err)
	}
}

// Authenticate does everything up to the features behind the login.
func (p *Peer) Authenticate() {
	p.t.Helper()
	p.StartTLS()
	p.Open()
	p.OfferLogin()
	if !p.SCRAM(p.Read()) {
		p.t.Fatal("xmpptest: the login failed")
	}
	p.OfferSession()
}

// OfferLogin sends the features with the mechanisms.
func (p *Peer) OfferLogin() {
	p.t.Helper()
	var b strings.Builder
	b.WriteString("<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>")
	for _, m := range p.srv.o.Mechanisms {
		b.WriteString("<mechanism>" + m + "</mechanism>")
	}
	b.WriteString("</mechanisms>" + p.srv.o.BeforeLogin + "</stream:features>")
	p.Send(b.String())
}

// OfferSession opens the stream behind the login and sends its features.
func (p *Peer) OfferSession() {
	p.t.Helper()
	p.Open()
	sm := "<sm xmlns='urn:xmpp:sm:3'/>"
	if p.srv.o.NoSM {
		sm = ""
	}
	p.Send("<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>" + sm + p.srv.o.AfterLogin + "</stream:features>")
}

// SCRAM answers an auth element by the server's side of SCRAM; ok says whether
// the client knew the password, and a failure was sent if not.
func (p *Peer) SCRAM(auth *exi.Doc) (ok bool) {
	p.t.Helper()
	c := auth.Root()
	m, _ := c.Attr(attr("mechanism"))
	hash := map[string]scram.HashGeneratorFcn{
		"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256, "SCRAM-SHA-512": scram.SHA512,
	}[m.String()]
	if hash == nil {
		p.t.Fatalf("xmpptest: the client chose %s", m.String())
	}
	client, err := hash.NewClientUnprepped("thing", p.srv.o.Password, "")
	if err != nil {
		p.t.Fatal(err)
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt of a test", Iters: p.srv.o.Iterations})
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return keys, nil })
	if err != nil {
		p.t.Fatal(err)
	}
	conv := server.NewConversation()
	reply, err := conv.Step(payload(p.t, c))
	if err != nil {
		p.t.Fatal(err)
	}
	p.Send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + encode(reply) + "</challenge>")
	r := p.Read().Root()
	if r.Name().Value().Local != "response" {
		return false
	}
	reply, err = conv.Step(payload(p.t, r))
	if err != nil || !conv.Valid() {
		p.Send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
		return false
	}
	p.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + encode(reply) + "</success>")
	return true
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func payload(t testing.TB, c exi.Cursor) string {
	b, err := base64.StdEncoding.DecodeString(c.Text().String())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Bind answers binding and, with stream management, enable.
func (p *Peer) Bind() {
	p.t.Helper()
	p.BindAs("")
	if p.srv.o.NoSM {
		p.Pump()
		return
	}
	p.Enable()
}

// Enable answers the request for stream management.
func (p *Peer) Enable() {
	p.t.Helper()
	c := p.Read().Root()
	if c.Name().Value().Local != "enable" {
		p.t.Fatalf("xmpptest: enable expected, got %s", TextAt(p.t, c))
	}
	p.srv.session++
	p.Send("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='session-" + strconv.Itoa(p.srv.session) +
		"' max='" + strconv.Itoa(p.srv.o.Max) + "'/>")
	p.sm = true
	p.Pump()
}

// BindAs answers binding with a resource; empty takes the client's wish.
func (p *Peer) BindAs(resource string) {
	p.t.Helper()
	c := p.Read().Root()
	bind := c.Child(exi.N(xmpp.NSBind, "bind"))
	if !bind.Valid() {
		p.t.Fatalf("xmpptest: bind expected, got %s", TextAt(p.t, c))
	}
	if resource == "" {
		if resource = bind.Child(exi.N(xmpp.NSBind, "resource")).Text().String(); resource == "" {
			resource = "r1"
		}
	}
	p.Bound = jid.MustParse(Account + "/" + resource)
	id, _ := c.Attr(attr("id"))
	p.Send("<iq type='result' id='" + id.String() + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" +
		p.Bound.String() + "</jid></bind></iq>")
}

// Pump starts reading ahead, so that the client never waits for the script.
// Requests for acknowledgement are answered on the way, and acknowledgements
// are left out, unless Options.Manual is set. Until Pump, Read takes each
// element off the wire itself.
func (p *Peer) Pump() {
	in := make(chan read, 4096)
	p.in = in
	go func() {
		defer close(in)
		for {
			d := new(exi.Doc)
			err := p.Conn.ReadElement(d)
			if err == nil && p.nonza(d.Root().Name()) {
				continue
			}
			in <- read{d, err}
			if err != nil {
				return
			}
		}
	}()
}

// nonza counts stanzas, and takes the elements of stream management.
func (p *Peer) nonza(name exi.Name) (taken bool) {
	if xmpp.KindOf(name) != 0 {
		p.handled.Add(1)
		return false
	}
	if p.srv.o.Manual || name.Value().Space != xmpp.NSSM {
		return false
	}
	if name.Value().Local == "r" {
		// When it fails, reading fails too.
		_ = p.Conn.WriteText("<a xmlns='urn:xmpp:sm:3' h='" + strconv.FormatUint(uint64(p.handled.Load()), 10) + "'/>")
	}
	return name.Value().Local == "r" || name.Value().Local == "a"
}

// Handled is the number of stanzas that the client has sent since stream
// management is on: what the server acknowledges.
func (p *Peer) Handled() uint32 { return p.handled.Load() }

// Read returns the client's next element.
func (p *Peer) Read() *exi.Doc {
	p.t.Helper()
	d, err := p.Next()
	if err != nil {
		p.t.Fatalf("xmpptest: reading from the client: %v", err)
	}
	return d
}

// Next is Read with the end of the stream as an error.
func (p *Peer) Next() (*exi.Doc, error) {
	p.t.Helper()
	if p.in == nil {
		d := new(exi.Doc)
		err := p.Conn.ReadElement(d)
		return d, err
	}
	select {
	case r, ok := <-p.in:
		if !ok {
			return nil, net.ErrClosed
		}
		return r.doc, r.err
	case <-time.After(2 * time.Hour):
		p.t.Fatal("xmpptest: the client sends nothing")
	}
	return nil, nil
}

// Expect reads the next element and compares it; the order of attributes does
// not count.
func (p *Peer) Expect(xml string) {
	p.t.Helper()
	got := p.Read()
	if want := Doc(p.t, xml); !Same(p.t, got, want) {
		p.t.Fatalf("xmpptest: the client sent\n\t%s\ninstead of\n\t%s", Text(p.t, got), Text(p.t, want))
	}
}

// Quiet checks that the client sends nothing for a while.
func (p *Peer) Quiet(d time.Duration) {
	p.t.Helper()
	select {
	case r := <-p.in:
		if r.err != nil {
			p.t.Fatalf("xmpptest: %v", r.err)
		}
		p.t.Fatalf("xmpptest: the client sent %s", Text(p.t, r.doc))
	case <-time.After(d):
	}
}

// Send writes text into the stream just as it is.
func (p *Peer) Send(xml string) {
	p.t.Helper()
	if err := p.Conn.WriteText(xml); err != nil {
		p.t.Fatalf("xmpptest: sending %s: %v", xml, err)
	}
}

// Answer reads an iq of the client and answers it by a result with the given
// content. It returns the iq.
func (p *Peer) Answer(content string) *exi.Doc {
	p.t.Helper()
	d := p.Read()
	c := d.Root()
	id, _ := c.Attr(attr("id"))
	to, _ := c.Attr(attr("to"))
	from := ""
	if !to.IsZero() {
		from = " from='" + to.String() + "'"
	}
	var b bytes.Buffer
	b.WriteString("<iq type='result' id='" + id.String() + "'" + from + ">" + content + "</iq>")
	p.Send(b.String())
	return d
}

// Cut breaks the connection off, as when a cable is pulled and the TCP stack
// notices.
func (p *Peer) Cut() { _ = p.Conn.Abort() }
