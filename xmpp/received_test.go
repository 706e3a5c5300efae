package xmpp

import (
	"bufio"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
)

// FuzzReceived hands arbitrary elements to a session as if a server had sent
// them: whatever it is, it ends in a handler, an answer or a stream error, and
// the Docs go back.
func FuzzReceived(f *testing.F) {
	for _, s := range []string{
		"<iq type='get' id='1' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>",
		"<iq type='result' id='known' from='a@b/c'/>",
		"<iq type='error' id='known' from='a@b/c'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>x</gone></error></iq>",
		"<message from='a@b'><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>",
		"<presence type='subscribe' from='@'/>",
		"<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='4294967295'/>",
		"<enabled xmlns='urn:xmpp:sm:3' id='x' resume='1' max='-4'/>",
		"<features xmlns='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></features>",
		"<error xmlns='http://etherx.jabber.org/streams'><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>a:1</see-other-host></error>",
		"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>x</text></failure>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, xml string) {
		d := getDoc()
		x := xmltext.NewStreamReader(xmltext.Limits{})
		if err := parseIn(x, xml, d); err != nil {
			return
		}
		// The parsers of negotiation, whatever the element is.
		c := d.Root()
		parseFeatures(c)
		parseEnabled(c)
		parseFailure(c, "PLAIN")
		if _, ok := ParseStreamError(c); ok {
			return // the connection takes these
		}
		s, err := newSession(Config{JID: jid.MustParse("me@b"), Transport: noTransport{},
			Password: func(context.Context) (string, error) { return "", nil }, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		s.workers = []chan job{make(chan job, 4)}
		s.sm.on = true
		s.epoch.Store(s.q.begin(true))
		answer := make(chan job, 1)
		s.expect("known", &pending{to: jid.MustParse("a@b/c"), ch: answer})
		l := &link{s: s, remind: time.NewTimer(time.Hour)}
		if err := l.received(context.Background(), d, true); err != nil {
			return
		}
		select {
		case j := <-s.workers[0]:
			s.handle(context.Background(), j)
			if j.st.Kind == IQ && s.q.n != 1 {
				t.Errorf("%d answers to %s", s.q.n, xml)
			}
			j.st.Age(l.start)
		case j := <-answer:
			_ = useAnswer(j, func(*Stanza) error { return nil })
		default:
		}
	})
}

// parseIn reads the first element of xml as it would stand in a stream.
func parseIn(x *xmltext.StreamReader, xml string, d *exi.Doc) error {
	r := bufio.NewReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + xml))
	if err := x.ReadOpen(r, d); err != nil {
		return err
	}
	return x.ReadElement(r, d)
}

// FuzzOtherNames reads arbitrary octets as the alternative names of a
// certificate, which a server can send before it has proven anything.
func FuzzOtherNames(f *testing.F) {
	f.Add([]byte{0x30, 0x10, 0xa0, 0x0e, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x05, 0xa0, 0x02, 0x0c, 0x00})
	f.Fuzz(func(t *testing.T, san []byte) {
		srv, addrs := otherNames(&x509.Certificate{Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: san}}})
		n := 0
		for _, s := range append(srv, addrs...) {
			n += len(s)
		}
		if n > len(san) {
			t.Errorf("%d octets of names in %d", n, len(san))
		}
	})
}

type noTransport struct{ Transport }
