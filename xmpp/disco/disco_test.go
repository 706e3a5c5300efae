package disco

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/ping"
	"postern/xmpp/xmpptest"
)

var exodus = Info{
	Identities: []Identity{{Category: "client", Type: "pc", Name: "Exodus 0.9.1"}},
	Features:   []string{NSItems, NSCaps, NSInfo, "http://jabber.org/protocol/muc"},
}

var psi = Info{
	Identities: []Identity{{Category: "client", Type: "pc", Lang: "en", Name: "Psi 0.11"}, {Category: "client", Type: "pc", Lang: "el", Name: "Ψ 0.11"}},
	Features:   exodus.Features,
	Forms: []Form{{Type: "urn:xmpp:dataforms:softwareinfo", Fields: []Field{
		{"ip_version", []string{"ipv6", "ipv4"}}, {"os", []string{"Mac"}}, {"os_version", []string{"10.5.1"}},
		{"software", []string{"Psi"}}, {"software_version", []string{"0.11"}}}}},
}

func Test0115R01R02_VerificationString(t *testing.T) {
	for _, tt := range []struct {
		i    Info
		want string
	}{{exodus, "QgayPKawpkPSDYmwT/WM94uAlu0="}, {psi, "q07IKJEyjvHSyhy//CH0CxmKi8w="}} {
		got, err := Verification(tt.i)
		if err != nil || got != tt.want {
			t.Errorf("got %s, %v; want %s", got, err, tt.want)
		}
		// Through XML and back.
		var d exi.Doc
		tt.i.AppendEvents(&d)
		back, err := ParseInfo(d.Root())
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := Verification(back); again != tt.want {
			t.Errorf("after parsing: %s", again)
		}
	}
}

func Test0115R19_NoLessThan(t *testing.T) {
	for _, i := range []Info{
		{Features: []string{"a<b"}}, {Identities: []Identity{{Category: "c", Type: "t", Name: "<"}}},
		{Forms: []Form{{Type: "<"}}}, {Forms: []Form{{Type: "f", Fields: []Field{{"v", []string{"x<y"}}}}}},
	} {
		if _, err := Verification(i); err == nil {
			t.Errorf("%+v is taken", i)
		}
	}
}

func Test0115R11R12_Answers(t *testing.T) {
	id := "<identity category='client' type='pc'/>"
	form := func(typ, fieldType string) string {
		return "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='" + fieldType + "'><value>" + typ + "</value></field><field var='v'><value>1</value></field></x>"
	}
	for _, tt := range []struct {
		name, xml string
		ok        bool
		forms     int
	}{
		{"plain", id + "<feature var='a'/><feature var='b'/>", true, 0},
		{"identity twice", id + id, false, 0},
		{"identity twice with other names", id + "<identity category='client' type='pc' name='x'/>", false, 0},
		{"identity in two languages", id + "<identity category='client' type='pc' xml:lang='de'/>", true, 0},
		{"feature twice", id + "<feature var='a'/><feature var='a'/>", false, 0},
		{"form", id + form("f", "hidden"), true, 1},
		{"two forms of a type", id + form("f", "hidden") + form("f", "hidden"), false, 0},
		{"form type not hidden", id + form("f", "text-single"), true, 0},
		{"form without type", id + "<x xmlns='jabber:x:data' type='result'><field var='v'><value>1</value></field></x>", true, 0},
		{"form with two types", id + "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field></x>", false, 0},
		{"0030-R14", id + "<surprise xmlns='urn:x'/><feature var='a' x='y'/>", true, 0},
		{"too long", id + strings.Repeat("<feature var='a'/>", 1), true, 0},
	} {
		d := xmpptest.Doc(t, "<query xmlns='http://jabber.org/protocol/disco#info'>"+tt.xml+"</query>")
		got, err := ParseInfo(d.Root())
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrImplausible) || tt.ok && len(got.Forms) != tt.forms {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "<feature var='%d'/>", i)
	}
	if _, err := ParseInfo(xmpptest.Doc(t, "<query xmlns='http://jabber.org/protocol/disco#info'>"+b.String()+"</query>").Root()); err == nil {
		t.Error("2000 features are taken")
	}
}

