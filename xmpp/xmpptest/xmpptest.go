// Package xmpptest is the other end of a session under test: a server that
// does what a script says, over a connection in memory, with real TLS and SASL. Tests may run
// it inside testing/synctest.
//
//	srv := xmpptest.NewServer(t, xmpptest.Options{})
//	cfg := srv.Config()             // change it at will
//	s := xmpptest.Start(t, cfg)     // runs until the test ends
//	peer := srv.Login()             // the session is online now
//	peer.Send(`<iq type='get' id='1' from='a@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>`)
//	peer.Expect(`<iq type='result' id='1' to='a@example.org/x'/>`)
//
// For handlers alone, Call runs one without any connection.
package xmpptest

import (
	"bufio"
	"context"
	"slices"
	"strings"
	"testing"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

const (
	streamOpen  = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	streamClose = "</stream:stream>"
)

// Doc reads one element as it stands in a stream: jabber:client is the default
// namespace and the prefix stream is declared.
func Doc(t testing.TB, xml string) *exi.Doc {
	t.Helper()
	x := xmltext.NewStreamReader(xmltext.Limits{Octets: 1 << 20})
	r := bufio.NewReader(strings.NewReader(streamOpen + xml + streamClose))
	var root exi.Doc
	if err := x.ReadOpen(r, &root); err != nil {
		t.Fatal(err)
	}
	d := new(exi.Doc)
	if err := x.ReadElement(r, d); err != nil {
		t.Fatalf("xmpptest: %s: %v", xml, err)
	}
	return d
}

// Text is the XML of an element as it would stand in a stream.
func Text(t testing.TB, d *exi.Doc) string {
	t.Helper()
	b, err := xmltext.AppendElement(nil, d, xmltext.Scope{
		Default: xmpp.NSClient, Prefix: "stream", PrefixNS: xmpp.NSStream,
	})
	if err != nil {
		t.Fatalf("xmpptest: %v", err)
	}
	return string(b)
}

// TextAt is Text of the element at c.
func TextAt(t testing.TB, c exi.Cursor) string {
	t.Helper()
	var d exi.Doc
	d.AppendElement(c)
	return Text(t, &d)
}

// Same compares two elements: the order of attributes does not count.
func Same(t testing.TB, got, want *exi.Doc) bool {
	t.Helper()
	return Text(t, sorted(got.Root())) == Text(t, sorted(want.Root()))
}

// sorted copies an element with its attributes in the order of their names.
func sorted(c exi.Cursor) *exi.Doc {
	d := new(exi.Doc)
	var attrs []exi.Event
	flush := func() {
		slices.SortFunc(attrs, func(a, b exi.Event) int {
			x, y := a.Name.Value(), b.Name.Value()
			return strings.Compare(x.Space+" "+x.Local, y.Space+" "+y.Local)
		})
		for _, a := range attrs {
			d.Attr(a.Name, exi.Str(a.Value.String()))
		}
		attrs = attrs[:0]
	}
	for e := range c.Events() {
		switch e.Kind {
		case exi.AT:
			attrs = append(attrs, *e)
		case exi.SE:
			flush()
			d.Start(e.Name)
		case exi.EE:
			flush()
			d.End()
		case exi.CH:
			flush()
			d.Text(exi.Str(e.Value.String()))
		}
	}
	return d
}

// Stanza reads a received stanza from XML. Its Elem stays valid.
func Stanza(t testing.TB, xml string) *xmpp.Stanza {
	t.Helper()
	st := new(xmpp.Stanza)
	if err := st.Parse(Doc(t, xml).Root()); err != nil {
		t.Fatalf("xmpptest: %s: %v", xml, err)
	}
	return st
}

// Call hands a stanza to a handler and returns the XML of the stanzas that a
// session would answer with: the result or error of an iq, then those of an
// xmpp.Answer. A message or presence gives none, and its error is returned.
func Call(t testing.TB, h xmpp.Handler, xml string) ([]string, error) {
	t.Helper()
	st := Stanza(t, xml)
	p, err := h.HandleStanza(context.Background(), st)
	if st.Kind != xmpp.IQ {
		return nil, err
	}
	var then []xmpp.Stanza
	if a, ok := p.(xmpp.Answer); ok {
		then = a.Then
	}
	reply := st.Reply(xmpp.Result, p)
	if err != nil {
		reply = st.ErrorReply(err)
	}
	var out []string
	for _, st := range append([]xmpp.Stanza{reply}, then...) {
		var d exi.Doc
		st.AppendEvents(&d)
		out = append(out, Text(t, &d))
	}
	return out, err
}

// Start makes a session and runs it until the test ends, which checks that Run
// returns without an error.
func Start(t testing.TB, cfg xmpp.Config) *xmpp.Session {
	t.Helper()
	s, err := xmpp.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("xmpptest: Run: %v", err)
		}
	})
	return s
}
