package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

// The machine under test. r1 may be on only while the door (the reading of r3,
// set by the test) is closed, for at most 60 s and at least 5 s, and a hand
// switch (the reading of branch) takes it over; r1 and r2 are of one group; r2
// has to be confirmed, goes off when the link is away for 20 s, may be changed
// so many times an hour, and a technician may hold it off.
func machine(perHour int) map[Output]Rules {
	return map[Output]Rules{
		out("r1"): {MinOn: 5 * time.Second, MinOff: 2 * time.Second, MaxOn: time.Minute, Group: "g",
			Interlocks: []Interlock{{Condition: "not r3.on"}}, Override: &Switch{Condition: "branch.on", Value: drivers.Bool(true)}},
		out("r2"): {Group: "g", LinkLost: 20 * time.Second, Confirm: true, PerHour: perHour},
	}
}

// model says, independently of the code, what must happen. It looks every
// quarter of a second, as the watchdog does.
type model struct {
	now      time.Duration
	r1, r2   bool
	switched time.Duration // when r1 last went on or off
	changes  []time.Duration
	quota    int           // changes of r2 within an hour
	door     int           // 0 closed, 1 open, 2 unknown
	blind    time.Duration // since when it is unknown while r1 is on; -1 for not
	hand     int           // 0 off, 1 on, 2 never known
	held     bool          // the hand switch holds r1
	spent    bool          // and its longest time is over
	tech     time.Duration // until when the technician holds r2; 0 for not
	asked    time.Duration // when the code for r2 was given; -1 for not
	down     bool
	downAt   time.Duration
}

func (m *model) elapse(d time.Duration) {
	for end := m.now + d; m.now < end; {
		m.now += tick
		m.look()
	}
}

// look does what has to be done by itself.
func (m *model) look() {
	if m.tech > 0 && m.now >= m.tech {
		m.tech = 0
	}
	switch {
	case m.hand == 1 && !m.held:
		m.held, m.spent = true, false
	case m.hand == 0 && m.held:
		m.held = false
		m.switchR1(false)
	}
	if !m.r1 || m.door != 2 {
		m.blind = -1
	} else if m.blind < 0 {
		m.blind = m.now
	}
	switch {
	case m.r1 && m.now-m.switched >= time.Minute:
		m.spent = m.spent || m.held
		m.switchR1(false)
	case m.r1 && (m.door == 1 || m.blind >= 0 && m.now-m.blind >= 10*time.Second):
		m.switchR1(false)
	}
	if m.r2 && m.down && m.tech == 0 && m.now-m.downAt >= 20*time.Second || m.tech > 0 {
		m.switchR2(false)
	}
	if m.held && !m.r1 && !m.spent && m.door == 0 {
		m.switchR2(false) // it gives way
		m.switchR1(true)
	}
}

func (m *model) switchR1(on bool) {
	if m.r1 != on {
		m.r1, m.switched = on, m.now
	}
}

func (m *model) switchR2(on bool) {
	if m.r2 != on {
		m.r2 = on
		m.changes = append(m.changes, m.now)
	}
}

func (m *model) setR1(on bool) bool {
	switch {
	case m.held, on && m.hand == 2:
		return false
	case on == m.r1:
		return !on || m.door == 0
	case on && (m.door != 0 || m.r2 || m.now-m.switched < 2*time.Second):
		return false
	case !on && m.now-m.switched < 5*time.Second:
		return false
	}
	m.switchR1(on)
	return true
}

func (m *model) setR2(on bool) bool {
	m.changes = slices.DeleteFunc(m.changes, func(t time.Duration) bool { return m.now-t >= time.Hour })
	if m.tech > 0 || on != m.r2 && len(m.changes) >= m.quota || on && m.r1 {
		return false
	}
	m.switchR2(on)
	return true
}

// confirmR2 is the second step of switching r2 on.
func (m *model) confirmR2() bool {
	ok := m.asked >= 0 && m.now-m.asked <= 30*time.Second
	m.asked = -1
	return ok && m.setR2(true)
}

func (r *rig) reading(id string, v bool) {
	r.live.Put(node.Ref{ID: id}, "on", live.Reading{Value: drivers.Bool(v), Time: time.Now()})
}

