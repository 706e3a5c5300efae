package hub

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/exi"
	"postern/xmpp"
)

const sm = " xmlns='urn:xmpp:sm:3'"

// enable turns stream management on and returns the session's id.
func (p *peer) enable() string {
	p.t.Helper()
	p.send("<enable" + sm + " resume='true'/>")
	p.expect("<enabled", "resume='true'", "max='300'")
	v, _ := p.got.Root().Attr(attrID)
	return v.String()
}

// nonza reads on to an element of XEP-0198 and returns it with the stanzas
// before.
func (p *peer) nonza(start string) (got string, before []string) {
	p.t.Helper()
	for {
		s := p.expect("")
		if strings.HasPrefix(s, start) {
			return s, before
		}
		if !strings.HasPrefix(s, "<r ") {
			before = append(before, s)
		}
	}
}

// drop breaks the connection off.
func (p *peer) drop() {
	p.t.Helper()
	if err := p.nc.Close(); err != nil {
		p.t.Fatal(err)
	}
}

func (x *site) asleep(name, resource string) func() bool {
	return func() bool {
		acc, err := x.account(name)
		if err != nil || acc == nil {
			return false
		}
		acc.mu.Lock()
		defer acc.mu.Unlock()
		s := acc.sessions[resource]
		return s != nil && s.link.Load() == nil
	}
}

func Test0198R03_EnableTooEarly(t *testing.T) {
	x := newSite(t)
	p := x.authenticated("anna")
	p.send("<enable" + sm + "/>")
	p.expect("<failed", "<unexpected-request")
	p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	p.expect("type='result'")
}

func Test0198R05_EnableTwice(t *testing.T) {
	x := newSite(t)
	p := x.online("anna", "r")
	p.enable()
	p.send("<enable" + sm + "/>")
	p.fails("policy-violation")
}

func Test0198R06R07R08_Enable(t *testing.T) {
	x := newSite(t)
	seen := make(map[string]bool)
	for attrs, want := range map[string]string{
		" resume='true'": "max='300'", " resume='1' max='60'": "max='60'", " resume='1' max='100000'": "max='300'", " resume='true' max='0'": "max='300'",
		"": "<enabled" + sm + "/>", " resume='false'": "<enabled" + sm + "/>", " resume='0'": "<enabled" + sm + "/>",
	} {
		p := x.online("anna", "r")
		p.send("<enable" + sm + attrs + "/>")
		p.expect(want)
		if v, ok := p.got.Root().Attr(attrID); ok {
			if id := v.String(); len(id) < 20 || seen[id] {
				t.Errorf("id %q", id)
			}
			seen[v.String()] = true
		}
	}
}

// 0198-R10, R11, R13: what counts, from when.
func Test0198R10R11R13_Counting(t *testing.T) {
	x := newSite(t)
	p := x.online("anna", "r")
	p.settle()
	p.send("<presence/><enable" + sm + "/><presence/> \n<iq type='get' id='1' to='site.example'><ping xmlns='urn:xmpp:ping'/></iq><r" + sm + "/><a" + sm + " h='0'/><r" + sm + "/>")
	got, _ := p.nonza("<a ")
	if !strings.Contains(got, "h='2'") {
		t.Error(got)
	}
}

