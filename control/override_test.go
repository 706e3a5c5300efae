package control

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

// hand is the switch of the tests: the reading "on" of the node branch.
func (r *rig) hand(on bool) {
	r.live.Put(node.Ref{ID: "branch"}, "on", live.Reading{Value: drivers.Bool(on), Time: time.Now()})
	synctest.Wait()
}

func (r *rig) door(open bool) {
	r.live.Put(node.Ref{ID: "r3"}, "on", live.Reading{Value: drivers.Bool(open), Time: time.Now()})
	synctest.Wait()
}

// A switch at the machine wins over commands, over limits of time and over a
// lost link, and not over interlocks.
func TestSwitchAtTheMachineWins(t *testing.T) {
	rules := map[Output]Rules{out("r1"): {
		MinOn: time.Minute, MinOff: time.Minute, MaxOn: time.Hour, PerHour: 3, LinkLost: 10 * time.Second, Interlocks: []Interlock{{Condition: "not r3.on", Reason: "the door is open"}},
		Override: &Switch{Condition: "branch.on", Value: drivers.Bool(true), Name: "the hand switch"},
	}}
	ruled(t, rules, func(r *rig) {
		r.refused("r1", true, "conflict … of r1: it is not known yet whether the hand switch holds it")
		r.hand(false)
		r.must("r1", true)
		r.books.take()
		r.hand(true)
		time.Sleep(tick)
		r.refused("r1", false, "<error type='wait'><conflict … of r1: it is held at the machine by the hand switch, until that is released")
		if got := r.books.take(); !strings.HasPrefix(got, "taken the hand switch") {
			t.Error(got)
		}
		for _, o := range r.svc.Outputs() {
			if want := o.Node.ID == "r1"; (o.Override != "") != want {
				t.Errorf("%+v", o)
			}
		}
		r.svc.Link(false) // whoever stands at the machine needs no network
		time.Sleep(30 * time.Second)
		if !r.state("r1") {
			t.Error("off for the network's sake")
		}
		r.svc.Link(true)
		r.hand(false) // given back before its time: made safe all the same
		time.Sleep(tick)
		if r.state("r1") {
			t.Error("not safe after it was given back")
		}
		r.hand(true) // on again, long before it may be from afar
		time.Sleep(tick)
		if !r.state("r1") {
			t.Error("the switch waits for a limit")
		}
		r.door(true)
		if r.state("r1") {
			t.Error("the interlock does not hold")
		}
		time.Sleep(time.Second)
		if r.state("r1") {
			t.Error("the switch goes through the interlock")
		}
		r.door(false)
		time.Sleep(tick)
		if !r.state("r1") {
			t.Error("not on again after the door was closed")
		}
		// A switch that cannot be read stays as it was.
		r.live.Fail(node.Ref{ID: "branch"}, "on", time.Now(), errors.New("wire broken"))
		time.Sleep(time.Minute)
		r.refused("r1", false, "the hand switch")
		// Its longest time ends that, too, and it is not switched on again.
		time.Sleep(time.Hour)
		if r.state("r1") {
			t.Error("on beyond its longest time")
		}
		time.Sleep(time.Minute)
		if r.state("r1") {
			t.Error("on again although its longest time was over")
		}
	})
}

// The technician holds an output for a time; of a group it makes the other give
// way.
func TestTechnicianHoldsAnOutput(t *testing.T) {
	rules := map[Output]Rules{out("r1"): {Group: "g"}, out("r2"): {Group: "g"}}
	ruled(t, rules, func(r *rig) {
		r.must("r2", true)
		now := time.Now()
		err := r.svc.Override(out("r1"), Override{Who: "technician", Reason: "new seal", Value: drivers.Bool(true), Until: now.Add(10 * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * tick)
		if !r.state("r1") || r.state("r2") {
			t.Errorf("r1 %v r2 %v", r.state("r1"), r.state("r2"))
		}
		until := now.Add(10 * time.Minute).Format("15:04")
		r.refused("r1", false, "held at the machine by technician (new seal), until "+until+" (10 min more)")
		r.refused("r2", true, "r1 is active; only one of the group may be")
		if _, err := r.svc.Do(t.Context(), Command{Origin: OriginSchedule, Nodes: []node.Ref{{ID: "r1"}}, Assignments: []Assignment{{"on", drivers.Bool(false)}}}); err == nil {
			t.Error("a schedule moved it")
		}
		time.Sleep(10 * time.Minute)
		if r.state("r1") {
			t.Error("not made safe when the time was over")
		}
		r.must("r1", true)
		// Held as it is, and given back as it is.
		if err := r.svc.Override(out("r1"), Override{Who: "technician"}); err != nil {
			t.Fatal(err)
		}
		r.refused("r1", false, "until that is released")
		if !r.svc.Release(out("r1"), "technician") || r.svc.Release(out("r1"), "technician") {
			t.Error("release")
		}
		time.Sleep(2 * tick)
		if !r.state("r1") {
			t.Error("moved when it was given back")
		}
		r.must("r1", false)
		for _, c := range []struct {
			o    Output
			v    Override
			want string
		}{
			{out("nope"), Override{}, "there is no node nope"},
			{Output{node.Ref{ID: "r1"}, "x"}, Override{}, "there is on"},
			{out("r1"), Override{Value: drivers.Int(1)}, "is of type"},
			{out("r1"), Override{Until: time.Now()}, "over already"},
		} {
			if err := r.svc.Override(c.o, c.v); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		}
	})
}

// What an overridden output reads is flagged, and not any more when it is given
// back.
func TestOverriddenOutputsAreFlagged(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {}}, func(r *rig) {
		quality := func() live.Quality { rd, _ := r.live.Get(node.Ref{ID: "r1"}, "on"); return rd.Quality }
		if err := r.svc.Override(out("r1"), Override{Who: "technician", Value: drivers.Bool(true)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tick)
		synctest.Wait()
		if q := quality(); q != live.AutomaticReadout|live.Warning || !q.Usable() {
			t.Error(q)
		}
		r.reading("r1", true) // a later poll
		if q := quality(); q&live.Warning == 0 {
			t.Error(q)
		}
		r.svc.Release(out("r1"), "technician")
		time.Sleep(tick)
		synctest.Wait()
		if q := quality(); q != live.AutomaticReadout {
			t.Error(q)
		}
	})
}

// A command that was allowed before the output was taken over does not go on
// with it, and a technician does not wait for the record.
func TestOverrideStopsCommandsUnderWay(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {}}, func(r *rig) {
		r.panels["r2"].delay = time.Second
		r.written()
		r.recv(alice, iq("<node nodeId='r2'/><node nodeId='r1'/><boolean name='on' value='1'/>"))
		time.Sleep(500 * time.Millisecond)
		if err := r.svc.Override(out("r1"), Override{Who: "technician"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.written(); got != "r2.on=true" {
			t.Error(got)
		}
		r.books.fail = errors.New("disk full")
		if err := r.svc.Override(out("r1"), Override{Who: "technician", Value: drivers.Bool(true)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tick)
		if !r.state("r1") {
			t.Error("it waits for the record")
		}
	})
}