// events are what can happen; each acts on both and returns what the model
// expects a command to give.
var events = []struct {
	name string
	do   func(r *rig, m *model) (command string, accepted bool)
}{
	{"r1 on", func(_ *rig, m *model) (string, bool) { return "r1 1", m.setR1(true) }},
	{"r1 off", func(_ *rig, m *model) (string, bool) { return "r1 0", m.setR1(false) }},
	{"r2 on", func(_ *rig, m *model) (string, bool) { m.asked = m.now; return "r2 1", false }},
	{"r2 confirmed", func(_ *rig, m *model) (string, bool) { return "r2 1 code", m.confirmR2() }},
	{"r2 off", func(_ *rig, m *model) (string, bool) { return "r2 0", m.setR2(false) }},
	{"door opens", func(r *rig, m *model) (string, bool) { r.reading("r3", true); m.door = 1; return "", true }},
	{"door closes", func(r *rig, m *model) (string, bool) { r.reading("r3", false); m.door = 0; return "", true }},
	{"door sensor fails", func(r *rig, m *model) (string, bool) {
		r.live.Fail(node.Ref{ID: "r3"}, "on", time.Now(), errors.New("gone"))
		m.door = 2
		return "", true
	}},
	{"hand switch on", func(r *rig, m *model) (string, bool) { r.reading("branch", true); m.hand = 1; return "", true }},
	{"hand switch off", func(r *rig, m *model) (string, bool) { r.reading("branch", false); m.hand = 0; return "", true }},
	{"hand switch fails", func(r *rig, m *model) (string, bool) {
		r.live.Fail(node.Ref{ID: "branch"}, "on", time.Now(), errors.New("gone"))
		return "", true
	}},
	{"technician holds r2 off", func(r *rig, m *model) (string, bool) {
		if err := r.svc.Override(out("r2"), Override{Who: "technician", Value: drivers.Bool(false), Until: time.Now().Add(20 * time.Second)}); err != nil {
			r.t.Error(err)
		}
		m.tech = m.now + 20*time.Second
		return "", true
	}},
	{"technician is done", func(r *rig, m *model) (string, bool) {
		if r.svc.Release(out("r2"), "technician") != (m.tech > 0) {
			r.t.Error("the technician's hold is not what the model says")
		}
		m.tech = 0
		return "", true
	}},
	{"safe", func(r *rig, m *model) (string, bool) {
		if err := r.svc.Safe(context.Background(), "test"); err != nil {
			r.t.Error(err)
		}
		m.switchR1(false)
		m.switchR2(false)
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
	// The last one is left out where every order is tried: it takes long.
	{"an hour passes", func(_ *rig, m *model) (string, bool) { pass(m, time.Hour); return "", true }},
}

// pass lets time pass for both.
func pass(m *model, d time.Duration) {
	time.Sleep(d)
	m.elapse(d)
}

// life is a machine with its model.
type life struct {
	*rig
	m    *model
	code string // that was last given for r2
}

// step lets one event happen and compares.
func (l *life) step(e int) error {
	cmd, accepted := events[e].do(l.rig, l.m)
	if cmd != "" {
		f := strings.Fields(cmd)
		set := "<node nodeId='" + f[0] + "'/><boolean name='on' value='" + f[1] + "'/>"
		if len(f) == 3 {
			code := l.code
			if code == "" {
				code = "none"
			}
			set += "<string name='confirm' value='" + code + "'/>"
		}
		l.recv(alice, iq(set))
		synctest.Wait()
		got := l.out()
		if len(got) != 1 || strings.Contains(got[0], "setResponse") != accepted {
			return fmt.Errorf("%s: accepted must be %v: %s", events[e].name, accepted, got)
		}
		if _, rest, ok := strings.Cut(got[0], "var='confirm'>"); ok && len(rest) > 6 && len(f) == 2 {
			l.code = rest[:6]
		}
	}
	l.m.look()
	synctest.Wait()
	// Half a second is what the watchdog may be late; nothing else happens
	// meanwhile that the model does not know of.
	pass(l.m, 500*time.Millisecond)
	synctest.Wait()
	if l.state("r1") != l.m.r1 || l.state("r2") != l.m.r2 {
		return fmt.Errorf("%s: r1 %v r2 %v, the model says %v %v", events[e].name, l.state("r1"), l.state("r2"), l.m.r1, l.m.r2)
	}
	return l.forbidden(e)
}

// forbidden looks at every single write for states that must never be.
func (l *life) forbidden(e int) error {
	on := map[string]bool{"r1": l.before["r1"], "r2": l.before["r2"]}
	for _, w := range strings.Fields(l.written()) {
		name, v, _ := strings.Cut(w, ".on=")
		on[name] = v == "true"
		if on["r1"] && on["r2"] {
			return fmt.Errorf("%s: both outputs of the group were on: %s", events[e].name, w)
		}
	}
	l.before = on
	return nil
}
