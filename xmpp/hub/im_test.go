package hub

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

const rosterNS = "xmlns='jabber:iq:roster'"

func TestIMR08R10R11_RosterSet(t *testing.T) {
	x := newSite(t)
	a, b, idle := x.online("anna", "a"), x.online("anna", "b"), x.connect("anna", "idle")
	a.settle()
	b.settle()
	a.send("<iq type='set' id='1'><query " + rosterNS + "><item jid='BEN@site.example/x' name='Ben' subscription='both' ask='subscribe'><group>G</group></item></query></iq>")
	push := "type='set' … jid='ben@site.example' name='Ben' subscription='none'><group>G</group>"
	got := a.want(push, "id='1' … type='result'")
	if strings.Contains(got[0], "ask=") || !strings.Contains(got[0], "to='anna@site.example/a'") {
		t.Error(got[0])
	}
	b.want(push)
	idle.want()
	for item, cond := range map[string]string{
		"": "bad-request", "<item jid='x@y.example'/><item jid='z@y.example'/>": "bad-request",
		"<item jid='x@y.example'><group>a</group><group>a</group></item>":    "bad-request",
		"<item jid='x@y.example'><group/></item>":                            "not-acceptable",
		"<item jid='x@y.example' name='" + strings.Repeat("n", 1024) + "'/>": "not-acceptable",
		"<item jid='nobody@y.example' subscription='remove'/>":               "item-not-found",
		"<item jid='anna@site.example'/>":                                    "not-allowed",
		"<item jid='@'/>":                                                    "jid-malformed",
	} {
		a.send("<iq type='set' id='2'><query " + rosterNS + ">" + item + "</query></iq>")
		a.want("id='2' … type='error' … <" + cond)
	}
}

func TestIMR09R55_OthersRoster(t *testing.T) {
	x := newSite(t)
	a, b, c := x.online("anna", "r"), x.online("ben", "r"), x.online("cora", "r")
	x.friends(a, b)
	set := func(who string) string {
		return "<iq type='set' id='1' to='" + who + "'><query " + rosterNS + "><item jid='x@y.example'/></query></iq>"
	}
	b.send(set("anna@site.example"))
	b.want("type='error' … <forbidden")
	c.send(set("anna@site.example"))
	known := c.want("type='error'")[0]
	c.send(set("nobody@site.example"))
	unknown := c.want("type='error'")[0]
	if strings.ReplaceAll(known, "anna", "nobody") != unknown {
		t.Errorf("a stranger can tell:\n%s\n%s", known, unknown)
	}
}

func TestIMR14_RosterVersion(t *testing.T) {
	x := newSite(t)
	a := x.online("anna", "r")
	get := func(ver string) string {
		a.send("<iq type='get' id='g'><query " + rosterNS + " ver='" + ver + "'/></iq>")
		return a.want("id='g' … type='result'")[0]
	}
	version := func(s string) string {
		_, s, _ = strings.Cut(s, "ver='")
		s, _, _ = strings.Cut(s, "'")
		return s
	}
	first := version(get(""))
	if got := get(first); strings.Contains(got, "query") {
		t.Errorf("unchanged roster is sent: %s", got)
	}
	a.send("<iq type='set' id='s'><query " + rosterNS + "><item jid='x@y.example'/></query></iq>")
	push := a.want("ver=", "id='s'")[0]
	if version(push) == first {
		t.Error("the version did not change")
	}
	if got := get(version(push)); strings.Contains(got, "query") {
		t.Errorf("unchanged roster is sent: %s", got)
	}
	if got := get(first); !strings.Contains(got, "x@y.example") {
		t.Errorf("changed roster is not sent: %s", got)
	}
}

