package gateway

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"postern/control"
	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

var updateFaults = flag.Bool("update-faults", false, "rewrite the measured table in docs/safety.md")

const faultConfig = `
account: {jid: thing@example.org, password: {env: POSTERN_TEST_PASSWORD}}
access: {owner: boss@example.org}
simulate: true
buses:
  field: {type: modbus, serial: {port: /dev/ttyS9}}
nodes:
  - id: pump
    kind: relay
    line: "chip:1"
    safe: off
    rules: {state: {link_lost: 1s}}
  - id: valve
    kind: modbus
    bus: field
    unit: 3
    registers:
      - {name: state, table: coil, address: 0, writable: true}
`

// outputsNow measures both outputs: the relay's line, and the unit's coil.
func (r *rig) outputsNow() [2]string {
	r.t.Helper()
	word := map[bool]string{true: "on", false: "off"}
	high, _ := r.hw.bench.line("chip:1").Driven()
	samples, err := r.hw.get("valve").Device.Read(r.t.Context(), nil)
	if err != nil || len(samples) != 1 || samples[0].Err != nil {
		r.t.Fatal(samples, err)
	}
	on, _ := samples[0].Value.Bool()
	return [2]string{word[bool(high)], word[on]}
}

// noRecord is an auditor whose disk is full.
type noRecord struct{ err error }

func (n noRecord) Begin(context.Context, *control.Command) error              { return n.err }
func (noRecord) End(context.Context, *control.Command, control.Result, error) {}
func (noRecord) Refused(context.Context, *control.Command, *xmpp.Error)       {}
func (noRecord) Overridden(*control.Command, bool)                            {}

// faulty is a device that goes wrong around a write.
type faulty struct {
	drivers.Device
	after error         // told although the value was written
	block chan struct{} // waited for before it is written
}

func (f faulty) Set(ctx context.Context, channel string, v drivers.Value) error {
	if f.block != nil {
		<-f.block
		return ctx.Err()
	}
	if err := f.Device.(drivers.Setter).Set(ctx, channel, v); err != nil {
		return err
	}
	return f.after
}

// second runs another control room over the same outputs: the faults are in its
// surroundings. stop ends it without a move, as a kill does.
func (r *rig) second(a control.Auditor, change func(*faulty)) (svc *control.Service, stop func()) {
	r.t.Helper()
	setup := r.controlSetup(r.cfg, r.tree)
	setup.Rules = nil
	for name, d := range setup.Devices {
		f := faulty{Device: d.Device}
		if change != nil {
			change(&f)
		}
		d.Device = f
		setup.Devices[name] = d
	}
	svc, err := control.New(control.Config{Setup: setup, Live: r.live, Sender: r.session, Auditor: a})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	<-svc.Ready()
	return svc, func() { cancel(); <-done }
}

func off(svc *control.Service, id string) error {
	_, err := svc.Do(context.Background(), control.Command{Origin: control.OriginSchedule, Nodes: []node.Ref{{ID: id}},
		Assignments: []control.Assignment{{Name: "state", Value: drivers.Bool(false)}}})
	return err
}

