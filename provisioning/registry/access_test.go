package registry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/provisioning"
	"postern/xmpp"
)

const device = "thing@a.example"

func (l *lab) rule(r Rule) Rule {
	l.t.Helper()
	if r.Device == "" {
		r.Device = device
	}
	r, err := l.AddRule(context.Background(), r)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *lab) asks(inner, want string) {
	l.t.Helper()
	got, err := l.get(thing, inner)
	if err != nil || got != want {
		l.t.Errorf("%s:\n%s, %v\nwant %s", inner, got, err, want)
	}
}

func canRead(who, rest string) string { return "<canRead jid='" + who + "'" + rest + "</canRead>" }

func Test0324R01_TheFeatureIsAdvertised(t *testing.T) {
	l := newLab(t, func(c *Config) { c.NoRegistry = true })
	got, err := l.get(stranger, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	if err != nil || !strings.Contains(got, "var='urn:xmpp:iot:provisioning'") || strings.Contains(got, "var='urn:xmpp:iot:discovery'") {
		t.Errorf("%s, %v", got, err)
	}
}

func Test0324R22R23_TheSenderIsTheFirstParty(t *testing.T) {
	l := claimedLab(t)
	l.asks("<isFriend jid='owner@a.example/phone'/>", "<isFriendResponse jid='owner@a.example' result='true'/>")
	// The same question of somebody else is about somebody else.
	got, err := l.get(stranger, "<isFriend jid='owner@a.example'/>")
	if err != nil || got != "<isFriendResponse jid='owner@a.example' result='false'/>" {
		t.Errorf("%s, %v", got, err)
	}
	l.rule(Rule{Subject: "other@b.example", Action: Friend})
	l.asks("<isFriend jid='other@b.example/any'/>", "<isFriendResponse jid='other@b.example' result='true'/>")
	l.asks(canRead("owner@a.example/x", " momentary='true'>"), "<canReadResponse jid='owner@a.example' result='true'/>")
}

func Test0324R47_SecondaryTrust(t *testing.T) {
	l := claimedLab(t, func(c *Config) { c.SecondaryTrust = true })
	l.asks("<isFriend jid='stranger@c.example'/>", "<isFriendResponse jid='stranger@c.example' result='false' secondaryTrustAllowed='true'/>")
	l = claimedLab(t)
	l.asks("<isFriend jid='stranger@c.example'/>", "<isFriendResponse jid='stranger@c.example' result='false'/>")
}

func Test0324R34R64_UnknownPartiesAreDenied(t *testing.T) {
	l := claimedLab(t)
	l.asks(canRead("stranger@c.example", " all='true'><node nodeId='n'/><field name='E'/>"), "<canReadResponse jid='stranger@c.example' result='false'/>")
	l.asks("<canControl jid='stranger@c.example'><parameter name='P'/></canControl>", "<canControlResponse jid='stranger@c.example' result='false'/>")
	// A rule for something else leaves nothing of this.
	l.rule(Rule{Subject: "c.example", Action: Read, Nodes: []provisioning.Ref{{ID: "m"}}})
	l.asks(canRead("stranger@c.example", "><node nodeId='n'/>"), "<canReadResponse jid='stranger@c.example' result='false'/>")
	if got, err := l.get(thing, "<canRead momentary='true'/>"); err == nil {
		t.Error(got)
	}
}

func TestRulesNarrow(t *testing.T) {
	l := claimedLab(t)
	l.rule(Rule{Subject: "other@b.example", Action: Read, Names: []string{"Energy", "Power"}, Types: node.Momentary | node.Peak})
	yes := "<canReadResponse jid='other@b.example' result='true'"
	l.asks(canRead("other@b.example", " momentary='true'><field name='Energy'/>"), yes+"/>")
	l.asks(canRead("other@b.example", " all='true'><field name='Energy'/><field name='Secret'/>"), yes+" momentary='true' peak='true'><field name='Energy'/></canReadResponse>")
	l.asks(canRead("other@b.example", ">"), yes+" momentary='true' peak='true'><field name='Energy'/><field name='Power'/></canReadResponse>")
	l.rule(Rule{Subject: "b.example", Action: Control, Nodes: []provisioning.Ref{{ID: "n1"}}, Names: []string{"Out"}})
	l.asks("<canControl jid='x@b.example'><node nodeId='n1'/><node nodeId='n2'/><parameter name='Out'/><parameter name='In'/></canControl>",
		"<canControlResponse jid='x@b.example' result='true'><node nodeId='n1'/><parameter name='Out'/></canControlResponse>")
	// A prohibition for the person comes before the permission for the domain.
	l.rule(Rule{Subject: "x@b.example", Action: Control, Deny: true})
	l.asks("<canControl jid='x@b.example'><node nodeId='n1'/><parameter name='Out'/></canControl>", "<canControlResponse jid='x@b.example' result='false'/>")
	l.restart()
	l.asks("<canControl jid='y@b.example'><node nodeId='n1'/><parameter name='Out'/></canControl>", "<canControlResponse jid='y@b.example' result='true'/>")
	l.asks("<canControl jid='x@b.example'><node nodeId='n1'/><parameter name='Out'/></canControl>", "<canControlResponse jid='x@b.example' result='false'/>")
}

// A prohibition of one name is not lost when a request names none.
func TestProhibitionsWithinOpenRequests(t *testing.T) {
	now := time.Now()
	who := jid.MustParse("a@b.example")
	rules := []Rule{
		{Subject: Everyone, Action: Read, Number: 1},
		{Subject: Everyone, Action: Read, Deny: true, Names: []string{"Secret"}, Number: 2},
	}
	d := decide(rules, provisioning.Question{JID: who}, nil, now)
	if d.Result {
		t.Errorf("%+v: all others cannot be said", d.Answer)
	}
	d = decide(rules, provisioning.Question{JID: who, Names: []string{"Secret", "A"}}, nil, now)
	if !d.Result || !slices.Equal(d.Names, []string{"A"}) {
		t.Errorf("%+v", d.Answer)
	}
	rules = append(rules, Rule{Subject: Everyone, Action: Read, Deny: true, Nodes: []provisioning.Ref{{ID: "n", Source: "s"}}, Number: 3})
	if d = decide(rules, provisioning.Question{JID: who, Names: []string{"A"}, Nodes: []provisioning.Ref{{ID: "n"}}}, nil, now); d.Result {
		t.Errorf("%+v: the pattern holds a forbidden node", d.Answer)
	}
	if d = decide(rules, provisioning.Question{JID: who, Names: []string{"A"}, Nodes: []provisioning.Ref{{ID: "n", Source: "t"}}}, nil, now); !d.Result {
		t.Errorf("%+v", d.Answer)
	}
}

func Test0324R42R43_ClearCacheUntilAcknowledged(t *testing.T) {
	l := claimedLab(t)
	l.rule(Rule{Subject: "other@b.example", Action: Read})
	if s := l.took(); len(s) != 0 {
		t.Errorf("a device that never asked is told %v", s)
	}
	l.asks(canRead("other@b.example", ">"), "<canReadResponse jid='other@b.example' result='true'/>")
	l.silent = true
	r := l.rule(Rule{Subject: "other@b.example", Action: Control})
	if s := l.took(); len(s) != 1 || s[0].xml != "<clearCache/>" && s[0].xml != "<clearCache></clearCache>" || s[0].To.String() != thing || s[0].Type != xmpp.Set {
		t.Fatalf("%v", s)
	}
	l.pass(29 * time.Second)
	if s := l.took(); len(s) != 0 {
		t.Fatalf("%v", s)
	}
	l.pass(2 * time.Second)  // the time-out
	l.pass(31 * time.Second) // again
	if s := l.took(); len(s) != 1 {
		t.Fatalf("%v", s)
	}
	l.silent = false
	l.pass(31 * time.Second)
	l.pass(31 * time.Second)
	if s := l.took(); len(s) != 1 {
		t.Fatalf("%v", s)
	}
	l.pass(time.Hour)
	if s := l.took(); len(s) != 0 {
		t.Fatalf("acknowledged, but %v", s)
	}
	if err := l.RemoveRule(context.Background(), r.ID); err != nil {
		t.Fatal(err)
	}
	if s := l.took(); len(s) != 1 {
		t.Fatalf("%v", s)
	}
}

func Test0324R65_AnOfflineDeviceIsToldWhenItReturns(t *testing.T) {
	l := claimedLab(t)
	l.asks(canRead("owner@a.example", ">"), "<canReadResponse jid='owner@a.example' result='true'/>")
	l.answer = func(sent) *xmpp.Error { return xmpp.NewError(xmpp.ServiceUnavailable, "") }
	l.rule(Rule{Subject: "other@b.example", Action: Read})
	l.took()
	l.pass(time.Hour)
	if s := l.took(); len(s) != 0 {
		t.Fatalf("sent to nowhere: %v", s)
	}
	l.restart()
	l.answer = nil
	// Any stanza says that the device is there (0324-D23); the cache is cleared
	// before it is answered.
	got, err := l.get("thing@a.example/new", canRead("other@b.example", ">"))
	if err != nil || !strings.Contains(got, "result='true'") {
		t.Errorf("%s, %v", got, err)
	}
	if s := l.took(); len(s) != 1 || !strings.HasPrefix(s[0].xml, "<clearCache") || s[0].To.String() != "thing@a.example/new" {
		t.Errorf("%v", s)
	}
}

// A device that comes back at another address while a clearCache is on its way
// to the old one is told at once.
func TestClearCacheFollowsTheDevice(t *testing.T) {
	l := claimedLab(t)
	l.asks(canRead("owner@a.example", ">"), "<canReadResponse jid='owner@a.example' result='true'/>")
	l.silent = true
	l.rule(Rule{Subject: "other@b.example", Action: Read})
	old := l.took()
	l.silent = false
	if _, err := l.give(xmpp.Presence, "", "thing@a.example/new", ""); err != nil {
		t.Fatal(err)
	}
	if s := l.took(); len(old) != 2 || len(s) != 1 || s[0].To.String() != "thing@a.example/new" {
		t.Fatalf("%v, %v", old, s)
	}
	// The old one's failure changes nothing.
	l.pass(31 * time.Second)
	l.rule(Rule{Subject: "third@b.example", Action: Read})
	if s := l.took(); len(s) == 0 || s[0].To.String() != "thing@a.example/new" {
		t.Fatalf("%v", s)
	}
}

func Test0324R25_RecommendationsFollowRules(t *testing.T) {
	l := claimedLab(t)
	r := l.rule(Rule{Subject: "other@b.example", Action: Read})
	if err := l.RemoveRule(context.Background(), r.ID); err != nil {
		t.Fatal(err)
	}
	if s := l.took(); len(s) != 0 {
		t.Fatalf("a device that never asked is told %v", s)
	}
	l.asks("<isFriend jid='owner@a.example'/>", "<isFriendResponse jid='owner@a.example' result='true'/>")
	r = l.rule(Rule{Subject: "other@b.example", Action: Read})
	s := l.took()
	if len(s) != 2 || s[1].Kind != xmpp.Message || s[1].To.String() != device || s[1].xml != "<friend jid='other@b.example'/>" {
		t.Fatalf("%v", s)
	}
	if err := l.RemoveRule(context.Background(), r.ID); err != nil {
		t.Fatal(err)
	}
	if s = l.took(); len(s) != 2 || s[1].xml != "<unfriend jid='other@b.example'/>" {
		t.Fatalf("%v", s)
	}
}

// A permission for a time ends by itself, and the device hears of it.
func TestRulesEnd(t *testing.T) {
	l := claimedLab(t)
	l.rule(Rule{Subject: "other@b.example", Action: Read, Since: l.clock().Add(time.Hour), Until: l.clock().Add(2 * time.Hour)})
	no, yes := "<canReadResponse jid='other@b.example' result='false'/>", "<canReadResponse jid='other@b.example' result='true'/>"
	l.pass(0)
	l.asks(canRead("other@b.example", ">"), no)
	l.took()
	l.pass(time.Hour)
	if s := l.took(); len(s) != 1 || !strings.HasPrefix(s[0].xml, "<clearCache") {
		t.Errorf("at the beginning %v", s)
	}
	l.asks(canRead("other@b.example", ">"), yes)
	l.pass(time.Hour)
	if s := l.took(); len(s) < 1 || !strings.HasPrefix(s[0].xml, "<clearCache") {
		t.Errorf("at the end %v", s)
	}
	l.asks(canRead("other@b.example", ">"), no)
	if len(l.Rules("")) != 0 {
		t.Error("the rule is still there")
	}
}

// question waits for the one that the owner gets.
func (l *lab) question() (id, text string) {
	l.t.Helper()
	for _, s := range l.took() {
		if q, ok := s.Payload.(Question); ok && s.Kind == xmpp.Message && s.To.String() == "owner@a.example" {
			id, text = q.ID, q.Text()
		}
	}
	return id, text
}

func (l *lab) replies(from, id, verdict string) {
	l.t.Helper()
	form := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:iot:provisioning</value></field>" +
		"<field var='question'><value>" + id + "</value></field><field var='decision'><value>" + verdict + "</value></field></x>"
	if _, err := l.give(xmpp.Message, "", from, form); err != nil {
		l.t.Error(err)
	}
}

func TestUnknownRequestsAreTheOwnersDecision(t *testing.T) {
	no := func(who string) string { return "<canReadResponse jid='" + who + "' result='false'/>" }
	yes := func(who string) string { return "<canReadResponse jid='" + who + "' result='true'/>" }
	ask := func(who string) string { return canRead(who, " momentary='true'><field name='Energy'/>") }
	const a, b = "other@b.example", "second@b.example"
	for verdict, want := range map[string][3]string{
		"yes":        {yes(a), yes(a), no(b)},
		"yes-domain": {yes(a), yes(a), yes(b)},
		"no":         {no(a), no(a), no(b)},
		"no-domain":  {no(a), no(a), no(b)},
		"yes-once":   {yes(a), no(a), no(b)},
	} {
		t.Run(verdict, func(t *testing.T) {
			l := claimedLab(t)
			l.asks(ask(a), no(a))
			id, text := l.question()
			if id == "" || text != "other@b.example wants to read Energy of thing@a.example." {
				t.Fatalf("%q %q", id, text)
			}
			l.asks(ask(a), no(a))
			if again, _ := l.question(); again != "" {
				t.Error("asked twice")
			}
			l.restart()
			l.replies(stranger, id, verdict)
			l.replies(a+"/x", id, verdict)
			l.replies(owner, id, "whatever")
			if len(l.Rules("")) != 0 {
				t.Fatal("somebody else decided")
			}
			l.replies(owner, id, verdict)
			if s := l.took(); len(s) == 0 || !strings.HasPrefix(s[0].xml, "<clearCache") {
				t.Errorf("the device keeps its no: %v", s)
			}
			l.asks(ask(a), want[0])
			if verdict == "yes-once" {
				s := l.took()
				if len(s) < 2 || s[0].ID != "q1" || !strings.HasPrefix(s[1].xml, "<clearCache") {
					t.Errorf("a yes for once may stay in the cache: %v", s)
				}
			}
			l.took()
			l.asks(ask(a), want[1])
			l.took()
			l.asks(ask(b), want[2])
			id2, _ := l.question()
			if open := verdict == "yes" || verdict == "no" || verdict == "yes-once"; (id2 != "") != open {
				t.Errorf("question about %s: %q", b, id2)
			}
			l.replies(owner, id, "yes")
			if len(l.Rules("")) > 1 {
				t.Error("answered twice")
			}
		})
	}
}

func TestTheNewOwnerInheritsNoRules(t *testing.T) {
	l := claimedLab(t)
	l.rule(Rule{Subject: "other@b.example", Action: Read})
	l.ok(owner, "<disown jid='thing@a.example'/>", "")
	if len(l.Rules("")) != 0 {
		t.Error("after disown")
	}
	l.ok(thing, "<register>"+tags+"</register>", "")
	l.ok(other1, "<mine>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
	l.asks(canRead("owner@a.example", ">"), "<canReadResponse jid='owner@a.example' result='false'/>")
	l.rule(Rule{Subject: "owner@a.example", Action: Read})
	l.ok(thing, "<unregister/>", "")
	if len(l.Rules("")) != 0 {
		t.Error("after unregister")
	}
}

// What is decided for any request stays within the rules, is not empty when
// they allow something of a list, and is exact for a single value and for
// whatever is a rectangle.
func TestDecisionsStayWithinRules(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	who := jid.MustParse("a@b.example")
	nodes := []provisioning.Ref{{ID: "n1"}, {ID: "n2", Source: "s"}, {ID: "n3", Source: "s", Cache: "c"}}
	patterns := append(slices.Clone(nodes), provisioning.Ref{ID: "n2"}, provisioning.Ref{ID: "n3", Source: "s"}, provisioning.Ref{ID: "n4"})
	names := []string{"A", "B", "C"}
	all := []provisioning.Types{node.Momentary, node.Peak, node.Status}
	exact, narrowed := 0, 0
	for range 4000 {
		var rules []Rule
		for i := range rnd.IntN(6) {
			r := Rule{Action: Read, Deny: rnd.IntN(3) == 0, Number: uint64(i + 1), Subject: []string{"a@b.example", "b.example", Everyone, "z@b.example"}[rnd.IntN(4)]}
			r.Nodes = some(rnd, patterns)
			r.Names = some(rnd, append(slices.Clone(names), "D"))
			for _, x := range some(rnd, all) {
				r.Types |= x
			}
			rules = append(rules, r)
		}
		app := applicable(rules, who, Read, now)
		allowed := func(n provisioning.Ref, f string, x provisioning.Types) bool {
			for _, r := range app {
				inNode := len(r.Nodes) == 0 || slices.ContainsFunc(r.Nodes, func(p provisioning.Ref) bool { return p.Matches(n) })
				inName := len(r.Names) == 0 || slices.Contains(r.Names, f)
				if inNode && inName && (r.Types == 0 || r.Types&x != 0) {
					return !r.Deny
				}
			}
			return false
		}
		q := provisioning.Question{JID: who, Nodes: some(rnd, nodes), Names: some(rnd, names)}
		for _, x := range some(rnd, all) {
			q.Types |= x
		}
		d := decide(rules, q, nil, now)
		got := func(n provisioning.Ref, f string, x provisioning.Types) bool {
			return d.Result && (len(d.Nodes) == 0 || slices.ContainsFunc(d.Nodes, func(p provisioning.Ref) bool { return p.Matches(n) })) &&
				(len(d.Names) == 0 || slices.Contains(d.Names, f)) && (d.Types == 0 || d.Types&x != 0)
		}
		anyAllowed := false
		for _, n := range append(slices.Clone(nodes), provisioning.Ref{ID: "n9"}) {
			for _, f := range append(slices.Clone(names), "Z") {
				for _, x := range append(slices.Clone(all), node.Identity) {
					asked := (len(q.Nodes) == 0 || slices.Contains(q.Nodes, n)) && (len(q.Names) == 0 || slices.Contains(q.Names, f)) && (q.Types == 0 || q.Types&x != 0)
					if !asked {
						continue
					}
					anyAllowed = anyAllowed || allowed(n, f, x)
					if got(n, f, x) && !allowed(n, f, x) {
						t.Fatalf("%+v\n%+v\ngives %+v, which is too much at %v %s %v", rules, q, d.Answer, n, f, x)
					}
					single := provisioning.Question{JID: who, Nodes: []provisioning.Ref{n}, Names: []string{f}, Types: x}
					if one := decide(rules, single, nil, now); one.Result != allowed(n, f, x) {
						t.Fatalf("%+v\n%+v\ngives %+v", rules, single, one.Answer)
					}
					exact++
				}
			}
		}
		if lists := len(q.Nodes) > 0 && len(q.Names) > 0; lists && anyAllowed != d.Result {
			t.Fatalf("%+v\n%+v\ngives %+v although something is allowed: %v", rules, q, d.Answer, anyAllowed)
		}
		if d.Result && (len(d.Nodes) > 0 || len(d.Names) > 0 || d.Types != 0) {
			narrowed++
		}
	}
	if exact < 10_000 || narrowed < 200 {
		t.Errorf("too little was tried: %d, %d", exact, narrowed)
	}
}

func some[T any](rnd *rand.Rand, of []T) (list []T) {
	if rnd.IntN(3) == 0 {
		return nil
	}
	for _, x := range of {
		if rnd.IntN(2) == 0 {
			list = append(list, x)
		}
	}
	return list
}

func TestRulesThatAreNone(t *testing.T) {
	l := newLab(t)
	for _, r := range []Rule{
		{Subject: "a@b.example", Action: Read}, {Device: "x@y.example/z", Subject: "a@b.example", Action: Read}, {Device: device, Subject: "a@b.example/c", Action: Read},
		{Device: device, Subject: "", Action: Read}, {Device: device, Subject: "a@b.example", Action: "write"}, {Device: device, Subject: "a@b.example", Action: Control, Types: node.Peak},
		{Device: device, Subject: "a@b.example", Action: Read, Names: []string{""}}, {Device: device, Subject: "a@b.example", Action: Read, Nodes: []provisioning.Ref{{}}},
		{Device: device, Subject: "a@b.example", Action: Read, Until: time.Unix(1, 0), Since: time.Unix(2, 0)},
	} {
		if got, err := l.AddRule(context.Background(), r); err == nil {
			t.Errorf("%+v", got)
		}
	}
	for i := range 300 {
		_, err := l.AddRule(context.Background(), Rule{Device: device, Subject: fmt.Sprintf("u%d@b.example", i), Action: Read})
		if (err != nil) != (i >= 256) {
			t.Fatalf("rule %d: %v", i, err)
		}
	}
}
