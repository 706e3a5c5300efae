package control

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// newLife brings a machine and its model to their start.
func newLife(r *rig, quota int) *life {
	begin := time.Now() // the service has just begun
	d := r.devices["r1"]
	d.Timeout = hangs
	r.devices["r1"] = d
	if err := r.svc.Safe(context.Background(), "start"); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	r.written()
	r.before = map[string]bool{}
	l := &life{rig: r, m: &model{quota: quota}, phase: begin}
	l.m.restart()
	l.m.tick = tick
	l.m.elapse(10 * time.Second)
	l.pass(offset)
	return l
}

// point is a moment of a life to which it can be taken back. Everything on
// which the further course depends is in it, with its times; restoring moves
// them to the present.
type point struct {
	at       time.Time
	m        model
	code     string
	path     []int
	outputs  map[Output]*outState
	linkLost time.Time
	switches map[Output]taken
	persons  map[Output]taken
	seen     map[Output]bool
	open     map[string]question
	readings map[string]int // 0 none, 1 false, 2 true, then 3 more for failed
	panels   map[string]drivers.Value
}

func (l *life) save(path []int) *point {
	s := l.svc
	s.safety.Lock()
	defer s.safety.Unlock()
	p := &point{at: time.Now(), m: l.m.clone(), code: l.code, path: path, linkLost: s.linkLost, seen: maps.Clone(s.overrides.seen),
		outputs: map[Output]*outState{}, switches: map[Output]taken{}, persons: map[Output]taken{}, open: map[string]question{},
		readings: map[string]int{}, panels: map[string]drivers.Value{}}
	for o, st := range s.outputs {
		p.outputs[o] = st.shadow()
	}
	for o, t := range s.switches {
		p.switches[o] = *t
	}
	for o, t := range s.persons {
		p.persons[o] = *t
	}
	for sig, q := range s.confirm.open {
		p.open[sig] = *q
	}
	for _, id := range []string{"r3", "branch"} {
		rd, ok := l.live.Get(node.Ref{ID: id}, "on")
		if !ok {
			continue
		}
		v, has := rd.Value.Bool()
		switch {
		case has && v:
			p.readings[id] = 2
		case has:
			p.readings[id] = 1
		}
		if rd.Err != nil {
			p.readings[id] += 3
		}
	}
	for _, id := range []string{"r1", "r2", "r3"} {
		p.panels[id] = l.panels[id].state["on"]
	}
	return p
}

func (l *life) restore(p *point) {
	time.Sleep(l.untilOffset())
	s := l.svc
	delta := time.Since(p.at)
	later := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Add(delta)
	}
	s.safety.Lock() // the watchdog sees all of it or nothing
	*l.m, l.code = p.m.clone(), p.code
	l.m.tick = l.m.now + tick - offset
	clear(s.outputs)
	for o, st := range p.outputs {
		c := st.shadow()
		for _, t := range []*time.Time{&c.since, &c.set, &c.activeSince, &c.blind, &c.after} {
			*t = later(*t)
		}
		for i := range c.changes {
			c.changes[i] = later(c.changes[i])
		}
		s.outputs[o] = c
	}
	s.linkLost = later(p.linkLost)
	clear(s.switches)
	clear(s.persons)
	clear(s.confirm.open)
	s.overrides.seen = maps.Clone(p.seen)
	for o, t := range p.switches {
		s.switches[o] = &t
	}
	for o, t := range p.persons {
		t.Until = later(t.Until)
		s.persons[o] = &t
	}
	for sig, q := range p.open {
		q.until = later(q.until)
		s.confirm.open[sig] = &q
	}
	for id, v := range p.panels {
		l.panels[id].breaks(func(panel *panel) {
			panel.state["on"] = v
			if id != "r3" {
				panel.breakAs(l.output(id).fault)
			}
		})
		l.before[id], _ = v.Bool()
	}
	l.live.Forget(func(r node.Ref) bool { return p.readings[r.ID] > 0 || r.ID != "branch" && r.ID != "r3" })
	for id, code := range p.readings {
		if code%3 > 0 {
			l.reading(id, code%3 == 2)
		}
		if code >= 3 {
			l.live.Fail(node.Ref{ID: id}, "on", time.Now(), errGone)
		}
	}
	// The readings make the watchdog look, which the model does not know of.
	busy := func(is bool) {
		for _, st := range s.outputs {
			st.tripping, st.moving = is, is
		}
	}
	busy(true)
	s.safety.Unlock()
	synctest.Wait()
	s.safety.Lock()
	busy(false)
	s.safety.Unlock()
	l.written()
	l.out()
}

