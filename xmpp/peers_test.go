package xmpp_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/peertest"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/entitytime"
	"postern/xmpp/ping"
	"postern/xmpp/roster"
	"postern/xmpp/tcp"
	"postern/xmpp/version"
)

// The tests of this file run against real servers and skip where they are not
// installed.

func peerConfig(srv *peertest.Server, account string) xmpp.Config {
	return xmpp.Config{
		JID:       jid.MustParse(srv.JID(account)),
		Password:  func(context.Context) (string, error) { return srv.Password(account), nil },
		CAs:       srv.CA.Pool(),
		Transport: &tcp.Transport{},
		Addr:      srv.Addr,
		Timeout:   10 * time.Second,
		Backoff:   xmpp.Backoff{First: 200 * time.Millisecond, Many: 200 * time.Millisecond, Max: 2 * time.Second},
		Logger:    slog.New(slog.NewTextHandler(logTo{}, &slog.HandlerOptions{Level: logLevel()})),
	}
}

type logTo struct{}

func (logTo) Write(p []byte) (int, error) { return os.Stderr.Write(p) }

func logLevel() slog.Level {
	if os.Getenv("XMPP_LOG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelError + 1
}

// runPeer runs a session until the test ends and waits until it is online.
func runPeer(t *testing.T, cfg xmpp.Config) *xmpp.Session {
	t.Helper()
	s := start(t, cfg)
	waitFor(t, s, "online", func(st xmpp.State) bool { return st.Phase == xmpp.Online })
	return s
}

func start(t *testing.T, cfg xmpp.Config) *xmpp.Session {
	t.Helper()
	s, err := xmpp.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s
}

func run(t *testing.T, s *xmpp.Session) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		began := time.Now()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("Run took %v to end", d)
		}
	})
}

func waitFor(t *testing.T, s *xmpp.Session, what string, ok func(xmpp.State) bool) xmpp.State {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		ch := s.Changed()
		st := s.State()
		if ok(st) {
			return st
		}
		select {
		case <-ch:
		case <-limit:
			t.Fatalf("not %s; the state is %+v", what, st)
		}
	}
}

func pingTo(s *xmpp.Session, to jid.JID) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return s.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(namePing, exi.Value{})
	})}, nil)
}

