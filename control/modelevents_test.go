package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

func (r *rig) reading(id string, v bool) {
	r.live.Put(node.Ref{ID: id}, "on", live.Reading{Value: drivers.Bool(v), Time: time.Now()})
}

// life is a machine with its model.
type life struct {
	*rig
	m     *model
	code  string    // that was last given for r2
	phase time.Time // when the watchdog began: it looks every tick from there
}

// offset is when after a look of the watchdog events happen, so that they never
// happen at the same time.
const offset = 100 * time.Millisecond

// event is something that can happen. It acts on both and returns the command
// that it is, and whether the model expects it to be accepted.
type event struct {
	name string
	do   func(l *life) (command string, accepted bool)
}

// events are all that can happen.
var events = []event{
	{"r1 on", func(l *life) (string, bool) { return "r1 1", l.m.commandR1(true) }},
	{"r1 off", func(l *life) (string, bool) { return "r1 0", l.m.commandR1(false) }},
	{"r2 on", func(l *life) (string, bool) { l.m.asked = l.m.now; return "r2 1", false }},
	{"r2 confirmed", func(l *life) (string, bool) { return "r2 1 code", l.m.confirmR2() }},
	{"r2 off", func(l *life) (string, bool) { return "r2 0", l.m.commandR2(false) }},
	{"door opens", only(func(l *life) {
		l.reading("r3", true)
		if l.m.door != 1 {
			l.m.opened = l.m.now
		}
		l.m.door = 1
		l.m.look()
	})},
	{"door closes", only(func(l *life) { l.reading("r3", false); l.m.door = 0; l.m.look() })},
	{"door sensor fails", only(func(l *life) {
		l.live.Fail(node.Ref{ID: "r3"}, "on", time.Now(), errGone)
		l.m.door = 2
		l.m.look()
	})},
	{"hand switch on", only(func(l *life) { l.reading("branch", true); l.m.hand = 1; l.m.look() })},
	{"hand switch off", only(func(l *life) { l.reading("branch", false); l.m.hand = 0; l.m.look() })},
	{"hand switch fails", only(func(l *life) {
		l.live.Fail(node.Ref{ID: "branch"}, "on", time.Now(), errGone)
		l.m.look()
	})},
	{"technician holds r2 off", only(func(l *life) {
		if err := l.svc.Override(out("r2"), Override{Who: "technician", Value: drivers.Bool(false), Until: time.Now().Add(20 * time.Second)}); err != nil {
			l.t.Error(err)
		}
		l.m.tech = l.m.now + 20*time.Second
		l.m.look()
	})},
	{"technician is done", only(func(l *life) {
		if l.svc.Release(out("r2"), "technician") != (l.m.tech > 0) {
			l.t.Error("the technician's hold is not what the model says")
		}
		if l.m.tech > 0 {
			l.m.release()
			l.m.look()
		}
	})},
	{"safe", only(func(l *life) {
		_ = l.svc.Safe(context.Background(), "test") // what becomes of it is compared
		l.m.safe()
	})},
	{"link lost", only(func(l *life) {
		l.svc.Link(false)
		if !l.m.down {
			l.m.down, l.m.downAt = true, l.m.now
		}
	})},
	{"link back", only(func(l *life) { l.svc.Link(true); l.m.down = false })},
	{"3 s pass", only(func(l *life) { l.pass(3 * time.Second) })},
	{"25 s pass", only(func(l *life) { l.pass(25 * time.Second) })},
	{"70 s pass", only(func(l *life) { l.pass(70 * time.Second) })},
	{"killed and started again", only(func(l *life) { l.restart(false) })},
	{"stopped and started again", only(func(l *life) { l.restart(true) })},
	{"r1 works", only(func(l *life) { l.fault("r1", works) })},
	{"r1 refuses writes", only(func(l *life) { l.fault("r1", fails) })},
	{"r1 acts and tells an error", only(func(l *life) { l.fault("r1", actsLate) })},
	{"r1 hangs", only(func(l *life) { l.fault("r1", isStuck) })},
	{"r1 reads back the other state", only(func(l *life) { l.fault("r1", misreport) })},
	{"r2 works", only(func(l *life) { l.fault("r2", works) })},
	{"r2 refuses writes", only(func(l *life) { l.fault("r2", fails) })},
	{"r2 acts and tells an error", only(func(l *life) { l.fault("r2", actsLate) })},
	// The last one is left out where every order is tried: it takes long.
	{"an hour passes", only(func(l *life) { l.pass(time.Hour) })},
}

var errGone = errors.New("gone")

