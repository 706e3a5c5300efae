package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// run starts a service, sends one stanza and returns what came back and what
// was written.
func run(t *testing.T, from, stanza string, change func(*Config)) (out []string, written string) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, change)
		r.recv(from, stanza)
		synctest.Wait()
		out, written = r.out(), r.written()
		r.stop()
	})
	return out, written
}

// An iq is answered, empty when done as asked (R05, R06); a message acts and
// is never answered (R03, R04).
func Test0325R03R04R05R06_IQAndMessage(t *testing.T) {
	out, written := run(t, alice, iq("<node nodeId='r1'/><boolean name='on' value='true'/>"), nil)
	wantOut(t, out, done)
	if written != "r1.on=true" {
		t.Error(written)
	}
	out, written = run(t, alice, message("<node nodeId='r1'/><boolean name='on' value='1'/>"), nil)
	wantOut(t, out)
	if written != "r1.on=true" {
		t.Error(written)
	}
	for _, bad := range []string{"<node nodeId='r1'/><boolean name='on' value='maybe'/>", "<node nodeId='nope'/><boolean name='on' value='1'/>", "<boolean name='on'/>", ""} {
		out, written = run(t, alice, message(bad), nil)
		wantOut(t, out)
		if written != "" {
			t.Error(written)
		}
	}
}

// Every typed parameter, in its lexical forms, the ends of its range and
// beyond.
func Test0325R09R39R56_TypedParameters(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"<boolean name='boolean' value='1'/>", "boolean=true"},
		{"<boolean name='boolean' value='false'/>", "boolean=false"},
		{"<bool name='boolean' value='true'/>", "boolean=true"}, // Smack
		{"<boolean name='boolean' value='yes'/>", "must be true or false"},
		{"<int name='boolean' value='1'/>", "is of type boolean, not int"},
		{"<int name='int' value='-2147483648'/>", "int=-2147483648"},
		{"<int name='int' value=' 7 '/>", "int=7"},
		{"<int name='int' value='2147483648'/>", "whole number of 32 bits"},
		{"<int name='int' value='1.0'/>", "whole number of 32 bits"},
		{"<long name='int' value='1'/>", "is of type int, not long"}, // D14
		{"<double name='int' value='1'/>", "is of type int, not double"},
		{"<long name='long' value='9223372036854775807'/>", "long=9223372036854775807"},
		{"<long name='long' value='9223372036854775808'/>", "64 bits"},
		{"<int name='long' value='5'/>", "long=5"},                  // D14
		{"<int name='long' value='2147483648'/>", "32 bits"},        // no int
		{"<int name='double' value='5'/>", "double=5"},              // D14
		{"<double name='double' value='21.50'/>", "double=21.50"},   // digits kept
		{"<double name='double' value='-1.5E3'/>", "double=-1500"},  //
		{"<double name='double' value='NaN'/>", "decimal number"},   // D21
		{"<double name='double' value='INF'/>", "decimal number"},   //
		{"<double name='double' value='1e400'/>", "decimal number"}, //
		{"<double name='double' value='1e99999999'/>", "decimal number"},
		{"<string name='string' value='a b'/>", "string=a b"},
		{"<string name='string' value=''/>", "string="},
		{"<string name='string' value='A'/>", "must match"},
		{"<string name='string' value='" + strings.Repeat("x", 1025) + "'/>", "longer than 1024"},
		{"<string name='enum' value='off'/>", "enum=off"},
		{"<string name='enum' value='Off'/>", "must be one of auto, off"}, // D38
		{"<date name='date' value='2024-02-29'/>", "date=2024-02-29"},
		{"<date name='date' value='2024-13-01'/>", "must be a date"},
		{"<dateTime name='dateTime' value='2024-02-29T01:02:03'/>", "dateTime=2024-02-29T01:02:03Z"}, // R39
		{"<dateTime name='dateTime' value='2024-02-29T01:02:03+02:00'/>", "dateTime=2024-02-29T01:02:03+02:00"},
		{"<dateTime name='dateTime' value='now'/>", "must be a date and time"},
		{"<time name='time' value='23:59:59.5'/>", "time=23:59:59.5"},
		{"<time name='time' value='25:00:00'/>", "must be a time"},
		{"<duration name='duration' value='P1DT12H30M5.5S'/>", "duration=P1DT12H30M5.5S"},
		{"<duration name='duration' value='-P1Y2M'/>", "duration=-P1Y2M"},
		{"<duration name='duration' value='P'/>", "must be a duration"},
		{"<duration name='duration' value='P1H'/>", "must be a duration"},
		{"<duration name='duration' value='PT'/>", "must be a duration"},
		{"<duration name='duration' value='P1DT'/>", "must be a duration"},
		{"<duration name='duration' value='P1M1Y'/>", "must be a duration"},
		{"<duration name='duration' value='PT1.5H'/>", "must be a duration"},
		{"<color name='color' value='00Ff7a'/>", "color=00Ff7a"},
		{"<color name='color' value='00ff7a80'/>", "must be a colour RRGGBB "}, // D29
		{"<color name='color' value='00ff7g'/>", "must be a colour"},
		{"<color name='alpha' value='00ff7a80'/>", "alpha=00ff7a80"},
		{"<color name='alpha' value='00ff7a'/>", "alpha=00ff7aFF"}, // D29
		{"<string name='color' value='00ff7a'/>", "is of type color, not string"},
	} {
		out, written := run(t, alice, iq("<node nodeId='all'/>"+c.body), nil)
		if strings.Contains(c.want, "=") {
			if written != "all."+c.want || out[0] != done {
				t.Errorf("%s: wrote %q, answered %s", c.body, written, out)
			}
			continue
		}
		name := strings.Split(strings.Split(c.body, "name='")[1], "'")[0]
		wantOut(t, out, "<error type='modify'><bad-request … <paramError xmlns='urn:xmpp:iot:control' var='"+name+"'> … </paramError></error>")
		if written != "" || !strings.Contains(out[0], c.want) {
			t.Errorf("%s: wrote %q, answered %s", c.body, written, out)
		}
	}
}