// faults are what happens while both outputs are on, with what is then
// measured: right after it, and at the end.
var faults = []struct {
	name string
	do   func(r *rig, measure func(when string))
}{
	{"link lost, server gone", func(r *rig, measure func(string)) {
		r.peer.Cut()
		for range 500 {
			if r.outputsNow()[0] == "off" {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		measure("after `link_lost`")
	}},
	{"clock step: a command with a stamp an hour off", func(r *rig, measure func(string)) {
		for i, id := range []string{"pump", "valve"} {
			stamp := time.Now().Add(time.Duration(1-2*i) * time.Hour).UTC().Format(time.RFC3339)
			r.peer.Send(fmt.Sprintf("<message from='boss@example.org/pc' to='thing@example.org/x'><set xmlns='urn:xmpp:iot:control'><node nodeId='%s'/><boolean name='state' value='false'/></set><delay xmlns='urn:xmpp:delay' stamp='%s'/></message>", id, stamp))
		}
		r.auditOf("(2 times)") // both are refused, and one record
		measure("command refused")
	}},
	{"disk full", func(r *rig, measure func(string)) {
		svc, stop := r.second(noRecord{errors.New("no space left on device")}, nil)
		defer stop()
		for _, id := range []string{"pump", "valve"} {
			if err := off(svc, id); err == nil || !strings.Contains(err.Error(), "could not be recorded") {
				r.t.Errorf("%s: %v", id, err)
			}
		}
		measure("command refused")
		if err := svc.Safe(r.t.Context(), "test"); err != nil {
			r.t.Error(err)
		}
		measure("moved to safety")
	}},
	{"driver error after the write of off", func(r *rig, measure func(string)) {
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.after = errors.New("no answer") })
		defer stop()
		for _, id := range []string{"pump", "valve"} {
			if err := off(svc, id); err == nil || !strings.Contains(err.Error(), "no answer") {
				r.t.Errorf("%s: %v", id, err)
			}
		}
		measure("error told")
	}},
	{"power cut in the middle of a set to off", func(r *rig, measure func(string)) {
		block := make(chan struct{})
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.block = block })
		ended := make(chan error, 2)
		for _, id := range []string{"pump", "valve"} {
			go func() { ended <- off(svc, id) }()
		}
		measure("before it reaches the device")
		close(block) // nothing is written any more
		<-ended
		<-ended
		stop()
		if err := r.control.Safe(r.t.Context(), "start"); err != nil {
			r.t.Error(err)
		}
		measure("started again")
	}},
	{"process killed", func(r *rig, measure func(string)) {
		_, stop := r.second(noRecord{}, nil)
		stop()
		measure("as the hardware keeps it")
		if err := r.control.Safe(r.t.Context(), "start"); err != nil {
			r.t.Error(err)
		}
		measure("started again")
	}},
	{"configuration reloaded", func(r *rig, measure func(string)) {
		moves := len(r.hw.bench.line("chip:1").History())
		if err := r.reload(strings.Replace(faultConfig, "    kind: relay\n", "    kind: relay\n    label: Pump\n", 1)); err != nil {
			r.t.Error(err)
		}
		if n := len(r.hw.bench.line("chip:1").History()); n != moves {
			r.t.Errorf("the line moved %d times", n-moves)
		}
		measure("in force")
	}},
	{"gateway stopped", func(r *rig, measure func(string)) {
		if err := r.control.Safe(r.t.Context(), "stop"); err != nil {
			r.t.Error(err)
		}
		measure("stopped")
	}},
}

const (
	matrixBegin = "<!-- measured by TestFaultMatrix -->\n"
	matrixEnd   = "<!-- end -->\n"
)

// TestFaultMatrix measures what every kind of output does under every fault,
// from on, and compares with the table on the safety page.
func TestFaultMatrix(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Fault, with the output on | Relay on a GPIO line, `safe: off` | Coil of a Modbus unit, without a safe state |\n|---|---|---|\n")
	for _, f := range faults {
		var cells [2][]string
		t.Run(f.name, func(t *testing.T) {
			r := newRig(t, faultConfig)
			for _, id := range []string{"pump", "valve"} {
				r.ask("boss@example.org/pc", "set", "<set xmlns='urn:xmpp:iot:control'><node nodeId='"+id+"'/><boolean name='state' value='true'/></set>", "setResponse")
			}
			if got := r.outputsNow(); got != [2]string{"on", "on"} {
				t.Fatal(got)
			}
			f.do(r, func(when string) {
				for i, now := range r.outputsNow() {
					cells[i] = append(cells[i], when+": "+now)
				}
			})
		})
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, strings.Join(cells[0], "; "), strings.Join(cells[1], "; "))
	}
	const page = "../../docs/safety.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), matrixBegin)
	have, after, ok2 := strings.Cut(rest, matrixEnd)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the table")
	}
	if *updateFaults {
		if err := os.WriteFile(page, []byte(before+matrixBegin+b.String()+matrixEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if have != b.String() {
		t.Errorf("docs/safety.md says\n%s\nmeasured:\n%s\ngo test ./internal/gateway -run FaultMatrix -update-faults writes it", have, b.String())
	}
}