// Two people get to know each other: every stanza that anybody sees.
func TestIMR16R17R21R22R23R24R25_Subscription(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b", "<show>away</show>")
	a.send("<presence type='subscribe' to='ben@site.example/b' id='s1'><nick xmlns='urn:x'>A</nick></presence>")
	a.want("jid='ben@site.example' … subscription='none' … ask='subscribe'")
	got := b.want("type='subscribe' … from='anna@site.example' … to='ben@site.example … <nick xmlns='urn:x'>A</nick>")
	if strings.Contains(got[0], "jabber:iq:roster") {
		t.Error("a mere request is pushed (IM-R25)")
	}
	// It comes again to each new available session until it is answered.
	b2 := x.connect("ben", "b2")
	b2.send("<iq type='get' id='r'><query " + rosterNS + "/></iq>")
	if got := b2.want("id='r'"); strings.Contains(got[0], "anna") {
		t.Errorf("a mere request is listed: %s", got[0])
	}
	b2.send("<presence/>")
	b2.want("from='ben@site.example/b2", "from='ben@site.example/b'", "type='subscribe' … <nick")
	b.settle()
	b.send("<presence type='subscribed' to='anna@site.example'/>")
	b.want("jid='anna@site.example' … subscription='from'")
	b2.want("jid='anna@site.example' … subscription='from'")
	a.want("subscription='to'", "type='subscribed' … from='ben@site.example'", "from='ben@site.example/b", "from='ben@site.example/b")
	// Asking again is answered by the server (IM-R22).
	a.send("<presence type='subscribe' to='ben@site.example'/>")
	a.want()
	b.want()
	// IM-R24: cancelling takes the presence back.
	b.send("<presence type='unsubscribed' to='anna@site.example'/>")
	b.want("subscription='none'")
	a.want("subscription='none'", "type='unsubscribed'", "type='unavailable' … from='ben@site.example/b", "type='unavailable' … from='ben@site.example/b")
	b.send("<presence/>")
	a.want()
}

func TestIMR12_Remove(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	a.send("<iq type='set' id='1'><query " + rosterNS + "><item jid='ben@site.example' subscription='remove'/></query></iq>")
	got := strings.Join(a.settle(), "\n")
	for _, s := range []string{"subscription='remove'", "id='1'"} {
		if !strings.Contains(got, s) {
			t.Errorf("anna got\n%s\nwithout %s", got, s)
		}
	}
	got = strings.Join(b.settle(), "\n")
	for _, s := range []string{"type='unsubscribe'", "type='unsubscribed'", "type='unavailable'", "subscription='none'"} {
		if !strings.Contains(got, s) {
			t.Errorf("ben got\n%s\nwithout %s", got, s)
		}
	}
}

// IM-R27, D10: what was approved beforehand needs no answer.
func TestIMR27_PreApprovalOnTheWire(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	b.send("<presence type='subscribed' to='anna@site.example'/>")
	b.want("approved='true'")
	a.want()
	a.send("<presence type='subscribe' to='ben@site.example'/>")
	a.want("ask='subscribe'", "subscription='to'", "type='subscribed'", "from='ben@site.example/b'")
	b.want("subscription='from'")
}

func TestIMD18_SubscribeToNobody(t *testing.T) {
	x := newSite(t)
	a := x.online("anna", "a")
	a.send("<presence type='subscribe' to='nobody@site.example'/>")
	a.want("ask='subscribe'", "subscription='none'", "type='unsubscribed' … from='nobody@site.example'")
	a.send("<presence type='subscribe' to='anna@site.example'/>") // D6
	a.want()
	a.send("<presence type='subscribe' to='x@other.example'/>")
	a.want("ask='subscribe'", "type='error' … <remote-server-not-found")
}

