package node

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"postern/drivers"
)

func mk(id, source, parent string) Node {
	n := Node{Ref: Ref{ID: id, Source: source}}
	if parent != "" {
		n.Parent = Ref{ID: parent}
	}
	return n
}

func ids(nodes []*Node) string {
	var s []string
	for _, n := range nodes {
		s = append(s, n.Ref.String())
	}
	return strings.Join(s, " ")
}

func num(s string) drivers.Number {
	n, err := drivers.ParseNumber(s)
	if err != nil {
		panic(err)
	}
	return n
}

// The triple of notes §2: absent source or cache mean any, equality is octet
// by octet, several matches are all of them.
func Test0323R42_Resolve(t *testing.T) {
	cached := mk("x", "s", "")
	cached.Cache = "c"
	tree, err := NewTree([]Node{mk("house", "", ""), mk("a", "", "house"), mk("b", "", "a"), mk("x", "s", ""), cached, mk("x", "t", "house")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		patterns       []Ref
		below          bool
		nodes, unknown string
	}{
		{nil, false, "house a b s/x s/x#c t/x", ""},
		{[]Ref{{ID: "x"}}, false, "s/x s/x#c t/x", ""},
		{[]Ref{{ID: "x", Source: "s"}}, false, "s/x s/x#c", ""},
		{[]Ref{{ID: "x", Cache: "c"}}, false, "s/x#c", ""},
		{[]Ref{{ID: "x", Source: "S"}}, false, "", "S/x"},
		{[]Ref{{ID: "house"}}, true, "house a b t/x", ""},
		{[]Ref{{ID: "house"}}, false, "house", ""},
		{[]Ref{{ID: "b"}, {ID: "nope"}, {ID: "a"}}, true, "b a", "nope"},
	} {
		nodes, unknown := tree.Resolve(c.patterns, c.below)
		var u []string
		for _, r := range unknown {
			u = append(u, r.String())
		}
		if ids(nodes) != c.nodes || strings.Join(u, " ") != c.unknown {
			t.Errorf("%v below=%v: %q unknown %q", c.patterns, c.below, ids(nodes), u)
		}
	}
}

func TestTreeRefusesMistakes(t *testing.T) {
	param := func(p Parameter) []Node { n := mk("a", "", ""); n.Parameters = []Parameter{p}; return []Node{n} }
	self := mk("a", "", "")
	self.Self = true
	self2 := mk("b", "", "")
	self2.Self = true
	twice := mk("a", "", "")
	twice.Fields = []Field{{Name: "f"}, {Name: "f"}}
	loop := []Node{mk("a", "", "b"), mk("b", "", "a")}
	for _, c := range []struct {
		nodes []Node
		want  string
	}{
		{[]Node{mk("", "", "")}, "needs an id"},
		{[]Node{mk("a", "", ""), mk("a", "", "")}, "two nodes"},
		{[]Node{mk("a", "", "b")}, "does not exist"},
		{loop, "its own ancestor"},
		{[]Node{self, self2}, "stand for the gateway"},
		{[]Node{twice}, "used twice"},
		{param(Parameter{Name: "p"}), "no kind"},
		{param(Parameter{Name: "p", Kind: drivers.KindEnum}), "needs options"},
		{param(Parameter{Name: "p", Kind: drivers.KindInt, Min: num("2"), Max: num("1"), HasMin: true, HasMax: true}), "above max"},
		{param(Parameter{Name: "p", Kind: drivers.KindString, Regex: "("}), "regex"},
		{param(Parameter{Name: "p", Kind: drivers.KindBool, Safe: drivers.Int(0)}), "safe state"},
		{param(Parameter{Name: "p", Kind: drivers.KindInt, Safe: drivers.Int(5), Max: num("4"), HasMax: true}), "at most 4"},
		{param(Parameter{Name: "p", Kind: drivers.KindString, Options: []Option{{Value: "x"}, {Value: "x"}}}), "twice"},
	} {
		if _, err := NewTree(c.nodes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestParameterCheck(t *testing.T) {
	p := Parameter{Name: "p", Kind: drivers.KindNumber, Min: num("-1.5"), Max: num("10"), HasMin: true, HasMax: true, Step: num("0.25")}
	n := mk("a", "", "")
	n.Parameters = []Parameter{p}
	if _, err := NewTree([]Node{n}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		v  string
		ok bool
	}{{"-1.5", true}, {"-1.50", true}, {"10", true}, {"10.01", false}, {"-1.51", false}, {"0", true}, {"0.1", false}, {"0.25", true}, {"1e1", true}, {"0.250000001", false}} {
		if err := p.Check(drivers.Decimal(num(c.v))); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.v, err)
		}
	}
	text := Parameter{Name: "t", Kind: drivers.KindString, Regex: "a|bb", MaxLen: 2}
	n.Parameters = []Parameter{text}
	tree, err := NewTree([]Node{n})
	if err != nil {
		t.Fatal(err)
	}
	tp := tree.Nodes()[0].Parameter("t")
	for s, ok := range map[string]bool{"a": true, "bb": true, "ab": false, "abb": false, "b": false} { // D31: the whole value
		if err := tp.Check(drivers.String(s)); (err == nil) != ok {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// Owner, allow list, domains, strangers; several grants of one JID add up.
func TestAllowList(t *testing.T) {
	a, err := NewAllowList([]string{"Owner@Example.org", ""}, []Grant{
		{JID: "alice@example.org", Read: true, Scope: Scope{Nodes: []Ref{{ID: "a"}}, Types: Momentary}},
		{JID: "alice@example.org", Read: true, Scope: Scope{Nodes: []Ref{{ID: "b"}}, Fields: []string{"f"}}},
		{JID: "alice@example.org", Control: true, Scope: Scope{Parameters: []string{"p"}}},
		{JID: "works.example", Read: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(jid string) Decision { d, _ := a.CanRead(context.Background(), Request{Bare: jid}); return d }
	control := func(jid string) Decision { d, _ := a.CanControl(context.Background(), Request{Bare: jid}); return d }
	ra, rb := Ref{ID: "a", Source: "s"}, Ref{ID: "b"}
	if d := read("owner@example.org"); d.Readable(ra, "x", All) != All || !control("owner@example.org").Settable(rb, "q") {
		t.Error("the owner is not allowed everything")
	}
	d := read("alice@example.org")
	if d.Readable(ra, "x", All) != Momentary || d.Readable(rb, "f", All) != All || d.Readable(rb, "x", All) != 0 || d.Readable(Ref{ID: "c"}, "f", All) != 0 {
		t.Errorf("%+v", d)
	}
	if c := control("alice@example.org"); !c.Settable(ra, "p") || c.Settable(ra, "q") {
		t.Errorf("%+v", c)
	}
	if !read("anybody@works.example").Covers(rb) || !control("anybody@works.example").Denied() {
		t.Error("a domain's grant")
	}
	for _, stranger := range []string{"mallory@example.org", "owner@example.net", "", "example.org", "alice@example.org.evil.example", "works.example.evil@x.example"} {
		if !read(stranger).Denied() || !control(stranger).Denied() || a.Known(stranger) {
			t.Errorf("%q is allowed something", stranger)
		}
	}
	if !a.Known("owner@example.org") || !a.Known("x@works.example") {
		t.Error("Known")
	}
	for _, bad := range []string{"@", "a@b/c"} {
		if _, err := NewAllowList([]string{bad}, nil); err == nil {
			t.Errorf("owner %q accepted", bad)
		}
		if _, err := NewAllowList(nil, []Grant{{JID: bad}}); err == nil {
			t.Errorf("grant %q accepted", bad)
		}
	}
}

// R50: what a coarser period counts as.
func Test0323R50_Widen(t *testing.T) {
	for _, c := range []struct{ in, out Types }{
		{HistoricalYear, HistoricalYear | HistoricalQuarter | HistoricalMonth | HistoricalDay | HistoricalHour | HistoricalMinute | HistoricalSecond},
		{HistoricalWeek, HistoricalWeek | HistoricalDay | HistoricalHour | HistoricalMinute | HistoricalSecond},
		{HistoricalSecond, HistoricalSecond}, {HistoricalOther, HistoricalOther}, {Momentary, Momentary},
	} {
		if got := c.in.Widen(); got != c.out {
			t.Errorf("%v: %v", c.in, got)
		}
	}
}

func TestFromChannels(t *testing.T) {
	f, p := FromChannels([]drivers.Channel{{Name: "t", Kind: drivers.KindNumber, Unit: "°C"}, {Name: "on", Kind: drivers.KindBool, Writable: true, Doc: "relay"},
		{Name: "mode", Kind: drivers.KindEnum, Options: []string{"a", "b"}, Writable: true}})
	if len(f) != 3 || f[0].Unit != "°C" || f[0].Types != Momentary || len(p) != 2 || p[1].Options[1].Value != "b" {
		t.Errorf("%+v %+v", f, p)
	}
}

// xsdPattern is the printed pattern without its anchors, in Go's words for the
// characters that are allowed in it.
var xsdPattern = regexp.MustCompile(`^\d+([|]\w+([.]\w+)*([|][^,]*)?)?(,\d+([|]\w+([.]\w+)*([|][^,]*)?)?)*$`)

// R53: what a tree lets out fits the pattern, and the wider prose grammar is
// read (D28).
func Test0323R53_StringIDs(t *testing.T) {
	for _, c := range []struct {
		s             string
		reads, leaves bool
	}{
		{"1", true, true}, {"1,2", true, true}, {"1|a.b", true, true}, {"1|a.b|x y", true, true}, {"1|a|s|t", true, true}, {"1,2|m|3", true, true},
		{"3|", true, false}, {"3||A1", true, false}, {"3||-1", true, false}, {"3|a|", true, false},
		{"", false, true}, {"a", false, false}, {"1,", false, false}, {"1|a b", false, false}, {"1|a..b", false, false}, {"-1", false, false},
	} {
		_, err := ParseStringIDs(c.s)
		if (err == nil) != c.reads {
			t.Errorf("%q: %v", c.s, err)
		}
		n := mk("a", "", "")
		n.Fields = []Field{{Name: "f", Module: "mod", StringIDs: c.s}}
		_, err = NewTree([]Node{n})
		if (err == nil) != c.leaves {
			t.Errorf("%q on a field: %v", c.s, err)
		}
		if err == nil && c.s != "" && !xsdPattern.MatchString(c.s) {
			t.Errorf("%q leaves and does not fit the pattern", c.s)
		}
	}
	n := mk("a", "", "")
	n.Fields = []Field{{Name: "f", StringIDs: "1"}}
	if _, err := NewTree([]Node{n}); err == nil {
		t.Error("string ids without any module")
	}
	ids, err := ParseStringIDs("1,2|m.n|seed with | bar")
	if err != nil || len(ids) != 2 || ids[1] != (StringID{"2", "m.n", "seed with | bar"}) {
		t.Errorf("%+v %v", ids, err)
	}
}

func FuzzParseStringIDs(f *testing.F) {
	f.Add("1,2|m|s")
	f.Fuzz(func(t *testing.T, s string) {
		ids, err := ParseStringIDs(s)
		if err == nil && len(ids) != strings.Count(s, ",")+1 {
			t.Fatalf("%q gave %d ids", s, len(ids))
		}
	})
}

// Nodes without a source are in the one for sensors and actuators (XEP-0326).
func TestDefaultSource(t *testing.T) {
	plain, own := Ref{ID: "a"}, Ref{ID: "a", Source: "Plant"}
	for p, want := range map[Ref][2]bool{
		{ID: "a"}: {true, true}, {ID: "a", Source: MeteringTopology}: {true, false}, {ID: "a", Source: "Plant"}: {false, true},
		{ID: "a", Source: "x"}: {false, false}, {ID: "a", Source: MeteringTopology, Cache: "c"}: {false, false},
	} {
		if got := [2]bool{p.Matches(plain), p.Matches(own)}; got != want {
			t.Errorf("%v: %v", p, got)
		}
	}
}

func Test0323R40_OneNamePerStringID(t *testing.T) {
	field := func(name, module, ids string) Node {
		return Node{Ref: Ref{ID: name + module}, Fields: []Field{{Name: name, Module: module, StringIDs: ids}}}
	}
	if _, err := NewTree([]Node{field("a", "m", "1"), field("b", "n", "1"), field("c", "m", "2"), field("d", "m", "1|m|x")}); err != nil {
		t.Error(err)
	}
	twice := field("a", "m", "1")
	twice.ID = "other"
	if _, err := NewTree([]Node{field("a", "m", "1"), twice}); err != nil {
		t.Errorf("the same name in two nodes: %v", err)
	}
	if _, err := NewTree([]Node{field("a", "m", "1"), field("b", "m", "1")}); err == nil {
		t.Error("two names have one text")
	}
}
