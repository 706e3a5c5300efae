package provisioning

import (
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/xmpp"
)

// Every notice that a registry or provisioning server sends, from others: what
// asks for an answer is forbidden, messages are ignored, and nothing changes.
func Test0324R26R27R41_ForgedNotices(t *testing.T) {
	owner := "<claimed jid='owner@a.example' public='true'/>"
	for _, from := range []string{
		"stranger@c.example/x", "a.example", "owner@a.example/x", "reg.a.example.evil.example", "reg@a.example/x", "thing@a.example/other", "evil@reg.a.example",
	} {
		w := newWorld(t)
		m := new(xmpp.Mux)
		reg := jid.MustParse("reg.a.example")
		th, err := NewThing(ThingConfig{Session: w, Store: openStore(t, ""), Registry: reg, Nodes: []Node{{Tags: []Tag{{Name: "SN", Value: "1"}}}}, Now: w.clock})
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewTokens(TokensConfig{Session: w, Store: openStore(t, ""), Now: w.clock})
		if err != nil {
			t.Fatal(err)
		}
		a, err := NewAccess(AccessConfig{Session: w, Servers: []jid.JID{reg}, Owner: th.Owner, Tokens: k, Now: w.clock})
		if err != nil {
			t.Fatal(err)
		}
		th.Register(m)
		a.Register(m)
		if got := gives(t, m, xmpp.IQ, xmpp.Set, "reg.a.example", owner); got != "" {
			t.Fatalf("the registry itself: %s", got)
		}
		w.answer = func(string, string) (string, error) {
			return "<canReadResponse jid='reader@b.example' result='true'/>", nil
		}
		read := func() {
			t.Helper()
			if d, err := a.CanRead(t.Context(), node.Request{From: "reader@b.example/x", Bare: "reader@b.example", ServiceToken: "T"}); err != nil || d.Denied() {
				t.Fatalf("%v, %v", d, err)
			}
		}
		read()
		w.took()
		for _, n := range []struct{ typ, xml string }{
			{xmpp.Set, "<claimed jid='evil@c.example' public='true'/>"}, {xmpp.Set, "<claimed/>"}, {xmpp.Set, "<removed/>"}, {xmpp.Set, "<disowned/>"},
			{xmpp.Set, "<clearCache/>"}, {xmpp.Get, "<clearCache/>"}, {xmpp.Get, "<tokenChallenge token='T'>AAAA</tokenChallenge>"}, {xmpp.Get, "<tokenChallenge/>"},
		} {
			if got := gives(t, m, xmpp.IQ, n.typ, from, n.xml); got != "forbidden" {
				t.Errorf("%s from %s: %q", n.xml, from, got)
			}
		}
		for _, xml := range []string{"<friend jid='evil@c.example'/>", "<unfriend jid='reader@b.example'/>"} {
			if got := gives(t, m, xmpp.Message, "", from, xml); got != "" {
				t.Errorf("%s from %s: %q", xml, from, got)
			}
		}
		if len(a.jobs) > 0 {
			t.Errorf("a recommendation of %s is followed", from)
		}
		if c, _ := th.Claim(Ref{}); c.Owner != "owner@a.example" || c.Removed {
			t.Errorf("%s changed the claim to %+v", from, c)
		}
		read()
		if asked, _ := w.took(); len(asked) > 0 {
			t.Errorf("%s emptied the cache: %v", from, asked)
		}
	}
}

// Without a registry nobody speaks for it.
func TestNoticesBeforeARegistryIsFound(t *testing.T) {
	w := newWorld(t)
	m := new(xmpp.Mux)
	th, err := NewThing(ThingConfig{Session: w, Store: openStore(t, ""), Nodes: []Node{{}}, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	th.Register(m)
	for _, from := range []string{"a.example", "reg.a.example"} {
		if got := gives(t, m, xmpp.IQ, xmpp.Set, from, "<claimed jid='evil@c.example'/>"); got != "forbidden" {
			t.Errorf("%s: %q", from, got)
		}
	}
	th.SetRegistry(jid.MustParse("reg.a.example/x"))
	if got := gives(t, m, xmpp.IQ, xmpp.Set, "reg.a.example", "<claimed jid='owner@a.example'/>"); got != "" || th.Owner(Ref{}) != "owner@a.example" {
		t.Errorf("%q, %q", got, th.Owner(Ref{}))
	}
}

// An answer that names a node without its source means all nodes of that name.
func Test0324R57_AmbiguousNodesAreTheSetOfMatches(t *testing.T) {
	w := newWorld(t)
	a, err := NewAccess(AccessConfig{Session: w, Servers: []jid.JID{psJID}, CacheSize: -1, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	one, two, other := Ref{ID: "n", Source: "s1"}, Ref{ID: "n", Source: "s2"}, Ref{ID: "m", Source: "s1"}
	for answer, want := range map[string]string{"<node nodeId='n'/>": "s1 s2", "<node nodeId='n' sourceId='s2'/>": "s2", "<node nodeId='m'/>": "m"} {
		w.answer = func(string, string) (string, error) {
			return "<canReadResponse jid='reader@b.example' result='true'>" + answer + "</canReadResponse>", nil
		}
		d, err := a.CanRead(t.Context(), node.Request{Bare: "reader@b.example", Nodes: []Ref{one, two, other}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range []Ref{one, two} {
			if d.Readable(r, "f", node.Momentary) != 0 {
				got = append(got, r.Source)
			}
		}
		if d.Readable(other, "f", node.Momentary) != 0 {
			got = append(got, "m")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", answer, got)
		}
	}
}

// Trust that has changed empties the cache; the same trust does not.
func TestChangedTrustEmptiesTheCache(t *testing.T) {
	w := newWorld(t)
	a, err := NewAccess(AccessConfig{Session: w, Servers: []jid.JID{psJID}, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	w.answer = func(string, string) (string, error) {
		return "<canReadResponse jid='reader@b.example' result='true'/>", nil
	}
	asks := func() int {
		t.Helper()
		if _, err := a.CanRead(t.Context(), node.Request{Bare: "reader@b.example"}); err != nil {
			t.Fatal(err)
		}
		asked, _ := w.took()
		return len(asked)
	}
	other := jid.MustParse("other.example")
	for i, c := range []struct {
		servers []jid.JID
		asks    int
	}{{[]jid.JID{psJID}, 1}, {[]jid.JID{jid.MustParse("ps.a.example/x")}, 0}, {[]jid.JID{psJID, other}, 2}, {[]jid.JID{other, psJID}, 0}, {nil, 0}, {[]jid.JID{psJID}, 1}} {
		if err := a.SetServers(c.servers); err != nil {
			t.Fatal(err)
		}
		if got := asks(); got != c.asks {
			t.Errorf("step %d: %d questions, want %d", i, got, c.asks)
		}
	}
}
