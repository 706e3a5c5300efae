package register_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/peertest"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/hub"
	"postern/xmpp/register"
	"postern/xmpp/tcp"
)

// join registers and logs in; it returns how often an account was made and
// found, and the error.
func join(t *testing.T, c xmpp.Config, password string) (made, found int, err error) {
	t.Helper()
	known := false
	a := &register.Account{JID: c.JID, Password: func(context.Context) (string, error) { return password, nil },
		Known: func() bool { return known },
		Made: func(m bool) error {
			known = true
			if m {
				made++
			} else {
				found++
			}
			return nil
		}}
	c.Transport, c.Password, c.NoRetry, c.BeforeLogin = &tcp.Transport{}, a.Password, true, a.BeforeLogin
	x, err := xmpp.NewSession(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	wait := make(chan error, 1)
	go func() { wait <- x.WaitOnline(ctx) }()
	select {
	case err = <-wait:
		cancel()
		<-done
	case err = <-done:
		cancel()
	}
	return made, found, err
}

func Test0347R05_AccountsAreMade(t *testing.T) {
	peertest.EachWith(t, peertest.Options{Register: true}, func(t *testing.T, s *peertest.Server) {
		c := xmpp.Config{JID: jid.MustParse("newcomer@" + s.Domain), Addr: s.Addr, CAs: s.Pool()}
		for i, want := range [][2]int{{1, 0}, {0, 1}} {
			if made, found, err := join(t, c, "a new password 1"); err != nil || made != want[0] || found != want[1] {
				t.Errorf("time %d: made %d, found %d, %v", i+1, made, found, err)
			}
		}
		if _, found, err := join(t, c, "another"); err == nil || found != 1 {
			t.Errorf("with another password: found %d, %v", found, err)
		}
	})
}

// The hub offers it only where it is told to, and not without end.
func TestTheHubRegisters(t *testing.T) {
	start := func(on bool) (*hub.Hub, xmpp.Config) {
		dir := t.TempDir()
		ca, err := hub.OpenCA(filepath.Join(dir, "tls"), "site.example")
		if err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(context.Background(), filepath.Join(dir, "hub.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		h, err := hub.New(hub.Config{Domain: "site.example", Store: db, TLS: ca.TLS(), Listen: []string{"127.0.0.1:0"}, Register: on, Limits: hub.Limits{Registrations: 2}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done; db.Close() })
		return h, xmpp.Config{Addr: h.Addrs()[0].String(), CAs: ca.Pool()}
	}
	h, c := start(true)
	c.JID = jid.MustParse("one@site.example")
	for i, want := range [][2]int{{1, 0}, {0, 1}} {
		made, found, err := join(t, c, "pw")
		if i == 0 && (err != nil || made != want[0] || found != want[1]) || i == 1 && found != want[1] {
			t.Errorf("time %d: made %d, found %d, %v", i+1, made, found, err)
		}
	}
	// Two tries of this address within the hour are used up.
	c.JID = jid.MustParse("three@site.example")
	if _, _, err := join(t, c, "pw"); !errors.Is(err, &xmpp.Error{Condition: xmpp.ResourceConstraint}) {
		t.Errorf("a third account: %v", err)
	}
	if users, err := h.Users(); err != nil || len(users) != 1 {
		t.Errorf("%v, %v", users, err)
	}
	_, c = start(false)
	c.JID = jid.MustParse("one@site.example")
	if made, _, err := join(t, c, "pw"); err == nil || made != 0 {
		t.Errorf("a hub that does not offer it: made %d, %v", made, err)
	}
}
