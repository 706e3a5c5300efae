package control

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

func getForm(body string) string {
	return "<iq type='get' id='1'><getForm xmlns='urn:xmpp:iot:control' xml:lang='en'>" + body + "</getForm></iq>"
}

func submit(body string) string {
	return iq("<node nodeId='dimmer'/><x xmlns='jabber:x:data' type='submit'>" + body + "</x>")
}

func field(name, value string) string {
	return "<field var='" + name + "'><value>" + value + "</value></field>"
}

// The form has every parameter with its name, type, range, present value,
// notSame and group, in the order in which setting works, and a layout.
func Test0325R12R13R15R16R22R26R29_TheForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		dim := node.Ref{ID: "dimmer", Source: "light"}
		r.live.Put(dim, "level", live.Reading{Value: drivers.Int(70), Time: time.Now()})
		r.live.Put(dim, "fade", live.Reading{Value: drivers.Decimal(number("2.50")), Time: time.Now()})
		r.live.Put(dim, "on", live.Reading{Value: drivers.Bool(true), Time: time.Now(), Quality: live.Missing}) // R29
		r.recv(alice, getForm("<node nodeId='dimmer'/>"))
		out := r.out()
		wantOut(t, out, "<iq type='result' id='1' to='alice@example.org/desk'><x xmlns='jabber:x:data' type='form'><title>Dimmer</title>"+
			"<field var='xdd session' type='hidden'><value> … </value></field><field var='fade' type='text-single' label='fade'><desc>Seconds to get there</desc><value>2.50</value>"+
			"<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:double'><range min='0' max='10'/></validate>"+
			"<notSame xmlns='urn:xmpp:xdata:dynamic'/><parameterGroup xmlns='urn:xmpp:iot:control' name='go'/></field>"+
			"<field var='level' type='text-single' label='level'><value>70</value>"+
			"<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:int'><range min='0' max='100'/></validate>"+
			"<notSame xmlns='urn:xmpp:xdata:dynamic'/><parameterGroup xmlns='urn:xmpp:iot:control' name='go'/></field>"+
			"<field var='on' type='boolean' label='on'><validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:boolean'><basic/></validate>"+
			"<notSame xmlns='urn:xmpp:xdata:dynamic'/></field>"+
			"<page xmlns='http://jabber.org/protocol/xdata-layout' label='Dimmer'><fieldref var='fade'/><fieldref var='level'/></page>"+
			"<page xmlns='http://jabber.org/protocol/xdata-layout' label='Switch'><fieldref var='on'/></page></x></iq>")
	})
}

// Data type and method for each kind (R14, R44, §8), never more than one
// method, never required (R45, R52), every visible field referenced once (R58).
func Test0325R14R45R52R58_EveryKind(t *testing.T) {
	out, _ := run(t, alice, getForm("<node nodeId='all'/>"), nil)
	wantOut(t, out, "xmlns:xdc='urn:xmpp:xdata:color'")
	for name, wantPart := range map[string]string{
		"boolean": "'xs:boolean'><basic/>", "int": "'xs:int'><basic/>", "long": "'xs:long'><basic/>", "double": "'xs:double'><basic/>",
		"string": "'xs:string'><regex>[a-z ]*</regex>", "enum": "'xs:string'><basic/>", "date": "'xs:date'><basic/>", "dateTime": "'xs:dateTime'><basic/>",
		"time": "'xs:time'><basic/>", "duration": "'xs:duration'><basic/>",
		"color": "'xdc:Color'><regex>[0-9a-fA-F]{6}</regex>", "alpha": "'xdc:ColorAlpha'><regex>[0-9a-fA-F]{6}([0-9a-fA-F]{2})?</regex>",
	} {
		f := regexp.MustCompile("<field var='" + name + "'.*?</field>").FindString(out[0])
		if !strings.Contains(f, "datatype="+wantPart+"</validate><notSame ") || strings.Contains(f, "required") {
			t.Errorf("%s: %s", name, f)
		}
		if strings.Count(out[0], "<fieldref var='"+name+"'/>") != 1 {
			t.Errorf("%s is not referenced once", name)
		}
	}
	if !strings.Contains(out[0], "type='list-single' label='enum'><option label='Automatic'><value>auto</value></option><option><value>off</value></option><validate") {
		t.Error(out[0])
	}
}