// Parameters in document order, each on all nodes in theirs (R10, D19); the
// same parameter twice makes a pulse (D8).
func Test0325R10_DocumentOrder(t *testing.T) {
	_, written := run(t, alice, iq("<int name='level' value='30'/><node nodeId='dimmer'/><double name='fade' value='2.5'/><int name='level' value='0'/>"), nil)
	if written != "dimmer.level=30 dimmer.fade=2.5 dimmer.level=0" {
		t.Error(written)
	}
	_, written = run(t, alice, iq("<node nodeId='r2'/><node nodeId='r1'/><node nodeId='r2'/><boolean name='on' value='true'/><boolean name='on' value='false'/>"), nil)
	if written != "r2.on=true r1.on=true r2.on=false r1.on=false" {
		t.Error(written)
	}
}

// Everything is checked on all nodes before anything is written.
func Test0325R11_NothingIsDoneWhenOneIsWrong(t *testing.T) {
	for _, body := range []string{
		"<node nodeId='r1'/><node nodeId='nope'/><boolean name='on' value='1'/>",
		"<node nodeId='r1'/><node nodeId='branch'/><boolean name='on' value='1'/>",
		"<node nodeId='r1'/><node nodeId='all'/><boolean name='on' value='1'/>",
		"<node nodeId='dimmer'/><int name='level' value='5'/><double name='fade' value='11'/>",
		"<node nodeId='dimmer'/><boolean name='on' value='1'/><int name='nope' value='1'/>",
	} {
		out, written := run(t, alice, iq(body), nil)
		if written != "" || !strings.Contains(out[0], "type='error'") {
			t.Errorf("%s: wrote %q, answered %s", body, written, out)
		}
	}
}

