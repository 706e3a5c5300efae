package control

import (
	"context"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

// output is what an operator is shown about the switch of a relay.
func (r *rig) output(id string) OutputStatus {
	for _, o := range r.svc.Outputs() {
		if o.Output == out(id) {
			return o
		}
	}
	return OutputStatus{}
}

func TestOutputsSayWhoHoldsThem(t *testing.T) {
	rules := map[Output]Rules{
		out("r1"): {MinOn: time.Minute, PerHour: 1, Group: "g"},
		out("r2"): {Group: "g", Interlocks: []Interlock{{Condition: "not r3.on", Reason: "the third runs"}}},
		out("r3"): {Confirm: true},
	}
	ruled(t, rules, func(r *rig) {
		if o := r.output("r1"); o.By != OriginSafe || o.Active || o.Interlock != "" {
			t.Errorf("after the start: %+v", o)
		}
		r.must("r1", true)
		time.Sleep(20 * time.Second)
		o := r.output("r1")
		if o.By != OriginIQ || o.From == "" || !o.Active || o.Value != "true" || o.Hold != 40*time.Second || o.Change == 0 {
			t.Errorf("switched by a person: %+v", o)
		}
		if o := r.output("r2"); !strings.Contains(o.Interlock, "only one of the group") {
			t.Errorf("another of the group is on: %+v", o)
		}
		r.firstStep(alice, `<node nodeId='r3'/><boolean name='on' value='true'/>`)
		if o := r.output("r3"); o.Confirm <= 0 || o.Confirm > confirmLife {
			t.Errorf("waiting for its second step: %+v", o)
		}
		cmd := Command{Origin: OriginSchedule, Nodes: []node.Ref{{ID: "r3"}}, Assignments: []Assignment{{"on", drivers.Bool(true)}}}
		if _, err := r.svc.Do(context.Background(), cmd); xmpp.AsError(err).Condition != xmpp.NotAllowed {
			t.Errorf("a schedule goes around the second step: %v", err)
		}
		cmd.Assignments[0].Value = drivers.Bool(false)
		if _, err := r.svc.Do(context.Background(), cmd); err != nil {
			t.Error(err)
		}
		if o := r.output("r3"); o.By != OriginSchedule || o.From != "" {
			t.Errorf("switched by a schedule: %+v", o)
		}
		r.svc.Lock(node.Ref{ID: "r1"}, "maintenance")
		if err := r.svc.Safe(context.Background(), "test"); err != nil {
			t.Fatal(err)
		}
		if o := r.output("r1"); o.By != OriginSafe || o.Active || o.Locked != "maintenance" {
			t.Errorf("made safe: %+v", o)
		}
	})
}

// An output whose write failed may be active since before: what outlasts a
// restart counts from there.
func TestOutputsSaySinceWhenTheyMayBeActive(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {MaxOn: time.Hour}}, func(r *rig) {
		if o := r.output("r1"); !o.ActiveSince.IsZero() {
			t.Errorf("inactive: %+v", o)
		}
		r.must("r1", true)
		on := time.Now()
		time.Sleep(10 * time.Minute)
		set := func() error {
			_, err := r.svc.Do(context.Background(), Command{Origin: OriginLocal, Nodes: []node.Ref{{ID: "r1"}}, Assignments: []Assignment{{"on", drivers.Bool(true)}}})
			return err
		}
		r.panels["r1"].fail["on"] = drivers.ErrGone
		if set() == nil {
			t.Fatal("the device is away")
		}
		if o := r.output("r1"); !o.Active || !o.ActiveSince.Equal(on) {
			t.Errorf("behind a failed write: %v since %v", o.Active, o.ActiveSince)
		}
		delete(r.panels["r1"].fail, "on")
		if err := set(); err != nil {
			t.Fatal(err)
		}
		if o := r.output("r1"); !o.Since.After(on) || !o.ActiveSince.Equal(on) || o.Left != 50*time.Minute {
			t.Errorf("behind a good one: %v, %v, %v left", o.Since, o.ActiveSince, o.Left)
		}
	})
}

func TestCheckMovesNothing(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {}}, func(r *rig) {
		ask := func(id string, v drivers.Value) error {
			return r.svc.Check(context.Background(), Command{Nodes: []node.Ref{{ID: id}}, Assignments: []Assignment{{"on", v}}})
		}
		if err := ask("r1", drivers.String("true")); err != nil {
			t.Error(err)
		}
		if ask("r1", drivers.String("maybe")) == nil || ask("none", drivers.Bool(true)) == nil {
			t.Error("nonsense passes")
		}
		if r.state("r1") {
			t.Error("it moved")
		}
	})
}