// mark tells points apart by what matters for the further course: times that
// make no difference any more are cut.
func (p *point) mark() string {
	var b strings.Builder
	age := func(t time.Time, most time.Duration) {
		if t.IsZero() {
			b.WriteString("-,")
			return
		}
		fmt.Fprintf(&b, "%d,", min(p.at.Sub(t), most)/tick)
	}
	for _, id := range []string{"r1", "r2"} {
		st := p.outputs[out(id)]
		if st == nil {
			st = &outState{}
		}
		fmt.Fprintf(&b, "%v%v%v%v|", st.known, st.value, st.due != "", p.panels[id])
		age(st.since, 5*time.Second)
		age(st.activeSince, time.Minute)
		age(st.blind, 10*time.Second)
		if left := st.after.Sub(p.at); left > 0 {
			fmt.Fprint(&b, left, st.failures)
		}
		for _, c := range st.changes {
			if id == "r2" && p.at.Sub(c) < time.Hour {
				age(c, time.Hour)
			}
		}
	}
	age(p.linkLost, 20*time.Second)
	for o, t := range p.switches {
		fmt.Fprint(&b, o, t.spent)
	}
	for o, t := range p.persons {
		fmt.Fprint(&b, o, t.Until.Sub(p.at))
	}
	for _, q := range p.open {
		if left := q.until.Sub(p.at); left >= 0 {
			fmt.Fprint(&b, left, q.wrong)
		}
	}
	fmt.Fprint(&b, p.m.r1.fault, p.m.r2.fault)
	fmt.Fprint(&b, p.seen[out("r1")], p.readings["r3"], p.readings["branch"], p.m.held, p.m.spent, p.m.door, p.m.hand)
	return b.String()
}

func names(path []int) string {
	var out []string
	for _, e := range path {
		out = append(out, events[e].name)
	}
	return strings.Join(out, ", ")
}

// cpuTime is the time this process has worked: the clock of a bubble is not
// that of the machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// exploreFor is how long the exhaustive test explores; POSTERN_MODEL_SECONDS
// changes it.
func exploreFor() time.Duration {
	if s, err := strconv.Atoi(os.Getenv("POSTERN_MODEL_SECONDS")); err == nil {
		return time.Duration(s) * time.Second
	}
	if testing.Short() {
		return time.Second
	}
	return 5 * time.Second
}

// Every order of events, as deep as the time allows, and after each event the
// outputs are what the model says. Orders that lead to the same state go on as
// one.
func TestModelExhaustive(t *testing.T) {
	begin, limit := cpuTime(), exploreFor()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *Config) { c.Rules = machine(3) })
		defer func() { r.stop() }()
		l := newLife(r, 3)
		first := l.save(nil)
		seen := map[string]bool{first.mark(): true}
		layer := []*point{first}
		steps := 0
		for depth := 1; ; depth++ {
			var next []*point
			for i, p := range layer {
				if steps%64 == 0 && cpuTime()-begin > limit {
					t.Logf("%d events, %d states, %d steps; every order of %d events, and %d of %d states of the next one",
						len(events)-1, len(seen), steps, depth-1, i, len(layer))
					return
				}
				for e := range len(events) - 1 {
					l.restore(p)
					steps++
					path := append(slices.Clone(p.path), e)
					if err := l.step(e); err != nil {
						t.Fatalf("%s: %v", names(path), err)
					}
					q := l.save(path)
					if m := q.mark(); !seen[m] {
						seen[m] = true
						next = append(next, q)
					}
				}
			}
			if layer = next; len(layer) == 0 {
				t.Logf("%d states are all there are; %d steps", len(seen), steps)
				return
			}
		}
	})
}

// firstFault is the first of the events that change how a device behaves.
var firstFault = slices.IndexFunc(events, func(e event) bool { return e.name == "r1 works" })

// A long life of random events; POSTERN_MODEL_EVENTS says how many.
func TestModelRandom(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 5_000
	}
	if n, err := strconv.Atoi(os.Getenv("POSTERN_MODEL_EVENTS")); err == nil {
		steps = n
	}
	begin := cpuTime()
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(7, 11))
		r := start(t, func(c *Config) { c.Rules = machine(20) })
		defer func() { r.stop() }()
		l := newLife(r, 20)
		var last []int
		accepted := map[string]int{}
		// What breaks is repaired sooner than the next thing breaks, or nothing
		// but faults would be seen.
		var urn []int
		for e := range len(events) - 1 {
			n := 8
			switch name := events[e].name; {
			case strings.HasSuffix(name, " works"):
				n = 6
			case strings.Contains(name, "started again"), e >= firstFault:
				n = 1
			}
			for range n {
				urn = append(urn, e)
			}
		}
		for i := range steps {
			e := urn[rnd.IntN(len(urn))]
			if rnd.IntN(2000) == 0 {
				e = len(events) - 1
			}
			if last = append(last, e); len(last) > 40 {
				last = last[1:]
			}
			r1, r2 := l.m.r1.really, l.m.r2.really
			if err := l.step(e); err != nil {
				t.Fatalf("step %d, %s: %v", i, names(last), err)
			}
			if l.m.r1.really != r1 || l.m.r2.really != r2 {
				accepted[events[e].name]++
			}
			r.books.take()
		}
		t.Logf("%d events in %v; outputs changed by %v", steps, (cpuTime() - begin).Round(time.Second), accepted)
	})
}
