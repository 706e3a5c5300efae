package integration

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/peertest"
)

// A client of another make reads the past through servers of other makes; what
// was committed outlives a kill -9 of the gateway.
func TestSlixmppReadsThePast(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		g := startGateway(t, s, gatewayOptions{nodes: "\n  - {id: climate, kind: bme280, simulate: true, interval: 200ms}\nhistory: {online: 1s, offline: 1s}\n"})
		p := startPeer(t, s, "owner")
		gw := p.waitOnline(s.JID("gateway"))
		past := func() (stamps []string) {
			var all map[string]any
			// A request that reaches the server while it still keeps the session
			// that was killed is lost with it: a reader asks again.
			for range 3 {
				all = p.do("read", map[string]any{"to": gw, "fields": []string{"temperature"}, "flags": map[string]string{"historicalOther": "true"}})
				if all["done"] == true {
					break
				}
			}
			if all["done"] != true {
				t.Fatalf("the read-out did not end: %v", all)
			}
			for _, f := range all["fields"].([]any) {
				m := f.(map[string]any)
				if m["typename"] != "numeric" || m["unit"] != "°C" || m["name"] != "temperature" {
					t.Fatalf("a value of the past as slixmpp has it: %v", m)
				}
				if _, err := strconv.ParseFloat(fmt.Sprint(m["value"]), 64); err != nil {
					t.Fatal(err)
				}
				stamps = append(stamps, fmt.Sprint(m["timestamp"]))
			}
			return stamps
		}
		time.Sleep(5 * time.Second)
		before := past()
		if len(before) < 10 {
			t.Fatalf("%d readings after five seconds at 200 ms", len(before))
		}
		for i := 1; i < len(before); i++ {
			if before[i] <= before[i-1] {
				t.Fatalf("%s comes after %s", before[i], before[i-1])
			}
		}
		if err := syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-g.done
		// What was read more than a commit ago has to be there.
		g.start()
		gw = p.waitOnline(s.JID("gateway"))
		have := map[string]bool{}
		for _, at := range past() {
			if have[at] {
				t.Errorf("%s is there twice", at)
			}
			have[at] = true
		}
		last, err := time.Parse(time.RFC3339, before[len(before)-1])
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range before {
			if when, err := time.Parse(time.RFC3339, at); err != nil || !have[at] && last.Sub(when) > 1500*time.Millisecond {
				t.Errorf("the reading of %s is lost, the last before the kill was at %s (%v)", at, before[len(before)-1], err)
			}
		}
	})
}

// The operator's command reads the past, and status says what may be lost.
func TestOperatorReadsThePast(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		g := startGateway(t, s, gatewayOptions{})
		o := newOperator(t).login(t, s, "owner")
		time.Sleep(3 * time.Second)
		gw := s.JID("gateway")
		r := o.postern(t, "read", gw, "--node", "climate", "--field", "temperature", "--from", "1h")
		if r.code != cli.ExitOK || strings.Count(r.out, "\n") < 3 || !strings.Contains(r.out, "°C") {
			t.Errorf("exit code %d: %s\n%s", r.code, r.err, r.out)
		}
		if r := o.postern(t, "read", gw, "--from", "2h", "--to", "1h"); r.code != cli.ExitOK || strings.Contains(r.out, "°C") {
			t.Errorf("a time before the gateway ran: exit code %d: %s\n%s", r.code, r.err, r.out)
		}
		if r := o.postern(t, "status", "--socket", g.socket); !strings.Contains(r.out, "a power cut loses 5m0s at most, 30s while not connected") {
			t.Errorf("%s", r.out)
		}
	})
}
