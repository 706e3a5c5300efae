package schemas

import (
	"testing"

	"postern/exi"
	"postern/exi/xmltext"
)

// What the files do not foresee is coded all the same on a stream that is not
// strict, for a few octets more.
func TestDeviations(t *testing.T) {
	const field = `<message xmlns='jabber:client' to='a@example.org'><fields xmlns='urn:xmpp:iot:sensordata' seqnr='-7'><node nodeId='Ü 1'><timestamp value='2013-03-24T11:50:44'>`
	const end = `</timestamp></node></fields></message>`
	for name, text := range map[string]string{
		"message without to":        `<message xmlns='jabber:client' id='x' type='chat'><body>hi</body></message>`,
		"message with an odd type":  `<message xmlns='jabber:client' to='a@example.org' type='memo'/>`,
		"address in capitals":       `<message xmlns='jabber:client' to='Ärger@EXAMPLE.org/Ŵ 7' from='123@4.example.org'/>`,
		"id with odd characters":    `<iq xmlns='jabber:client' type='get' id='{x_y:z}/日本'><ping xmlns='urn:xmpp:ping'/></iq>`,
		"iq without id":             `<iq xmlns='jabber:client' type='result'/>`,
		"iq with two payloads":      `<iq xmlns='jabber:client' type='set' id='1'><ping xmlns='urn:xmpp:ping'/><query xmlns='jabber:iq:version'/></iq>`,
		"unknown payload":           `<iq xmlns='jabber:client' type='set' id='1'><a xmlns='urn:example:u' b='1'><c>2</c>text</a></iq>`,
		"bodies in two languages":   `<message xmlns='jabber:client' to='a@example.org'><body>hi</body><body xml:lang='de'>hallo</body><x xmlns='urn:example:u'/></message>`,
		"payload behind a body":     `<message xmlns='jabber:client' to='a@example.org'><body>hi</body><fields xmlns='urn:xmpp:iot:sensordata' seqnr='1' done='true'/></message>`,
		"presence in another order": `<presence xmlns='jabber:client'><priority>200</priority><status>x</status><show>asleep</show></presence>`,
		"error behind a payload":    `<message xmlns='jabber:client' to='a@example.org' type='error'><body>hi</body><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:b@example.org</gone></error></message>`,
		"flags not declared": field + `<numeric automaticEstimate='true' endOfSeries='1' error='true' inProgress='true' invoiced='true' invoiceConfirmed='true' ` +
			`manualEstimate='true' manualReadout='false' powerFailure='true' signed='true' timeOffset='true' momentary='true' module='m' name='n' stringIds='1,2' value='1.50' unit=''/>` + end,
		"number that is none":      field + `<numeric name='n' value='much' unit='°C'/><int name='i' value='99999999999'/><boolean name='b' value='yes'/>` + end,
		"field without its unit":   field + `<numeric name='n' value='21.50'/>` + end,
		"text where none belongs":  `<iq xmlns='jabber:client' type='get' id='1'>text</iq>`,
		"extra attribute":          `<iq xmlns='jabber:client' type='get' id='1' x:y='z' xmlns:x='urn:example:u'><ping xmlns='urn:xmpp:ping' a='b'/></iq>`,
		"element of another stage": `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>`,
	} {
		d := &exi.Doc{}
		if err := xmltext.ParseElement(text, d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o := xmppOptions(t)
		n := octets(t, o, false, []*exi.Doc{d})
		if n > len(text) {
			t.Errorf("%s: %d octets for %d of XML", name, n, len(text))
		}
		t.Logf("%s: %d octets for %d of XML", name, n, len(text))
	}
}
