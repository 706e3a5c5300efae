package terminator

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/peertest"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// Clients with different options hear each other: what passes is encoded anew,
// also where both streams agree but keep tables.
func Test0322R48R49_StanzasAreRecompressed(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	f := startFront(t, s, "", nil)
	for _, pair := range [][2]compress.Params{
		{{}, {Strict: true}}, {{SessionWide: true}, {Alignment: exi.ByteAligned}}, {{SessionWide: true}, {SessionWide: true}},
	} {
		a := login(t, s, "gateway", f.addr, &pair[0])
		b := login(t, s, "reader", f.addr, &pair[1])
		for range 3 {
			a.asks(t, b, "reader")
			b.asks(t, a, "gateway")
		}
	}
}

// EXI octets on the plain port are answered in plain XML.
func Test0322R74_EXIOnThePlainPort(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	f := startFront(t, s, "", nil)
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := nc.Write([]byte("$EXI\x80\xe2\x01\x02")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if err != nil || !strings.Contains(string(got), "<stream:error") || !strings.HasSuffix(string(got), "</stream:stream>") {
		t.Errorf("answer %q, %v", got, err)
	}
}

// A payload that the client's strict grammar does not know does not reach it,
// and both ends count the same: the session goes on, resumes, and loses
// nothing (decision D21).
func TestUnknownPayloadOnAStrictStreamKeepsTheCounts(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		port := frontPort(t, f)
		proxy := peertest.NewProxy(t, port)
		plain := login(t, s, "reader", s.Addr, nil)
		gw := loginPort(t, s, "gateway", proxy.Addr, &compress.Client{Want: compress.PortParams(), Known: &compress.Memory{}}, &tcp.Transport{})
		unknown := xmpp.PayloadFunc(func(d *exi.Doc) {
			d.Start(exi.N("urn:example:unknown", "x"))
			d.Element(exi.N("urn:example:unknown", "y"), exi.Str("z"))
			d.End()
		})
		for range 5 {
			if err := plain.Send(t.Context(), xmpp.Stanza{Kind: xmpp.Message, Type: "chat", To: gw.LocalAddr(), Payload: unknown}); err != nil {
				t.Fatal(err)
			}
			err := plain.Query(t.Context(), xmpp.Stanza{Type: xmpp.Get, To: gw.LocalAddr(), Payload: unknown}, func(*xmpp.Stanza) error { return nil })
			if err == nil {
				t.Error("a request nobody knows was answered with a result")
			}
			plain.asks(t, gw, "gateway")
		}
		if n := f.Stats().Replaced; n < 10 {
			t.Errorf("%d stanzas were replaced", n)
		}
		first := gw.LocalAddr()
		proxy.Cut()
		plain.asks(t, gw, "gateway")
		if st := gw.State(); !st.Resumed || !gw.LocalAddr().Equal(first) {
			t.Errorf("not resumed: %+v", st)
		}
		if n := gw.Stats().Connects; n != 2 {
			t.Errorf("%d connections: the counts of the ends differ", n)
		}
	})
}

// What is no EXI behind compressed, or is cut off, ends that client alone.
func TestGarbageBehindCompressed(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	f := startFront(t, s, "", nil)
	port := frontPort(t, f)
	other := login(t, s, "reader", f.addr, &compress.Params{})
	for name, wire := range map[string]string{
		"XML":       "<?xml version='1.0'?><stream:stream xmlns='jabber:client'>",
		"HTTP":      "GET / HTTP/1.1\r\n\r\n",
		"zeros":     strings.Repeat("\x00", 4096),
		"ones":      strings.Repeat("\xff", 4096),
		"a large":   "$EXI\x80" + strings.Repeat("\xe1\x7f", 20_000),
		"TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		nc, err := net.Dial("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(8 * time.Second))
		_, _ = nc.Write([]byte(wire))
		got, err := io.ReadAll(nc)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: the connection hangs after %q", name, got)
		}
		_ = nc.Close()
	}
	other.asks(t, other, "reader")
}

// A client's certificate ends at the terminator, so the server must not be
// asked to believe in it.
func TestCoreR100_NoLoginByCertificate(t *testing.T) {
	var d, out exi.Doc
	err := xmltext.ParseElement("<stream:features xmlns='jabber:client' xmlns:stream='"+xmpp.NSStream+"'><mechanisms xmlns='"+xmpp.NSSASL+"'>"+
		"<mechanism>EXTERNAL</mechanism><mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism></mechanisms></stream:features>", &d)
	if err != nil {
		t.Fatal(err)
	}
	features(d.Root(), &out, nil)
	var offered []string
	for m := range out.Root().Child(nameMechanisms).Children() {
		offered = append(offered, m.Text().String())
	}
	if got := strings.Join(offered, " "); got != "SCRAM-SHA-256" {
		t.Errorf("offered are %s", got)
	}

	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	f := startFront(t, s, "", nil)
	session, err := xmpp.NewSession(xmpp.Config{
		JID:      jid.MustParse(s.JID("gateway")),
		Password: func(context.Context) (string, error) { return s.Password("gateway"), nil },
		CAs:      s.CA.Pool(), Transport: &tcp.Transport{}, Addr: f.addr, NoRetry: true,
		BeforeLogin: func(_ context.Context, conn xmpp.Conn, _ exi.Cursor) error {
			var d exi.Doc
			d.Start(exi.N(xmpp.NSSASL, "auth"))
			d.Attr(exi.N("", "mechanism"), exi.Str("EXTERNAL"))
			d.Text(exi.Str("="))
			d.End()
			if err := conn.WriteElements(&d); err != nil {
				return err
			}
			if err := conn.ReadElement(&d); err != nil {
				return err
			}
			if got := d.Root().First().Name().Value().Local; got != "invalid-mechanism" {
				t.Errorf("EXTERNAL is answered %s", got)
			}
			return nil // the server has heard nothing of it: logging in goes on
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	done := make(chan error, 1)
	go func() { done <- session.Run(ctx) }()
	if err := session.WaitOnline(ctx); err != nil {
		t.Errorf("%v: %v", err, session.State().Err)
	}
	cancel()
	<-done
}

// Clients of direct TLS resume their TLS sessions as those of STARTTLS do.
func TestDirectTLSIsResumed(t *testing.T) {
	ca, err := peertest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.KeyPair(peertest.Leaf{Names: []string{"example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	term, err := New(Config{
		Domain: jid.MustParse("example.org"), TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Upstream: Upstream{Addr: bareServer(t)}, EXI: &compress.Server{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- term.Serve(ctx, ln, true) }()
	// With TLS 1.2 the ticket is part of the handshake.
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "example.org", MaxVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i := range 2 {
		c, err := tls.Dial("tcp", ln.Addr().String(), client)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState().DidResume; got != (i == 1) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
		c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