func TestIMR29R30R31R36_Presence(t *testing.T) {
	x := newSite(t)
	a, b, c := x.online("anna", "a"), x.online("ben", "b", "<show>dnd</show>"), x.online("cora", "c")
	x.friends(a, b)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { u, _ := x.Users(); return len(u[0].Online) == 0 })
	b.expect("type='unavailable'", "from='anna@site.example/a'")
	// Initial presence: to contacts, to itself; and the contacts' to it.
	a = x.connect("anna", "a")
	a.send("<presence><priority>5</priority></presence>")
	a.want("from='anna@site.example/a'", "from='ben@site.example/b' … <show>dnd</show>")
	b.want("from='anna@site.example/a' … to='ben@site.example/b' … <priority>5</priority>")
	// A second resource sees the first and is seen by it.
	a2 := x.connect("anna", "a2")
	a2.send("<presence/>")
	got := strings.Join(a2.settle(), "\n")
	for _, s := range []string{"from='anna@site.example/a2'", "from='anna@site.example/a'", "from='ben@site.example/b'"} {
		if !strings.Contains(got, s) {
			t.Errorf("a2 got\n%s\nwithout %s", got, s)
		}
	}
	a.want("from='anna@site.example/a2'")
	b.want("from='anna@site.example/a2'")
	// Later presence: broadcast without what initial presence brings.
	a.send("<presence><show>xa</show></presence>")
	a.want("<show>xa</show>")
	a2.want("<show>xa</show>")
	b.want("<show>xa</show>")
	a.send("<presence type='unavailable'><status>bye</status></presence>")
	a.want("type='unavailable'")
	a2.want("type='unavailable'")
	b.want("type='unavailable' … <status>bye</status>")
	c.want()
}

// IM-R37, R39: receivers of directed presence hear of the end, too.
func TestIMR37R39_DirectedPresence(t *testing.T) {
	x := newSite(t)
	a, b, c := x.online("anna", "a"), x.online("ben", "b"), x.online("cora", "c")
	a.send("<presence to='" + b.full + "'><show>chat</show></presence>")
	a.send("<presence to='" + c.full + "'/>")
	a.send("<presence to='" + c.full + "' type='unavailable'/>")
	a.settle()
	b.want("<show>chat</show> … ")
	c.want("from='anna@site.example/a'", "type='unavailable'")
	a.nc.Close()
	b.expect("type='unavailable'", "from='anna@site.example/a'")
	b.want()
	c.want()
}

func TestIMR32R33R35_Probe(t *testing.T) {
	x := newSite(t)
	a, a2, b, c := x.online("anna", "a", "<show>xa</show>"), x.online("anna", "a2"), x.online("ben", "b"), x.online("cora", "c")
	x.friends(a, b)
	a2.settle()
	b.send("<presence type='probe' to='anna@site.example'/>")
	b.want("from='anna@site.example/a", "from='anna@site.example/a")
	b.send("<presence type='probe' to='anna@site.example/a'/>")
	b.want("<show>xa</show>")
	c.send("<presence type='probe' to='anna@site.example'/>")
	c.send("<presence type='probe' to='nobody@site.example'/>")
	c.want()
}