// 0198-R18, R25 to R28: what was not acknowledged comes again, in order, and
// the counters go on.
func Test0198R26R27R28_Resume(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	id := a.enable()
	for i := range 3 {
		b.send(fmt.Sprintf("<message to='%s' id='m%d'><body>%d</body></message>", a.full, i, i))
	}
	b.settle()
	_, _ = a.nonza("<message") // m0
	a.send("<a" + sm + " h='1'/><presence><show>xa</show></presence>")
	b.expect("<show>xa</show>")
	a.drop()
	waitFor(t, x.asleep("anna", "a"))
	b.want() // no unavailable presence: the session waits (0198-R37)
	b.send("<message to='" + a.full + "' id='m3'><body>3</body></message>")
	b.send("<iq to='" + a.full + "' id='q' type='get'><x xmlns='urn:x'/></iq>")
	b.want()

	a = x.authenticated("anna")
	a.full = "anna@site.example/a"
	a.send("<resume" + sm + " previd='" + id + "' h='1'/>")
	// The presence was handled, and its echo counts among what was sent.
	a.expect("<resumed", "h='1'", "previd='"+id+"'")
	var got []string
	for len(got) < 5 {
		if s := a.expect(""); !strings.HasPrefix(s, "<r ") {
			got = append(got, s)
		}
	}
	for i, want := range []string{"id='m1'", "id='m2'", "<show>xa</show>", "id='m3'", "id='q'"} {
		if !strings.Contains(got[i], want) {
			t.Errorf("resent stanza %d is %s, want %s", i, got[i], want)
		}
	}
	a.send("<r" + sm + "/>")
	if got, _ := a.nonza("<a "); !strings.Contains(got, "h='1'") {
		t.Errorf("after the resumption: %s", got)
	}
	// m0, m1, m2, presence, m3, q: six; one more is too many.
	a.send("<a" + sm + " h='6'/>")
	a.settle()
	a.send("<a" + sm + " h='99'/>")
	a.fails("undefined-condition")
}

func Test0198R17R16_TooHigh(t *testing.T) {
	x := newSite(t)
	p := x.online("anna", "r")
	p.enable()
	p.send("<a" + sm + " h='1'/>")
	var se *xmpp.StreamError
	if _, err := p.read(); !errors.As(err, &se) || se.Condition != "undefined-condition" {
		t.Fatalf("got %v", err)
	}
	if c := se.Elem.Child(nameTooHigh); !c.Valid() {
		t.Error("the error does not say why")
	} else if sent, _ := counter(c, attrSent); sent != 0 {
		t.Errorf("send-count %d", sent)
	}
	// The counters wrap.
	q := newQueue(Limits{}.withDefaults())
	q.keep, q.acked = true, 1<<32-2
	for range 4 {
		if err := q.push(parse(t, "<message/>"), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	q.take(nil, 10)
	q.wrote(0, false)
	if _, _, ok := q.ack(1); !ok || q.written != 1 {
		t.Errorf("h=1 behind 2^32-2: %v, %d left", ok, q.written)
	}
	if _, sent, ok := q.ack(0); ok || sent != 2 {
		t.Errorf("going back: %v, sent %d", ok, sent)
	}
	if _, _, ok := q.ack(2); !ok || q.written != 0 {
		t.Error("h=2")
	}
}

// 0198-R22: a clean end ends the session.
func Test0198R22_CleanEnd(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	id := a.enable()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b.expect("type='unavailable'")
	p := x.authenticated("anna")
	p.send("<resume" + sm + " previd='" + id + "' h='0'/>")
	p.expect("<failed", "<item-not-found")
	// Bind goes on the same stream (0198-R31).
	p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	p.expect("type='result'")
}

func Test0198R24_OtherAccount(t *testing.T) {
	x := newSite(t)
	a := x.online("anna", "a")
	id := a.enable()
	a.drop()
	waitFor(t, x.asleep("anna", "a"))
	p := x.authenticated("ben")
	for _, h := range []string{"0", "5"} {
		p.send("<resume" + sm + " previd='" + id + "' h='" + h + "'/>")
		p.expect("<failed", "<item-not-found")
	}
	p = x.authenticated("anna")
	p.send("<resume" + sm + " previd='" + id + "' h='77'/>")
	p.fails("undefined-condition")
	p = x.authenticated("anna")
	p.send("<resume" + sm + " previd='" + id + "' h='0'/>")
	p.expect("<resumed")
}

// 0198-R29: the old connection is still open.
func Test0198R29_HalfOpen(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	id := a.enable()
	p := x.authenticated("anna")
	p.send("<resume" + sm + " previd='" + id + "' h='0'/>")
	p.expect("<resumed")
	a.fails("conflict")
	b.want()
	b.send("<message to='" + a.full + "'><body>x</body></message>")
	p.nonza("<message")
}

// 0198-R35: what a session that was not resumed did not get.
func Test0198R35R37_Expiry(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.Hibernation = time.Second })
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	a.send("<enable" + sm + " resume='true'/>")
	a.expect("<enabled", "max='1'")
	b.send("<message to='" + a.full + "' type='chat' id='m1'><body>unacknowledged</body></message>")
	b.settle()
	a.nonza("<message")
	a.drop()
	waitFor(t, x.asleep("anna", "a"))
	b.send("<message to='" + a.full + "' id='m2'><body>queued</body></message>")
	b.send("<message to='" + a.full + "' id='m3'><fields xmlns='urn:xmpp:iot:sensordata' seqnr='1'/></message>")
	b.send("<iq to='" + a.full + "' id='q' type='get'><x xmlns='urn:x'/></iq>")
	b.settle()
	b.expect("type='unavailable'", "anna@site.example/a")
	b.expect("id='m3'", "service-unavailable")
	b.expect("id='q'", "type='error'", "service-unavailable", "from='anna@site.example/a'")
	b.want()
	c := x.online("anna", "c")
	got := strings.Join(c.settle(), "\n")
	for _, s := range []string{"id='m1'", "id='m2'", "<delay"} {
		if !strings.Contains(got, s) {
			t.Errorf("%s\nwithout %s", got, s)
		}
	}
	if strings.Contains(got, "urn:xmpp:iot") {
		t.Errorf("a read-out was kept: %s", got)
	}
}

