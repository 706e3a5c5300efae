package xmpp_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

// Several goroutines send while the connection is cut again and again: with
// stream management every stanza arrives exactly once, and each goroutine's in
// order.
func Test0198R27_NothingIsLostOrDoubled(t *testing.T) {
	const senders, each = 4, 400
	srv := xmpptest.NewServer(t, xmpptest.Options{})
	cfg := srv.Config()
	cfg.Queue = 64
	cfg.Backoff = xmpp.Backoff{First: time.Millisecond, Max: 2 * time.Millisecond}
	s := xmpptest.Start(t, cfg)
	p := srv.Login()
	if err := s.WaitOnline(context.Background()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range senders {
		wg.Go(func() {
			for i := range each {
				st := message(fmt.Sprintf("%d %d", g, i))
				if err := s.Send(context.Background(), st); err != nil {
					t.Errorf("sending: %v", err)
					return
				}
			}
		})
	}
	want := [senders]int{}
	got := 0
	take := func(d *exi.Doc) {
		var g, i int
		id, _ := d.Root().Attr(exi.N("", "id"))
		if n, _ := fmt.Sscanf(id.String(), "%d %d", &g, &i); n != 2 {
			p.Send(`<iq type='result' id='` + id.String() + `' from='example.org'/>`) // the ping of the stale time
			return
		}
		if want[g] != i {
			t.Fatalf("sender %d: got %d, want %d", g, i, want[g])
		}
		want[g]++
		got++
	}
	cuts := 0
	for got < senders*each {
		for range 1 + rand.N(200) {
			if got == senders*each {
				break
			}
			take(p.Read())
		}
		if got == senders*each || cuts == 25 {
			continue
		}
		cuts++
		p.Cut()
		for {
			d, err := p.Next()
			if err != nil {
				break
			}
			if _, ok := d.Root().Attr(exi.N("", "type")); !ok {
				take(d)
			}
		}
		p, _ = srv.Resume(p.Handled())
	}
	wg.Wait()
	until(t, "every cut was followed by a resumption", func() bool { return s.Stats().Resumes == uint64(cuts) })
	t.Logf("%d stanzas over %d connections", got, cuts+1)
}
