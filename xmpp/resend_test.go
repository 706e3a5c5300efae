package xmpp

import (
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
)

func Test0203R01R02R03_DelayIsAddedOnce(t *testing.T) {
	me := jid.MustParse("thing@example.org")
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("", 3600))
	const mine = "<delay xmlns='urn:xmpp:delay' from='thing@example.org' stamp='2026-01-02T02:04:05.678Z'/>"
	for in, want := range map[string]string{
		"<message><body>x</body></message>": "<message><body>x</body>" + mine + "</message>",
		"<message><delay xmlns='urn:xmpp:delay' from='room@example.org' stamp='2020-01-01T00:00:00Z'/></message>":  "<message><delay xmlns='urn:xmpp:delay' from='room@example.org' stamp='2020-01-01T00:00:00Z'/>" + mine + "</message>",
		"<message><delay xmlns='urn:xmpp:delay' from='thing@example.org' stamp='2020-01-01T00:00:00Z'/></message>": "<message><delay xmlns='urn:xmpp:delay' from='thing@example.org' stamp='2020-01-01T00:00:00Z'/></message>",
	} {
		var d, out exi.Doc
		if err := xmltext.ParseElement("<message xmlns='jabber:client'"+in[len("<message"):], &d); err != nil {
			t.Fatal(err)
		}
		st := Stanza{Kind: Message, Payload: resent{d.Root(), delayPayload{from: me, stamp: at}}}
		st.AppendEvents(&out)
		got, err := xmltext.AppendElement(nil, &out, xmltext.Scope{Default: NSClient})
		if err != nil || string(got) != want {
			t.Errorf("%s gives %s, %v", in, got, err)
		}
	}
}

// The time of a reading is the sensor's; that the message came late is said
// beside it.
func Test0203R10_ReadingsKeepTheirTime(t *testing.T) {
	const reading = "<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1'><node nodeId='n'><timestamp value='2026-01-01T00:00:00Z'/></node></fields>"
	var d, out exi.Doc
	if err := xmltext.ParseElement("<message xmlns='jabber:client'>"+reading+"</message>", &d); err != nil {
		t.Fatal(err)
	}
	queued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	st := Stanza{Kind: Message, Payload: resent{d.Root(), delayPayload{from: jid.MustParse("thing@example.org"), stamp: queued}}}
	st.AppendEvents(&out)
	got, err := xmltext.AppendElement(nil, &out, xmltext.Scope{Default: NSClient})
	want := "<message>" + reading + "<delay xmlns='urn:xmpp:delay' from='thing@example.org' stamp='2026-01-02T03:04:05.000Z'/></message>"
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}