// only is an event that is no command.
func only(do func(*life)) func(*life) (string, bool) {
	return func(l *life) (string, bool) { do(l); return "", true }
}

// pass lets time pass for both.
func (l *life) pass(d time.Duration) {
	time.Sleep(d)
	l.m.elapse(d)
}

func (l *life) output(id string) *output {
	if id == "r1" {
		return &l.m.r1
	}
	return &l.m.r2
}

// fault changes what is wrong with a device.
func (l *life) fault(id string, f fault) {
	o := l.output(id)
	if !o.fault.acts() {
		o.sound = l.m.now
	}
	o.fault = f
	l.panels[id].breaks(func(p *panel) { p.breakAs(f) })
}

func (p *panel) breakAs(f fault) {
	delete(p.fail, "on")
	p.late, p.hang, p.lie = nil, f == isStuck, f == misreport
	switch f {
	case fails:
		p.fail["on"] = errGone
	case actsLate:
		p.late = errGone
	}
}

// restart ends the process and starts another one.
func (l *life) restart(inOrder bool) {
	begin := time.Now()
	if inOrder {
		_ = l.svc.Safe(context.Background(), "stop")
		l.m.safe()
		l.m.elapse(time.Since(begin))
	}
	l.stop()
	l.live = live.New()
	l.cfg.Live = l.live
	begin = time.Now()
	l.launch(func() { _ = l.svc.Safe(context.Background(), "start") })
	l.m.restart()
	l.m.elapse(time.Since(begin))
	l.phase, l.m.tick = time.Now(), l.m.now+tick
	l.pass(offset)
}

// step lets one event happen and compares.
func (l *life) step(e int) error {
	begin, at := time.Now(), l.m.now
	cmd, accepted := events[e].do(l)
	if cmd != "" {
		if err := l.command(cmd, accepted); err != nil {
			return fmt.Errorf("%s: %w", events[e].name, err)
		}
	}
	synctest.Wait()
	// Half a second is what the watchdog may be late; nothing else happens
	// meanwhile that the model does not know of.
	time.Sleep(500*time.Millisecond + l.untilOffset())
	l.m.elapse(time.Since(begin) - (l.m.now - at))
	synctest.Wait()
	if l.state("r1") != l.m.r1.really || l.state("r2") != l.m.r2.really {
		return fmt.Errorf("%s: r1 %v r2 %v, the model says %v %v", events[e].name, l.state("r1"), l.state("r2"), l.m.r1.really, l.m.r2.really)
	}
	return l.forbidden(e)
}

// untilOffset is how long it is until events may happen again.
func (l *life) untilOffset() time.Duration {
	return (tick + offset - time.Since(l.phase)%tick) % tick
}

// command sends a command and compares the answer.
func (l *life) command(cmd string, accepted bool) error {
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
	if len(got) == 0 { // the device hangs
		time.Sleep(hangs)
		synctest.Wait()
		got = l.out()
	}
	if len(got) != 1 || strings.Contains(got[0], "setResponse") != accepted {
		return fmt.Errorf("accepted must be %v: %s", accepted, got)
	}
	if _, rest, ok := strings.Cut(got[0], "var='confirm'>"); ok && len(rest) > 6 && len(f) == 2 {
		l.code = rest[:6]
	}
	return nil
}

// forbidden looks for what must never be, whatever the model thinks.
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
	// A device that works again is made safe within the longest pause between
	// two attempts.
	const late = 31 * time.Second
	m := l.m
	r1, r2 := on["r1"] && m.r1.fault.acts(), on["r2"] && m.r2.fault.acts()
	for what, since := range map[string]time.Duration{
		"r1 is on although the door is open":            when(r1 && m.door == 1, m.opened, m.r1.sound, m.r1.onSince),
		"r1 is on beyond its longest time":              when(r1, m.r1.onSince+time.Minute, m.r1.sound),
		"r2 is on although the link is lost":            when(r2 && m.down && m.tech == 0, m.downAt+20*time.Second, m.r2.sound, m.r2.onSince),
		"r2 is on although the technician holds it off": when(r2 && m.tech > 0, m.tech-20*time.Second, m.r2.sound, m.r2.onSince),
	} {
		if since >= 0 && m.now-since > late {
			return fmt.Errorf("%s: %s: now %v, r1 %+v, r2 %+v", events[e].name, what, m.now, m.r1, m.r2)
		}
	}
	return nil
}

// when is the latest of the times from which on something is forbidden, or -1.
func when(is bool, since ...time.Duration) time.Duration {
	if !is {
		return -1
	}
	latest := since[0]
	for _, t := range since[1:] {
		latest = max(latest, t)
	}
	return latest
}