// IM-R45: core-im §4, messages.
func TestIMR38R43R45_Messages(t *testing.T) {
	x := newSite(t)
	b := x.online("ben", "b")
	msg := func(typ, to string) {
		attr := ""
		if typ != "" {
			attr = " type='" + typ + "'"
		}
		b.send("<message id='m'" + attr + " to='" + to + "'><body>hi</body></message>")
	}
	refused := "id='m' … type='error' … <service-unavailable"
	check := func(t *testing.T, to string, want map[string]string, who ...*peer) {
		t.Helper()
		for typ, cell := range want {
			msg(typ, to)
			if cell == "error" {
				b.want(refused)
			} else {
				b.want()
			}
			for i, p := range who {
				if strings.Contains(cell, fmt.Sprint(i)) {
					p.want("<body>hi</body> … ")
				} else {
					p.want()
				}
			}
		}
	}
	types := func(normal, chat, groupchat, headline, err string) map[string]string {
		return map[string]string{"": normal, "normal": normal, "odd": normal, "chat": chat, "groupchat": groupchat, "headline": headline, "error": err}
	}
	t.Run("no such account", func(t *testing.T) {
		check(t, "nobody@site.example", types("error", "error", "error", "", ""))
	})
	t.Run("bare, nobody online", func(t *testing.T) {
		check(t, "anna@site.example", types("", "", "error", "", ""))
		u, err := x.Users()
		if err != nil || u[0].Offline != 4 {
			t.Errorf("%d messages are kept: %v", u[0].Offline, err)
		}
		a := x.online("anna", "drain")
		if got := a.settle(); len(got) != 4 {
			t.Errorf("%d messages were kept", len(got))
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		waitFor(t, func() bool { u, _ := x.Users(); return len(u[0].Online) == 0 })
	})
	low, high := x.online("anna", "low"), x.online("anna", "high", "<priority>9</priority>")
	negative, silent := x.online("anna", "negative", "<priority>-1</priority>"), x.connect("anna", "silent")
	for _, p := range []*peer{low, high, negative, silent} {
		p.settle()
	}
	t.Run("bare, two resources", func(t *testing.T) {
		check(t, "anna@site.example", types("1", "1", "error", "01", ""), low, high, negative, silent)
	})
	t.Run("full, connected", func(t *testing.T) {
		check(t, "anna@site.example/silent", types("3", "3", "3", "3", "3"), low, high, negative, silent)
		check(t, "anna@site.example/negative", types("2", "2", "2", "2", "2"), low, high, negative, silent)
	})
	t.Run("full, no such resource", func(t *testing.T) {
		check(t, "anna@site.example/gone", types("error", "1", "error", "", ""), low, high, negative, silent)
	})
	t.Run("same priority", func(t *testing.T) { // D1: the latest presence
		low.send("<presence><priority>9</priority></presence>")
		for _, p := range []*peer{low, high, negative, silent} {
			p.settle()
		}
		check(t, "anna@site.example", types("0", "0", "error", "01", ""), low, high, negative, silent)
	})
	t.Run("other domain", func(t *testing.T) { // CORE-R122
		msg("chat", "x@other.example")
		b.want("type='error' … <remote-server-not-found")
	})
	t.Run("bad address", func(t *testing.T) { // CORE-R121
		msg("chat", "@")
		b.want("type='error' … <jid-malformed")
	})
	t.Run("to oneself", func(t *testing.T) { // CORE-R120
		b.send("<message id='m'><body>note</body></message>")
		b.want("<body>note</body> … ")
	})
}

// CORE-R108, R123: who sent it is stamped, the rest passes unchanged.
func TestCoreR43R108R123_Transit(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	a.send("<message to='" + b.full + "' from='anna@site.example' odd='1' xml:lang='de' id='i' type='chat'>" +
		"<body>1 &lt; 2 &amp; ä</body><x xmlns='urn:x' a='&quot;'><p:y xmlns:p='urn:p' p:z='1'>t</p:y><q xmlns=''/></x></message>")
	a.settle()
	got := b.want("")[0]
	want := parse(t, "<message id='i' type='chat' odd='1' xml:lang='de' from='anna@site.example/a' to='ben@site.example/b'>"+
		"<body>1 &lt; 2 &amp; ä</body><x xmlns='urn:x' a='&quot;'><p:y xmlns:p='urn:p' p:z='1'>t</p:y><q xmlns=''/></x></message>")
	if diff := sameElement(parse(t, got).Root(), want.Root()); diff != "" {
		t.Errorf("%s\nin %s", diff, got)
	}
}

// sameElement compares elements, attributes in any order.
func sameElement(a, b exi.Cursor) string {
	if a.Name() != b.Name() {
		return fmt.Sprintf("%v is not %v", a.Name().Value(), b.Name().Value())
	}
	n := 0
	for name, v := range a.Attrs() {
		if w, ok := b.Attr(name); !ok || !w.Is(v.String()) {
			return fmt.Sprintf("attribute %v=%q", name.Value(), v.String())
		}
		n++
	}
	for range b.Attrs() {
		n--
	}
	ka, kb := a.First(), b.First()
	for ka.Valid() && kb.Valid() {
		if d := sameElement(ka, kb); d != "" {
			return d
		}
		ka, kb = ka.Next(), kb.Next()
	}
	if n != 0 || ka.Valid() || kb.Valid() || a.Text().String() != b.Text().String() {
		return fmt.Sprintf("content of %v", a.Name().Value())
	}
	return ""
}

func TestIMR45R46R47R48_IQ(t *testing.T) {
	x := newSite(t)
	a, b := x.connect("anna", "a"), x.connect("ben", "b")
	iq := func(to string) { b.send("<iq type='get' id='q' to='" + to + "'><x xmlns='urn:x'/></iq>") }
	unavailable := "id='q' … type='error' … <service-unavailable"
	for _, to := range []string{"nobody@site.example", "nobody@site.example/r", "anna@site.example", "anna@site.example/gone", "site.example", "site.example/x"} {
		iq(to)
		if got := b.want(unavailable)[0]; !strings.Contains(got, "from='"+to+"'") {
			t.Error(got)
		}
		a.want()
	}
	iq("x@other.example")
	b.want("<remote-server-not-found")
	// A connected resource gets it even without presence, and answers.
	iq(a.full)
	b.settle()
	a.want("id='q' … from='ben@site.example/b' … <x xmlns='urn:x'/>")
	a.send("<iq type='result' id='q' to='" + b.full + "'/>")
	a.settle()
	b.want("type='result' … from='anna@site.example/a'")
	// Results and errors to nowhere make no noise (CORE-R112).
	for _, to := range []string{"nobody@site.example", "anna@site.example/gone", "anna@site.example", "site.example", "x@other.example"} {
		b.send("<iq type='result' id='q' to='" + to + "'/>")
		b.send("<iq type='error' id='q' to='" + to + "'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		b.want()
	}
	// CORE-R110, R114
	for _, bad := range []string{
		"<iq type='get' id='q'/>", "<iq type='get' id='q'><x xmlns='u'/><y xmlns='u'/></iq>",
		"<iq type='set'><x xmlns='u'/></iq>", "<iq type='odd' id='q'><x xmlns='u'/></iq>", "<iq id='q'><x xmlns='u'/></iq>",
	} {
		b.send(bad)
		b.want("type='error' … <bad-request")
	}
	b.send("<presence type='odd'/>")
	b.want("type='error' … <bad-request")
}

func TestIMR49R50R51R56_Offline(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.Offline = 3 })
	b := x.online("ben", "b")
	send := func(attrs, content string) {
		b.send("<message id='m' to='anna@site.example'" + attrs + ">" + content + "</message>")
	}
	// Neither kept nor refused.
	send(" type='chat'", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
	send(" type='chat'", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>")
	send(" type='headline'", "<body>x</body>")
	b.want()
	// Refused: what things say and are told is worth nothing later.
	for _, iot := range []string{
		"<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1'/>", "<body>x</body><set xmlns='urn:xmpp:iot:control'/>", "<x xmlns='urn:x'/>",
	} {
		send("", iot)
		b.want("type='error' … <service-unavailable")
	}
	for i := range 3 {
		send(" type='chat'", fmt.Sprintf("<body>%d</body>", i))
	}
	b.want()
	send(" type='chat'", "<body>3</body>")
	b.want("type='error' … <service-unavailable")
	// It survives a restart.
	x.stop()
	x = openSite(t, x.dir)
	// A resource that wants no messages does not get them.
	n := x.online("anna", "n", "<priority>-1</priority>")
	n.want()
	a := x.online("anna", "a")
	got := a.settle()
	kept := got[:0]
	for _, s := range got {
		if strings.HasPrefix(s, "<message") {
			kept = append(kept, s)
		}
	}
	if len(kept) != 3 {
		t.Fatalf("got %q", got)
	}
	for i, s := range kept {
		for _, part := range []string{fmt.Sprintf("<body>%d</body>", i), "<delay xmlns='urn:xmpp:delay'", "from='site.example'", "Z'/>", "from='ben@site.example/b'"} {
			if !strings.Contains(s, part) {
				t.Errorf("%s\nwithout %s", s, part)
			}
		}
		var st xmpp.Stanza
		if err := st.Parse(parse(t, s).Root()); err != nil {
			t.Fatal(err)
		}
		if when, ok := st.Delay(); !ok || time.Since(when) > time.Minute || time.Since(when) < 0 {
			t.Errorf("delay stamp %v %v", when, ok)
		}
	}
	// Only once.
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	a = x.online("anna", "a2")
	for _, s := range a.settle() {
		if strings.HasPrefix(s, "<message") {
			t.Errorf("delivered twice: %s", s)
		}
	}
}

func TestCoreR119_Order(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	const n = 1000
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "<message to='%s'><body>%d</body></message>", a.full, i)
	}
	b.send(all.String())
	for i := range n {
		a.expect(fmt.Sprintf("<body>%d</body>", i))
	}
}