func peersLogin(t *testing.T, srv *peertest.Server) {
	best := map[string]string{"prosody": "SCRAM-SHA-256", "ejabberd": "SCRAM-SHA-512"}[srv.Name]
	for _, mode := range []xmpp.TLSMode{xmpp.TLSStart, xmpp.TLSDirect} {
		cfg := peerConfig(srv, "device")
		cfg.Handler = pingMux()
		if cfg.TLS = mode; mode == xmpp.TLSDirect {
			cfg.Addr = srv.DirectTLS
		}
		s := runPeer(t, cfg)
		st := s.State()
		if st.Mechanism != best || !st.Resumable || !strings.HasPrefix(st.TLS, "TLS 1.3") {
			t.Errorf("state %+v", st)
		}
		for _, to := range []jid.JID{{}, jid.MustParse(srv.Domain), s.LocalAddr()} {
			if err := pingTo(s, to); err != nil {
				t.Errorf("ping %q: %v", to, err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := s.Flush(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if n := s.Stats().Unacked; n != 0 {
			t.Errorf("%d unacknowledged", n)
		}
	}
}

// TestPeers shares one server of each kind; Restart comes last.
func TestPeers(t *testing.T) {
	peertest.Each(t, func(t *testing.T, srv *peertest.Server) {
		for _, sub := range []struct {
			name string
			run  func(*testing.T, *peertest.Server)
		}{
			{"Login", peersLogin}, {"Mechanisms", func(t *testing.T, srv *peertest.Server) { peersMechanisms(t, srv, "") }}, {"Roster", peersRoster}, {"ResumeAfterCut", peersResumeAfterCut}, {"WrongPassword", peersWrongPassword},
			{"HalfOpen", peersHalfOpen}, {"Restart", peersRestart},
		} {
			t.Run(sub.name, func(t *testing.T) { sub.run(t, srv) })
		}
	})
}

// peersMechanisms logs in by every mechanism that the server offers and we
// know, the best ones hidden one after the other.
func peersMechanisms(t *testing.T, srv *peertest.Server, plus string) {
	want := map[string][]string{
		"prosody": {"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"}, "ejabberd": {"SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"},
	}[srv.Name]
	var hidden []string
	for _, m := range want {
		if m != "PLAIN" {
			m += plus
		} else if plus != "" {
			break
		}
		cfg := peerConfig(srv, "device")
		cfg.AllowPlain = true
		s, err := xmpp.NewSession(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.Except(hidden...)
		run(t, s)
		waitFor(t, s, "online", func(st xmpp.State) bool { return st.Phase == xmpp.Online })
		if got := s.State().Mechanism; got != m {
			t.Errorf("logged in by %s, want %s", got, m)
		}
		hidden = append(hidden, m)
	}
}

func TestPeersChannelBindingOnTLS12(t *testing.T) {
	peertest.EachWith(t, peertest.Options{TLS12: true}, func(t *testing.T, srv *peertest.Server) {
		best := map[string]string{"prosody": "SCRAM-SHA-256-PLUS", "ejabberd": "SCRAM-SHA-512-PLUS"}[srv.Name]
		s := runPeer(t, peerConfig(srv, "device"))
		if st := s.State(); st.Mechanism != best || !strings.HasPrefix(st.TLS, "TLS 1.2") {
			t.Errorf("state %+v", st)
		}
		peersMechanisms(t, srv, "-PLUS")
	})
}

func TestPeersHashedStore(t *testing.T) {
	srv := peertest.ProsodyWith(t, peertest.Options{HashedStore: true})
	s := runPeer(t, peerConfig(srv, "device"))
	if st := s.State(); st.Mechanism != "SCRAM-SHA-1" {
		t.Errorf("state %+v", st)
	}
}

func peersResumeAfterCut(t *testing.T, srv *peertest.Server) {
	link := peertest.NewProxy(t, srv.Addr)
	got := make(chan string, 64)
	m := pingMux()
	m.HandleFunc(xmpp.Message, "*", exi.Name{}, func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		if st.QueuedSince.IsZero() {
			got <- st.ID
		} else {
			got <- st.ID + " queued"
		}
		return nil, nil
	})
	cfg := peerConfig(srv, "device")
	cfg.Handler, cfg.Addr = m, link.Addr
	s := runPeer(t, cfg)
	full := s.LocalAddr()
	friend := runPeer(t, peerConfig(srv, "owner"))

	link.Refuse()
	link.Cut()
	waitFor(t, s, "waiting", func(st xmpp.State) bool { return st.Phase == xmpp.Waiting })
	ctx := context.Background()
	for _, id := range []string{"in1", "in2"} {
		if err := friend.Send(ctx, xmpp.Stanza{Kind: xmpp.Message, Type: "chat", ID: id, To: full, Payload: body("to a broken link")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := friend.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"out1", "out2"} {
		if err := s.Send(ctx, xmpp.Stanza{Kind: xmpp.Message, Type: "chat", ID: id, To: full, Payload: body("to myself")}); err != nil {
			t.Fatal(err)
		}
	}
	link.Resume()
	st := waitFor(t, s, "online again", func(st xmpp.State) bool { return st.Phase == xmpp.Online })
	if !st.Resumed || !st.JID.Equal(full) {
		t.Errorf("state %+v", st)
	}
	var ids []string
	for range 4 {
		select {
		case id := <-got:
			ids = append(ids, id)
		case <-time.After(10 * time.Second):
			t.Fatalf("got %q only", ids)
		}
	}
	// What was kept by the server is known to be old, and in the order of its
	// sender. What this side sends again meanwhile may come between.
	first, second := slices.Index(ids, "in1 queued"), slices.Index(ids, "in2 queued")
	if first < 0 || second < first {
		t.Errorf("kept by the server, in this order: %q", ids)
	}
	if err := pingTo(s, jid.MustParse(srv.Domain)); err != nil {
		t.Error(err)
	}
	if err := friend.Send(ctx, xmpp.Stanza{Kind: xmpp.Message, Type: "chat", ID: "fresh", To: full, Payload: body("hi")}); err != nil {
		t.Fatal(err)
	}
	if id := <-got; id != "fresh" {
		t.Errorf("after the resumption: %q", id)
	}
}

func body(text string) xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(exi.N(xmpp.NSClient, "body"), exi.Str(text)) })
}

func peersWrongPassword(t *testing.T, srv *peertest.Server) {
	link := peertest.NewProxy(t, srv.Addr)
	cfg := peerConfig(srv, "device")
	cfg.Addr = link.Addr
	cfg.Password = func(context.Context) (string, error) { return "wrong", nil }
	s := start(t, cfg)
	st := waitFor(t, s, "held", func(st xmpp.State) bool { return st.Phase == xmpp.Held })
	var refused *xmpp.AuthError
	if !errors.As(st.Err, &refused) || refused.Condition != "not-authorized" {
		t.Errorf("error %v", st.Err)
	}
	if wait := time.Until(st.Retry); wait < 40*time.Minute {
		t.Errorf("tries again in %v", wait)
	}
	time.Sleep(500 * time.Millisecond)
	if n := link.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
	cfg.NoRetry = true
	s, err := xmpp.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); !errors.As(err, &refused) {
		t.Errorf("Run: %v", err)
	}
}

func peersRestart(t *testing.T, srv *peertest.Server) {
	m := new(xmpp.Mux)
	m.HandleFunc(xmpp.IQ, xmpp.Get, exi.N("urn:example", "slow"), func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
		return nil, xmpp.ErrLater // never
	})
	dev := peerConfig(srv, "gateway")
	dev.Handler = m
	device := runPeer(t, dev)
	s := runPeer(t, peerConfig(srv, "device"))
	// A request is under way when the server goes.
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		ended <- s.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: device.LocalAddr(), Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
			d.Element(exi.N("urn:example", "slow"), exi.Value{})
		})}, nil)
	}()
	until(t, "the request has arrived", func() bool { return device.Stats().In > 0 })
	srv.Stop()
	st := waitFor(t, s, "away", func(st xmpp.State) bool { return st.Phase == xmpp.Waiting })
	t.Logf("ended by: %v", st.Err)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := s.Query(ctx, xmpp.Stanza{Type: xmpp.Get}, nil); !errors.Is(err, xmpp.ErrOffline) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("query while away: %v", err)
	}
	srv.Start()
	waitFor(t, s, "online again", func(st xmpp.State) bool { return st.Phase == xmpp.Online })
	if err := pingTo(s, jid.MustParse(srv.Domain)); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, xmpp.ErrOffline) {
		t.Errorf("the request under way ended with %v", err)
	}
}