func service() (*Service, *xmpp.Mux) {
	m := new(xmpp.Mux)
	s := New(Config{Software: "https://postern.example", Features: []string{"urn:example:messages"},
		Items: func(_ context.Context, _ jid.JID, node string) ([]Item, error) {
			switch node {
			case "":
				return []Item{{JID: jid.MustParse("a@b/c"), Node: "n1", Name: "one"}, {JID: jid.MustParse("d@e")}}, nil
			case "n1":
				return nil, nil
			}
			return nil, xmpp.NewError(xmpp.ItemNotFound, "")
		},
		Info: func(_ context.Context, _ jid.JID, node string) (Info, error) {
			if node != "n1" {
				return Info{}, xmpp.NewError(xmpp.ItemNotFound, "")
			}
			return Info{Identities: []Identity{{Category: "hierarchy", Type: "leaf"}}}, nil
		}})
	s.Register(m)
	ping.Register(m)
	m.HandleFunc(xmpp.IQ, xmpp.Set, exi.N("jabber:iq:roster", "query"), nil)
	return s, m
}

func info(node string) string {
	return "<iq type='get' id='1' from='a@b/c'><query xmlns='http://jabber.org/protocol/disco#info'" + node + "/></iq>"
}

func items(node string) string { return strings.ReplaceAll(info(node), "#info", "#items") }

func Test0030R01R02R03_Info(t *testing.T) {
	_, m := service()
	got, err := xmpptest.Call(t, m, info(""))
	want := "<iq type='result' id='1' to='a@b/c'><query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='bot'/>" +
		"<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/>" +
		"<feature var='urn:example:messages'/><feature var='urn:xmpp:ping'/></query></iq>"
	if err != nil || got[0] != want {
		t.Errorf("%q, %v", got, err)
	}
	got, _ = xmpptest.Call(t, m, info(" node='n1'"))
	if want := "node='n1'><identity category='hierarchy' type='leaf'/><feature var='http://jabber.org/protocol/disco#info'/>"; !strings.Contains(got[0], want) {
		t.Errorf("got %s", got[0])
	}
	if _, err := xmpptest.Call(t, m, info(" node='other'")); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		t.Errorf("0030-R04: %v", err)
	}
}

func Test0115R04R07_CapsNode(t *testing.T) {
	s, m := service()
	caps, err := s.Caps()
	if err != nil {
		t.Fatal(err)
	}
	c := caps.(Caps)
	got, err := xmpptest.Call(t, m, info(" node='"+c.Node+"#"+c.Ver+"'"))
	if err != nil {
		t.Fatal(err)
	}
	st := xmpptest.Stanza(t, got[0])
	back, err := ParseInfo(st.Child())
	if err != nil || back.Node != c.Node+"#"+c.Ver {
		t.Errorf("%+v, %v", back, err)
	}
	if ver, _ := Verification(back); ver != c.Ver || c.Hash != "sha-1" {
		t.Errorf("the answer has %s, presence says %+v", ver, c)
	}
}

func Test0030R04R05R06_Items(t *testing.T) {
	_, m := service()
	for node, want := range map[string]string{
		"":           "<query xmlns='http://jabber.org/protocol/disco#items'><item jid='a@b/c' node='n1' name='one'/><item jid='d@e'/></query>",
		" node='n1'": "<query xmlns='http://jabber.org/protocol/disco#items' node='n1'/>",
	} {
		got, err := xmpptest.Call(t, m, items(node))
		if err != nil || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, %v", node, got, err)
		}
	}
	if _, err := xmpptest.Call(t, m, items(" node='x'")); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		t.Errorf("unknown node: %v", err)
	}
	none := new(xmpp.Mux)
	New(Config{Software: "x"}).Register(none)
	if got, err := xmpptest.Call(t, none, items("")); err != nil || !strings.Contains(got[0], "#items'/>") {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := xmpptest.Call(t, none, items(" node='x'")); err == nil {
		t.Error("a node of nothing")
	}
}

