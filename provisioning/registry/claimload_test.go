package registry

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
	"postern/xmpp"
)

// A storm of claims by many accounts of many domains, by several connections at
// once, among 5,000 things: what is looked at is limited, what is kept does not
// grow, and who has a right code is served, also in a domain of which one
// account claims without end. docs/security.md has the figures.
func TestStormOfClaimsIsBounded(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MinKeyBits = 0 })
	l.silent = true
	for i := range 5000 {
		r := &record{JID: fmt.Sprintf("thing%d@site.example", i), Tags: []provisioning.Tag{{Name: "SN", Value: fmt.Sprint(i)}, {Name: "KEY", Value: fmt.Sprint("k", i)}}}
		r.Claim = l.claimDigest(r.Tags)
		l.index(nil, r, true) // not in the store: only what is claimed gets there
	}
	claim := func(who, sn, key string) *xmpp.Error {
		d := provisioning.Mine{Tags: []provisioning.Tag{{Name: "SN", Value: sn}, {Name: "KEY", Value: key}}}
		st := received(&xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, ID: "c", From: jid.MustParse(who), To: l.Addr(), Payload: d})
		if _, err := l.HandleStanza(context.Background(), &st); err != nil {
			return xmpp.AsError(err)
		}
		return nil
	}
	const seconds, each, lanes, accounts, domains = 10, 5000, 4, 60_000, 500
	var looked, refused atomic.Int64
	before, peak := heap(), 0
	served, honest := 0, 0
	var took time.Duration
	for second := range seconds {
		var wg sync.WaitGroup
		start := time.Now()
		for lane := range lanes {
			wg.Go(func() {
				for i := range each / lanes {
					n := (second*each + lane*each/lanes + i) % accounts
					who := fmt.Sprintf("a%d@d%d.example/x", n, n%domains)
					if i%5 == 0 {
						who = "flood@shared.example/x" // one account of a domain with honest ones
					}
					switch e := claim(who, fmt.Sprint(i), fmt.Sprint("wrong", n)); e.Condition {
					case xmpp.ItemNotFound:
						looked.Add(1)
					case xmpp.ResourceConstraint:
						refused.Add(1)
					default:
						t.Errorf("a guess is answered by %v", e)
					}
				}
			})
		}
		wg.Wait()
		took += time.Since(start)
		for _, who := range []string{"owner%d@honest.example/x", "owner%d@shared.example/x"} {
			honest++
			if e := claim(fmt.Sprintf(who, second), fmt.Sprint(honest), fmt.Sprint("k", honest)); e == nil {
				served++
			} else {
				t.Errorf("an honest claim is answered by %v", e)
			}
		}
		peak = max(peak, heap()-before)
		l.took()
		l.pass(time.Second)
	}
	all := seconds * each
	rate := float64(all) / took.Seconds()
	t.Logf("%d claims, %d looked at, %d refused; %d of %d honest ones served; %.0f claims a second, %d octets more heap at most; %d and %d buckets",
		all, looked.Load(), refused.Load(), served, honest, rate, peak, len(l.byAcct.keys), len(l.byDom.keys))
	if n := l.refused.Load(); int64(n) != refused.Load() || n == 0 {
		t.Errorf("%d refused, %d counted", refused.Load(), n)
	}
	// One account has 10 and a domain 100 in its bucket; both fill up slowly.
	if most := int64(domains*100 + domains*100*seconds/60 + 20); looked.Load() > most {
		t.Errorf("%d were looked at, at most %d may be", looked.Load(), most)
	}
	if len(l.byAcct.keys) > maxBuckets || len(l.byDom.keys) > maxBuckets || peak > 16<<20 {
		t.Errorf("%d and %d buckets, %d octets", len(l.byAcct.keys), len(l.byDom.keys), peak)
	}
	if rate < 5000 && runtime.GOARCH == "amd64" && os.Getenv("POSTERN_SLOW") == "" {
		t.Errorf("%.0f claims a second take longer than they last", rate)
	}
}

// What is said of a storm is said now and then.
func TestStormsAreLoggedSeldom(t *testing.T) {
	var x seldom
	now := time.Unix(1_700_000_000, 0)
	for i := range 1000 {
		if unsaid, ok := x.every(10*time.Second, now); ok != (i == 0) || unsaid != 0 {
			t.Fatal(i)
		}
	}
	if unsaid, ok := x.every(10*time.Second, now.Add(10*time.Second)); !ok || unsaid != 999 {
		t.Error(unsaid, ok)
	}
}
