package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/control"
	"postern/drivers/gpio"
	"postern/internal/config"
	"postern/internal/live"
	"postern/xmpp"
)

// Rules of the configuration reach the lines: an interlock refuses with its
// reason and makes the output safe when it ends, and so does the longest time.
func TestRulesReachTheLines(t *testing.T) {
	r := newRig(t, strings.Replace(basicConfig, `{id: pump, kind: relay, line: "chip:1", safe: on}`, `id: pump
    kind: relay
    line: "chip:1"
    rules:
      state:
        max_on: 2s
        interlocks: [{condition: not door.state, reason: the door is open}]`, 1))
	pump, door := r.hw.bench.line("chip:1"), r.hw.bench.line("chip:2")
	const on = "<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/></set>"
	level := func() gpio.Level { l, _ := pump.Driven(); return l }
	goes := func(want gpio.Level, within time.Duration) {
		t.Helper()
		for end := time.Now().Add(within); level() != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the line is not %v after %v", want, within)
			}
		}
	}
	// The contact has to be read once before anything may be switched.
	r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true'/>", "done=")
	r.ask("boss@example.org/pc", "set", on, "setResponse")
	if level() != gpio.High {
		t.Fatal("the pump does not run")
	}
	goes(gpio.Low, 4*time.Second) // the longest time
	r.ask("boss@example.org/pc", "set", on, "setResponse")
	door.Drive(gpio.High)
	goes(gpio.Low, time.Second) // the interlock
	if got := r.ask("boss@example.org/pc", "set", on, "</iq>"); !strings.Contains(got, "not-allowed") || !strings.Contains(got, "the door is open") {
		t.Error(got)
	}
	if level() != gpio.Low {
		t.Error("a refused command moved the output")
	}
}

// An override that the output cannot have is found before the gateway starts.
func TestOverrideStatesAreChecked(t *testing.T) {
	const nodes = "account: {jid: a@b.example, password: {env: X}}\nnodes:\n  - {id: hand, kind: contact, line: \"c:1\"}\n  - id: out\n    kind: %s\n    rules:\n      %s: {override: {input: hand.state, state: %s}}\n"
	const relay, fan = "relay\n    line: \"c:2\"", "pwm\n    chip: x\n    largest: 80"
	for _, c := range []struct{ kind, channel, state, want string }{
		{relay, "state", "on", ""}, {relay, "state", "false", ""}, {relay, "state", "keep", ""}, {fan, "duty", "12.5", ""}, {fan, "duty", "keep", ""},
		{relay, "state", "50", "state must be true or false"}, {relay, "state", "half", "state must be true or false"},
		{fan, "duty", "on", "duty must be a decimal number"}, {fan, "duty", "81", "duty must be from 0.00 to 80.00"},
	} {
		cfg, ps := config.Parse("f", []byte(fmt.Sprintf(nodes, c.kind, c.channel, c.state)), Kinds())
		if c.want == "" {
			if ps != nil {
				t.Errorf("%s: %v", c.state, ps)
				continue
			}
			tree := mustTree(t, cfg)
			access, err := accessOf(cfg)
			if err != nil {
				t.Fatal(err)
			}
			setup := control.Setup{Tree: tree, Access: access, Rules: outputRules(cfg, tree)}
			if _, err := control.New(control.Config{Setup: setup, Live: live.New(), Sender: new(xmpp.Session)}); err != nil {
				t.Errorf("%s passes the check and is refused at the start: %v", c.state, err)
			}
			continue
		}
		if len(ps) != 1 || !strings.Contains(ps[0].What, c.want) || ps[0].Line < 8 {
			t.Errorf("%s: %+v", c.state, ps)
		}
	}
}
