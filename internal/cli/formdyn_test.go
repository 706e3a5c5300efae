package cli

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/drivers"
)

const noSuchForm = `<iq type='error' id='1' from='` + testThing + `'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`

// dialogue fills a form in as somebody who writes the lines of input.
func dialogue(t *testing.T, f *control.Form, input string, answer func(string) string) (shown string, sent []string, err error) {
	t.Helper()
	var out bytes.Buffer
	s := &fakeSession{t: t, answer: answer}
	o := &formOrder{}
	o.opt.timeout = time.Minute
	ed := &editor{e: &Env{Stdout: &out, Stderr: &out}, o: o, c: &conn{}, client: control.NewClient(s), full: jid.MustParse(testThing),
		form: f, edited: map[string]string{}, in: bufio.NewReader(strings.NewReader(input))}
	err = ed.interact(t.Context())
	return out.String(), s.sent, err
}

// A field that asks for it is shown to the thing as soon as it was edited; the
// form then has what the thing made of it, and a value that it finds wrong is
// asked for again.
func TestPostBackInATerminal(t *testing.T) {
	form := func() *control.Form {
		return &control.Form{Title: "Boiler", Fields: []control.Field{
			{Var: "s", Hidden: true, Values: []string{"7"}},
			{Var: "mode", Kind: drivers.KindString, Writable: true, PostBack: true, Value: "off", Known: true, NotSame: true},
		}}
	}
	answer := func(q string) string {
		head := `<iq type='result' id='1' from='` + testThing + `'>`
		session := `<field var='s' type='hidden'><value>7</value></field>`
		switch {
		case strings.Contains(q, "<submit") && strings.Contains(q, "heet"):
			return head + `<x xmlns='jabber:x:data' type='form'>` + session + `<field var='mode' type='text-single'><value>heet</value><postBack xmlns='urn:xmpp:xdata:dynamic'/><error xmlns='urn:xmpp:xdata:dynamic'>heat or cool</error></field></x></iq>`
		case strings.Contains(q, "<submit"):
			return head + `<x xmlns='jabber:x:data' type='form'>` + session + `<field var='mode' type='text-single'><value>heat</value><postBack xmlns='urn:xmpp:xdata:dynamic'/></field>` +
				`<field var='setpoint' type='text-single'><value>21</value></field></x></iq>`
		}
		return head + `<setResponse xmlns='urn:xmpp:iot:control'/></iq>`
	}
	shown, sent, err := dialogue(t, form(), "heet\nheat\n22\ny\n", answer)
	if err != nil || len(sent) != 3 || !strings.Contains(shown, "heat or cool") || !strings.Contains(shown, "the form has changed: mode, setpoint") || !strings.Contains(shown, "done") {
		t.Fatalf("%v\n%s\n%q", err, shown, sent)
	}
	if !strings.Contains(sent[2], "<set ") || !strings.Contains(sent[2], "<field var='mode'><value>heat</value></field><field var='setpoint'><value>22</value></field>") {
		t.Error(sent[2])
	}
	_, _, err = dialogue(t, form(), "heat\n", func(string) string { return noSuchForm })
	var f *failure
	if !errors.As(err, &f) || !strings.Contains(f.msg, "forgotten this form") {
		t.Errorf("%v", err)
	}
}

// The rest of an action is asked for, and sent only if the person says so.
func TestActionsInATerminal(t *testing.T) {
	for reply, want := range map[string]string{
		"y": "<field var='level'><value>30</value></field><field var='fade'><value>2.5</value></field></x>",
		"":  "<field var='level'><value>30</value></field></x>",
	} {
		f := &control.Form{Fields: []control.Field{
			{Var: "level", Kind: drivers.KindInt, Writable: true, Group: "go", NotSame: true},
			{Var: "fade", Kind: drivers.KindNumber, Writable: true, Group: "go", NotSame: true, Value: "2.5", Known: true},
		}}
		shown, sent, err := dialogue(t, f, "30\n\n"+reply+"\ny\n", func(string) string {
			return `<iq type='result' id='1' from='` + testThing + `'><setResponse xmlns='urn:xmpp:iot:control'/></iq>`
		})
		if err != nil || len(sent) != 1 || !strings.Contains(sent[0], want) || !strings.Contains(shown, "fade belongs to what you changed. Set it to 2.5 with it? [y/N]") {
			t.Errorf("%q: %v\n%s\n%q", reply, err, shown, sent)
		}
	}
}