// peer answers queries with fixed XML and counts them.
type peer struct {
	t     *testing.T
	xml   string
	asked []string
}

func (p *peer) Query(_ context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	var d exi.Doc
	st.Kind = xmpp.IQ
	st.AppendEvents(&d)
	node, _ := d.Root().First().Attr(exi.N("", "node"))
	p.asked = append(p.asked, st.To.String()+" "+node.String())
	return reply(xmpptest.Stanza(p.t, "<iq type='result' id='1'>"+p.xml+"</iq>"))
}

func Test0030R11_AskItems(t *testing.T) {
	p := &peer{t: t, xml: "<query xmlns='http://jabber.org/protocol/disco#items'><item jid='registry.example.org'/><item jid='@'/><x/><item jid='a@b' node='n' name='m'/></query>"}
	got, err := AskItems(context.Background(), p, jid.MustParse("example.org"), "")
	if err != nil || fmt.Sprint(got) != "[{registry.example.org  } {a@b n m}]" {
		t.Errorf("%v, %v", got, err)
	}
	if len(p.asked) != 1 {
		t.Errorf("asked %q", p.asked)
	}
}

func Test0030R13R14R15_AskInfo(t *testing.T) {
	p := &peer{t: t, xml: "<query xmlns='http://jabber.org/protocol/disco#info' more='x'><identity category='client' type='pc' since='y'/><surprise/><feature var='urn:A'/></query>"}
	got, err := AskInfo(context.Background(), p, jid.MustParse("example.org"), "")
	if err != nil || !got.Has("urn:A") || got.Has("urn:a") || got.Has(NSInfo) || len(got.Identities) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func Test0030R07R08_WhoAsks(t *testing.T) {
	m := new(xmpp.Mux)
	New(Config{Software: "x", Items: func(_ context.Context, from jid.JID, _ string) ([]Item, error) {
		if from.Localpart() != "owner" {
			return nil, xmpp.NewError(xmpp.Forbidden, "")
		}
		return nil, nil
	}}).Register(m)
	ask := func(from, request string) (string, error) {
		got, err := xmpptest.Call(t, m, strings.Replace(request, "from='a@b/c'", "from='"+from+"'", 1))
		return strings.Replace(got[0], from, "", 1), err
	}
	a, _ := ask("owner@b/c", info(""))
	b, _ := ask("stranger@b/c", info(""))
	if a != b || !strings.Contains(a, "<identity ") {
		t.Errorf("one is told %s, another %s", a, b)
	}
	if _, err := ask("owner@b/c", items("")); err != nil {
		t.Error(err)
	}
	if _, err := ask("stranger@b/c", items("")); !errors.Is(err, &xmpp.Error{Condition: xmpp.Forbidden}) {
		t.Errorf("a stranger is answered with %v", err)
	}
}

func Test0115R06R08R09_FeaturesChange(t *testing.T) {
	s, m := service()
	_, before, _ := s.Self()
	m.HandleFunc(xmpp.IQ, xmpp.Get, exi.N("urn:example:late", "x"), nil)
	s.Refresh()
	i, after, err := s.Self()
	if err != nil || before == after || !i.Has("urn:example:late") {
		t.Errorf("%s, then %s with %q, %v", before, after, i.Features, err)
	}
	if _, err := xmpptest.Call(t, m, info(" node='https://postern.example#"+before+"'")); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		t.Errorf("the former set: %v", err)
	}
	if got, err := xmpptest.Call(t, m, items("")); err != nil || strings.Contains(got[0], after) {
		t.Errorf("%q, %v", got, err)
	}
}

// slow answers when told to.
type slow struct {
	*peer
	begun   chan struct{}
	release chan struct{}
}

func (s slow) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	s.begun <- struct{}{}
	<-s.release
	return s.peer.Query(ctx, st, reply)
}

