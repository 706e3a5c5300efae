package component

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
	"postern/xmpp/ping"
)

// The vectors of the digest of XEP-0114; the second id has to be unescaped.
func Test0114R05_Proof(t *testing.T) {
	for _, c := range [][3]string{
		{"3BF96D32", "test", "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e"},
		{"a&b<1", "pässwörd", "652eb324bcde12b23d927650046da272503e6582"},
	} {
		if got := Proof(c[0], c[1]); got != c[2] {
			t.Errorf("%q: %s", c[0], got)
		}
	}
}

// stub is a server that is played by the test.
type stub struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

func (s *stub) says(xml string) {
	s.t.Helper()
	if _, err := s.nc.Write([]byte(xml)); err != nil {
		s.t.Error(err)
	}
}

// hears reads until want has come.
func (s *stub) hears(want string) string {
	s.t.Helper()
	_ = s.nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	var got strings.Builder
	for !strings.Contains(got.String(), want) {
		b, err := s.br.ReadByte()
		if err != nil {
			s.t.Fatalf("heard %q, %v; want %q", got.String(), err, want)
		}
		got.WriteByte(b)
	}
	return got.String()
}

const header = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='things.example' id='a&amp;b&lt;1'>"

// open lets a component connect to the test; online tells when it did.
func open(t *testing.T, h xmpp.Handler) (c *Client, accept func() *stub, online chan bool) {
	t.Helper()
	conns := make(chan net.Conn, 4)
	online = make(chan bool, 16)
	c, err := New(Config{Addr: "stub", Domain: "things.example", Handler: h, Backoff: time.Millisecond, Held: time.Hour, KeepAlive: 20 * time.Millisecond, Timeout: 5 * time.Second,
		Secret: func(context.Context) (string, error) { return "pässwörd", nil },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			conns <- b
			return a, nil
		},
		OnOnline: func(on bool) { online <- on }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var last net.Conn
	t.Cleanup(func() {
		cancel()
		if last != nil {
			_ = last.Close()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c, func() *stub {
		select {
		case nc := <-conns:
			last = nc
			return &stub{t, nc, bufio.NewReader(nc)}
		case <-time.After(5 * time.Second):
			t.Fatal("it does not connect")
			return nil
		}
	}, online
}

func (s *stub) shake() {
	s.t.Helper()
	open := s.hears(">")
	if strings.HasPrefix(open, "<?xml") && !strings.Contains(open, "<stream:stream") {
		open += s.hears(">")
	}
	if !strings.Contains(open, "to='things.example'") || !strings.Contains(open, "xmlns='jabber:component:accept'") || strings.Contains(strings.TrimPrefix(open, "<?xml version='1.0'?>"), "version=") {
		s.t.Errorf("header %s", open)
	}
	s.says(header)
	if got := s.hears("</handshake>"); got != "<handshake>652eb324bcde12b23d927650046da272503e6582</handshake>" {
		s.t.Errorf("handshake %s", got)
	}
	s.says("<handshake/>")
}

func Test0114R01R04R07R15_Stream(t *testing.T) {
	got := make(chan string, 4)
	mux := new(xmpp.Mux)
	ping.Register(mux)
	mux.HandleFunc(xmpp.Message, "*", exi.Name{}, func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		got <- fmt.Sprintf("%s: %s", st.From, st.Elem.Child(exi.N(xmpp.NSClient, "body")).Text().String())
		return nil, nil
	})
	c, accept, online := open(t, mux)
	if err := c.Send(context.Background(), xmpp.Stanza{Kind: xmpp.Message}); !errors.Is(err, xmpp.ErrOffline) {
		t.Error(err)
	}
	s := accept()
	s.shake()
	if !<-online {
		t.Fatal("not online")
	}
	go s.says("<message from='a@b.example' to='x@things.example'><body>hello</body></message><iq type='get' id='1' from='a@b.example/c' to='things.example'><ping xmlns='urn:xmpp:ping'/></iq>" +
		"<iq type='get' id='2' from='a@b.example/c' to='things.example'><foo xmlns='bar'/></iq>")
	answers := s.hears("id='2'") + s.hears("</iq>")
	var d exi.Doc
	body := strings.TrimSpace(answers)
	if err := xmltext.ParseElement("<w xmlns='jabber:component:accept'>"+body+"</w>", &d); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if !strings.Contains(body, "type='result'") || !strings.Contains(body, "from='things.example'") || !strings.Contains(body, "service-unavailable") || strings.Contains(body, "jabber:client") {
		t.Errorf("%s", body)
	}
	if m := <-got; m != "a@b.example: hello" {
		t.Error(m)
	}
	// White space keeps the stream alive.
	s.hears("  ")
	// Foreign senders would end the stream.
	for _, from := range []string{"a@other.example", "example"} {
		err := c.Send(context.Background(), xmpp.Stanza{Kind: xmpp.Message, From: jid.MustParse(from), To: jid.MustParse("a@b.example")})
		if err == nil {
			t.Errorf("sent from %s", from)
		}
	}
	sent := make(chan error, 1)
	go func() {
		sent <- c.Send(context.Background(), xmpp.Stanza{Kind: xmpp.Message, To: jid.MustParse("a@b.example"), From: jid.MustParse("x@things.example/y")})
	}()
	if m := s.hears("/>"); !strings.Contains(m, "from='x@things.example/y'") {
		t.Error(m)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func Test0114R14_ItConnectsAgain(t *testing.T) {
	_, accept, online := open(t, new(xmpp.Mux))
	for range 3 {
		s := accept()
		s.shake()
		if !<-online {
			t.Fatal("not online")
		}
		_ = s.nc.Close()
		if <-online {
			t.Fatal("still online")
		}
	}
}

func Test0114R14_RefusalsAreHeld(t *testing.T) {
	for _, condition := range []string{"not-authorized", "host-unknown", "conflict", "invalid-namespace"} {
		_, accept, _ := open(t, new(xmpp.Mux))
		s := accept()
		s.hears("things.example")
		go func() {
			_, _ = s.nc.Write([]byte(header + "<stream:error><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"))
		}()
		buf := make([]byte, 4096)
		for {
			if _, err := s.br.Read(buf); err != nil {
				break // it has hung up
			}
		}
	}
	for condition, held := range map[string]bool{"not-authorized": true, "host-unknown": true, "conflict": true, "system-shutdown": false} {
		if mustMend(fmt.Errorf("x: %w", xmpp.NewStreamError(condition, ""))) != held {
			t.Errorf("%s: %v", condition, !held)
		}
	}
}

func FuzzRename(f *testing.F) {
	f.Add("<message xmlns='jabber:component:accept' to='a'><body>x</body><x xmlns='jabber:client'><y/></x></message>")
	f.Fuzz(func(t *testing.T, s string) {
		var in, out exi.Doc
		if xmltext.ParseElement(s, &in) != nil {
			return
		}
		rename(&out, in.Root())
		if !out.Complete() {
			t.Fatalf("%q is cut", s)
		}
		for e := range out.Root().Events() {
			if e.Kind == exi.SE && e.Name.Value().Space == xmpp.NSComponent {
				t.Fatalf("%q: a name is left", s)
			}
		}
	})
}