func TestCoreD15_Language(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	a.send("<message to='" + b.full + "'><body>x</body></message>")
	a.settle()
	if got := b.want("<body>")[0]; strings.Contains(got, "xml:lang") {
		t.Errorf("the language of both streams is written: %s", got)
	}
}

func Test0030R01R04R16R17R18R19_Disco(t *testing.T) {
	x := newSite(t, func(c *Config) {
		c.Components = map[string]Component{"registry.site.example": {Name: "Registry", Handler: xmpp.HandlerFunc(
			func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
				return nil, xmpp.NewError(xmpp.ItemNotFound, "")
			})}}
	})
	a, b, c := x.online("anna", "a"), x.online("ben", "b"), x.online("cora", "c")
	x.friends(a, b)
	ask := func(p *peer, what, to, node string) string {
		p.send("<iq type='get' id='d' to='" + to + "'><query xmlns='http://jabber.org/protocol/disco#" + what + "'" + node + "/></iq>")
		return p.want("id='d'")[0]
	}
	for _, tt := range []struct {
		p                    *peer
		what, to, node, want string
	}{
		{c, "info", domain, "", "category='server' type='im'"},
		{c, "info", domain, "", "var='http://jabber.org/protocol/disco#info'"},
		{c, "info", domain, " node='x'", "<item-not-found"},
		{c, "items", domain, "", "jid='registry.site.example' name='Registry'"},
		{b, "info", "anna@site.example", "", "category='account' type='registered'"},
		{b, "items", "anna@site.example", "", "jid='anna@site.example/a'"},
		{a, "info", "anna@site.example", "", "type='registered'"},
		{c, "info", "registry.site.example", "", "<item-not-found"},
	} {
		if got := ask(tt.p, tt.what, tt.to, tt.node); !strings.Contains(got, tt.want) {
			t.Errorf("%s of %s: %s", tt.what, tt.to, got)
		}
	}
	known, unknown := ask(c, "info", "anna@site.example", ""), ask(c, "info", "nobody@site.example", "")
	if strings.ReplaceAll(known, "anna", "nobody") != unknown || !strings.Contains(known, "service-unavailable") {
		t.Errorf("a stranger can tell:\n%s\n%s", known, unknown)
	}
}

