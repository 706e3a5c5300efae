package control

import (
	"reflect"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

const updated = `<message from='g@site.example/x'><updated xmlns='urn:xmpp:xdata:dynamic' sessionVariable='s'>` +
	`<x xmlns='jabber:x:data' type='form'><field var='s' type='hidden'><value>7</value></field>` +
	`<field var='b' type='text-single'><value>new</value><notSame xmlns='urn:xmpp:xdata:dynamic'/></field>` +
	`<field var='c' type='text-single'><value>cc</value></field></x></updated></message>`

func Test0325R47R49_UpdatesAreMerged(t *testing.T) {
	m := new(xmpp.Mux)
	var got []Update
	ServeUpdates(m, func(u Update) { got = append(got, u) })
	if _, err := xmpptest.Call(t, m, updated); err != nil || len(got) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	form := func(session string) *Form {
		return &Form{Fields: []Field{
			{Var: "s", Hidden: true, Values: []string{session}}, {Var: "a", Value: "1", Writable: true},
			{Var: "b", Value: "old", Writable: true}, {Var: "c", Value: "c", Writable: true},
		}}
	}
	from := jid.MustParse("g@site.example/x")
	f := form("7")
	switch u := got[0]; {
	case !u.Applies(f, from):
		t.Error("the update of this form is not taken")
	case u.Applies(form("8"), from), u.Applies(&Form{}, from), u.Applies(f, jid.MustParse("g@site.example/y")):
		t.Error("the update of another form, or of another sender, is taken")
	}
	edited := f.Merge(got[0].Form, map[string]string{"a": "gone", "c": "mine"})
	if want := map[string]string{"c": "mine"}; !reflect.DeepEqual(edited, want) {
		t.Errorf("edited %v, want %v", edited, want)
	}
	if len(f.Fields) != 3 || f.Fields[1].Value != "new" || !f.Fields[1].NotSame || f.Fields[2].Value != "cc" {
		t.Errorf("%+v", f.Fields)
	}
}

func TestSectionsOfAForm(t *testing.T) {
	st := xmpptest.Stanza(t, `<iq type='result' id='1' from='g@site.example/x'><x xmlns='jabber:x:data' type='form'>`+
		`<field var='a'><error xmlns='urn:xmpp:xdata:dynamic'>too large</error></field><field var='b'/>`+
		`<page xmlns='http://jabber.org/protocol/xdata-layout' label='P'><fieldref var='b'/><section label='S'><section label='T'><fieldref var='a'/></section></section></page></x></iq>`)
	f := parseForm(st.Child())
	if a, b := f.Fields[0], f.Fields[1]; a.Page != "P" || a.Section != "S, T" || a.Error != "too large" || b.Page != "P" || b.Section != "" {
		t.Errorf("%+v", f.Fields)
	}
}
