package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// An archive that the configuration names is away while some 2,000 readings are
// taken, those of five hours of a device at 10 s. When it comes back it gets all of them in
// order, 32 messages at most without a receipt, and what is measured meanwhile
// does not wait for them. It is asked for receipts only where it shows that it
// gives them.
func Test0184R08_ConfiguredSubscriberLongAway(t *testing.T) {
	t.Parallel()
	for _, receipts := range []bool{true, false} {
		t.Run(fmt.Sprintf("receipts=%v", receipts), func(t *testing.T) {
			t.Parallel()
			peertest.Each(t, func(t *testing.T, s *peertest.Server) { longAway(t, s, receipts) })
		})
	}
}

// archive is what came to the subscriber, by node.
type archive struct {
	seen       map[string]bool
	live, past map[string][]string
	lag        time.Duration // of live readings that came beside the backlog, at most
	beside     int           // how many of these
	asked      int           // messages that asked for a receipt
	gaps       []string
}

// fetch takes what came to p. backlog: some of the past is still to come.
func (a *archive) fetch(t *testing.T, p *peer, backlog bool) (past int) {
	t.Helper()
	list, _ := p.do("events", nil)["events"].([]any)
	for _, x := range list {
		m := x.(map[string]any)
		id := fmt.Sprint(m["boot"], " ", m["n"])
		if a.seen[id] {
			continue
		}
		a.seen[id] = true
		if m["receipt"] == true {
			a.asked++
		}
		if g := fmt.Sprint(m["gap"]); g != "" {
			a.gaps = append(a.gaps, g)
		}
		for _, f := range m["fields"].([]any) {
			f := f.(map[string]any)
			if f["name"] != "temperature" {
				continue
			}
			node, at := fmt.Sprint(f["node"]), fmt.Sprint(f["time"])
			if f["past"] == true {
				a.past[node] = append(a.past[node], at)
				past++
				continue
			}
			a.live[node] = append(a.live[node], at)
			if when, err := time.Parse(time.RFC3339Nano, at); err == nil && backlog {
				a.lag = max(a.lag, time.Since(when))
				a.beside++
			}
		}
	}
	return past
}

func longAway(t *testing.T, s *peertest.Server, receipts bool) {
	s.Befriend("gateway", "owner")
	var nodes strings.Builder
	const count = 10
	for i := range count {
		fmt.Fprintf(&nodes, "\n  - {id: n%d, kind: mcp9808, simulate: true, interval: 100ms, bus: %d}", i, i)
	}
	g := startGateway(t, s, gatewayOptions{nodes: nodes.String() + "\n",
		more: fmt.Sprintf("history: {online: 1s, offline: 1s}\nsubscribers: [{jid: %q}]\n", s.JID("owner"))})
	p := startPeer(t, s, "owner")
	if receipts {
		p.do("receipts", nil)
	}
	gw := p.waitOnline(s.JID("gateway"))
	if features := fmt.Sprint(p.do("disco", map[string]any{"to": gw})["features"]); strings.Contains(features, "urn:xmpp:receipts") {
		t.Errorf("the gateway shows receipts, which it does not give: %s", features)
	}
	a := &archive{seen: map[string]bool{}, live: map[string][]string{}, past: map[string][]string{}}
	eventually(t, 10*time.Second, func() error {
		if a.fetch(t, p, false); len(a.live) < count {
			return fmt.Errorf("live readings of %d nodes", len(a.live))
		}
		return nil
	})
	p.do("present", map[string]any{"on": false})
	time.Sleep(20 * time.Second)
	a.fetch(t, p, false)
	before := len(a.seen)
	a.asked = 0 // its first presence may have been from before it gave receipts
	if receipts {
		p.do("receipts", map[string]any{"ack": false})
	}
	p.do("present", map[string]any{"on": true})
	if receipts {
		time.Sleep(3 * time.Second)
		a.fetch(t, p, false)
		if n := len(a.seen) - before; n == 0 || n > 32 {
			t.Errorf("%d messages without a receipt, want 1 to 32", n)
		}
		p.do("receipts", nil)
	}
	begin := time.Now()
	for quiet := 0; quiet < 10 && time.Since(begin) < time.Minute; time.Sleep(100 * time.Millisecond) {
		if a.fetch(t, p, quiet == 0) > 0 {
			quiet = 0
		} else {
			quiet++
		}
	}
	took, n := time.Since(begin), 0
	for _, list := range a.past {
		n += len(list)
	}
	a.fetch(t, p, false)
	if sent := len(a.seen) - before; receipts && a.asked != sent || !receipts && a.asked > 0 {
		t.Errorf("%d of %d messages asked for a receipt", a.asked, sent)
	}
	if len(a.gaps) > 0 {
		t.Errorf("gaps: %v", a.gaps)
	}
	if a.lag > 5*time.Second || took > 4*time.Second && a.beside == 0 { // else there was nothing to wait for
		t.Errorf("%d live readings came beside the backlog, up to %v old", a.beside, a.lag)
	}
	missing := a.compare(t, p, gw)
	t.Logf("%d of the past came within %v; %d live readings beside them, up to %v old; %d missing", n, took.Round(time.Millisecond), a.beside, a.lag.Round(time.Millisecond), missing)
	if n < 10*count*10 {
		t.Errorf("only %d of the past", n)
	}
	if st := newOperator(t).postern(t, "status", "--socket", g.socket).out; strings.Contains(st, "(handed to the server)") == receipts {
		t.Errorf("the subscriber in postern status:\n%s", st)
	}
}

// compare looks for what the history has and did not come, and at the order.
func (a *archive) compare(t *testing.T, p *peer, gw string) (missing int) {
	t.Helper()
	for node, live := range a.live {
		rising(t, "live readings of "+node, live)
		rising(t, "past readings of "+node, a.past[node])
		got := map[string]bool{}
		for _, at := range append(live[:len(live):len(live)], a.past[node]...) {
			if got[at] {
				t.Errorf("the reading of %s at %s came twice", node, at)
			}
			got[at] = true
		}
		all := p.do("read", map[string]any{"to": gw, "nodes": []string{node}, "fields": []string{"temperature"}, "flags": map[string]string{"historicalOther": "true"}})
		if all["done"] != true {
			t.Fatalf("the read-out did not end: %v", all)
		}
		for _, f := range all["fields"].([]any) {
			if at := fmt.Sprint(f.(map[string]any)["timestamp"]); at >= live[0] && at <= live[len(live)-1] && !got[at] {
				t.Errorf("the reading of %s at %s is missing", node, at)
				missing++
			}
		}
	}
	return missing
}
