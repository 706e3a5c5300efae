package receipts

import (
	"bufio"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

func parse(t *testing.T, text string) *xmpp.Stanza {
	t.Helper()
	r := bufio.NewReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + text))
	x := xmltext.NewStreamReader(xmltext.Limits{})
	d := new(exi.Doc)
	if err := x.ReadOpen(r, d); err != nil {
		t.Fatal(err)
	}
	d.Reset()
	if err := x.ReadElement(r, d); err != nil {
		t.Fatal(err)
	}
	st := new(xmpp.Stanza)
	if err := st.Parse(d.Root()); err != nil {
		t.Fatal(err)
	}
	return st
}

func write(t *testing.T, st xmpp.Stanza) string {
	t.Helper()
	var d exi.Doc
	st.AppendEvents(&d)
	b, err := xmltext.AppendElement(nil, &d, xmltext.Scope{Default: xmpp.NSClient})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), `"`, `'`)
}

// A receipt names the message and goes to the full address that sent it.
func Test0184R01R02_Receipt(t *testing.T) {
	st := parse(t, "<message from='gw@example.org/postern' id='7' type='chat'><body>x</body><request xmlns='urn:xmpp:receipts'/></message>")
	if !Requested(st) {
		t.Fatal("no receipt is wanted")
	}
	if got := write(t, For(st)); got != "<message type='chat' to='gw@example.org/postern'><received xmlns='urn:xmpp:receipts' id='7'/></message>" {
		t.Error(got)
	}
}

// Receipts are not given for receipts, errors, rooms, or messages without id.
func Test0184R03R04_NoReceipt(t *testing.T) {
	const ask = "<request xmlns='urn:xmpp:receipts'/>"
	for _, text := range []string{
		"<message from='a@example.org/x'>" + ask + "</message>",
		"<message from='a@example.org/x' id='1' type='error'>" + ask + "</message>",
		"<message from='a@example.org/x' id='1' type='groupchat'>" + ask + "</message>",
		"<message from='a@example.org/x' id='1'>" + ask + "<received xmlns='urn:xmpp:receipts' id='0'/></message>",
		"<message from='a@example.org/x' id='1'><request xmlns='urn:example:other'/></message>",
	} {
		if Requested(parse(t, text)) {
			t.Error(text)
		}
	}
}

func Test0184R05_ReceiptsAreTaken(t *testing.T) {
	var m xmpp.Mux
	var got []string
	Register(&m, func(from jid.JID, id string) { got = append(got, from.String()+" "+id) })
	for _, text := range []string{
		"<message from='a@example.org/x'><received xmlns='urn:xmpp:receipts' id='b-7'/></message>",
		"<message from='a@example.org/x'><received xmlns='urn:xmpp:receipts'/></message>",
		"<message from='a@example.org/x' type='error'><received xmlns='urn:xmpp:receipts' id='8'/></message>",
	} {
		if _, err := m.HandleStanza(t.Context(), parse(t, text)); err != nil {
			t.Error(err)
		}
	}
	if len(got) != 1 || got[0] != "a@example.org/x b-7" {
		t.Error(got)
	}
}
