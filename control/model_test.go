package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

// The machine under test: r1 may be on only while the door (r3's reading, set
// by the test) is closed, for at most 60 s and at least 5 s; r1 and r2 are of
// one group; r2 goes off when the link is away for 20 s.
var machine = map[Output]Rules{
	out("r1"): {MinOn: 5 * time.Second, MinOff: 2 * time.Second, MaxOn: time.Minute, Group: "g",
		Interlocks: []Interlock{{Condition: "not r3.on"}}},
	out("r2"): {Group: "g", LinkLost: 20 * time.Second},
}

// model says, independently of the code, what must happen.
type model struct {
	now      time.Duration
	r1, r2   bool
	switched time.Duration // when r1 last went on or off
	door     int           // 0 closed, 1 open, 2 unknown
	unknown  time.Duration // since when
	down     bool
	downAt   time.Duration
}

// elapse lets time pass and makes safe what must be.
func (m *model) elapse(d time.Duration) {
	end := m.now + d
	for {
		at := end + 1
		what := 0
		consider := func(t time.Duration, w int) {
			if t >= m.now && t <= end && t < at {
				at, what = t, w
			}
		}
		if m.r1 {
			consider(m.switched+time.Minute, 1)
			if m.door == 2 {
				consider(max(m.now, m.unknown+10*time.Second, m.switched), 1)
			}
		}
		if m.r2 && m.down {
			consider(max(m.now, m.downAt+20*time.Second), 2)
		}
		switch m.now = min(at, end); what {
		case 0:
			m.now = end
			return
		case 1:
			m.r1, m.switched = false, m.now
		case 2:
			m.r2 = false
		}
	}
}

func (m *model) setR1(on bool) bool {
	if on == m.r1 {
		return !on || m.door == 0
	}
	if on && (m.door != 0 || m.r2 || m.now-m.switched < 2*time.Second) || !on && m.now-m.switched < 5*time.Second {
		return false
	}
	m.r1, m.switched = on, m.now
	return true
}

func (m *model) setR2(on bool) bool {
	if on && m.r1 {
		return false
	}
	m.r2 = on
	return true
}

// events are what can happen; each acts on both and returns what the model
// expects a command to give.
var events = []struct {
	name string
	do   func(r *rig, m *model) (command string, accepted bool)
}{
	{"r1 on", func(_ *rig, m *model) (string, bool) { return "r1 1", m.setR1(true) }},
	{"r1 off", func(_ *rig, m *model) (string, bool) { return "r1 0", m.setR1(false) }},
	{"r2 on", func(_ *rig, m *model) (string, bool) { return "r2 1", m.setR2(true) }},
	{"r2 off", func(_ *rig, m *model) (string, bool) { return "r2 0", m.setR2(false) }},
	{"door opens", func(r *rig, m *model) (string, bool) {
		r.live.Put(node.Ref{ID: "r3"}, "on", live.Reading{Value: drivers.Bool(true), Time: time.Now()})
		if m.door = 1; m.r1 {
			m.r1, m.switched = false, m.now
		}
		return "", true
	}},
	{"door closes", func(r *rig, m *model) (string, bool) {
		r.live.Put(node.Ref{ID: "r3"}, "on", live.Reading{Value: drivers.Bool(false), Time: time.Now()})
		m.door = 0
		return "", true
	}},
	{"door sensor fails", func(r *rig, m *model) (string, bool) {
		r.live.Fail(node.Ref{ID: "r3"}, "on", time.Now(), errors.New("gone"))
		if m.door != 2 {
			m.door, m.unknown = 2, m.now
		}
		return "", true
	}},
	{"safe", func(r *rig, m *model) (string, bool) {
		if err := r.svc.Safe(context.Background(), "test"); err != nil {
			r.t.Error(err)
		}
		if m.r1 {
			m.switched = m.now
		}
		m.r1, m.r2 = false, false
		// Safe reads r3 back as well: its relay is off, so the door is closed.
		m.door = 0
		return "", true
	}},
	{"link lost", func(r *rig, m *model) (string, bool) {
		r.svc.Link(false)
		if !m.down {
			m.down, m.downAt = true, m.now
		}
		return "", true
	}},
	{"link back", func(r *rig, m *model) (string, bool) { r.svc.Link(true); m.down = false; return "", true }},
	{"3 s pass", func(_ *rig, m *model) (string, bool) { pass(m, 3*time.Second); return "", true }},
	{"25 s pass", func(_ *rig, m *model) (string, bool) { pass(m, 25*time.Second); return "", true }},
	{"70 s pass", func(_ *rig, m *model) (string, bool) { pass(m, 70*time.Second); return "", true }},
}

// pass lets time pass for both. The watchdog looks every tick.
func pass(m *model, d time.Duration) {
	time.Sleep(d)
	m.elapse(d)
}

// step lets one event happen and compares.
func step(r *rig, m *model, e int) error {
	cmd, accepted := events[e].do(r, m)
	synctest.Wait()
	if cmd != "" {
		id, v, _ := strings.Cut(cmd, " ")
		r.recv(alice, iq("<node nodeId='"+id+"'/><boolean name='on' value='"+v+"'/>"))
		synctest.Wait()
		got := r.out()
		if len(got) != 1 || strings.Contains(got[0], "setResponse") != accepted {
			return fmt.Errorf("%s: accepted must be %v: %s", events[e].name, accepted, got)
		}
	}
	// Half a second is what the watchdog may be late; nothing else happens
	// meanwhile that the model does not know of.
	pass(m, 500*time.Millisecond)
	synctest.Wait()
	if r.state("r1") != m.r1 || r.state("r2") != m.r2 {
		return fmt.Errorf("%s: r1 %v r2 %v, the model says %v %v", events[e].name, r.state("r1"), r.state("r2"), m.r1, m.r2)
	}
	on := map[string]bool{}
	for _, w := range strings.Fields(r.written()) {
		name, v, _ := strings.Cut(w, ".on=")
		on[name] = v == "true"
		if on["r1"] && on["r2"] {
			return fmt.Errorf("%s: both outputs of the group were on: %s", events[e].name, w)
		}
	}
	return nil
}

// model0 brings a machine and its model to their start.
func model0(r *rig) *model {
	if err := r.svc.Safe(context.Background(), "start"); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	r.written()
	return &model{now: 10 * time.Second}
}

// Every order of up to three events, and after each the outputs are what the
// model says.
func TestModelExhaustive(t *testing.T) {
	depth := 3
	n := 1
	for range depth {
		n *= len(events)
	}
	for i := range n {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, func(c *Config) { c.Rules = machine })
			defer r.stop()
			m := model0(r)
			var names []string
			for k, at := 0, i; k < depth; k, at = k+1, at/len(events) {
				names = append(names, events[at%len(events)].name)
				if err := step(r, m, at%len(events)); err != nil {
					t.Fatalf("%s: %v", strings.Join(names, ", "), err)
				}
			}
		})
		if t.Failed() {
			return
		}
	}
}

// A long life of random events.
func TestModelRandom(t *testing.T) {
	steps := 8_000
	if testing.Short() {
		steps = 2_000
	}
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(7, 11))
		r := start(t, func(c *Config) { c.Rules = machine })
		defer r.stop()
		m := model0(r)
		var last []string
		for i := range steps {
			e := rnd.IntN(len(events))
			if last = append(last, events[e].name); len(last) > 12 {
				last = last[1:]
			}
			if err := step(r, m, e); err != nil {
				t.Fatalf("step %d, %s: %v", i, strings.Join(last, ", "), err)
			}
		}
	})
}
