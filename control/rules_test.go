package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

// on and off set a relay as alice and return the answer.
func (r *rig) switchTo(id string, on bool) string {
	r.t.Helper()
	r.recv(alice, iq(fmt.Sprintf("<node nodeId='%s'/><boolean name='on' value='%v'/>", id, on)))
	synctest.Wait()
	out := r.out()
	if len(out) != 1 {
		r.t.Fatalf("%d answers", len(out))
	}
	return out[0]
}

func (r *rig) must(id string, on bool) {
	r.t.Helper()
	if got := r.switchTo(id, on); got != done {
		r.t.Errorf("%s to %v: %s", id, on, got)
	}
}

func (r *rig) refused(id string, on bool, why string) {
	r.t.Helper()
	got := r.switchTo(id, on)
	for _, part := range strings.Split(why, " … ") {
		if !strings.Contains(got, part) {
			r.t.Errorf("%s to %v: lacks %q: %s", id, on, part, got)
		}
	}
}

// state is what the relay really is.
func (r *rig) state(id string) bool {
	p := r.panels[id]
	p.mu.Lock()
	defer p.mu.Unlock()
	b, _ := p.state["on"].Bool()
	return b
}

func out(id string) Output { return Output{node.Ref{ID: id}, "on"} }

// ruled starts a rig with rules, outputs in their safe states.
func ruled(t *testing.T, rules map[Output]Rules, body func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *Config) { c.Rules = rules })
		defer r.stop()
		if err := r.svc.Safe(context.Background(), "start"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Second) // the start counts no more
		r.written()
		body(r)
	})
}

func TestMinimumTimes(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {MinOn: 60 * time.Second, MinOff: 5 * time.Minute}}, func(r *rig) {
		r.must("r1", true)
		time.Sleep(20 * time.Second)
		r.refused("r1", false, "<error type='wait'><conflict … var='on' … has to stay on for 40 s more")
		r.must("r1", true) // no change
		time.Sleep(40 * time.Second)
		r.must("r1", false)
		time.Sleep(time.Minute)
		r.refused("r1", true, "has to stay off for 240 s more")
		// A move into the safe state waits for nothing.
		time.Sleep(5 * time.Minute)
		r.must("r1", true)
		if err := r.svc.Safe(context.Background(), "test"); err != nil || r.state("r1") {
			t.Error(err)
		}
		// Both halves of a pulse are looked at before the first.
		time.Sleep(5 * time.Minute)
		r.written()
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/><boolean name='on' value='0'/>"))
		synctest.Wait()
		wantOut(t, r.out(), "conflict")
		if got := r.written(); got != "" {
			t.Error(got)
		}
	})
}

func TestLongestTime(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {MaxOn: 30 * time.Second}}, func(r *rig) {
		r.must("r1", true)
		time.Sleep(20 * time.Second)
		r.must("r1", true) // does not prolong it
		time.Sleep(9 * time.Second)
		if !r.state("r1") {
			t.Error("off too early")
		}
		if o := r.output("r1"); !o.Active || o.Left != time.Second || o.Value != "true" {
			t.Errorf("%+v", o)
		}
		r.books.take()
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if r.state("r1") {
			t.Error("still on")
		}
		if rd, _ := r.live.Get(node.Ref{ID: "r1"}, "on"); rd.Value != drivers.Bool(false) {
			t.Errorf("not published: %+v", rd)
		}
		if got := r.books.take(); got != "end safe verified" && got != "end safe" {
			t.Errorf("audit: %q", got)
		}
		r.must("r1", true)
	})
}

// An output that cannot be made safe is tried until it can, without storming
// the device.
func TestTripsAreRepeated(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {MaxOn: 10 * time.Second}}, func(r *rig) {
		r.must("r1", true)
		p := r.panels["r1"]
		p.mu.Lock()
		p.fail["on"] = drivers.ErrGone
		before := p.tries
		p.mu.Unlock()
		r.books.take()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		p.mu.Lock()
		if n := p.tries - before; n < 10 || n > 20 {
			t.Errorf("%d attempts in 290 s", n)
		}
		if n := strings.Count(r.books.take(), "end safe"); n != 1 {
			t.Errorf("%d records about them", n)
		}
		delete(p.fail, "on")
		p.mu.Unlock()
		time.Sleep(31 * time.Second)
		if r.state("r1") {
			t.Error("never made safe")
		}
		if got := r.books.take(); got != "end safe verified" && got != "end safe" {
			t.Error(got)
		}
	})
}