// The cases of §3, and the order of checks where several apply (D26).
func Test0325R08R36R37_Errors(t *testing.T) {
	const forbidden, notFound, bad = "<error type='cancel'><forbidden ", "<error type='cancel'><item-not-found ", "<error type='modify'><bad-request "
	for _, c := range []struct{ name, from, body, want string }{
		{"stranger", mallory, "<node nodeId='r1'/><boolean name='on' value='1'/>", forbidden}, // R37
		{"reader only", bob, "<node nodeId='r1'/><boolean name='on' value='1'/>", forbidden},
		{"stranger before unknown node", mallory, "<node nodeId='nope'/><boolean name='on' value='1'/>", forbidden},
		{"malformed before stranger", mallory, "<node nodeId='r1'/>", bad},
		{"unknown node", alice, "<node nodeId='nope'/><boolean name='on' value='1'/>", notFound},
		{"unknown node before value", alice, "<node nodeId='nope'/><boolean name='on' value='maybe'/>", notFound},
		{"wrong source", alice, "<node nodeId='dimmer' sourceId='x'/><boolean name='on' value='1'/>", notFound},
		{"no default to all nodes", alice, "<boolean name='on' value='1'/>", bad}, // D11
		{"unknown parameter", alice, "<node nodeId='r1'/><boolean name='nope' value='1'/>", notFound + " … paramError xmlns='urn:xmpp:iot:control' var='nope'"},
		{"unknown parameter before value", alice, "<node nodeId='r1'/><boolean name='on' value='maybe'/><int name='nope' value='1'/>", notFound + " … var='nope'"},
		{"both bad values named", alice, "<node nodeId='dimmer'/><int name='level' value='101'/><double name='fade' value='0.3'/>",
			bad + " … var='level'>must be from 0 to 100</paramError> … var='fade'>must be a multiple of 0.5"},
		{"nothing", alice, "<node nodeId='r1'/>", bad}, // D9
		{"node without id", alice, "<node/><boolean name='on' value='1'/>", bad},
		{"no name", alice, "<node nodeId='r1'/><boolean value='1'/>", bad},
		{"no value", alice, "<node nodeId='r1'/><boolean name='on'/>", bad + " … var='on'"},
		{"unknown type", alice, "<node nodeId='r1'/><float name='on' value='1'/>", bad},
		{"typed and form", alice, "<node nodeId='r1'/><boolean name='on' value='1'/><x xmlns='jabber:x:data' type='submit'/>", bad}, // D7
		{"form and typed", alice, "<node nodeId='r1'/><x xmlns='jabber:x:data' type='submit'/><boolean name='on' value='1'/>", bad},
		{"two forms", alice, "<x xmlns='jabber:x:data' type='submit'/><x xmlns='jabber:x:data' type='submit'/>", bad}, // D23
		{"form of type form", alice, "<x xmlns='jabber:x:data' type='form'/>", bad},
		{"too many", alice, strings.Repeat("<node nodeId='r1'/>", 201) + "<boolean name='on' value='1'/>", bad},
	} {
		out, written := run(t, c.from, iq(c.body), nil)
		if len(out) != 1 {
			t.Fatalf("%s: %s", c.name, out)
		}
		wantOut(t, out, "<iq type='error' id='1' … "+c.want)
		if written != "" {
			t.Errorf("%s: wrote %s", c.name, written)
		}
	}
}

