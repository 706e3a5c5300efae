package control

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/node"
)

// limited lets alice set parameters to some values only.
func limited(t *testing.T, limits map[string]string) func(*Config) {
	var s node.Scope
	for name, text := range limits {
		r, err := node.ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Values = append(s.Values, node.ParameterValues{Name: name, Values: r.Values()})
	}
	return func(c *Config) {
		c.Access, _ = node.NewAllowList(nil, []node.Grant{{JID: "alice@example.org", Control: true, Scope: s}})
	}
}

// A value outside of what somebody may set refuses the whole command, after
// what is wrong for everybody (R11, D26).
func Test0325R36_ValuesAreNarrowed(t *testing.T) {
	dimmer := "<node nodeId='dimmer'/>"
	for _, c := range []struct{ body, out, written string }{
		{dimmer + "<int name='level' value='15'/>", done, "dimmer.level=15"},
		{dimmer + "<int name='level' value='25'/><double name='fade' value='1'/>", done, "dimmer.level=25 dimmer.fade=1"},
		{dimmer + "<int name='level' value='26'/>", "<error type='cancel'><forbidden … <paramError xmlns='urn:xmpp:iot:control' var='level'>may be set by you to 15..25 only", ""},
		{dimmer + "<double name='fade' value='1'/><int name='level' value='14'/>", "forbidden … var='level'", ""},
		{dimmer + "<int name='level' value='101'/>", "bad-request … var='level'", ""}, // nobody may
		{"<node nodeId='dimmer'/><node nodeId='r1'/><boolean name='on' value='1'/>", done, "dimmer.on=true r1.on=true"},
		{dimmer + "<x xmlns='jabber:x:data' type='submit'><field var='level'><value>26</value></field></x>", "forbidden … var='level'", ""},
		{dimmer + "<x xmlns='jabber:x:data' type='submit'><field var='level'><value>20</value></field></x>", done, "dimmer.level=20"},
	} {
		out, written := run(t, alice, iq(c.body), limited(t, map[string]string{"level": "15..25"}))
		wantOut(t, out, c.out)
		if written != c.written {
			t.Errorf("%s wrote %q", c.body, written)
		}
	}
	// What has no number cannot be in a range.
	out, written := run(t, alice, iq("<node nodeId='r1'/><boolean name='on' value='1'/>"), limited(t, map[string]string{"": "0..1"}))
	wantOut(t, out, "forbidden … var='on'")
	if written != "" {
		t.Error(written)
	}
	// A message gets no answer, and does nothing.
	out, written = run(t, alice, "<message id='m'><set xmlns='urn:xmpp:iot:control'>"+dimmer+"<int name='level' value='26'/></set></message>", limited(t, map[string]string{"level": "15..25"}))
	if len(out) != 0 || written != "" {
		t.Errorf("%s wrote %q", out, written)
	}
}

// A form offers what its reader may set (R12, R14), and judges what is posted
// back by it.
func Test0325R14_FormsShowTheNarrowedRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, limited(t, map[string]string{"level": "15..250", "on": "0..1"}))
		defer r.stop()
		r.recv(alice, "<iq type='get' id='1'><getForm xmlns='urn:xmpp:iot:control'><node nodeId='dimmer'/></getForm></iq>")
		time.Sleep(time.Second)
		out := strings.Join(r.out(), "")
		if !strings.Contains(out, "min='15' max='100'") || strings.Contains(out, "var='on'") || !strings.Contains(out, "var='fade'") {
			t.Error(out)
		}
		session := between(out, "<value>", "</value>")
		r.recv(alice, "<iq type='set' id='2'><submit xmlns='urn:xmpp:xdata:dynamic'><x xmlns='jabber:x:data' type='submit'><field var='xdd session' type='hidden'><value>"+
			session+"</value></field><field var='level'><value>14</value></field></x></submit></iq>")
		if out = strings.Join(r.out(), ""); !strings.Contains(out, "must be from 15 to 100") {
			t.Error(out)
		}
	})
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}