// 0198-R21: a client that takes nothing.
func Test0198R21_QueueBound(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.Queue = 20 })
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	a.enable()
	for i := range 30 {
		b.send(fmt.Sprintf("<message to='%s' type='chat' id='m%d'><body>%d</body></message>", a.full, i, i))
	}
	b.settle()
	a.fails("resource-constraint")
	c := x.online("anna", "c")
	got := c.settle()
	n := 0
	for _, s := range got {
		if strings.HasPrefix(s, "<message") {
			if want := fmt.Sprintf("id='m%d'", n); !strings.Contains(s, want) && n < 20 {
				t.Errorf("message %d is %s", n, s)
			}
			n++
		}
	}
	if n != 30 {
		t.Errorf("%d of 30 messages arrived in the end", n)
	}
}

// 0198-R19, R20: the hub asks, and notices when nobody answers.
func Test0198R19R20_Silence(t *testing.T) {
	x := newSite(t, func(c *Config) {
		c.Limits.KeepAlive, c.Limits.Timeout = 50*time.Millisecond, 100*time.Millisecond
	})
	a := x.online("anna", "a")
	a.enable()
	if _, before := a.nonza("<r "); len(before) > 0 {
		t.Errorf("%q", before)
	}
	a.fails("connection-timeout")
	waitFor(t, x.asleep("anna", "a"))
	// Without stream management by a ping; any answer will do.
	b := x.online("ben", "b")
	for range 3 {
		b.expect("urn:xmpp:ping", "type='get'")
		v, _ := b.got.Root().Attr(exi.N("", "id"))
		b.send("<iq type='result' id='" + v.String() + "' to='site.example'/>")
	}
	b.expect("urn:xmpp:ping")
	b.fails("connection-timeout")
}

func Test0198R23_ClientsFault(t *testing.T) {
	x := newSite(t)
	a := x.online("anna", "a")
	id := a.enable()
	a.send("<oops>")
	a.send("</x>")
	a.fails("not-well-formed")
	p := x.authenticated("anna")
	p.send("<resume" + sm + " previd='" + id + "' h='0'/>")
	p.expect("<failed")
}

// On shutdown hibernated sessions' messages are kept.
func TestShutdownKeepsMessages(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	a.enable()
	b.send("<message to='" + a.full + "' type='chat' id='m1'><body>x</body></message>")
	b.settle()
	a.drop()
	waitFor(t, x.asleep("anna", "a"))
	start := time.Now()
	x.stop()
	if d := time.Since(start); d > time.Second {
		t.Errorf("the end took %v", d)
	}
	x = openSite(t, x.dir)
	a = x.online("anna", "a")
	a.want("id='m1' … <delay")
}
