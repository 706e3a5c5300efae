package control

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp/disco"
)

// Presence that announces known capabilities needs no question; without them
// the thing is asked.
func Test0325R02_CapabilitiesBeforeDiscovery(t *testing.T) {
	info := disco.Info{Identities: []disco.Identity{{Category: "device", Type: "thing"}}, Features: []string{"http://jabber.org/protocol/disco#info", NS}}
	ver, err := disco.Verification(info)
	if err != nil {
		t.Fatal(err)
	}
	questions := 0
	features := "<feature var='http://jabber.org/protocol/disco#info'/><feature var='" + NS + "'/>"
	c := NewClient(&line{t: t, reply: func(q string) string {
		questions++
		nodeAttr := ""
		if _, rest, ok := strings.Cut(q, "node='"); ok {
			nodeAttr = " node='" + rest[:strings.IndexByte(rest, '\'')] + "'"
		}
		return "<iq type='result' id='1'><query xmlns='http://jabber.org/protocol/disco#info'" + nodeAttr + "><identity category='device' type='thing'/>" + features + "</query></iq>"
	}})
	caps := disco.Caps{Hash: "sha-1", Node: "https://things.example", Ver: ver}
	for i, who := range []string{"a@example.org/1", "b@example.org/2"} { // two of a kind
		if ok, err := c.Serves(t.Context(), addr(who), caps); !ok || err != nil || questions != 1 {
			t.Errorf("%d: %v %v after %d questions", i, ok, err, questions)
		}
	}
	if ok, err := c.Serves(t.Context(), addr("c@example.org/3"), disco.Caps{}); !ok || err != nil || questions != 2 {
		t.Errorf("%v %v after %d questions", ok, err, questions)
	}
	features = "<feature var='http://jabber.org/protocol/disco#info'/>"
	if ok, err := c.Serves(t.Context(), addr("d@example.org/4"), disco.Caps{}); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

// What belongs to an action is named, and written in one set in the form's
// order; what nobody confirmed stays away (R17).
func Test0325R24_ActionsAreSetTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		c, dim, gw := service(r), []node.Ref{{ID: "dimmer"}}, addr("gw@example.org/x")
		f, err := c.GetForm(t.Context(), gw, dim, "", Tokens{})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []struct {
			edited map[string]string
			want   []string
		}{
			{map[string]string{}, nil}, {map[string]string{"on": "true"}, nil}, {map[string]string{"level": "30"}, []string{"fade"}},
			{map[string]string{"fade": "1", "on": "true"}, []string{"level"}}, {map[string]string{"level": "30", "fade": "1"}, nil},
		} {
			if got := f.Together(k.edited); !slices.Equal(got, k.want) {
				t.Errorf("%v: %q, want %q", k.edited, got, k.want)
			}
		}
		edited := map[string]string{"level": "30"}
		for _, name := range f.Together(edited) {
			edited[name] = "2.5" // the person said so
		}
		if _, err := c.Submit(t.Context(), gw, dim, f, edited, "", Tokens{}); err != nil {
			t.Fatal(err)
		}
		if got := r.written(); got != "dimmer.fade=2.5 dimmer.level=30" {
			t.Error(got)
		}
	})
}

func Test0325R28_MomentaryBeforeStatus(t *testing.T) {
	status := Seen{Name: "level", Value: drivers.Int(1), Status: true}
	momentary := Seen{Name: "level", Value: drivers.Int(2), Momentary: true}
	missing := momentary
	missing.Missing = true
	peak := Seen{Name: "level", Value: drivers.Int(9)}
	text := Seen{Name: "level", Value: drivers.Enum("high"), Momentary: true}
	for _, c := range []struct {
		name   string
		fields []Seen
		want   string
	}{
		{"both", []Seen{status, momentary}, "2"}, {"the other order", []Seen{momentary, status}, "2"}, {"status alone", []Seen{peak, status}, "1"},
		{"the momentary one is missing", []Seen{missing, status}, "1"}, {"nothing usable", []Seen{missing, peak}, ""}, // R29
		{"of another type", []Seen{text, status}, "1"}, {"none of the name", []Seen{{Name: "fade", Value: drivers.Int(3), Momentary: true}}, ""},
	} {
		v, ok := Current(c.fields, "level", drivers.KindInt, time.UTC)
		if v.String() != c.want || ok != (c.want != "") {
			t.Errorf("%s: %v %v, want %q", c.name, v, ok, c.want)
		}
	}
}

