package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// TestStress: clients that do everything at random over connections that break
// at random. At the end both ends of every subscription agree, and nothing
// hangs.
func TestStress(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.Hibernation = time.Second })
	d := 2 * time.Second
	if s := os.Getenv("POSTERN_STRESS"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	work, stopWork := context.WithTimeout(ctx, d)
	defer stopWork()
	names := []string{"anna", "ben", "cora"}
	var run, robots sync.WaitGroup
	for _, name := range names {
		for i := range 2 {
			s, err := xmpp.NewSession(xmpp.Config{
				JID:      jid.MustParse(fmt.Sprintf("%s@%s/r%d", name, domain, i)),
				Password: func(context.Context) (string, error) { return name, nil },
				CAs:      x.ca.Pool(), Transport: &tcp.Transport{}, Addr: x.Addrs()[0].String(),
				Backoff: xmpp.Backoff{First: 10 * time.Millisecond, Max: 20 * time.Millisecond, Stable: time.Millisecond, Many: 10 * time.Millisecond, Held: 20 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			run.Go(func() {
				if err := s.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			robots.Go(func() { robot(work, s, names) })
		}
	}
	robots.Go(func() { // breaks connections
		for work.Err() == nil {
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			x.mu.Lock()
			for c := range x.conns {
				if rand.IntN(4) == 0 {
					c.abort()
				}
			}
			x.mu.Unlock()
		}
	})
	robots.Wait()
	cancel()
	run.Wait()
	waitFor(t, func() bool { x.mu.Lock(); defer x.mu.Unlock(); return len(x.conns) == 0 && len(x.resumes) == 0 })
	subs := func(a, b string) subscription {
		acc, err := x.account(a)
		if err != nil {
			t.Fatal(err)
		}
		acc.mu.Lock()
		defer acc.mu.Unlock()
		if c := acc.roster[b+"@"+domain]; c != nil {
			return c.Sub
		}
		return subscription{}
	}
	for _, a := range names {
		for _, b := range names {
			if ab, ba := subs(a, b), subs(b, a); ab.From != ba.To {
				t.Errorf("%s has %+v with %s, who has %+v", a, ab, b, ba)
			}
		}
	}
	x.online("anna", "after").settle()
}

// robot sends random stanzas until ctx is done.
func robot(ctx context.Context, s *xmpp.Session, names []string) {
	for ctx.Err() == nil {
		to, err := jid.New(names[rand.IntN(len(names))], domain, []string{"", "r0", "r1"}[rand.IntN(3)])
		if err != nil {
			panic(err)
		}
		st := xmpp.Stanza{To: to}
		switch rand.IntN(6) {
		case 0:
			st = xmpp.Stanza{Kind: xmpp.Presence, Type: []string{"", "", "", "unavailable"}[rand.IntN(4)]}
		case 1, 2:
			st.Kind, st.Type = xmpp.Presence, append([]string{"", "unavailable", "probe"}, subscriptionTypes...)[rand.IntN(7)]
		case 3:
			st.Kind, st.Type = xmpp.Message, "chat"
			st.Payload = xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(nameBody, exi.Str("hello")) })
		case 4:
			sub := []string{"none", "remove"}[rand.IntN(2)]
			st = xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
				d.Start(nameRoster)
				d.Start(nameItem)
				d.Attr(attrJID, exi.Str(to.Bare().String()))
				d.Attr(attrSubscription, exi.Str(sub))
				d.End()
				d.End()
			})}
		default:
			st.Kind, st.Type = xmpp.IQ, xmpp.Get
			st.Payload = xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(namePing, exi.Value{}) })
		}
		limit, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		if st.Kind == xmpp.IQ {
			err = s.Query(limit, st, nil)
		} else {
			err = s.Send(limit, st)
		}
		cancel()
		if errors.Is(err, xmpp.ErrOffline) {
			time.Sleep(time.Millisecond)
		}
	}
}