func peersHalfOpen(t *testing.T, srv *peertest.Server) {
	link := peertest.NewProxy(t, srv.Addr)
	cfg := peerConfig(srv, "device")
	cfg.Addr, cfg.Timeout = link.Addr, 2*time.Second
	s := runPeer(t, cfg)
	link.Freeze()
	err := pingTo(s, jid.MustParse(srv.Domain)) // nobody answers
	st := waitFor(t, s, "waiting", func(st xmpp.State) bool { return st.Phase != xmpp.Online })
	t.Logf("query: %v; link: %v", err, st.Err)
	link.Cut()
	link.Resume()
	st = waitFor(t, s, "online again", func(st xmpp.State) bool { return st.Phase == xmpp.Online })
	if !st.Resumed {
		t.Errorf("state %+v", st)
	}
}

func TestPeersExpiredCertificate(t *testing.T) {
	peertest.EachWith(t, peertest.Options{NotAfter: time.Now().Add(-time.Hour)}, func(t *testing.T, srv *peertest.Server) {
		cfg := peerConfig(srv, "device")
		cfg.Password = func(context.Context) (string, error) {
			t.Error("the password was asked for")
			return "", nil
		}
		cfg.NoRetry = true
		s, err := xmpp.NewSession(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Run(context.Background())
		var bad *xmpp.CertError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("error %v", err)
		}
	})
}

