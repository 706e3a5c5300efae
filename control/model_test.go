package control

import (
	"slices"
	"time"

	"postern/drivers"
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

// hangs is how long a write to a device that hangs takes.
const hangs = 50 * time.Millisecond

// fault is what is wrong with a device.
type fault int

const (
	works     fault = iota
	fails           // a write is refused
	actsLate        // a write takes effect, and an error is told
	isStuck         // a write hangs until its time is over
	misreport       // a write is done, and the other state is read back
)

// acts reports whether writes take effect.
func (f fault) acts() bool { return f != fails && f != isStuck }

// output is what the model knows of an output, and what it really is.
type output struct {
	fault  fault
	really bool

	known, val bool
	since      time.Duration // when it went on or off, as far as known
	active     time.Duration // since when it counts as on; -1 for off
	changes    []time.Duration
	due        bool          // to be made safe still
	after      time.Duration // not tried before
	failures   int
	busy       bool          // a write of the gateway's own is under way
	sound      time.Duration // since when writes take effect
	onSince    time.Duration // since when it really is on; -1 for off
}

func (o *output) wrote(v bool, now time.Duration) {
	was := o.active >= 0
	if !o.known || o.val != v {
		o.changes = append(o.changes, now)
	}
	if !o.known || v != was {
		o.since = now
	}
	switch {
	case !v:
		o.active = -1
	case !was:
		o.active = now
	}
	o.known, o.val, o.due, o.failures, o.after = true, v, false, 0, 0
}

func (o *output) lost(meant bool, now time.Duration) {
	o.known = false
	if o.active < 0 && meant {
		o.active = now
	}
}

func (o *output) retry(now time.Duration) {
	o.after = now + min(30*time.Second, time.Second<<min(o.failures, 5))
	o.failures++
}

// write is what a write does at once; it is not called for one that hangs.
// told is whether the driver reported success, ok whether nothing contradicts
// it.
func (o *output) write(v bool, now time.Duration) (told, ok bool) {
	if o.fault != fails && o.really != v {
		o.really = v
		o.onSince = -1
		if v {
			o.onSince = now
		}
	}
	switch o.fault {
	case works:
		o.wrote(v, now)
		return true, true
	case misreport:
		o.wrote(v, now)
		o.lost(v, now)
		return true, false
	}
	o.lost(v, now)
	return false, false
}

// model says, independently of the code, what must happen. It looks every
// quarter of a second, as the watchdog does, and whenever a reading changes.
type model struct {
	now    time.Duration
	tick   time.Duration // the next look
	r1, r2 output
	quota  int           // changes of r2 within an hour
	door   int           // 0 closed, 1 open, 2 unknown
	opened time.Duration // when it was opened
	blind  time.Duration // since when it is unknown while r1 is on; -1 for not
	hand   int           // 0 off, 1 on, 2 never known
	held   bool          // the hand switch holds r1
	spent  bool          // and its longest time is over
	tech   time.Duration // until when the technician holds r2; 0 for not
	asked  time.Duration // when the code for r2 was given; -1 for not
	down   bool
	downAt time.Duration
	// What hangs ends then: r1's write, and what waits for it.
	pending time.Duration // 0 for nothing
	ends    func(*model)
	waits   bool // r2's technician waits for the devices of the group
}

func (m *model) clone() model {
	c := *m
	c.r1.changes, c.r2.changes = slices.Clone(m.r1.changes), slices.Clone(m.r2.changes)
	return c
}

// elapse lets time pass.
func (m *model) elapse(d time.Duration) {
	end := m.now + d
	for {
		switch {
		case m.pending > 0 && m.pending <= min(m.tick, end):
			m.now = m.pending
			ends := m.ends
			m.pending, m.ends = 0, nil
			ends(m)
			if m.waits {
				m.waits, m.r2.busy = false, false
				m.technician()
			}
		case m.tick <= end:
			m.now = m.tick
			m.tick += tick
		default:
			m.now = end
			return
		}
		m.look()
	}
}

// hang lets a write of r1 end later.
func (m *model) hang(ends func(*model)) {
	m.pending, m.ends = m.now+hangs, ends
}

// look does what has to be done by itself, until nothing is.
func (m *model) look() {
	for m.looked() {
	}
}

func (m *model) looked() (wrote bool) {
	if m.tech > 0 && m.now >= m.tech {
		m.release()
	}
	switch {
	case m.hand == 1 && !m.held:
		m.held, m.spent = true, false
	case m.hand == 0 && m.held:
		m.held = false
		m.giveBack(&m.r1)
	}
	wrote = m.trips(&m.r1)
	wrote = m.trips(&m.r2) || wrote
	if r := &m.r1; m.held && !m.spent && !r.busy && !r.due && m.now >= r.after && !(r.known && r.val) {
		wrote = m.handSwitch() || wrote
	}
	if r := &m.r2; m.tech > 0 && !r.busy && !r.due && m.now >= r.after && !(r.known && !r.val) {
		if m.pending > 0 { // the devices of a group are taken together
			r.busy, m.waits = true, true
		} else {
			m.technician()
			wrote = true
		}
	}
	return wrote
}

func (m *model) giveBack(o *output) {
	if !(o.known && !o.val) {
		o.due, o.after = true, 0
	}
}

func (m *model) release() {
	m.tech = 0
	m.giveBack(&m.r2)
}

// trips makes an output safe if that is demanded, or due.
func (m *model) trips(o *output) bool {
	switch {
	case o.busy:
		return false
	case o.due:
		if m.now < o.after {
			return false
		}
	case o.active < 0:
		if o == &m.r1 {
			m.blind = -1
		}
		return false
	case o == &m.r1:
		if !m.forbidsR1() {
			return false
		}
	default:
		if !(m.down && m.tech == 0 && m.now-m.downAt >= 20*time.Second) {
			return false
		}
	}
	m.makeSafe(o)
	return true
}

// forbidsR1 says whether r1, which counts as on, has to go off.
func (m *model) forbidsR1() bool {
	switch {
	case m.now-m.r1.active >= time.Minute:
		m.spent = m.spent || m.held
		return true
	case m.door == 1:
		return true
	case m.door == 0:
		m.blind = -1
		return false
	case m.blind < 0:
		m.blind = m.now
	}
	return m.now-m.blind >= 10*time.Second
}

func (m *model) makeSafe(o *output) {
	past := 0
	if o.due {
		past = o.failures
	}
	if o.fault == isStuck {
		o.busy = true
		m.hang(func(m *model) { m.r1.busy = false; m.r1.lost(false, m.now); m.r1.owe(past, m.now) })
		return
	}
	if _, ok := o.write(false, m.now); !ok {
		o.owe(past, m.now)
	}
}

func (o *output) owe(past int, now time.Duration) {
	o.due, o.failures = true, past
	o.retry(now)
}

// handSwitch tries to switch r1 on for the hand switch.
func (m *model) handSwitch() (wrote bool) {
	switch {
	case m.door != 0:
		return false
	case m.r2.active >= 0 || !m.r2.known:
		if m.tech > 0 || m.r2.busy {
			return false
		}
		m.makeSafe(&m.r2) // it gives way
		if !m.r2.known {
			m.r1.retry(m.now)
		}
		return true
	case m.r1.fault == isStuck:
		m.r1.busy = true
		m.hang(func(m *model) { m.r1.busy = false; m.r1.lost(true, m.now); m.r1.retry(m.now) })
		return true
	}
	if _, ok := m.r1.write(true, m.now); !ok {
		m.r1.retry(m.now)
	}
	return true
}

// technician switches r2 off for the technician.
func (m *model) technician() {
	if m.tech == 0 {
		return
	}
	if _, ok := m.r2.write(false, m.now); !ok {
		m.r2.retry(m.now)
	}
}

// commandR1 is a command from afar for r1.
func (m *model) commandR1(on bool) bool {
	o := &m.r1
	switch least := 2 * time.Second; {
	case m.held, on && (m.hand == 2 || o.due):
		return false
	case o.known && on != (o.active >= 0):
		if !on {
			least = 5 * time.Second
		}
		if m.now-o.since < least {
			return false
		}
	}
	if on && (m.door != 0 || m.r2.active >= 0 || !m.r2.known) {
		return false
	}
	if o.fault == isStuck {
		m.hang(func(m *model) { m.r1.lost(on, m.now) })
		return false
	}
	told, _ := o.write(on, m.now)
	m.look()
	return told
}

// commandR2 is a command from afar for r2.
func (m *model) commandR2(on bool) bool {
	o := &m.r2
	o.changes = slices.DeleteFunc(o.changes, func(t time.Duration) bool { return m.now-t >= time.Hour })
	if m.tech > 0 || on && o.due || !(o.known && on == o.val) && len(o.changes) >= m.quota || on && (m.r1.active >= 0 || !m.r1.known) {
		return false
	}
	told, _ := o.write(on, m.now)
	m.look()
	return told
}

// confirmR2 is the second step of switching r2 on.
func (m *model) confirmR2() bool {
	ok := m.asked >= 0 && m.now-m.asked <= 30*time.Second
	m.asked = -1
	return ok && m.commandR2(true)
}

// safe is a move of everything into its safe state.
func (m *model) safe() {
	m.makeSafe(&m.r1)
	m.makeSafe(&m.r2)
	// It reads r3 back as well: its relay is off, so the door is closed.
	m.door = 0
	m.look()
}

// restart is a new process: nothing is known, and everything is made safe.
func (m *model) restart() {
	for _, o := range []*output{&m.r1, &m.r2} {
		*o = output{fault: o.fault, really: o.really, sound: o.sound, onSince: o.onSince, active: -1}
	}
	m.hand, m.held, m.spent, m.tech, m.asked, m.blind, m.down, m.door = 2, false, false, 0, -1, -1, false, 0
	m.tick = m.now + time.Hour // nobody looks before it runs
	m.makeSafe(&m.r1)
	m.makeSafe(&m.r2)
}
