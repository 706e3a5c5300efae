package terminator

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/peertest"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// frontPort has f serve a dedicated port too.
func frontPort(t *testing.T, f *front) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.ServePort(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return ln.Addr().String()
}

// loginPort is login by a dedicated port.
func loginPort(t *testing.T, s *peertest.Server, account, port string, c *compress.Client, base xmpp.Transport) *party {
	t.Helper()
	c.Server = s.Domain
	return loginWith(t, s, account, func(cfg *xmpp.Config) {
		cfg.Transport = &compress.PortTransport{Base: base, Client: c, Addr: port}
		cfg.Compress = c.Negotiate
	}, c)
}

// Login, STARTTLS and stanzas all travel in EXI, with the default schema and
// options and with negotiated ones, through both servers.
func Test0322R55R56R58R64R65_DedicatedPortThroughEachServer(t *testing.T) {
	each(t, func(t *testing.T, s *peertest.Server) {
		f := startFront(t, s, "", nil)
		port := frontPort(t, f)
		plain := login(t, s, "reader", s.Addr, nil)
		for name, want := range map[string]compress.Params{
			"default":     compress.PortParams(),
			"not strict":  {},
			"sessionWide": {SessionWide: true},
		} {
			t.Run(name, func(t *testing.T) {
				c := &compress.Client{Want: want, Known: &compress.Memory{}}
				proxy := peertest.NewProxy(t, port)
				gw := loginPort(t, s, "gateway", proxy.Addr, c, &tcp.Transport{})
				if st, is := gw.State(), c.Status(); st.Codec != "exi" || !st.Resumable || !is.On || !is.Port || is.Params.Strict != want.Strict {
					t.Errorf("state %+v, %+v", st, is)
				}
				for range 5 {
					gw.asks(t, plain, "reader")
					plain.asks(t, gw, "gateway")
				}
				first := gw.LocalAddr()
				proxy.Cut()
				plain.asks(t, gw, "gateway")
				if st := gw.State(); !st.Resumed || st.Codec != "exi" || !gw.LocalAddr().Equal(first) {
					t.Errorf("after a cut: %+v", st)
				}
				if n := proxy.Accepted(); n != 2 {
					t.Errorf("%d TCP connections, want 2: a shortcut that is known is not refused", n)
				}
			})
		}
	})
}

// A configuration that the server has forgotten is refused, and the client
// takes a new TCP connection with the default encoding.
func Test0322R60R61R62R63_ShortcutAndItsRefusal(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	configs := &compress.Memory{}
	f := startFront(t, s, "", func(c *Config) { c.EXI.Configs = configs })
	proxy := peertest.NewProxy(t, frontPort(t, f))
	known := &compress.Memory{}
	c := &compress.Client{Known: known}
	gw := loginPort(t, s, "gateway", proxy.Addr, c, &tcp.Transport{})
	plain := login(t, s, "reader", s.Addr, nil)
	conf, ok := known.Configuration("port " + s.Domain)
	if !ok || conf.ID == "" {
		t.Fatal("nothing was remembered")
	}
	configs.Forget(conf.ID)
	proxy.Cut()
	plain.asks(t, gw, "gateway")
	if n := proxy.Accepted(); n != 3 {
		t.Errorf("%d TCP connections, want 3: one refused", n)
	}
	again, _ := known.Configuration("port " + s.Domain)
	if again.ID == conf.ID || again.ID == "" {
		t.Errorf("the configuration %q was not negotiated anew", again.ID)
	}
}

// A port that speaks XML is left alone, and the session goes on by the
// ordinary one.
func Test0322R54_NotEXIGivesUp(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	f := startFront(t, s, "", nil)
	proxy := peertest.NewProxy(t, s.Addr) // plain XML
	c := &compress.Client{Known: &compress.Memory{}}
	gw := loginWith(t, s, "gateway", func(cfg *xmpp.Config) {
		c.Server = s.Domain
		cfg.Transport = &compress.PortTransport{Base: &tcp.Transport{}, Client: c, Addr: proxy.Addr}
		cfg.Compress, cfg.Addr = c.Negotiate, f.addr
	}, c)
	if st := gw.State(); st.Addr != f.addr || st.Codec != "exi" {
		t.Errorf("state %+v", st)
	}
	if n := proxy.Accepted(); n != 1 {
		t.Errorf("the other port was tried %d times", n)
	}
}

// loginWith is login with a configuration of the test's.
func loginWith(t *testing.T, s *peertest.Server, account string, change func(*xmpp.Config), c *compress.Client) *party {
	t.Helper()
	cfg := xmpp.Config{
		JID:       jid.MustParse(s.JID(account)),
		Password:  func(context.Context) (string, error) { return s.Password(account), nil },
		CAs:       s.CA.Pool(),
		Transport: &tcp.Transport{}, Handler: versionMux(account), Timeout: 10 * time.Second,
		Backoff: xmpp.Backoff{First: 100 * time.Millisecond, Many: 100 * time.Millisecond, Max: time.Second},
	}
	change(&cfg)
	return run(t, &party{exi: c}, cfg)
}
