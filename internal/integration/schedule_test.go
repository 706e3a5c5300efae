package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// The owner manages schedules with slixmpp's ad-hoc commands; a stranger sees
// and does nothing.
func Test0050R01R03R05_SlixmppManagesSchedules(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		s.Befriend("gateway", "reader")
		g := startGateway(t, s, gatewayOptions{})
		p := startPeer(t, s, "owner")
		gw := p.waitOnline(s.JID("gateway"))
		list := fmt.Sprint(p.do("commands", map[string]any{"to": gw})["commands"])
		for _, want := range []string{"schedules", "schedule-add", "schedule-remove", "schedule-pause", "schedule-resume"} {
			if !strings.Contains(list, want) {
				t.Errorf("%s is not among the commands: %s", want, list)
			}
		}
		if f := fmt.Sprint(p.do("disco", map[string]any{"to": gw})["features"]); !strings.Contains(f, "http://jabber.org/protocol/commands") {
			t.Errorf("disco does not show commands: %s", f)
		}
		run := func(node string, values map[string]any) map[string]any {
			t.Helper()
			return p.do("adhoc", map[string]any{"to": gw, "node": node, "values": values})
		}
		at := time.Now().Add(4 * time.Second)
		zone, _ := at.Zone()
		added := run("schedule-add", map[string]any{"name": "soon", "output": "pump state", "value": "true",
			"when": at.Format("2006-01-02 15:04:05"), "late": "1"})
		if added["status"] != "completed" || !strings.Contains(fmt.Sprint(added["notes"]), "soon: next") {
			t.Fatalf("zone %s: %v", zone, added)
		}
		if out := fmt.Sprint(added["fields"]); !strings.Contains(out, "pump state") || !strings.Contains(out, "list-single") {
			t.Errorf("the form: %s", out)
		}
		shown := run("schedules", nil)
		if items := fmt.Sprint(shown["items"]); !strings.Contains(items, "soon") || !strings.Contains(items, s.JID("owner")) {
			t.Errorf("the list: %v", shown)
		}
		bad := run("schedule-add", map[string]any{"name": "bad", "output": "pump state", "value": "maybe", "when": "daily 07:30"})
		if bad["error"] != "bad-request" || !strings.Contains(fmt.Sprint(bad["text"]), "true or false") {
			t.Errorf("a wrong value: %v", bad)
		}
		eventually(t, 20*time.Second, func() error {
			if f := slixField(t, p.do("read", map[string]any{"to": gw, "nodes": []string{"pump"}}), "pump", "state"); f["value"] != "true" {
				return fmt.Errorf("the schedule did not switch the pump: %v", f)
			}
			return nil
		})
		if r := run("schedule-pause", map[string]any{"names": []string{"soon"}}); !strings.Contains(fmt.Sprint(r["notes"]), "1 paused") {
			t.Errorf("pause: %v", r)
		}
		if r := run("schedule-resume", map[string]any{"names": []string{"soon"}}); !strings.Contains(fmt.Sprint(r["notes"]), "1 resumed") {
			t.Errorf("resume: %v", r)
		}
		// What is kept outlives the gateway.
		g.stop()
		g.start()
		g.online(0) // the peer may not have seen yet that it was away
		gw = p.waitOnline(s.JID("gateway"))
		if r := run("schedule-remove", map[string]any{"names": []string{"soon"}}); !strings.Contains(fmt.Sprint(r["notes"]), "1 removed") {
			t.Errorf("remove: %v", r)
		}

		other := startPeer(t, s, "reader")
		gw = other.waitOnline(s.JID("gateway"))
		if l := other.do("commands", map[string]any{"to": gw})["commands"]; len(l.([]any)) != 0 {
			t.Errorf("somebody else sees commands: %v", l)
		}
		if r := other.do("adhoc", map[string]any{"to": gw, "node": "schedules"}); r["error"] != "forbidden" {
			t.Errorf("somebody else runs a command: %v", r)
		}
	})
}