// A component sees who asks, answers with stanzas behind the result, and
// speaks to accounts by itself.
func TestComponent(t *testing.T) {
	const name = "registry.site.example"
	seen := make(chan string, 10)
	payload := exi.N("urn:x", "x")
	note := func(to jid.JID, body string) xmpp.Stanza {
		return xmpp.Stanza{Kind: xmpp.Message, From: jid.MustParse(name), To: to,
			Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(nameBody, exi.Str(body)) })}
	}
	x := newSite(t, func(c *Config) {
		c.Components = map[string]Component{name: {Handler: xmpp.HandlerFunc(func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
			seen <- st.Kind.String() + " " + st.Type + " " + st.From.String()
			if st.Kind != xmpp.IQ {
				return nil, nil
			}
			return xmpp.Answer{Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(payload, exi.Str("y")) }),
				Then: []xmpp.Stanza{note(st.From, "then")}}, nil
		})}}
		c.Handler = xmpp.HandlerFunc(func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
			seen <- "domain " + st.Kind.String()
			return nil, nil
		})
	})
	a := x.online("anna", "a")
	a.send("<iq type='set' id='c' to='" + name + "'><x xmlns='urn:x'/></iq>")
	a.want("id='c' … type='result' … <x xmlns='urn:x'>y</x>", "<body>then</body>")
	if got := <-seen; got != "iq set anna@site.example/a" {
		t.Error(got)
	}
	a.send("<message to='" + domain + "'><body>x</body></message>")
	a.want()
	if got := <-seen; got != "domain message" {
		t.Error(got)
	}
	// Friendship with a component (D7).
	a.send("<presence type='subscribe' to='" + name + "'/>")
	a.want("jid='" + name + "' … ask='subscribe'")
	if got := <-seen; got != "presence subscribe anna@site.example" {
		t.Error(got)
	}
	if err := x.Send(t.Context(), xmpp.Stanza{Kind: xmpp.Presence, Type: "subscribed", From: jid.MustParse(name), To: jid.MustParse("anna@site.example")},
		xmpp.Stanza{Kind: xmpp.Presence, Type: "subscribe", From: jid.MustParse(name), To: jid.MustParse("anna@site.example")}); err != nil {
		t.Fatal(err)
	}
	a.want("subscription='to'", "type='subscribed'", "type='subscribe'")
	a.send("<presence type='subscribed' to='" + name + "'/>")
	a.want("subscription='both'")
	for _, want := range []string{"presence subscribed anna@site.example", "presence  anna@site.example/a"} {
		if got := <-seen; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := x.Send(t.Context(), note(jid.MustParse("anna@site.example"), "hello")); err != nil {
		t.Fatal(err)
	}
	a.want("<body>hello</body>")
	bad := note(jid.MustParse("anna@site.example"), "spoofed")
	bad.From = jid.MustParse("other.example")
	if err := x.Send(t.Context(), bad); err == nil {
		t.Error("a stanza from another site is sent")
	}
}

