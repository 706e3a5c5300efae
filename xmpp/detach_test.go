package xmpp_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

var nameSlow = exi.N("urn:example", "slow")

// slowMux answers pings at once, and slow when a value comes on release.
func slowMux(release <-chan error) *xmpp.Mux {
	m := pingMux()
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameSlow, func(ctx context.Context, _ *xmpp.Stanza) (xmpp.Payload, error) {
		if err := xmpp.Detach(ctx); err != nil {
			return nil, err
		}
		if err := xmpp.Detach(ctx); err != nil { // once more costs nothing
			return nil, err
		}
		select {
		case err := <-release:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	return m
}

func slowIQ(from, id string) string {
	return fmt.Sprintf("<iq type='get' id='%s' from='%s@example.org/x'><slow xmlns='urn:example'/></iq>", id, from)
}

func pingIQ(from, id string) string {
	return fmt.Sprintf("<iq type='get' id='%s' from='%s@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>", id, from)
}

// A handler that waits for somebody else holds up nobody but its own sender,
// whose stanzas stay in order (RFC 6120 §10.1).
func TestDetachedHandlersHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan error)
		_, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) { c.Handler, c.Workers, c.Detached = slowMux(release), 1, 2 })
		expect := func(want ...string) {
			t.Helper()
			for _, w := range want {
				if got := next(t, p); got != w {
					t.Fatalf("got %q, want %q", got, w)
				}
			}
		}
		p.Send(slowIQ("a", "a1") + pingIQ("a", "a2") + slowIQ("b", "b1") + pingIQ("c", "c1"))
		expect("iq c1 result")
		// There is room for two.
		p.Send(slowIQ("d", "d1") + pingIQ("d", "d2"))
		expect("iq d1 error", "iq d2 result")
		// What waits behind a sender's own is bounded.
		var b strings.Builder
		for i := range 17 {
			b.WriteString(pingIQ("b", fmt.Sprint("b", i+2)))
		}
		p.Send(b.String())
		synctest.Wait()
		expect("iq b18 error")
		if n := s.Stats().Overflow; n != 1 {
			t.Errorf("%d refused", n)
		}
		release <- nil // to either of the two
		release <- nil
		got := map[byte][]string{}
		for range 2 + 1 + 16 {
			line := next(t, p)
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "iq "), " ")
			got[id[0]] = append(got[id[0]], id[1:])
		}
		if a, b := strings.Join(got['a'], " "), strings.Join(got['b'], " "); a != "1 2" || b != "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17" {
			t.Errorf("a: %s\nb: %s", a, b)
		}
		// And all is as before: one worker, with room for two again.
		synctest.Wait()
		p.Send(slowIQ("a", "a3") + slowIQ("b", "b19") + pingIQ("c", "c2"))
		expect("iq c2 result")
		p.Send(slowIQ("a", "a4"))
		synctest.Wait()
		release <- nil
		release <- nil
		release <- nil
		for range 3 {
			if line := next(t, p); !strings.HasSuffix(line, "result") {
				t.Error(line)
			}
		}
	})
}

// A session ends although handlers wait, and others behind them.
func TestDetachedHandlersEndWithTheSession(t *testing.T) {
	srv := xmpptest.NewServer(t, xmpptest.Options{})
	cfg := srv.Config()
	cfg.Handler, cfg.Workers = slowMux(nil), 1
	s, err := xmpp.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	p := srv.Login()
	p.Send(slowIQ("a", "a1") + slowIQ("a", "a2") + slowIQ("b", "b1") + pingIQ("c", "c1"))
	if got := next(t, p); got != "iq c1 result" {
		t.Error(got)
	}
	cancel()
	p.Cut()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the session does not end")
	}
}

func TestDetachElsewhere(t *testing.T) {
	if err := xmpp.Detach(context.Background()); err != nil {
		t.Error(err)
	}
}
