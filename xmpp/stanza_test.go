package xmpp_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

func TestIMR02R03_AddressesArePrepared(t *testing.T) {
	st := xmpptest.Stanza(t, `<message type='chat' id='1' to='Ä@Example.ORG/Case' from='a@b/d/e@f' xml:lang='de'><body>x</body></message>`)
	if st.Kind != xmpp.Message || st.Type != "chat" || st.ID != "1" || st.Lang != "de" {
		t.Errorf("%+v", st)
	}
	if got := st.To.String(); got != "ä@example.org/Case" {
		t.Errorf("to %s", got)
	}
	if st.From.Localpart() != "a" || st.From.Domainpart() != "b" || st.From.Resourcepart() != "d/e@f" {
		t.Errorf("from %s", st.From)
	}
}

func TestIMR01R03R04_Addresses(t *testing.T) {
	long := fmt.Sprintf("%01024d", 0)
	for _, tt := range []struct {
		addr string
		ok   bool
	}{
		{"a@b/c@d/e", true}, {"example.org", true}, {"a@example.org/ ", true}, {"@example.org", false}, {"a@", false}, {"a b@example.org", false},
		{"a@example.org/", false}, {long + "@example.org", false}, {"a@example.org/" + long, false}, {long[1:] + "@example.org", true},
		{"a@" + long + ".org", false}, {"", false},
		{"a@b.", true}, {"a@..", false}, {"a@b..c", false}, {"a@.b", false},
	} {
		if _, err := xmpp.ParseJID(tt.addr); (err == nil) != tt.ok {
			t.Errorf("%.40q, read by itself: %v", tt.addr, err)
		}
		d := new(exi.Doc)
		d.Start(exi.N(xmpp.NSClient, "message"))
		d.Attr(exi.N("", "from"), exi.Str(tt.addr))
		d.End()
		var st xmpp.Stanza
		err := st.Parse(d.Root())
		if (err == nil) != tt.ok {
			t.Errorf("%.40q: %v", tt.addr, err)
		}
		if err != nil && !errors.Is(err, &xmpp.Error{Condition: xmpp.JIDMalformed}) {
			t.Errorf("%.40q: %v", tt.addr, err)
		}
	}
}

func TestDomainAlone(t *testing.T) {
	for text, ok := range map[string]bool{
		"site.example": true, "Site.Example.": true, "[::1]": true,
		"site..example": false, ".site.example": false, "a@site.example": false, "site.example/r": false, "": false,
	} {
		if j, err := xmpp.ParseDomain(text); (err == nil) != ok {
			t.Errorf("%q: %v, %v", text, j, err)
		}
	}
}

func TestCoreR117_ErrorReply(t *testing.T) {
	st := xmpptest.Stanza(t, `<iq type='get' id='1' to='me@example.org/r' from='you@example.org/x'><a xmlns='urn:x'/></iq>`)
	reply := st.ErrorReply(xmpp.NewError(xmpp.ItemNotFound, "no such node"))
	var d exi.Doc
	reply.AppendEvents(&d)
	want := xmpptest.Doc(t, `<iq type='error' id='1' to='you@example.org/x'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>`+
		`<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no such node</text></error></iq>`)
	if !xmpptest.Same(t, &d, want) {
		t.Errorf("got %s", xmpptest.Text(t, &d))
	}
	got := xmpptest.Stanza(t, `<iq type='error' id='1' from='a@b'><error><odd xmlns='urn:o'/></error></iq>`)
	if e := got.Err(); e.Condition != xmpp.UndefinedCondition || e.Type != xmpp.Cancel {
		t.Errorf("%+v", e)
	}
	if e := xmpptest.Stanza(t, `<iq type='error' id='1' from='a@b'/>`).Err(); e == nil || e.Condition != xmpp.UndefinedCondition {
		t.Errorf("%+v", e)
	}
}