// R35: an ambiguous id means all of them; a source picks one.
func Test0325R35_AmbiguousNodeId(t *testing.T) {
	two := func(c *Config) {
		a, b := relay("r1"), relay("r1")
		a.Source, b.Source, b.Device = "s1", "s2", "r2"
		c.Tree, _ = node.NewTree([]node.Node{a, b})
	}
	_, written := run(t, alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"), two)
	if written != "r1.on=true r2.on=true" {
		t.Error(written)
	}
	_, written = run(t, alice, iq("<node nodeId='r1' sourceId='s2'/><boolean name='on' value='1'/>"), two)
	if written != "r2.on=true" {
		t.Error(written)
	}
}

// D11: a gateway with a node of its own, or with one node only, needs no name.
func Test0325D11_NoNodeMeansTheDeviceItself(t *testing.T) {
	out, written := run(t, alice, iq("<boolean name='on' value='1'/>"), func(c *Config) {
		a, b := relay("r1"), relay("r2")
		b.Self = true
		c.Tree, _ = node.NewTree([]node.Node{a, b})
	})
	wantOut(t, out, done)
	if written != "r2.on=true" {
		t.Error(written)
	}
	out, _ = run(t, alice, iq("<double name='nope' value='1'/>"), func(c *Config) { c.Tree, _ = node.NewTree([]node.Node{relay("r1")}) })
	wantOut(t, out, "item-not-found … var='nope'")
}

// Narrowed by access: what is left is done and reported, in the dimension that
// was narrowed (R07, D13, D18).
func Test0325R07_Narrowing(t *testing.T) {
	grants := func(scopes ...node.Scope) func(*Config) {
		return func(c *Config) {
			var gs []node.Grant
			for _, s := range scopes {
				gs = append(gs, node.Grant{JID: "alice@example.org", Control: true, Scope: s})
			}
			c.Access, _ = node.NewAllowList(nil, gs)
		}
	}
	id := func(ids ...string) (rs []node.Ref) {
		for _, s := range ids {
			rs = append(rs, node.Ref{ID: s})
		}
		return rs
	}
	three := "<node nodeId='r1'/><node nodeId='r2'/><node nodeId='r3'/><boolean name='on' value='1'/>"
	for _, c := range []struct {
		scopes             []node.Scope
		body, out, written string
	}{
		{[]node.Scope{{Nodes: id("r1", "r3")}}, three, "<setResponse xmlns='urn:xmpp:iot:control'><node nodeId='r1'/><node nodeId='r3'/></setResponse>", "r1.on=true r3.on=true"},
		{[]node.Scope{{Nodes: id("r1")}, {Nodes: id("r2")}}, three, "<node nodeId='r1'/><node nodeId='r2'/></setResponse>", "r1.on=true r2.on=true"},
		{[]node.Scope{{Nodes: id("dimmer")}}, three, "forbidden", ""},
		{[]node.Scope{{Parameters: []string{"level"}}}, "<node nodeId='dimmer'/><int name='level' value='1'/><double name='fade' value='1'/>",
			"<setResponse xmlns='urn:xmpp:iot:control'><parameter name='level'/></setResponse>", "dimmer.level=1"},
		{[]node.Scope{{Parameters: []string{"level"}}}, "<node nodeId='dimmer'/><double name='fade' value='1'/>", "forbidden", ""},
		// What is left must be right; what was taken away need not be.
		{[]node.Scope{{Parameters: []string{"level"}}}, "<node nodeId='dimmer'/><int name='level' value='1'/><double name='fade' value='99'/>", "<parameter name='level'/>", "dimmer.level=1"},
		// Grants that make no rectangle: only what holds on every node.
		{[]node.Scope{{Nodes: id("dimmer"), Parameters: []string{"on"}}, {Nodes: id("dimmer"), Parameters: []string{"level"}}, {Nodes: id("r1")}},
			"<node nodeId='dimmer'/><node nodeId='r1'/><boolean name='on' value='1'/>", done, "dimmer.on=true r1.on=true"},
		{[]node.Scope{{Nodes: id("r1"), Parameters: []string{"a"}}, {Nodes: id("r2"), Parameters: []string{"b"}}},
			"<node nodeId='r1'/><node nodeId='r2'/><boolean name='a' value='1'/><boolean name='b' value='1'/>", "forbidden", ""},
	} {
		out, written := run(t, alice, iq(c.body), grants(c.scopes...))
		if len(out) != 1 || !strings.Contains(out[0], c.out) || written != c.written {
			t.Errorf("%v %s: %s wrote %q", c.scopes, c.body, out, written)
		}
	}
}

// D12: a late failure names the parameter, stops there, and is temporary.
func Test0325D12_LateFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.panels["dimmer"].fail["level"] = drivers.ErrGone
		r.recv(alice, iq("<node nodeId='dimmer'/><double name='fade' value='1'/><int name='level' value='5'/><boolean name='on' value='1'/>"))
		synctest.Wait()
		wantOut(t, r.out(), "<error type='wait'><internal-server-error … <paramError xmlns='urn:xmpp:iot:control' var='level'>of Dimmer: device is not there")
		if got := r.written(); got != "dimmer.fade=1" {
			t.Error(got)
		}
		if rd, _ := r.live.Get(node.Ref{ID: "dimmer", Source: "light"}, "level"); rd.Fresh(time.Now()) {
			t.Errorf("the state of the failed output passes as known: %+v", rd)
		}
		if got := r.books.take(); got != "begin iq "+alice+"; end iq internal-server-error: level of Dimmer: device is not there" {
			t.Error(got)
		}
	})
}