// What was not made safe is tried again without a rule that demands it, also
// when the demand is over.
func TestSafeMovesThatFailAreRepeated(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {Interlocks: []Interlock{{Condition: "not r3.on"}}}}, func(r *rig) {
		r.must("r1", true)
		r.must("r2", true)
		for _, id := range []string{"r1", "r2"} {
			r.panels[id].breaks(func(p *panel) { p.fail["on"] = drivers.ErrGone })
		}
		r.door(true) // forbids r1
		time.Sleep(tick)
		r.door(false)
		if err := r.svc.Safe(context.Background(), "test"); err == nil || !r.state("r1") || !r.state("r2") {
			t.Fatal(err)
		}
		if o := r.output("r2"); o.Known || !strings.Contains(o.Due, "test") {
			t.Errorf("%+v", o)
		}
		time.Sleep(time.Minute)
		for _, id := range []string{"r1", "r2"} {
			r.panels[id].breaks(func(p *panel) { delete(p.fail, "on") })
		}
		time.Sleep(31 * time.Second)
		if r.state("r1") || r.state("r2") {
			t.Errorf("r1 %v r2 %v", r.state("r1"), r.state("r2"))
		}
		r.must("r2", true)
		time.Sleep(time.Minute)
		if o := r.output("r2"); !r.state("r2") || o.Due != "" {
			t.Errorf("it is not owed any more: %+v", o)
		}
	})
}

// A switch that reads back the other state counts as not known, and one that
// was to be made safe is tried again.
func TestOutputsThatContradict(t *testing.T) {
	rules := map[Output]Rules{out("r1"): {Group: "g"}, out("r2"): {Group: "g"}}
	ruled(t, rules, func(r *rig) {
		r.must("r1", true)
		r.panels["r1"].breaks(func(p *panel) { p.lie = true })
		r.must("r1", false) // it was written; whether it is off is another question
		r.refused("r2", true, "r1 is active")
		if err := r.svc.Safe(context.Background(), "test"); err == nil || !strings.Contains(err.Error(), "reads back another state") {
			t.Error(err)
		}
		r.panels["r1"].breaks(func(p *panel) { p.lie = false })
		time.Sleep(31 * time.Second)
		r.must("r2", true)
	})
}

// breaks changes how a panel behaves.
func (p *panel) breaks(how func(*panel)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how(p)
}

func TestQuota(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {PerHour: 3}}, func(r *rig) {
		for i := range 3 {
			r.must("r1", i%2 == 0)
			time.Sleep(10 * time.Minute)
		}
		r.must("r1", true) // no change
		r.refused("r1", false, "<error type='wait'><resource-constraint … can be changed again in 1800 s")
		time.Sleep(30 * time.Minute)
		r.must("r1", false)
		r.refused("r1", true, "resource-constraint")
	})
}

func TestRateOfChange(t *testing.T) {
	o := Output{node.Ref{ID: "dimmer", Source: "light"}, "level"}
	ruled(t, map[Output]Rules{o: {MaxRate: number("2.5")}}, func(r *rig) {
		set := func(v int) string {
			r.recv(alice, iq(fmt.Sprintf("<node nodeId='dimmer'/><int name='level' value='%d'/>", v)))
			synctest.Wait()
			return r.out()[0]
		}
		if got := set(50); got != done { // nothing is known yet
			t.Error(got)
		}
		time.Sleep(4 * time.Second)
		if got := set(61); !strings.Contains(got, "try 10.00 at most") {
			t.Error(got)
		}
		if got := set(40); got != done {
			t.Error(got)
		}
		if got := set(43); !strings.Contains(got, "conflict") {
			t.Error(got)
		}
		if got := set(38); got != done { // a second's worth is always allowed
			t.Error(got)
		}
	})
}

func TestInterlocks(t *testing.T) {
	door := node.Ref{ID: "r3"}
	rules := map[Output]Rules{out("r1"): {Interlocks: []Interlock{{Condition: "not r3.on", Reason: "the door is open"}, {Condition: "dimmer.level < 50"}}}}
	ruled(t, rules, func(r *rig) {
		level := func(n int32) { r.level(n) }
		r.refused("r1", true, "<error type='cancel'><not-allowed … var='on' … interlock: dimmer.level is not known")
		level(20)
		r.must("r1", true)
		level(50)
		synctest.Wait()
		if r.state("r1") {
			t.Error("the interlock did not trip at once")
		}
		r.refused("r1", true, "interlock: this must hold: dimmer.level &lt; 50")
		r.must("r1", false) // never hindered
		level(20)
		r.must("r1", true)
		r.must("r3", true)
		synctest.Wait()
		if r.state("r1") {
			t.Error("an output's state did not trip the interlock")
		}
		r.refused("r1", true, "the door is open")
		// One command may clear its own way, in order.
		r.recv(alice, iq("<node nodeId='r3'/><boolean name='on' value='0'/>"))
		synctest.Wait()
		r.out()
		r.must("r1", true)
		// A sensor that fails: bearable for ten seconds, no longer, and a
		// command is denied at once.
		r.live.Fail(door, "on", time.Now(), errors.New("wire broken"))
		time.Sleep(9 * time.Second)
		if !r.state("r1") {
			t.Error("off too early")
		}
		r.refused("r1", true, "r3.on is not known")
		time.Sleep(2 * time.Second)
		if r.state("r1") {
			t.Error("still on without its sensor")
		}
		r.live.Put(door, "on", live.Reading{Value: drivers.Bool(false), Time: time.Now()})
		r.must("r1", true)
	})
}