func TestIMR01R02R03R04_Addresses(t *testing.T) {
	x := newSite(t)
	b := x.online("ben", "b")
	long := strings.Repeat("r", 1023)
	a := x.connect("anna", "c@d/e")
	c := x.connect("cora", long)
	say := func(to string) { b.send("<message id='m' to='" + to + "'><body>x</body></message>") }
	for _, to := range []string{"anna@site.example/c@d/e", "ANNA@Site.Example/c@d/e", "anna@site.example./c@d/e"} {
		say(to)
		b.want()
		a.want("<body>x</body> … ")
	}
	say("anna@site.example/C@d/e") // resources keep their case
	b.want("<service-unavailable")
	say("cora@site.example/" + long)
	b.want()
	c.want("<body>x</body> … ")
	for _, to := range []string{"cora@site.example/" + long + "r", strings.Repeat("a", 1024) + "@site.example", "anna@", "an na@site.example", "anna@site.example/"} {
		say(to)
		b.want("id='m' … type='error' … <jid-malformed")
	}
}

func TestIMR53_PresenceError(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	b.send("<presence type='error' to='" + a.full + "'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>")
	b.settle()
	a.want("type='error'")
	a.send("<presence><show>xa</show></presence>")
	a.want("<show>xa</show>")
	b.want()
	// Another session of the account still reaches it.
	x.online("anna", "a2")
	b.expect("from='anna@site.example/a2'") // may come after her own copy
}