// An output that hangs ends in an error within its time, and does not hold up
// others.
func Test0325D12_HangingOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.panels["r1"].delay = time.Hour
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		r.recv(alice, iq("<node nodeId='r2'/><boolean name='on' value='1'/>"))
		synctest.Wait()
		wantOut(t, r.out(), done)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantOut(t, r.out(), "internal-server-error")
	})
}

// Commands for one output act in the order they came, whoever sent them.
func TestCommandsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.panels["r1"].delay = 100 * time.Millisecond
		var want []string
		for i := range 20 {
			from := []string{alice, owner1}[i%2]
			r.recv(from, iq(fmt.Sprintf("<node nodeId='r1'/><boolean name='on' value='%d'/>", i/2%2)))
			want = append(want, fmt.Sprint("r1.on=", i/2%2 == 1))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.written(); got != strings.Join(want, " ") {
			t.Error(got)
		}
	})
}

// Old commands never fire (0325 D17): delayed messages, iqs the server
// kept over a resumption, anything delayed while the clock is not set, room
// history, bounces (D36).
func Test0203R07_OldCommandsNeverFire(t *testing.T) {
	const body = "<set xmlns='urn:xmpp:iot:control'><node nodeId='r1'/><boolean name='on' value='1'/></set>"
	delay := func(stamp string) string { return "<delay xmlns='urn:xmpp:delay' stamp='" + stamp + "'/>" }
	for _, c := range []struct {
		name, stanza string
		change       func(*xmpp.Stanza)
		insane, acts bool
	}{
		{"no delay", "<message>" + body + "</message>", nil, false, true},
		{"no delay, clock not set", "<message>" + body + "</message>", nil, true, true},
		{"delay of 5 s", "<message>" + body + delay("1999-12-31T23:59:55Z") + "</message>", nil, false, true},
		{"delay of 31 s", "<message>" + delay("1999-12-31T23:59:29Z") + body + "</message>", nil, false, false},
		{"the oldest of two counts", "<message>" + body + delay("1999-12-31T23:59:59Z") + delay("1999-12-31T23:00:00Z") + "</message>", nil, false, false},
		{"delay of 5 s, clock not set", "<message>" + body + delay("1999-12-31T23:59:55Z") + "</message>", nil, true, false},
		{"stamp in the far future", "<message>" + body + delay("2000-01-02T00:00:00Z") + "</message>", nil, false, false},
		{"stamp that cannot be read", "<message>" + body + delay("yesterday") + "</message>", nil, false, false},
		{"legacy stamp", "<message>" + body + "<x xmlns='jabber:x:delay' stamp='19991231T23:00:00'/></message>", nil, false, false},
		{"held over a resumption", "<message>" + body + "</message>", func(st *xmpp.Stanza) { st.QueuedSince = time.Now().Add(-time.Minute) }, false, false},
		{"held for a moment", "<message>" + body + "</message>", func(st *xmpp.Stanza) { st.QueuedSince = time.Now().Add(-time.Second) }, false, true},
		{"groupchat", "<message type='groupchat'>" + body + "</message>", nil, false, false},
		{"bounce", "<message type='error'>" + body + "<error type='cancel'/></message>", nil, false, false},
		{"chat", "<message type='chat'>" + body + "</message>", nil, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, func(cfg *Config) { cfg.ClockSane = func() bool { return !c.insane } })
			defer r.stop()
			r.recvWith(alice, c.stanza, c.change)
			synctest.Wait()
			if got := r.written(); (got != "") != c.acts {
				t.Errorf("%s: wrote %q", c.name, got)
			}
			wantOut(t, r.out())
			// The same in an iq is refused, not silently dropped.
			if strings.HasPrefix(c.stanza, "<message>") && !c.acts {
				inner := strings.TrimSuffix(strings.TrimPrefix(c.stanza, "<message>"), "</message>")
				if strings.HasPrefix(inner, "<set") {
					r.recvWith(alice, "<iq type='set' id='1'>"+inner+"</iq>", c.change)
					synctest.Wait()
					wantOut(t, r.out(), "<error type='cancel'><not-allowed ")
				}
			}
		})
	}
}