// A command that was allowed before its output was made safe does not go on
// with it afterwards.
func TestTripStopsCommandsUnderWay(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {Interlocks: []Interlock{{Condition: "not r3.on"}}}}, func(r *rig) {
		r.must("r1", true)
		r.written()
		r.panels["r2"].delay = time.Second
		r.recv(alice, iq("<node nodeId='r2'/><node nodeId='r1'/><boolean name='on' value='1'/>"))
		time.Sleep(500 * time.Millisecond)
		r.live.Put(node.Ref{ID: "r3"}, "on", live.Reading{Value: drivers.Bool(true), Time: time.Now()})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantOut(t, r.out(), "<error type='wait'><conflict … safe state")
		if got := r.written(); got != "r1.on=false r2.on=true" {
			t.Error(got)
		}
	})
}

// At most one output of a group is active, across devices, also when commands
// for both come at the same time.
func TestGroups(t *testing.T) {
	rules := map[Output]Rules{out("r1"): {Group: "dir"}, out("r2"): {Group: "dir"}}
	ruled(t, rules, func(r *rig) {
		r.must("r1", true)
		r.refused("r2", true, "<error type='wait'><conflict … r1 is active")
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='0'/>"))
		r.must2(t)
		// Off and on in one command: in this order.
		r.must("r1", true)
		r.panels["r1"].delay, r.panels["r2"].delay = time.Second, time.Second
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='0'/>"))
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		r.recv(owner1, iq("<node nodeId='r2'/><boolean name='on' value='1'/>"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		ok := 0
		for _, s := range r.out() {
			if strings.Contains(s, "setResponse") {
				ok++
			}
		}
		if ok != 2 || !r.state("r1") || r.state("r2") {
			t.Errorf("%d succeeded, r1 %v r2 %v", ok, r.state("r1"), r.state("r2"))
		}
	})
	// What is not known counts as active.
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *Config) { c.Rules = rules })
		defer r.stop()
		r.refused("r1", true, "not known whether r2 is active")
	})
}

func (r *rig) must2(t *testing.T) {
	t.Helper()
	synctest.Wait()
	wantOut(t, r.out(), done)
}

// What a condition names may be missing, for a device that is not there yet:
// then nothing is allowed.
func TestInterlockOverNothing(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {Interlocks: []Interlock{{Condition: "nope.x < 5"}}}, out("r2"): {Interlocks: []Interlock{{Condition: "r3.nope = 1"}}}}, func(r *rig) {
		r.refused("r1", true, "not-allowed … nope.x is not known")
		r.refused("r2", true, "not-allowed … r3.nope is not known")
		r.must("r1", false)
	})
}

func TestLinkLost(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {LinkLost: time.Minute}, out("r2"): {}}, func(r *rig) {
		r.must("r1", true)
		r.must("r2", true)
		r.svc.Link(false)
		time.Sleep(50 * time.Second)
		r.svc.Link(true)
		time.Sleep(5 * time.Minute)
		if !r.state("r1") {
			t.Error("made safe although the link came back")
		}
		r.svc.Link(false)
		r.svc.Link(false)
		time.Sleep(61 * time.Second)
		if r.state("r1") || !r.state("r2") {
			t.Errorf("r1 %v r2 %v", r.state("r1"), r.state("r2"))
		}
	})
}

// A hanging output does not keep another one dangerous.
func TestTripsDoNotWaitForEachOther(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {MaxOn: 10 * time.Second}, out("r2"): {MaxOn: 10 * time.Second}}, func(r *rig) {
		r.must("r1", true)
		r.must("r2", true)
		r.panels["r1"].mu.Lock()
		r.panels["r1"].delay = time.Hour
		r.panels["r1"].mu.Unlock()
		time.Sleep(10*time.Second + 2*tick)
		if r.state("r2") {
			t.Error("r2 waits for r1")
		}
	})
}

func TestRulesAreChecked(t *testing.T) {
	tree, err := node.NewTree(testNodes())
	if err != nil {
		t.Fatal(err)
	}
	dimmer := Output{node.Ref{ID: "dimmer", Source: "light"}, "on"}
	for _, c := range []struct {
		o    Output
		r    Rules
		want string
	}{
		{out("nope"), Rules{}, "no such node"},
		{Output{node.Ref{ID: "r1"}, "nope"}, Rules{}, "no such parameter"},
		{dimmer, Rules{MaxOn: time.Second}, "safe state"},
		{out("r1"), Rules{MinOn: -1}, "not negative"},
		{out("r1"), Rules{MinOn: 2, MaxOn: 1}, "shorter"},
		{out("r1"), Rules{Interlocks: []Interlock{{Condition: "r2.on and"}}}, "character 10"},
	} {
		if _, err := compileRules(tree, map[Output]Rules{c.o: c.r}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.r, err)
		}
	}
}
