package terminator

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/peertest"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// front is a running Terminator before a real server.
type front struct {
	*Terminator
	addr, direct string
	stop         func()
}

// upstreamOf is a link that each server lets logins through: without TLS on
// loopback for ejabberd, by TLS 1.3 for Prosody.
func upstreamOf(s *peertest.Server) Upstream {
	if s.Name == "ejabberd" {
		return Upstream{Addr: s.Addr}
	}
	return Upstream{Addr: s.Addr, Security: StartTLS, CAs: s.CA.Pool()}
}

func each(t *testing.T, f func(t *testing.T, s *peertest.Server)) {
	peertest.EachWith(t, peertest.Options{PlainAllowed: true}, f)
}

func startFront(t *testing.T, s *peertest.Server, addr string, change func(*Config)) *front {
	t.Helper()
	cert, err := s.CA.KeyPair(peertest.Leaf{Names: []string{s.Domain}})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := compress.NewLibrary()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Domain: jid.MustParse(s.Domain), TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Upstream: upstreamOf(s), Timeout: 10 * time.Second,
		EXI: &compress.Server{Library: lib, Configs: &compress.Memory{}, Uploads: true, Ceiling: compress.Ceiling{SessionWide: true, Window: true}},
	}
	if change != nil {
		change(&cfg)
	}
	term, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	f := &front{Terminator: term}
	for i, at := range []string{addr, "127.0.0.1:0"} {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			f.addr = ln.Addr().String()
		} else {
			f.direct = ln.Addr().String()
		}
		wg.Go(func() {
			if err := term.Serve(ctx, ln, i == 1); err != nil {
				t.Error(err)
			}
		})
	}
	f.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(f.stop)
	return f
}

var nameVersion = exi.N("jabber:iq:version", "query")

// party is a session that answers version requests.
type party struct {
	*xmpp.Session
	exi *compress.Client
}

func login(t *testing.T, s *peertest.Server, account, addr string, want *compress.Params) *party {
	t.Helper()
	p := &party{}
	cfg := xmpp.Config{
		JID:       jid.MustParse(s.JID(account)),
		Password:  func(context.Context) (string, error) { return s.Password(account), nil },
		CAs:       s.CA.Pool(),
		Transport: &tcp.Transport{}, Addr: addr, Handler: versionMux(account), Timeout: 10 * time.Second,
		Backoff: xmpp.Backoff{First: 100 * time.Millisecond, Many: 100 * time.Millisecond, Max: time.Second},
	}
	if want != nil {
		p.exi = &compress.Client{Want: *want, Known: &compress.Memory{}, Server: s.Domain}
		cfg.Compress = p.exi.Negotiate
	}
	return run(t, p, cfg)
}

// versionMux answers version requests.
func versionMux(account string) *xmpp.Mux {
	m := new(xmpp.Mux)
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameVersion, func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
		return xmpp.PayloadFunc(func(d *exi.Doc) {
			d.Start(nameVersion)
			d.Element(exi.N("jabber:iq:version", "name"), exi.Str(account))
			d.Element(exi.N("jabber:iq:version", "version"), exi.Str("1"))
			d.End()
		}), nil
	})
	return m
}

// run runs a session until the test ends, and waits until it is online.
func run(t *testing.T, p *party, cfg xmpp.Config) *party {
	t.Helper()
	var err error
	if p.Session, err = xmpp.NewSession(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	p.online(t)
	return p
}

func (p *party) online(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.WaitOnline(ctx); err != nil {
		t.Fatalf("not online: %v; %+v", err, p.State())
	}
}

// asks sends a version request and checks the answer.
func (p *party) asks(t *testing.T, other *party, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	var got string
	err := p.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: other.LocalAddr(), Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(nameVersion, exi.Value{})
	})}, func(st *xmpp.Stanza) error {
		got = st.Child().First().Text().String()
		return nil
	})
	if err != nil || got != name {
		t.Fatalf("asking %s: %q, %v", name, got, err)
	}
}

func TestLoginAndStanzasThroughEachServer(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		if err := f.Check(t.Context()); err != nil {
			t.Fatalf("Check: %v", err)
		}
		plain := login(t, s, "reader", s.Addr, nil)
		for name, want := range map[string]*compress.Params{
			"XML":         nil,
			"EXI":         {},
			"strict":      {Strict: true},
			"sessionWide": {SessionWide: true},
			"window":      {Alignment: exi.ByteAligned, Window: true, SessionWide: true},
		} {
			t.Run(name, func(t *testing.T) {
				gw := login(t, s, "gateway", f.addr, want)
				if st := gw.State(); (st.Codec == "exi") != (want != nil) || !st.Resumable {
					t.Errorf("state %+v", st)
				}
				for range 20 {
					gw.asks(t, plain, "reader")
					plain.asks(t, gw, "gateway")
				}
			})
		}
	})
}

