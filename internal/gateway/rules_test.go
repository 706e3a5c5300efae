package gateway

import (
	"strings"
	"testing"
	"time"

	"postern/drivers/gpio"
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