// A command that waits behind a hanging one for longer than commands live is
// refused, and so is one checked before the outputs were made safe.
func Test0325D17_WaitingCommandsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *Config) {
			d := c.Devices["r1"]
			d.Timeout = time.Minute
			c.Devices["r1"] = d
		})
		defer r.stop()
		r.panels["r1"].delay = 40 * time.Second
		for range 2 {
			r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		wantOut(t, r.out(), "<error type='wait'><conflict ", done)
		if got := r.written(); got != "r1.on=true" {
			t.Error(got)
		}
	})
}

// The state after a write is what reading back gives, and says whether it was
// verified; without reading back it is an estimate.
func TestWrittenStateIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		get := func(id string) live.Reading {
			rd, _ := r.live.Get(node.Ref{ID: id}, "on")
			return rd
		}
		set := func(id string) {
			r.recv(alice, iq("<node nodeId='"+id+"'/><boolean name='on' value='1'/>"))
			synctest.Wait()
			wantOut(t, r.out(), done)
		}
		set("r1")
		if rd := get("r1"); rd.Value != drivers.Bool(true) || rd.Quality != live.AutomaticReadout {
			t.Errorf("%+v", rd)
		}
		if got := r.books.take(); !strings.HasSuffix(got, "end iq verified") {
			t.Error(got)
		}
		r.panels["r2"].blind = true
		set("r2")
		if rd := get("r2"); rd.Value != drivers.Bool(true) || rd.Quality != live.AutomaticEstimate {
			t.Errorf("%+v", rd)
		}
		r.panels["r3"].lie = true
		set("r3")
		if rd := get("r3"); rd.Value != drivers.Bool(false) {
			t.Errorf("the reading back was overruled: %+v", rd)
		}
		if got := r.books.take(); strings.Contains(got, "verified") {
			t.Error(got)
		}
	})
}

// No durable record, no movement.
func TestNoRecordNoMovement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.books.fail = errors.New("disk full")
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		synctest.Wait()
		wantOut(t, r.out(), "<error type='wait'><internal-server-error ")
		if got := r.written(); got != "" {
			t.Error(got)
		}
		// The safe state does not wait for the record.
		if err := r.svc.Safe(context.Background(), "test"); err != nil {
			t.Error(err)
		}
		if got := r.written(); strings.Count(got, "=false") != 3 {
			t.Error(got)
		}
	})
}

func Test0325R36_LockedIsConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.svc.Lock(node.Ref{ID: "r1"}, "somebody works on it")
		r.recv(alice, iq("<node nodeId='r2'/><node nodeId='r1'/><boolean name='on' value='1'/>"))
		synctest.Wait()
		wantOut(t, r.out(), "<error type='wait'><conflict … r1 is locked: somebody works on it")
		r.svc.Unlock(node.Ref{ID: "r1"})
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		synctest.Wait()
		wantOut(t, r.out(), done)
		if got := r.written(); got != "r1.on=true" {
			t.Error(got)
		}
	})
}

