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
  - id: fan
    kind: pwm
    chip: fe20c000.pwm
    safe: "20"
    rules: {duty: {link_lost: 1s}}
  - id: valve
    kind: modbus
    bus: field
    unit: 3
    registers:
      - {name: state, table: coil, address: 0, writable: true}
      - {name: damper, table: coil, address: 1, writable: true, safe: "off"}
    rules: {damper: {link_lost: 1s}}
`

// outputs are the kinds of output of the matrix: how each is switched on, and
// off.
var outputs = []struct {
	id, parameter, column string
	on, off               drivers.Value
}{
	{"pump", "state", "Relay on a GPIO line, `safe: off`", drivers.Bool(true), drivers.Bool(false)},
	{"fan", "duty", "PWM output, `safe: 20`", drivers.Decimal(drivers.Num(75, 0)), drivers.Decimal(drivers.Num(0, 0))},
	{"valve", "damper", "Coil of a Modbus unit, `safe: off`", drivers.Bool(true), drivers.Bool(false)},
	{"valve", "state", "Coil of a Modbus unit, without a safe state", drivers.Bool(true), drivers.Bool(false)},
}

// outputsNow measures the outputs: the relay's line, the signal of the PWM
// channel, and the unit's coils.
func (r *rig) outputsNow() []string {
	r.t.Helper()
	word := map[bool]string{true: "on", false: "off"}
	high, _ := r.hw.bench.line("chip:1").Driven()
	duty, _ := strings.CutSuffix(r.hw.bench.pwm["PWM channel 0 of fe20c000.pwm"].Duty(), ".00")
	samples, err := r.hw.get("valve").Device.Read(r.t.Context(), nil)
	if err != nil || len(samples) != 2 || samples[0].Err != nil || samples[1].Err != nil {
		r.t.Fatal(samples, err)
	}
	on, _ := samples[0].Value.Bool()
	damper, _ := samples[1].Value.Bool()
	return []string{word[bool(high)], duty + " %", word[damper], word[on]}
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
	before error         // told in place of writing
	after  error         // told although the value was written
	gone   chan struct{} // closed when a write that never reaches the device is given up
	wait   chan struct{} // waited for before it is written
	other  bool          // it reads back another value than was written
}

func (f faulty) Set(ctx context.Context, channel string, v drivers.Value) error {
	switch {
	case f.before != nil:
		return f.before
	case f.gone != nil:
		select {
		case <-f.gone:
		case <-ctx.Done():
		}
		return drivers.ErrTimeout
	case f.wait != nil:
		<-f.wait
	}
	if err := f.Device.(drivers.Setter).Set(ctx, channel, v); err != nil {
		return err
	}
	return f.after
}

func (f faulty) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	dst, err := f.Device.Read(ctx, dst)
	for i := range dst {
		if on, isBool := dst[i].Value.Bool(); isBool && f.other {
			dst[i].Value = drivers.Bool(!on)
		} else if f.other {
			dst[i].Value = drivers.Decimal(drivers.Num(33, 0))
		}
	}
	return dst, err
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
		d.Device, d.Timeout = f, time.Second
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

// command sets an output as a schedule does.
func command(svc *control.Service, id, parameter string, v drivers.Value) (control.Result, error) {
	return svc.Do(context.Background(), control.Command{Origin: control.OriginSchedule, Nodes: []node.Ref{{ID: id}},
		Assignments: []control.Assignment{{Name: parameter, Value: v}}})
}

// allOff switches every output off and wants each command to end in an error
// that says why; empty for none.
func (r *rig) allOff(svc *control.Service, why string) {
	r.t.Helper()
	for _, o := range outputs {
		_, err := command(svc, o.id, o.parameter, o.off)
		if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			r.t.Errorf("%s: %v", o.id, err)
		}
	}
}

// faults are what happens while all outputs are on, with what is then
// measured: right after it, and at the end.
var faults = []struct {
	name string
	do   func(r *rig, measure func(when string))
}{
	{"link lost, server gone", func(r *rig, measure func(string)) {
		r.peer.Cut()
		for range 500 {
			if now := r.outputsNow(); now[0] == "off" && now[1] == "20 %" && now[2] == "off" {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		measure("after `link_lost`")
	}},
	{"clock step: a command with a stamp an hour off", func(r *rig, measure func(string)) {
		for i, o := range outputs {
			stamp := time.Now().Add(time.Duration(1-2*(i%2)) * time.Hour).UTC().Format(time.RFC3339)
			set := setXML(o.id, o.parameter, o.off)
			r.peer.Send("<message from='boss@example.org/pc' to='thing@example.org/x'>" + set + "<delay xmlns='urn:xmpp:delay' stamp='" + stamp + "'/></message>")
		}
		r.auditOf("(4 times)") // all are refused, and one record
		measure("command refused")
	}},
	{"disk full", func(r *rig, measure func(string)) {
		svc, stop := r.second(noRecord{errors.New("no space left on device")}, nil)
		defer stop()
		r.allOff(svc, "could not be recorded")
		measure("command refused")
		if err := svc.Safe(r.t.Context(), "test"); err != nil {
			r.t.Error(err)
		}
		measure("moved to safety")
	}},
	{"driver error in place of the write of off", func(r *rig, measure func(string)) {
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.before = errors.New("no answer") })
		r.allOff(svc, "no answer")
		measure("error told")
		stop()
		r.startAgain(measure)
	}},
	{"driver error after the write of off", func(r *rig, measure func(string)) {
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.after = errors.New("no answer") })
		defer stop()
		r.allOff(svc, "no answer")
		measure("error told")
	}},
	{"driver hangs in the write of off", func(r *rig, measure func(string)) {
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.gone = make(chan struct{}) })
		begin := time.Now()
		r.allOff(svc, drivers.ErrTimeout.Error())
		if d := time.Since(begin); d > time.Duration(len(outputs))*2*time.Second {
			r.t.Errorf("the errors took %v", d)
		}
		measure("error told within its time-out")
		stop()
		r.startAgain(measure)
	}},
	{"device reads back another value than off", func(r *rig, measure func(string)) {
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.other = true })
		defer stop()
		for _, o := range outputs {
			res, err := command(svc, o.id, o.parameter, o.off)
			rd, _ := r.live.Get(node.Ref{ID: o.id}, o.parameter)
			if err != nil || res.Verified || rd.Value == o.off {
				r.t.Errorf("%s: %+v, %v; readers see %v", o.id, res, err, rd.Value)
			}
		}
		measure("done but not verified, and readers see what was read")
	}},
	{"power cut in the middle of a set to off", func(r *rig, measure func(string)) {
		gone := make(chan struct{})
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.gone = gone })
		ended := make(chan error, len(outputs))
		for _, o := range outputs {
			go func() {
				_, err := command(svc, o.id, o.parameter, o.off)
				ended <- err
			}()
		}
		measure("before it reaches the device")
		close(gone) // nothing is written any more
		for range outputs {
			<-ended
		}
		stop()
		r.startAgain(measure)
	}},
	{"process killed", func(r *rig, measure func(string)) {
		_, stop := r.second(noRecord{}, nil)
		stop()
		measure("as the hardware keeps it")
		r.startAgain(measure)
	}},
	{"configuration reload under way", func(r *rig, measure func(string)) {
		wait := make(chan struct{})
		svc, stop := r.second(noRecord{}, func(f *faulty) { f.wait = wait })
		defer stop()
		ended := make(chan error, 2*len(outputs))
		for i, v := range []func(i int) drivers.Value{func(i int) drivers.Value { return outputs[i].on }, func(i int) drivers.Value { return outputs[i].off }} {
			for j, o := range outputs {
				go func() {
					_, err := command(svc, o.id, o.parameter, v(j))
					ended <- err
				}()
			}
			for n, _ := svc.Waiting(); n < (i+1)*len(outputs); n, _ = svc.Waiting() {
				time.Sleep(time.Millisecond)
			}
		}
		applied := make(chan error, 1)
		go func() { applied <- svc.Apply(r.t.Context(), r.controlSetup(r.cfg, r.tree)) }()
		time.Sleep(100 * time.Millisecond) // it waits for the writes
		close(wait)
		refused := 0
		for range 2 * len(outputs) {
			if err := <-ended; err != nil && strings.Contains(err.Error(), "configuration has just changed") {
				refused++
			}
		}
		if err := <-applied; err != nil || refused < len(outputs) {
			r.t.Errorf("%v; %d refused", err, refused)
		}
		measure("what waits is refused")
	}},
	{"configuration reloaded", func(r *rig, measure func(string)) {
		moves := len(r.hw.bench.line("chip:1").History())
		if err := r.reload(strings.ReplaceAll(faultConfig, "    safe:", "    label: Changed\n    safe:")); err != nil {
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

// startAgain does what a start does before the network.
func (r *rig) startAgain(measure func(string)) {
	r.t.Helper()
	if err := r.control.Safe(r.t.Context(), "start"); err != nil {
		r.t.Error(err)
	}
	measure("started again")
}

// setXML is a set of one parameter.
func setXML(id, parameter string, v drivers.Value) string {
	return fmt.Sprintf("<set xmlns='urn:xmpp:iot:control'><node nodeId='%s'/><%s name='%s' value='%s'/></set>", id, v.Kind(), parameter, v)
}

const (
	matrixBegin = "<!-- measured by TestFaultMatrix -->\n"
	matrixEnd   = "<!-- end -->\n"
)

// TestFaultMatrix measures what every kind of output does under every fault,
// from on, and compares with the table on the safety page.
func TestFaultMatrix(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Fault, with the output on |")
	for _, o := range outputs {
		fmt.Fprintf(&b, " %s |", o.column)
	}
	b.WriteString("\n|---" + strings.Repeat("|---", len(outputs)) + "|\n")
	for _, f := range faults {
		cells := make([][]string, len(outputs))
		t.Run(f.name, func(t *testing.T) {
			r := newRig(t, faultConfig)
			for _, o := range outputs {
				r.ask("boss@example.org/pc", "set", setXML(o.id, o.parameter, o.on), "setResponse")
			}
			if got := strings.Join(r.outputsNow(), ", "); got != "on, 75 %, on, on" {
				t.Fatal(got)
			}
			f.do(r, func(when string) {
				for i, now := range r.outputsNow() {
					cells[i] = append(cells[i], when+": "+now)
				}
			})
		})
		fmt.Fprintf(&b, "| %s |", f.name)
		for _, c := range cells {
			fmt.Fprintf(&b, " %s |", strings.Join(c, "; "))
		}
		b.WriteByte('\n')
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