func Test0115R14_OneQueryForOneVer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d exi.Doc
		exodus.AppendEvents(&d)
		p := slow{&peer{t: t, xml: xmpptest.Text(t, &d)}, make(chan struct{}, 99), make(chan struct{})}
		k := new(Cache)
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				from := jid.MustParse(fmt.Sprintf("c%d@b/c", n))
				if _, err := k.Info(context.Background(), p, from, Caps{"sha-1", "n", "QgayPKawpkPSDYmwT/WM94uAlu0="}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(p.release)
		wg.Wait()
		if n := len(p.asked); n != 1 {
			t.Errorf("%d queries", n)
		}
	})
}

func Test0115R03R10R13R17R18_Cache(t *testing.T) {
	var d exi.Doc
	exodus.AppendEvents(&d)
	p := &peer{t: t, xml: xmpptest.Text(t, &d)}
	k := &Cache{Limit: 2}
	ask := func(from string, c Caps) {
		t.Helper()
		if i, err := k.Info(context.Background(), p, jid.MustParse(from), c); err != nil || !i.Has("http://jabber.org/protocol/muc") {
			t.Errorf("%+v, %v", i, err)
		}
	}
	good := Caps{"sha-1", "http://exodus.example", "QgayPKawpkPSDYmwT/WM94uAlu0="}
	ask("a@b/c", good)
	ask("d@e/f", good)
	ask("d@e/f", Caps{good.Hash, "http://other.example", good.Ver})
	if want := []string{"a@b/c http://exodus.example#QgayPKawpkPSDYmwT/WM94uAlu0="}; !slices.Equal(p.asked, want) {
		t.Errorf("asked %q", p.asked)
	}
	// Poison: the answer does not match, so it is for this address only.
	bad := Caps{"sha-1", "n", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	ask("a@b/c", bad)
	ask("a@b/c", bad)
	ask("a@b/c", Caps{"sha-999", "n", good.Ver})
	ask("a@b/c", Caps{"", "n", "1.0"})
	if len(p.asked) != 5 || p.asked[3] != "a@b/c " {
		t.Errorf("asked %q", p.asked)
	}
	if k.order.Len() != 1 {
		t.Errorf("%d kept", k.order.Len())
	}
	for i := range 5 {
		i := Info{Identities: []Identity{{Category: "client", Type: fmt.Sprint(i)}}, Features: []string{"http://jabber.org/protocol/muc"}}
		ver, _ := Verification(i)
		var d exi.Doc
		i.AppendEvents(&d)
		p.xml = xmpptest.Text(t, &d)
		ask("a@b/c", Caps{"sha-1", "n", ver})
	}
	if k.order.Len() != 2 || len(k.entries) != 2 || len(k.asking) != 0 {
		t.Errorf("%d kept, %d asking", k.order.Len(), len(k.asking))
	}
}

func TestParseCaps(t *testing.T) {
	st := xmpptest.Stanza(t, "<presence from='a@b/c'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/></presence>")
	if c, ok := ParseCaps(st); !ok || c != (Caps{"sha-1", "n", "v"}) {
		t.Errorf("%+v, %v", c, ok)
	}
	if _, ok := ParseCaps(xmpptest.Stanza(t, "<presence from='a@b/c'/>")); ok {
		t.Error("capabilities of nothing")
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add("<identity category='client' type='pc'/><feature var='a'/>")
	f.Fuzz(func(t *testing.T, xml string) {
		var d exi.Doc
		if !tryParse(xml, &d) {
			return
		}
		i, err := ParseInfo(d.Root())
		if err != nil {
			return
		}
		ver, err := Verification(i)
		if err != nil {
			return
		}
		var again exi.Doc
		i.AppendEvents(&again)
		back, err := ParseInfo(again.Root())
		if err != nil {
			t.Fatalf("written and read: %v", err)
		}
		if v, err := Verification(back); err != nil || v != ver {
			t.Errorf("%s, then %s, %v", ver, v, err)
		}
	})
}
