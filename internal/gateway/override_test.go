package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/local"
)

const overrideConfig = `
account: {jid: thing@example.org, password: {env: POSTERN_TEST_PASSWORD}}
access: {owner: boss@example.org}
simulate: true
nodes:
  - {id: hand, kind: contact, line: "chip:2", interval: 100ms}
  - id: pump
    kind: relay
    line: "chip:1"
    safe: off
    rules:
      state: {override: {input: hand.state, state: on, name: the hand switch}}
`

// A contact on a GPIO line takes an output over; a technician at the local door
// does, over a restart of the gateway.
func TestOverrideAtTheMachine(t *testing.T) {
	r := newRig(t, overrideConfig)
	line := r.hw.bench.line("chip:1")
	until := func(want bool) {
		t.Helper()
		for range 300 {
			if high, _ := line.Driven(); bool(high) == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("the line is not %v", want)
	}
	set := "<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='%v'/></set>"
	status := "<req xmlns='urn:xmpp:iot:sensordata' seqnr='%d' status='true'><node nodeId='pump'/></req>"
	if err := r.DriveLine("chip:2", true); err != nil {
		t.Fatal(err)
	}
	until(true)
	if got := r.ask("boss@example.org/pc", "set", fmt.Sprintf(set, false), "</iq>"); !strings.Contains(got, "held at the machine by the hand switch, until that is released") {
		t.Errorf("got\n%s", got)
	}
	if got := r.ask("boss@example.org/pc", "get", fmt.Sprintf(status, 1), "done="); !strings.Contains(got, "state, override") || !strings.Contains(got, "the hand switch, until") {
		t.Errorf("got\n%s", got)
	}
	if err := r.DriveLine("chip:2", false); err != nil {
		t.Fatal(err)
	}
	until(false)
	if got := r.ask("boss@example.org/pc", "get", fmt.Sprintf(status, 2), "done="); !strings.Contains(strings.ReplaceAll(got, `"`, "'"), "value='no'") {
		t.Errorf("got\n%s", got)
	}
	door := local.NewClient(r.door.Path)
	for _, c := range []struct {
		r    local.OverrideRequest
		want string
	}{
		{local.OverrideRequest{Node: "nope", Seconds: 60}, "no node"},
		{local.OverrideRequest{Node: "hand", Seconds: 60}, "can be switched"},
		{local.OverrideRequest{Node: "pump", Parameter: "speed", Seconds: 60}, "one is state"},
		{local.OverrideRequest{Node: "pump", Value: "7", Seconds: 60}, "true or false"},
		{local.OverrideRequest{Node: "pump"}, "7 days"},
		{local.OverrideRequest{Node: "pump", Release: true}, "nobody holds"},
	} {
		if _, err := door.Override(t.Context(), c.r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.r, err)
		}
	}
	o, err := door.Override(t.Context(), local.OverrideRequest{Node: "pump", Value: "on", Seconds: 3600, Reason: "new seal"})
	if err != nil || o.Parameter != "state" {
		t.Fatal(o, err)
	}
	until(true)
	r.auditOf("override pump state=true by ")
	r.stop()
	until(false)

	// After a restart it is held still, in its safe state.
	cfg := parse(t, overrideConfig)
	cfg.State.Directory = r.cfgDir
	g, err := New(t.Context(), Options{Config: cfg, Socket: r.door.Path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.hw.closeAll(); err != nil {
			t.Error(err)
		}
		if err := g.closeStore(); err != nil {
			t.Error(err)
		}
		_ = g.door.Close()
	}()
	if high, _ := g.hw.bench.line("chip:1").Driven(); high {
		t.Error("switched on by itself")
	}
	for _, o := range g.control.Outputs() {
		if !strings.Contains(o.Override, "new seal") {
			t.Errorf("%+v", o)
		}
	}
}
