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
)

func within(s string) *provisioning.ValueRange {
	r, err := node.ParseRange(s)
	if err != nil {
		panic(err)
	}
	return &r
}

const (
	obeys    = "<values xmlns='urn:postern:values:1'/>"
	setpoint = "<canControl jid='bob@b.example'><parameter name='Setpoint'/>"
)

func limit(name, ranges string) string {
	return "<values xmlns='urn:postern:values:1' name='" + name + "'>" + ranges + "</values>"
}

// A range reaches devices that obey it; others may not set the parameter at
// all, since they would take any value.
func TestRangesAreForDevicesThatObeyThem(t *testing.T) {
	l := claimedLab(t)
	yes, no := "<canControlResponse jid='bob@b.example' result='true'", "<canControlResponse jid='bob@b.example' result='false'/>"
	l.rule(Rule{Subject: "bob@b.example", Action: Control, Names: []string{"Setpoint"}, Range: within("15..25")})
	l.asks(setpoint+obeys+"</canControl>", yes+">"+limit("Setpoint", "<range min='15' max='25'/>")+"</canControlResponse>")
	l.asks(setpoint+"</canControl>", no)
	// The owner has decided, so the owner is not asked.
	if id, text := l.question(); id != "" {
		t.Errorf("asked: %s", text)
	}
	// A prohibition of some values is one of all for them, too.
	l.rule(Rule{Subject: "bob@b.example", Action: Control, Names: []string{"Level"}})
	l.rule(Rule{Subject: "bob@b.example", Action: Control, Deny: true, Names: []string{"Level"}, Range: within("90..")})
	both := "<canControl jid='bob@b.example'><parameter name='Setpoint'/><parameter name='Level'/><parameter name='On'/>"
	l.asks(both+obeys+"</canControl>", yes+"><parameter name='Setpoint'/><parameter name='Level'/>"+limit("Setpoint", "<range min='15' max='25'/>")+
		"<values xmlns='urn:postern:values:1' name='Level' other='true'><range max='90' maxOpen='true'/></values></canControlResponse>")
	l.asks(both+"</canControl>", no)
	// Where the ranges together leave nothing out, there is no range.
	l.rule(Rule{Subject: "bob@b.example", Action: Control, Names: []string{"On"}})
	l.rule(Rule{Subject: "bob@b.example", Action: Control, Names: []string{"On"}, Range: within("0..1")})
	l.asks(both+"</canControl>", yes+"><parameter name='On'/></canControlResponse>")
	l.restart()
	l.asks(setpoint+obeys+"</canControl>", yes+">"+limit("Setpoint", "<range min='15' max='25'/>")+"</canControlResponse>")
	// Reading knows no ranges.
	for _, r := range []Rule{
		{Device: device, Subject: "bob@b.example", Action: Read, Range: within("1..2")},
		{Device: device, Subject: "bob@b.example", Action: Control, Range: &provisioning.ValueRange{Min: within("2..").Min, HasMin: true, Max: within("1..").Min, HasMax: true}},
	} {
		if got, err := l.AddRule(context.Background(), r); err == nil {
			t.Errorf("%+v", got)
		}
	}
}

// The owner makes, lists and tests such rules by the owner's vocabulary.
func TestOwnersMakeRulesWithRanges(t *testing.T) {
	l := claimedLab(t)
	const ns = " xmlns='urn:postern:owner:1'"
	rule := "<rule%s jid='thing@a.example' subject='bob@b.example' action='control' min='15' max='25.5'><name value='Setpoint'/></rule>"
	got, err := l.set(owner, fmt.Sprintf(rule, ns))
	if want := strings.Replace(fmt.Sprintf(rule, ns), "<rule"+ns, "<rule"+ns+" id='1'", 1); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	got, err = l.get(owner, "<rules"+ns+"/>")
	if err != nil || !strings.Contains(got, "min='15' max='25.5'") {
		t.Errorf("%s, %v", got, err)
	}
	got, err = l.get(owner, "<may"+ns+" jid='thing@a.example'><canControl xmlns='urn:xmpp:iot:provisioning' jid='bob@b.example'><parameter name='Setpoint'/>"+obeys+"</canControl></may>")
	if err != nil || !strings.Contains(got, "<range min='15' max='25.5'/>") {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"min='26' max='25'", "min='x'", "max='NaN'", "min='1' minOpen='true' max='1'"} {
		if got, err := l.set(owner, "<rule"+ns+" jid='thing@a.example' subject='bob@b.example' action='control' "+bad+"/>"); err == nil {
			t.Errorf("%s: %s", bad, got)
		}
	}
}