// R20, D25: what several nodes share; ranges and options intersect.
func Test0325R20R21_MergedForms(t *testing.T) {
	mk := func(id string, ps ...node.Parameter) node.Node {
		return node.Node{Ref: node.Ref{ID: id}, Parameters: ps}
	}
	level := func(lo, hi string) node.Parameter {
		return node.Parameter{Name: "level", Kind: drivers.KindInt, Min: number(lo), Max: number(hi), HasMin: true, HasMax: true, Group: "g"}
	}
	mode := func(opts ...string) node.Parameter {
		p := node.Parameter{Name: "mode", Kind: drivers.KindEnum}
		for _, o := range opts {
			p.Options = append(p.Options, node.Option{Value: o})
		}
		return p
	}
	with := func(nodes ...node.Node) func(*Config) {
		return func(c *Config) { c.Tree, _ = node.NewTree(nodes) }
	}
	both := getForm("<node nodeId='a'/><node nodeId='b'/>")
	out, _ := run(t, alice, both, with(mk("a", level("0", "50"), mode("x", "y", "z")), mk("b", mode("z", "y"), level("10", "100"))))
	wantOut(t, out, "<title>a, b</title> … <range min='10' max='50'/> … name='g' … <option><value>y</value></option><option><value>z</value></option><validate")
	out, _ = run(t, alice, both, with(mk("a", level("0", "5"), mode("x")), mk("b", mode("y"), level("10", "100"))))
	if strings.Contains(out[0], "<field ") || !strings.Contains(out[0], "type='form'") {
		t.Error(out[0])
	}
	out, _ = run(t, alice, both, with(mk("a", node.Parameter{Name: "v", Kind: drivers.KindInt}), mk("b", node.Parameter{Name: "v", Kind: drivers.KindLong})))
	if strings.Contains(out[0], "<field ") {
		t.Error(out[0])
	}
	out, _ = run(t, alice, both, func(c *Config) { with(mk("a"), mk("b"))(c); c.NoMerge = true })
	wantOut(t, out, "<error type='cancel'><feature-not-implemented ") // R21
}

// D32: only what the requester may set; nothing left is forbidden.
func Test0325R12R60_FormShowsWhatIsGranted(t *testing.T) {
	only := func(params ...string) func(*Config) {
		return func(c *Config) {
			c.Access, _ = node.NewAllowList(nil, []node.Grant{{JID: "alice@example.org", Control: true, Scope: node.Scope{Parameters: params}}})
		}
	}
	out, _ := run(t, alice, getForm("<node nodeId='dimmer'/>"), only("level"))
	if strings.Count(out[0], " label='level'>") != 1 || strings.Count(out[0], "<notSame ") != 1 || !strings.Contains(out[0], "var='level'") {
		t.Error(out[0])
	}
	out, _ = run(t, alice, getForm("<node nodeId='dimmer'/>"), only("nope"))
	wantOut(t, out, "forbidden")
	for _, c := range []struct{ from, body, want string }{
		{mallory, "<node nodeId='dimmer'/>", "forbidden"}, {bob, "<node nodeId='dimmer'/>", "forbidden"},
		{mallory, "<node nodeId='nope'/>", "forbidden"}, {alice, "<node nodeId='nope'/>", "item-not-found"}, {alice, "", "bad-request"},
	} {
		out, _ := run(t, c.from, getForm(c.body), nil)
		wantOut(t, out, "<iq type='error' … "+c.want)
	}
}

