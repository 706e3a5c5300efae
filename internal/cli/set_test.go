package cli

import (
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/drivers"
	"postern/internal/node"
)

// The types of parameters come from the form: a read-out would need a right
// that who may only switch does not have, and would ask the owner for it.
func TestSetNeedsNoReading(t *testing.T) {
	f := &fakeSession{t: t, answer: func(q string) string {
		return "<iq type='result' id='x' from='" + testThing + "'><x xmlns='jabber:x:data' type='form'>" +
			"<field var='speed' type='text-single'><validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:int'/><value>3</value></field>" +
			"<field var='label' type='text-single'><value>a</value></field></x></iq>"
	}}
	c := &conn{control: control.NewClient(f)}
	o := order{nodes: []node.Ref{{ID: "fan"}}, params: []param{{name: "speed", text: "1"}, {name: "label", text: "7"}, {name: "other", text: "1.50"}}}
	if err := c.learnKinds(t.Context(), jid.MustParse(testThing), &o); err != nil {
		t.Fatal(err)
	}
	for i, want := range []drivers.Value{drivers.Int(1), drivers.String("7"), drivers.Decimal(drivers.Num(150, -2))} {
		if o.params[i].value != want {
			t.Errorf("%s is %v, want %v", o.params[i].name, o.params[i].value, want)
		}
	}
	if len(f.sent) != 1 || !strings.Contains(f.sent[0], "getForm") {
		t.Errorf("asked %q", f.sent)
	}
	o = order{params: []param{{name: "speed", text: "fast"}}}
	if err := c.learnKinds(t.Context(), jid.MustParse(testThing), &o); err == nil {
		t.Error("fast was taken for a number")
	}
}