func Test0198R40_ResumptionPassesThrough(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		proxy := peertest.NewProxy(t, f.addr)
		plain := login(t, s, "reader", s.Addr, nil)
		gw := login(t, s, "gateway", proxy.Addr, &compress.Params{SessionWide: true})
		gw.asks(t, plain, "reader")
		first := gw.LocalAddr()
		for range 3 {
			proxy.Cut()
			plain.asks(t, gw, "gateway") // waits at the server until the gateway is back
		}
		if st := gw.State(); !st.Resumed || st.Codec != "exi" || !gw.LocalAddr().Equal(first) {
			t.Errorf("state %+v", st)
		}
	})
}

func TestRestartOfTheTerminatorKeepsSessions(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		plain := login(t, s, "reader", s.Addr, nil)
		gw := login(t, s, "gateway", f.addr, &compress.Params{})
		f.stop()
		startFront(t, s, f.addr, nil)
		plain.asks(t, gw, "gateway")
		if st := gw.State(); !st.Resumed || st.Codec != "exi" {
			t.Errorf("state %+v", st)
		}
	})
}

func TestRestartOfTheServer(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		gw := login(t, s, "gateway", f.addr, &compress.Params{})
		s.Restart()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for {
			ch := gw.Changed()
			if gw.Stats().Connects > 1 && gw.State().Phase == xmpp.Online {
				break
			}
			select {
			case <-ch:
			case <-ctx.Done():
				t.Fatalf("not back: %+v", gw.State())
			}
		}
		plain := login(t, s, "reader", s.Addr, nil)
		plain.asks(t, gw, "gateway")
	})
}

func TestDirectTLS(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		cfg := xmpp.Config{
			JID:       jid.MustParse(s.JID("gateway")),
			Password:  func(context.Context) (string, error) { return s.Password("gateway"), nil },
			CAs:       s.CA.Pool(),
			Transport: &tcp.Transport{}, Addr: f.direct, TLS: xmpp.TLSDirect, NoRetry: true,
		}
		session, err := xmpp.NewSession(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- session.Run(ctx) }()
		if err := session.WaitOnline(ctx); err != nil {
			t.Errorf("%v: %v", err, <-done)
			return
		}
		cancel()
		<-done
	})
}

func TestWrongPasswordReachesTheClient(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		session, err := xmpp.NewSession(xmpp.Config{
			JID:      jid.MustParse(s.JID("gateway")),
			Password: func(context.Context) (string, error) { return "wrong", nil },
			CAs:      s.CA.Pool(), Transport: &tcp.Transport{}, Addr: f.addr, NoRetry: true, Timeout: 10 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := session.Run(ctx); err == nil || !strings.Contains(err.Error(), "not-authorized") {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestCoreR96_CheckRefusesChannelBinding(t *testing.T) {
	peertest.EachWith(t, peertest.Options{TLS12: true}, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", func(c *Config) {
			c.Upstream = Upstream{Addr: s.Addr, Security: StartTLS, CAs: s.CA.Pool()}
		})
		err := f.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), "-PLUS") {
			t.Errorf("Check: %v", err)
		}
	})
}

func TestLimitsOnClients(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	f := startFront(t, s, "", func(c *Config) { c.MaxPerAddress = 2; c.Timeout = time.Second })
	var conns []net.Conn
	for range 4 {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	one := make([]byte, 1)
	_ = conns[3].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conns[3].Read(one); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the fourth client of an address was let in: %v", err)
	}
	// The silent ones are cut off when their time is over.
	_ = conns[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if _, err := conns[0].Read(one); err != nil {
			if strings.Contains(err.Error(), "timeout") {
				t.Error("a silent client was not cut off")
			}
			break
		}
	}
	if st := f.Stats(); st.Refused == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestCoreR63_ConfigurationIsChecked(t *testing.T) {
	good := Config{Domain: jid.MustParse("example.org"), TLS: &tls.Config{}, EXI: &compress.Server{}, Upstream: Upstream{Addr: "127.0.0.1:5222"}}
	if _, err := New(good); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"domain":               func(c *Config) { c.Domain = jid.JID{} },
		"certificate":          func(c *Config) { c.TLS = nil },
		"no server":            func(c *Config) { c.Upstream.Addr = "" },
		"host:port":            func(c *Config) { c.Upstream.Addr = "localhost" },
		"not on this machine":  func(c *Config) { c.Upstream.Addr = "xmpp.example.org:5222" },
		"EXI is not configure": func(c *Config) { c.EXI = nil },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %q, got %v", want, err)
		}
	}
}

func TestProxyHeader(t *testing.T) {
	tcpAddr := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for want, a := range map[string][2]net.Addr{
		"PROXY TCP4 192.0.2.1 127.0.0.1 4711 5222\r\n": {tcpAddr("192.0.2.1:4711"), tcpAddr("127.0.0.1:5222")},
		"PROXY TCP6 2001:db8::1 ::1 4711 5222\r\n":     {tcpAddr("[2001:db8::1]:4711"), tcpAddr("[::1]:5222")},
		"PROXY UNKNOWN\r\n":                            {nil, tcpAddr("127.0.0.1:5222")},
	} {
		if got := string(proxyHeader(a[0], a[1])); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
