package events

import (
	"fmt"
	"slices"
	"testing"

	"postern/internal/node"
	"postern/internal/outbox"
	"postern/xmpp"
)

func TestEventsR01_Feature(t *testing.T) {
	test(t, func(r *rig) {
		if !slices.Contains(r.mux.Namespaces(), NS) || !slices.Contains(Features(), NS) {
			t.Error(r.mux.Namespaces())
		}
	})
}

// What comes twice is dropped, by gateway, run and number; gaps and commands
// are handed out.
func TestInbox(t *testing.T) {
	var b Inbox
	msg := func(from, boot string, n int, content string) *xmpp.Stanza {
		return parse(t, fmt.Sprintf("<message from='%s' id='x'><seq xmlns='urn:postern:seq:1' n='%d' boot='%s'/>%s</message>", from, n, boot, content))
	}
	const fields = "<fields xmlns='urn:xmpp:iot:sensordata' seqnr='7' done='true'><node nodeId='room'><timestamp value='2026-03-02T00:00:00Z'>" +
		"<numeric name='temp' momentary='true' automaticReadout='true' value='21.50' unit='°C'/></timestamp></node></fields>"
	d, ok := b.Take(msg("gw@example.org/a", "r1", 2, fields))
	if !ok || d.Sub != 7 || !d.Last || len(d.Items) != 1 || d.Items[0].Value.String() != "21.50" || d.Items[0].Ref != room || d.Items[0].Types != node.Momentary {
		t.Errorf("%+v", d)
	}
	for _, tc := range []struct {
		from, boot string
		n          int
		want       bool
	}{
		{"gw@example.org/b", "r1", 2, false}, {"gw@example.org/b", "r1", 1, true}, {"gw@example.org/b", "r1", 1, false},
		{"gw@example.org/b", "r2", 2, true}, {"other@example.org/b", "r1", 2, true}, {"gw@example.org/b", "r1", 5, true}, {"gw@example.org/b", "r1", 0, false},
	} {
		if _, got := b.Take(msg(tc.from, tc.boot, tc.n, "")); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
	if m := b.Missing("gw@example.org", "r1"); !slices.Equal(m, []uint64{3, 4}) {
		t.Error(m)
	}
	if d, ok = b.Take(msg("gw@example.org/b", "r1", 3, "<gap xmlns='urn:postern:seq:1' why='full' class='momentary' count='2'><seq n='8' boot='r1'/><seq n='9' boot='r1'/></gap>")); !ok ||
		d.Gap == nil || d.Gap.Why != outbox.WhyFull || d.Gap.Count != 2 || d.Gap.Last.N != 9 {
		t.Errorf("%+v", d)
	}
	if d, ok = b.Take(msg("gw@example.org/b", "r1", 4, "<command xmlns='urn:postern:command:1' outcome='done'><node nodeId='pump'/><set name='state' value='true'/></command>")); !ok ||
		d.Command == nil || d.Command.Outcome != "done" || d.Command.Nodes[0].ID != "pump" || d.Command.Set[0].Value != "true" {
		t.Errorf("%+v", d)
	}
	for n := range 100_000 {
		b.Take(msg("gw@example.org/b", "r9", 2*n+2, "")) // one that leaves out every other number cannot fill the memory
		if n == 50_000 {
			break
		}
	}
	if n := len(b.runs[len(b.runs)-1].beyond); n > beyondMax {
		t.Errorf("%d numbers are remembered", n)
	}
}

// What became of a command goes to the configuration's subscribers that want it.
func TestCommandsAreTold(t *testing.T) {
	synctestRig(t, func(c *Config) {
		c.Subscribers = []Subscriber{{Bare: owner, Nodes: []node.Ref{room}, Commands: true}}
	}, func(r *rig) {
		r.svc.Tell(Command{Outcome: "done", Nodes: []node.Ref{room}, Set: []Setting{{"state", "on"}}})
		r.svc.Tell(Command{Outcome: "refused", Nodes: []node.Ref{room}})
		r.svc.Tell(Command{Outcome: "done", Nodes: []node.Ref{cellar}})
		r.present(true)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.got) != 1 {
			t.Fatal(r.got)
		}
		var b Inbox
		st := parse(t, r.got[0])
		st.From = st.To
		if d, ok := b.Take(st); !ok || d.Command == nil || d.Command.Set[0] != (Setting{"state", "on"}) {
			t.Errorf("%+v", d)
		}
	})
}
