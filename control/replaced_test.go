package control

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// without is the rig's configuration with a node left out, or with its device
// opened anew.
func (r *rig) without(id string, anew bool) Setup {
	r.t.Helper()
	s := Setup{Devices: map[string]Device{}, Rules: map[Output]Rules{}, Access: r.cfg.Access, Passing: !anew}
	var nodes []node.Node
	for _, n := range testNodes() {
		if n.ID == id && !anew {
			continue
		}
		nodes = append(nodes, n)
		if n.Device != "" {
			s.Devices[n.Device] = r.devices[n.Device]
		}
	}
	for o, rule := range r.cfg.Rules {
		if o.Node.ID != id || anew {
			s.Rules[o] = rule
		}
	}
	if anew {
		r.panels[id] = newPanel(id, &r.log)
		r.devices = maps.Clone(r.devices) // the service has the old one
		s.Devices[id] = Device{Device: r.panels[id]}
		r.devices[id] = s.Devices[id]
	}
	var err error
	if s.Tree, err = node.NewTree(nodes); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// reload does what the gateway does when a node's configuration changes: a step
// without it, then one with its new device. between runs in between.
func (r *rig) reload(id string, between func()) {
	r.t.Helper()
	for _, anew := range []bool{false, true} {
		if err := r.svc.Apply(context.Background(), r.without(id, anew)); err != nil {
			r.t.Fatal(err)
		}
		if !anew {
			time.Sleep(time.Second) // devices close and open
			between()
		}
		synctest.Wait()
	}
}

// Whoever holds an output at the machine holds it through a reload that opens
// its device anew, and nobody else gets it meanwhile.
func TestHeldThroughAReload(t *testing.T) {
	rules := map[Output]Rules{out("r1"): {Override: &Switch{Condition: "branch.on", Name: "the hand switch"}}}
	ruled(t, rules, func(r *rig) {
		r.hand(true)
		time.Sleep(tick)
		r.reload("r1", func() {})
		r.refused("r1", true, "held at the machine by the hand switch")
		// Also when the switch cannot be read just then.
		r.live.Forget(func(node.Ref) bool { return false })
		r.reload("r1", func() {})
		r.refused("r1", true, "held at the machine by the hand switch")
		r.hand(false)
		time.Sleep(tick)
		r.must("r1", true)
	})
	ruled(t, nil, func(r *rig) {
		if err := r.svc.Override(out("r2"), Override{Who: "technician", Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		r.reload("r2", func() {})
		time.Sleep(2 * tick)
		r.refused("r2", true, "held at the machine by technician")
		// A node that is gone for good is not held any more.
		gone := r.without("r2", false)
		gone.Passing = false
		if err := r.svc.Apply(context.Background(), gone); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * tick)
		r.reload("r2", func() {})
		time.Sleep(2 * tick)
		r.must("r2", true)
	})
}

// A device that is opened anew is not taken to be as the one before was left: it
// is made safe, and what is held at the machine is written to it again.
func TestANewDeviceIsMadeSafe(t *testing.T) {
	rules := map[Output]Rules{out("r1"): {Group: "g"}, out("r2"): {Group: "g"}, out("r3"): {MaxOn: time.Minute}}
	ruled(t, rules, func(r *rig) {
		on := func(id string) {
			r.panels[id].mu.Lock()
			r.panels[id].state["on"] = drivers.Bool(true)
			r.panels[id].mu.Unlock()
		}
		// The rig's own knowledge: off. The new device is on.
		if err := r.svc.Apply(context.Background(), r.without("r1", false)); err != nil {
			t.Fatal(err)
		}
		setup := r.without("r1", true)
		on("r1")
		if err := r.svc.Apply(context.Background(), setup); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r.state("r1") {
			t.Error("a new device is left as it was")
		}
		r.must("r2", true)
		// Known: on. The new one is off, and can be switched on at once.
		r.must("r3", true)
		r.reload("r3", func() {})
		r.must("r3", true)
		if !r.state("r3") {
			t.Error("it was believed to be on")
		}
		// Held on at the machine: the successor is as well.
		if err := r.svc.Override(out("r3"), Override{Who: "technician", Value: drivers.Bool(true), Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		r.reload("r3", func() {})
		time.Sleep(3 * tick)
		if !r.state("r3") {
			t.Error("not on again for who holds it")
		}
	})
}

// What could not be made safe still has to be after a reload.
func TestSafeMoveIsDueThroughAReload(t *testing.T) {
	rules := map[Output]Rules{out("r1"): {MaxOn: time.Minute}}
	ruled(t, rules, func(r *rig) {
		r.must("r1", true)
		r.panels["r1"].breaks(func(p *panel) { p.fail["on"] = drivers.ErrGone })
		time.Sleep(2 * time.Minute) // it does not go off
		was := r.panels["r1"]
		passing := r.without("r1", false)
		if err := r.svc.Apply(context.Background(), passing); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		was.breaks(func(p *panel) { delete(p.fail, "on") })
		back := r.without("r1", false)
		back.Passing = false
		tree, err := node.NewTree(testNodes())
		if err != nil {
			t.Fatal(err)
		}
		back.Tree, back.Rules, back.Devices["r1"] = tree, rules, Device{Device: was}
		if err := r.svc.Apply(context.Background(), back); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if r.state("r1") {
			t.Error("on, though it has to be made safe")
		}
	})
}
