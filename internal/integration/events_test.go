package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/peertest"
)

// inbox is what a subscriber of another make got, without what came twice.
type inbox struct {
	t     *testing.T
	seen  map[string]bool
	twice int
	// live and past are the instants of readings, in the order of arrival.
	live, past []string
	gaps       []string
	commands   []string
	receipts   bool
}

func newInbox(t *testing.T) *inbox { return &inbox{t: t, seen: map[string]bool{}} }

// fetch takes what came to p since the last call and returns how much that was.
func (b *inbox) fetch(p *peer) int {
	b.t.Helper()
	list, _ := p.do("events", nil)["events"].([]any)
	for _, x := range list {
		m := x.(map[string]any)
		id := fmt.Sprint(m["boot"], " ", m["n"])
		if b.seen[id] {
			b.twice++
			continue
		}
		b.seen[id] = true
		b.receipts = m["receipt"] == true
		if g := fmt.Sprint(m["gap"]); g != "" {
			b.gaps = append(b.gaps, g)
		}
		if c := fmt.Sprint(m["command"]); c != "" {
			b.commands = append(b.commands, c)
		}
		for _, f := range m["fields"].([]any) {
			f := f.(map[string]any)
			if f["name"] != "temperature" {
				continue
			}
			if f["past"] == true {
				b.past = append(b.past, fmt.Sprint(f["time"]))
			} else {
				b.live = append(b.live, fmt.Sprint(f["time"]))
			}
		}
	}
	return len(list)
}

// settle fetches until nothing of the past has come for a while.
func (b *inbox) settle(p *peer) {
	b.t.Helper()
	for quiet := 0; quiet < 5; {
		n := len(b.past)
		b.fetch(p)
		if len(b.past) == n {
			quiet++
		} else {
			quiet = 0
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// readings returns the instants that the gateway's history has, from first to
// last, as slixmpp reads them.
func historyOf(t *testing.T, p *peer, gw string) map[string]bool {
	t.Helper()
	all := p.do("read", map[string]any{"to": gw, "fields": []string{"temperature"}, "flags": map[string]string{"historicalOther": "true"}})
	if all["done"] != true {
		t.Fatalf("the read-out did not end: %v", all)
	}
	have := map[string]bool{}
	for _, f := range all["fields"].([]any) {
		have[fmt.Sprint(f.(map[string]any)["timestamp"])] = true
	}
	return have
}

func rising(t *testing.T, what string, list []string) {
	t.Helper()
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			t.Errorf("%s: %s comes after %s", what, list[i], list[i-1])
		}
	}
}

const keptSubscription = "<iq type='get' id='%s' to='%s'><subscribe xmlns='urn:xmpp:iot:events' seqnr='77' momentary='true'>" +
	"<node nodeId='climate'/><field name='temperature'/><keep xmlns='urn:postern:seq:1'/></subscribe></iq>"

func subscribeKept(t *testing.T, p *peer, gw, id string) {
	t.Helper()
	got := fmt.Sprint(p.do("raw", map[string]any{"xml": fmt.Sprintf(keptSubscription, id, gw)})["xml"])
	if !strings.Contains(got, "accepted") {
		t.Fatalf("subscribing: %s", got)
	}
}

// A client of another make subscribes, goes away, comes back, and the gateway is
// killed meanwhile: every reading that the gateway kept has come once, in order.
func TestSlixmppMissesNothing(t *testing.T) {
	t.Parallel()
	for _, receipts := range []bool{true, false} {
		t.Run(fmt.Sprintf("receipts=%v", receipts), func(t *testing.T) {
			t.Parallel()
			peertest.Each(t, func(t *testing.T, s *peertest.Server) { missesNothing(t, s, receipts) })
		})
	}
}

func missesNothing(t *testing.T, s *peertest.Server, receipts bool) {
	s.Befriend("gateway", "owner")
	g := startGateway(t, s, gatewayOptions{nodes: "\n  - {id: climate, kind: bme280, simulate: true, interval: 200ms}\nhistory: {online: 1s, offline: 1s}\n"})
	p := startPeer(t, s, "owner")
	if receipts {
		p.do("receipts", nil)
	}
	gw := p.waitOnline(s.JID("gateway"))
	subscribeKept(t, p, gw, "s1")
	b := newInbox(t)
	time.Sleep(2 * time.Second)
	if b.fetch(p); len(b.live) < 5 || len(b.past) != 0 || b.receipts != receipts {
		t.Fatalf("after two seconds: %+v", b)
	}
	first := b.live[0]
	status := newOperator(t).postern(t, "status", "--socket", g.socket).out
	if !strings.Contains(status, s.JID("owner")+"  online; ") || strings.Contains(status, "(handed to the server)") == receipts {
		t.Errorf("the subscriber in postern status:\n%s", status)
	}

	// Away while its connection lives.
	p.do("present", map[string]any{"on": false})
	time.Sleep(500 * time.Millisecond)
	b.fetch(p)
	before := len(b.live)
	time.Sleep(2 * time.Second)
	if b.fetch(p); len(b.live) != before {
		t.Errorf("sent to one who is away: %v", b.live[before:])
	}
	p.do("present", map[string]any{"on": true})
	b.settle(p)
	if len(b.past) < 8 {
		t.Errorf("missed for two seconds, and got %v of the past", b.past)
	}

	// Away, while the gateway is killed and started again.
	p.do("present", map[string]any{"on": false})
	time.Sleep(3 * time.Second)
	if err := syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-g.done
	b.fetch(p)
	g.start()
	time.Sleep(2 * time.Second)
	p.do("present", map[string]any{"on": true})
	gw = p.waitOnline(s.JID("gateway"))
	b.settle(p)
	time.Sleep(500 * time.Millisecond)
	b.fetch(p)

	rising(t, "live", b.live)
	rising(t, "past", b.past)
	if strings.Join(b.gaps, " ") != "restart" {
		t.Errorf("gaps: %v", b.gaps)
	}
	got := map[string]bool{}
	for _, at := range append(b.live, b.past...) {
		if got[at] {
			t.Errorf("the reading of %s came under two numbers", at)
		}
		got[at] = true
	}
	last := b.live[len(b.live)-1]
	missing := 0
	for at := range historyOf(t, p, gw) {
		if at >= first && at <= last && !got[at] {
			t.Errorf("the reading of %s is missing", at)
			missing++
		}
	}
	t.Logf("%d live, %d of the past, %d came twice under their numbers, %d missing", len(b.live), len(b.past), b.twice, missing)
}