func TestMuxNamespaces(t *testing.T) {
	m := new(xmpp.Mux)
	h := xmpp.HandlerFunc(nil)
	m.Handle(xmpp.IQ, xmpp.Get, exi.N("urn:b", "x"), h)
	m.Handle(xmpp.IQ, xmpp.Set, exi.N("urn:b", "y"), h)
	m.Handle(xmpp.IQ, "*", exi.N("urn:a", "x"), h)
	m.Handle(xmpp.Message, "*", exi.N("urn:m", "x"), h)
	m.Handle(xmpp.IQ, xmpp.TypeError, exi.N("urn:e", "x"), h)
	m.Handle(xmpp.IQ, xmpp.Get, exi.Name{}, h)
	if got := fmt.Sprint(m.Namespaces()); got != "[urn:a urn:b]" {
		t.Errorf("got %s", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a duplicate does not panic")
		}
	}()
	m.Handle(xmpp.IQ, xmpp.Get, exi.N("urn:b", "x"), h)
}

func Test0203R04R05R06R09_Delay(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	delay := func(attrs string) string { return "<delay xmlns='urn:xmpp:delay' " + attrs + "/>" }
	for _, tt := range []struct{ name, content, want string }{
		{"none", "<body>x</body>", ""},
		{"one", delay("stamp='2020-01-02T03:04:05Z' from='example.org'"), "2020-01-02T03:04:05Z"},
		{"fraction", delay("stamp='2020-01-02T03:04:05.678Z'"), "2020-01-02T03:04:05.678Z"},
		{"offset", delay("stamp='2020-01-02T03:04:05+02:00'"), "2020-01-02T01:04:05Z"},
		{"two", delay("stamp='2020-01-02T03:04:05Z'") + delay("stamp='2019-01-02T03:04:05Z'"), "2019-01-02T03:04:05Z"},
		{"bad one", delay("stamp='yesterday'") + delay("stamp='2019-01-02T03:04:05Z'"), "2019-01-02T03:04:05Z"},
		{"without stamp", delay(""), ""},
		{"legacy", "<x xmlns='jabber:x:delay' stamp='20020910T23:08:25'/>", "2002-09-10T23:08:25Z"},
	} {
		st := xmpptest.Stanza(t, "<message from='a@b'>"+tt.content+"</message>")
		got, ok := st.Delay()
		if ok != (tt.want != "") || ok && !got.Equal(at(tt.want)) {
			t.Errorf("%s: %v, %v", tt.name, got, ok)
		}
	}
	st := xmpptest.Stanza(t, "<message from='a@b'>"+delay("stamp='2020-01-01T00:00:00Z' from='evil@b'")+delay("stamp='2020-02-01T00:00:00Z' from='b'")+"</message>")
	got, ok := st.DelayBy(func(from jid.JID) bool { return from.String() == "b" })
	if !ok || !got.Equal(at("2020-02-01T00:00:00Z")) {
		t.Errorf("0203-R06: %v, %v", got, ok)
	}
	now := at("2020-02-01T00:01:00Z")
	if age := st.Age(now); age != now.Sub(at("2020-01-01T00:00:00Z")) {
		t.Errorf("age %v", age)
	}
	future := xmpptest.Stanza(t, "<message from='a@b'>"+delay("stamp='2030-01-01T00:00:00Z'")+"</message>")
	if future.Age(now) <= 0 {
		t.Error("a stamp in the future makes a stanza fresh")
	}
	fresh := xmpptest.Stanza(t, "<message from='a@b'/>")
	if fresh.Age(now) != 0 {
		t.Error("a fresh stanza has an age")
	}
}

func TestParsingIsCheap(t *testing.T) {
	d := xmpptest.Doc(t, `<iq type='get' to='thing@example.org/r1' from='other@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>`)
	out := new(exi.Doc)
	to := jid.MustParse("other@example.org/x")
	allocs := testing.AllocsPerRun(100, func() {
		out.Reset()
		st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Result, ID: "1", To: to}
		st.AppendEvents(out)
		if xmpp.KindOf(d.Root().Name()) != xmpp.IQ {
			t.Fatal()
		}
	})
	if allocs > 0 {
		t.Errorf("writing a stanza allocates %v times", allocs)
	}
}