func TestPeersUnreachable(t *testing.T) {
	srvAddr := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	s, err := xmpp.NewSession(xmpp.Config{
		JID: jid.MustParse("a@example.org"), Addr: srvAddr, NoRetry: true, Transport: &tcp.Transport{},
		Password: func(context.Context) (string, error) { return "", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var op *net.OpError
	if err := s.Run(context.Background()); !errors.As(err, &op) {
		t.Errorf("error %v", err)
	}
}

// peersRoster lets the owner subscribe to a device that decides by its list,
// and a stranger who is left waiting; then the server's features are read, and
// the device's by its capabilities.
func peersRoster(t *testing.T, srv *peertest.Server) {
	owner, device := jid.MustParse(srv.JID("owner")), jid.MustParse(srv.JID("device"))
	m := pingMux()
	info := disco.New(disco.Config{Software: "https://postern.example"})
	info.Register(m)
	seen := make(chan roster.Presence, 16)
	devRoster, _ := withRoster(t, srv, "device", m, roster.Config{
		Account: device, Policy: roster.AllowList(roster.Pending, owner),
		Presence: func() xmpp.Payload { c, _ := info.Caps(); return c },
	})
	ownRoster, own := withRoster(t, srv, "owner", new(xmpp.Mux), roster.Config{
		Account: owner, Policy: roster.AllowList(roster.Refused, device),
		OnPresence: func(st *xmpp.Stanza, p roster.Presence, available bool) {
			if c, ok := disco.ParseCaps(st); ok && available && p.From.Bare().Equal(device) && c.Node == "https://postern.example" {
				seen <- p
			}
		},
	})
	strangers, _ := withRoster(t, srv, "stranger", new(xmpp.Mux), roster.Config{Account: jid.MustParse(srv.JID("stranger")), Policy: roster.AllowList(roster.Refused, owner)})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ownRoster.Subscribe(ctx, device); err != nil {
		t.Fatal(err)
	}
	if err := strangers.Subscribe(ctx, device); err != nil {
		t.Fatal(err)
	}
	var from jid.JID
	select {
	case p := <-seen:
		from = p.From
	case <-ctx.Done():
		t.Fatal("the owner does not see the device's presence")
	}
	until(t, "the roster has the subscription", func() bool {
		it, ok := ownRoster.Contact(device)
		dit, dok := devRoster.Contact(owner)
		return ok && it.To() && dok && dit.From() && ownRoster.Available(from)
	})
	until(t, "the stranger waits", func() bool { return len(devRoster.Requests()) == 1 })
	got, err := disco.AskInfo(ctx, own, from, "")
	if err != nil || !got.Has("urn:xmpp:ping") || got.Has("jabber:iq:roster") {
		t.Errorf("the device is %+v, %v", got, err)
	}
	if got, err = disco.AskInfo(ctx, own, owner.Domain(), ""); err != nil || !got.Has(disco.NSInfo) {
		t.Errorf("the server is %+v, %v", got, err)
	}
	if _, err := disco.AskItems(ctx, own, owner.Domain(), ""); err != nil {
		t.Error(err)
	}
	if s, err := version.Ask(ctx, own, owner.Domain()); err != nil || s.Name == "" {
		t.Errorf("%+v, %v", s, err)
	}
	if at, err := entitytime.Ask(ctx, own, owner.Domain()); err != nil || time.Since(at).Abs() > 5*time.Second {
		t.Errorf("%v, %v", at, err)
	}
	if err := ping.Ask(ctx, own, from); err != nil {
		t.Error(err)
	}
	if err := devRoster.Cancel(ctx, owner); err != nil {
		t.Error(err)
	}
	until(t, "the subscription is gone", func() bool {
		it, ok := ownRoster.Contact(device)
		return !ok || !it.To()
	})
}

// withRoster runs a session with a roster until the test ends.
func withRoster(t *testing.T, srv *peertest.Server, account string, m *xmpp.Mux, rc roster.Config) (*roster.Service, *xmpp.Session) {
	t.Helper()
	r, err := roster.New(rc)
	if err != nil {
		t.Fatal(err)
	}
	r.Register(m)
	ready := make(chan error, 1)
	cfg := peerConfig(srv, account)
	cfg.Handler = m
	cfg.OnOnline = func(ctx context.Context, s *xmpp.Session, resumed bool) {
		r.Bind(s)
		ready <- r.Online(ctx, resumed)
	}
	s := runPeer(t, cfg)
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return r, s
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 200 {
		if ok() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("not true in 5 s: %s", what)
}