// For random rules with ranges, an answer allows no value that they do not,
// and of one parameter of one node exactly those they do, with and without
// tokens, to devices that obey ranges and to others.
func TestRangesStayWithinRules(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	now := time.Now()
	who := jid.MustParse("a@b.example")
	nodes := []provisioning.Ref{{ID: "n1"}, {ID: "n2", Source: "s"}}
	names := []string{"A", "B", "C"}
	values := someValues()
	limited := 0
	for range 3000 {
		var rules []Rule
		for i := range rnd.IntN(7) {
			rules = append(rules, Rule{Action: Control, Deny: rnd.IntN(3) == 0, Number: uint64(i + 1), Range: randomRange(rnd),
				Subject: []string{"a@b.example", "b.example", Everyone, TokenPrefix + "t"}[rnd.IntN(4)], Nodes: some(rnd, nodes), Names: some(rnd, names)})
		}
		app, held := applicable(rules, who, Control, now), ofToken(rules, "t", Control, now)
		tokens := [][]string{nil, {"t"}}[rnd.IntN(2)]
		allowed := func(n provisioning.Ref, f string, x int) bool {
			lists := [][]*Rule{app}
			if tokens != nil {
				lists = append(lists, held)
			}
			for _, list := range lists {
				for _, r := range list {
					if (len(r.Nodes) == 0 || slices.Contains(r.Nodes, n)) && (len(r.Names) == 0 || slices.Contains(r.Names, f)) && inRange(r.Range, values[x]) {
						if !r.Deny {
							return true
						}
						break
					}
				}
			}
			return false
		}
		q := provisioning.Question{Control: true, Ranges: rnd.IntN(4) > 0, JID: who, Nodes: some(rnd, nodes), Names: some(rnd, names)}
		d := decide(rules, q, tokens, now)
		for _, n := range append(slices.Clone(nodes), provisioning.Ref{ID: "n9"}) {
			for _, f := range append(slices.Clone(names), "Z") {
				if len(q.Nodes) > 0 && !slices.Contains(q.Nodes, n) || len(q.Names) > 0 && !slices.Contains(q.Names, f) {
					continue
				}
				in := d.Result && (len(d.Nodes) == 0 || slices.Contains(d.Nodes, n)) && (len(d.Names) == 0 || slices.Contains(d.Names, f))
				set := node.ValuesFor(d.Values, f)
				if !q.Ranges && d.Values != nil {
					t.Fatalf("%+v\n%+v: a device that does not obey is told %+v", rules, q, d.Answer)
				}
				one := decide(rules, provisioning.Question{Control: true, Ranges: true, JID: who, Nodes: []provisioning.Ref{n}, Names: []string{f}}, tokens, now)
				exact := node.ValuesFor(one.Values, f)
				if one.Result && exact.Limited {
					limited++
				}
				for x, v := range values {
					if in && set.Contains(v) && !allowed(n, f, x) {
						t.Fatalf("%+v\n%+v\ngives %+v, which is too much at %v %s %s", rules, q, d.Answer, n, f, v)
					}
					if got := one.Result && exact.Contains(v); got != allowed(n, f, x) {
						t.Fatalf("%+v\ngives %+v for %v %s %s", rules, one.Answer, n, f, v)
					}
				}
			}
		}
	}
	if limited < 2000 {
		t.Errorf("too little was tried: %d", limited)
	}
}

// Many rules with ranges and a long request cost little: what would take long
// is denied.
func TestRangesAreBounded(t *testing.T) {
	var rules []Rule
	for i := range 256 {
		r := within(fmt.Sprintf("%d..%d.5", i*2, i*2))
		rules = append(rules, Rule{Subject: Everyone, Action: Control, Number: uint64(i + 1), Range: r})
	}
	q := provisioning.Question{Control: true, Ranges: true, JID: jid.MustParse("a@b.example"), Names: []string{"A", "B"}}
	if d := decide(rules, q, nil, time.Now()); !d.Result || len(d.Values) != 2 || len(d.Values[0].Values.Ranges) != 256 {
		t.Errorf("%v, %d", d.Result, len(d.Values))
	}
	q.Names = nil
	for i := range provisioning.MaxNames {
		q.Names = append(q.Names, fmt.Sprint(i))
	}
	start := time.Now()
	if d := decide(rules, q, nil, time.Now()); d.Result {
		t.Errorf("%d values elements", len(d.Values))
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