// Guards see the whole command and stop it.
func TestGuardRefuses(t *testing.T) {
	out, written := run(t, alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"), func(c *Config) { c.Guards = []Guard{doorOpen{}} })
	wantOut(t, out, "<error type='cancel'><not-allowed … the door is open")
	if written != "" {
		t.Error(written)
	}
}

type doorOpen struct{}

func (doorOpen) Check(_ context.Context, c *Command) error {
	if len(c.Nodes) == 1 && len(c.Assignments) == 1 && c.Assignments[0].Value == drivers.Bool(true) {
		return errors.New("the door is open")
	}
	return nil
}

// Safe reaches every output that has a safe state, whatever fails; a write
// under way does not outlive it, and what was waiting is refused.
func TestSafeWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.panels["r2"].fail["on"] = drivers.ErrGone
		r.panels["r1"].delay = time.Second // longer than Safe waits
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		err := r.svc.Safe(context.Background(), "test")
		if err == nil || !strings.Contains(err.Error(), "r2") || !errors.Is(err, drivers.ErrGone) {
			t.Error(err)
		}
		if d := time.Since(began); d > 1300*time.Millisecond {
			t.Errorf("took %v", d)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantOut(t, r.out(), "conflict … safe state", "conflict … safe state")
		got := r.written()
		if !strings.Contains(got, "r3.on=false") {
			t.Error(got)
		}
		var last string
		for _, w := range strings.Fields(got) {
			if strings.HasPrefix(w, "r1.") {
				last = w
			}
		}
		if last != "r1.on=false" || r.panels["r1"].state["on"] != drivers.Bool(false) {
			t.Errorf("r1 ended as %s: %s", last, got)
		}
	})
}

// Local commands pass access but nothing else.
func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		res, err := r.svc.Do(context.Background(), Command{Nodes: []node.Ref{{ID: "dimmer"}}, Assignments: []Assignment{{"level", drivers.Int(40)}, {"fade", drivers.Int(1)}}})
		if err != nil || res.Written != 2 || !res.Verified {
			t.Errorf("%+v %v", res, err)
		}
		if got := r.written(); got != "dimmer.level=40 dimmer.fade=1" {
			t.Error(got)
		}
		_, err = r.svc.Do(context.Background(), Command{Nodes: []node.Ref{{ID: "dimmer"}}, Assignments: []Assignment{{"level", drivers.Int(400)}}})
		if !errors.Is(err, &xmpp.Error{Condition: xmpp.BadRequest}) {
			t.Error(err)
		}
		if got := r.books.take(); got != "begin local ; end local verified; refused local  bad-request" {
			t.Error(got)
		}
	})
}

// After Run has ended nothing moves any more.
func TestNothingMovesAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.panels["r1"].delay = 700 * time.Millisecond
		for range 3 {
			r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		}
		time.Sleep(500 * time.Millisecond)
		r.stop()
		out := r.out()
		slices.SortFunc(out, func(a, b string) int { return len(a) - len(b) })
		wantOut(t, out, done, "resource-constraint", "resource-constraint")
		r.recv(alice, iq("<node nodeId='r2'/><boolean name='on' value='1'/>"))
		wantOut(t, r.out(), "<error type='wait'><resource-constraint ")
		if got := r.written(); got != "r1.on=true" {
			t.Error(got)
		}
	})
}

func TestApplyRefusesWhatWasCheckedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.panels["r1"].delay = time.Second
		for range 2 {
			r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		}
		synctest.Wait()
		tree, _ := node.NewTree([]node.Node{relay("r2")})
		if err := r.svc.Apply(context.Background(), Setup{Tree: tree, Devices: r.devices, Access: r.svc.cfg.Access}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantOut(t, r.out(), done, "<error type='wait'><conflict ")
		r.recv(alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"))
		wantOut(t, r.out(), "item-not-found")
	})
}