// Submitting: only what is in the form acts (R18), in its order (R10),
// nothing at all is fine (R41), unknown fields are ignored and the used ones
// listed (R43, D24), types the client claims mean nothing (R42, R54).
func Test0325R18R41R42R43R54R55_Submit(t *testing.T) {
	const x = "<iq type='result' id='1' to='alice@example.org/desk'><setResponse xmlns='urn:xmpp:iot:control'"
	for _, c := range []struct{ name, body, out, written string }{
		{"two fields", field("level", "30") + field("fade", "1.5"), x + "/>", "dimmer.level=30 dimmer.fade=1.5"},
		{"with session", "<field var='xdd session' type='hidden'><value>S</value></field>" + field("level", "30"), x + "/>", "dimmer.level=30"},
		{"session without type", field("xdd session", "S") + field("level", "30"), x + "/>", "dimmer.level=30"},
		{"nothing edited", "<field var='xdd session' type='hidden'><value>S</value></field>", x + "/>", ""},
		{"unknown one", field("level", "30") + field("colour", "red"), x + "><parameter name='level'/></setResponse>", "dimmer.level=30"},
		{"only unknown", field("colour", "red"), "item-not-found … var='colour'", ""},
		{"a lie about the type", "<field var='level' type='boolean'><value>true</value></field>", "bad-request … var='level'>must be a whole number", ""},
		{"boolean as 1", field("on", "1"), x + "/>", "dimmer.on=true"},
		{"out of range", field("on", "1") + field("level", "101"), "bad-request … var='level'>must be from 0 to 100", ""},
		{"same var twice", field("level", "1") + field("level", "2"), "bad-request … var='level'", ""},                                    // D8
		{"two values", "<field var='level'><value>1</value><value>2</value></field>", "bad-request … var='level'>has several values", ""}, // R55
		{"no value", "<field var='level'/>", "bad-request … var='level'", ""},                                                             // D30
		{"no var", "<field><value>1</value></field>", "bad-request", ""},
		{"fixed text", "<field type='fixed'><value>Hello</value></field>" + field("level", "1"), x + "/>", "dimmer.level=1"},
		{"two hidden values", "<field var='h' type='hidden'><value>1</value><value>2</value></field>" + field("level", "1"), x + "/>", "dimmer.level=1"},
	} {
		out, written := run(t, alice, submit(c.body), nil)
		if len(out) != 1 || written != c.written {
			t.Errorf("%s: wrote %q, %s", c.name, written, out)
		}
		wantOut(t, out, c.out)
	}
	out, written := run(t, alice, iq("<node nodeId='dimmer'/><x xmlns='jabber:x:data' type='cancel'/>"), nil) // D23
	wantOut(t, out, x+"/>")
	if written != "" {
		t.Error(written)
	}
	// An empty string is a string; a missing one too.
	for _, b := range []string{field("string", ""), "<field var='string'/>"} {
		_, written = run(t, alice, iq("<node nodeId='all'/><x xmlns='jabber:x:data' type='submit'>"+b+"</x>"), nil)
		if written != "all.string=" {
			t.Error(written)
		}
	}
	// R11: a field that one of several nodes lacks.
	out, written = run(t, alice, iq("<node nodeId='r1'/><node nodeId='dimmer'/><x xmlns='jabber:x:data' type='submit'>"+field("level", "1")+"</x>"), nil)
	wantOut(t, out, "item-not-found … var='level'")
	if written != "" {
		t.Error(written)
	}
}

// R44: from the form to a typed set, by the same name and type.
func Test0325R44_FromFormToTypedSet(t *testing.T) {
	out, _ := run(t, alice, getForm("<node nodeId='all'/>"), nil)
	samples := map[string]string{"boolean": "true", "int": "1", "long": "1", "double": "1.5", "string": "a", "date": "2024-01-01",
		"dateTime": "2024-01-01T00:00:00Z", "time": "01:00:00", "duration": "PT1S", "Color": "00ff00", "ColorAlpha": "00ff0080"}
	n := 0
	for _, m := range regexp.MustCompile(`<field var='(\w+)'.*?datatype='xd?[sc]:(\w+)'`).FindAllStringSubmatch(out[0], -1) {
		element, value := strings.ToLower(m[2][:1])+m[2][1:], samples[m[2]]
		if element == "colorAlpha" {
			element = "color"
		}
		if m[1] == "enum" {
			value = "auto"
		}
		out, _ := run(t, alice, iq("<node nodeId='all'/><"+element+" name='"+m[1]+"' value='"+value+"'/>"), nil)
		if out[0] != done {
			t.Errorf("%s: %s", m[1], out)
		}
		n++
	}
	if n != 12 {
		t.Errorf("%d fields", n)
	}
}
