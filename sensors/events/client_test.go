package events

import (
	"context"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

// asked records what a client asks for.
type asked struct {
	t    *testing.T
	text []string
}

func (a *asked) Query(_ context.Context, st xmpp.Stanza, _ func(*xmpp.Stanza) error) error {
	d := new(exi.Doc)
	st.AppendEvents(d)
	a.text = append(a.text, strings.ReplaceAll(xmpptest.Text(a.t, d), `"`, "'"))
	return nil
}

func TestEventsClient(t *testing.T) {
	a, to := &asked{t: t}, jid.MustParse("gw@example.org/a")
	if err := Subscribe(t.Context(), a, to, &Request{Seq: 7, Types: node.Momentary, Now: true}); err != nil {
		t.Fatal(err)
	}
	if err := Unsubscribe(t.Context(), a, to, 7); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"<subscribe xmlns='urn:xmpp:iot:events' seqnr='7' momentary='true' req='true'/>", "<unsubscribe xmlns='urn:xmpp:iot:events' seqnr='7'/>"} {
		if !strings.Contains(a.text[i], want) {
			t.Errorf("%s lacks %s", a.text[i], want)
		}
	}
}

// Things of others do not number their messages.
func TestTakeWithoutANumber(t *testing.T) {
	d, ok := Take(parse(t, "<message from='thing@example.org/x'><fields xmlns='urn:xmpp:iot:sensordata' seqnr='7' done='true'><node nodeId='a'>"+
		"<timestamp value='2026-03-02T00:00:00Z'><int name='x' momentary='true' value='5'/></timestamp></node></fields></message>"))
	if !ok || d.Sub != 7 || !d.Last || len(d.Items) != 1 || d.Items[0].Value.String() != "5" {
		t.Errorf("%+v, %v", d, ok)
	}
	d, ok = Take(parse(t, "<message from='thing@example.org/x'><failure xmlns='urn:xmpp:iot:sensordata' seqnr='7' done='true'><error nodeId='a' timestamp='2026-03-02T00:00:00Z'>no more</error></failure></message>"))
	if !ok || !d.Ended() || d.Faults[0].Text != "no more" {
		t.Errorf("%+v, %v", d, ok)
	}
	for _, text := range []string{"<message from='thing@example.org/x'><body>hello</body></message>",
		"<message from='thing@example.org/x' type='error'><fields xmlns='urn:xmpp:iot:sensordata' seqnr='7'/></message>"} {
		if d, ok := Take(parse(t, text)); ok {
			t.Errorf("%s: %+v", text, d)
		}
	}
}