// The form tells the present value of every parameter of an action; a set that
// leaves one out is carried out with it, and does not write it (D34).
func Test0325R25_WhatIsLeftOutKeepsItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		set := func(body, written string) {
			t.Helper()
			r.recv(alice, iq("<node nodeId='dimmer'/>"+body))
			synctest.Wait()
			if got := r.out(); len(got) != 1 || got[0] != done {
				t.Error(got)
			}
			if got := r.written(); got != written {
				t.Errorf("wrote %q, want %q", got, written)
			}
		}
		set("<double name='fade' value='2.5'/><int name='level' value='10'/>", "dimmer.fade=2.5 dimmer.level=10")
		set("<int name='level' value='80'/>", "dimmer.level=80")
		r.recv(alice, getForm("<node nodeId='dimmer'/>"))
		wantOut(t, r.out(), "var='fade' … <value>2.5</value> … name='go' … var='level' … <value>80</value> … name='go'")
		set("<x xmlns='jabber:x:data' type='submit'>"+field("fade", "1")+"</x>", "dimmer.fade=1")
		if v := r.panels["dimmer"].state["level"]; v != drivers.Int(80) {
			t.Errorf("the level became %v", v)
		}
	})
}

// A form posted back holds its session, what was edited, and what is known of
// the rest; the answer may add and take fields, and is merged.
func TestPostBackOfAClient(t *testing.T) {
	l := &line{t: t, reply: func(string) string {
		return `<iq type='result' id='1'><x xmlns='jabber:x:data' type='form'><field var='s' type='hidden'><value>7</value></field>` +
			`<field var='mode' type='list-single'><value>heat</value><option><value>heat</value></option><option><value>cool</value></option><postBack xmlns='urn:xmpp:xdata:dynamic'/></field>` +
			`<field var='setpoint' type='text-single'><value>21</value><error xmlns='urn:xmpp:xdata:dynamic'>too cold</error></field></x></iq>`
	}}
	f := &Form{Fields: []Field{
		{Var: "s", Hidden: true, Values: []string{"7"}}, {Var: "mode", Writable: true, PostBack: true, Value: "off", Known: true, NotSame: true},
		{Var: "speed", Writable: true, Value: "3", Known: true, NotSame: true}, {Var: "name", Writable: true, Value: "n", Known: true},
	}}
	edited := map[string]string{"mode": "heat"}
	answer, err := NewClient(l).PostBack(t.Context(), addr("gw@example.org/x"), f, edited, "de")
	if err != nil {
		t.Fatal(err)
	}
	if want := "<iq type='set' id='1' to='gw@example.org/x' xml:lang='de'><submit xmlns='urn:xmpp:xdata:dynamic'><x xmlns='jabber:x:data' type='submit'>" +
		"<field var='s' type='hidden'><value>7</value></field><field var='mode'><value>heat</value></field><field var='name'><value>n</value></field></x></submit></iq>"; l.asked != want {
		t.Errorf("asked %s", l.asked)
	}
	edited = f.Merge(answer, edited)
	if len(f.Fields) != 3 || edited["mode"] != "heat" || !f.Fields[1].PostBack || f.Fields[2].Error != "too cold" {
		t.Errorf("%+v %v", f.Fields, edited)
	}
	l.reply = func(string) string {
		return `<iq type='error' id='1'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`
	}
	if _, err := NewClient(l).PostBack(t.Context(), addr("gw@example.org/x"), f, edited, ""); err == nil {
		t.Error("a form that is gone is answered")
	}
}
