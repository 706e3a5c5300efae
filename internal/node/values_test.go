package node

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"postern/drivers"
)

// points are the numbers at which sets are compared: all bounds of the sets and
// what lies between them.
func points() (list []drivers.Value) {
	for i := int64(-5); i <= 125; i += 5 {
		list = append(list, drivers.Decimal(drivers.Num(i, -1)))
	}
	return append(list, drivers.Int(3), drivers.Long(1<<60), drivers.Decimal(drivers.Num(-1, 18)), drivers.String("x"), drivers.Bool(true))
}

func randomValues(rnd *rand.Rand) Values {
	if rnd.IntN(8) == 0 {
		return Values{}
	}
	var list []Range
	for range rnd.IntN(4) {
		a := rnd.Int64N(11)
		r := Range{Min: drivers.Num(a, 0), Max: drivers.Num((a+rnd.Int64N(4))*10, -1), HasMin: rnd.IntN(5) > 0, HasMax: rnd.IntN(5) > 0}
		r.MinOpen, r.MaxOpen = r.HasMin && rnd.IntN(3) == 0, r.HasMax && rnd.IntN(3) == 0
		list = append(list, r)
	}
	return valuesOf(rnd.IntN(3) == 0, list)
}

// Sets of values are what their members say, for whatever is done with them.
func TestSetsOfValues(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	at := points()
	for range 5000 {
		a, b := randomValues(rnd), randomValues(rnd)
		union, both, less := a.Union(b), a.Intersect(b), a.Without(b)
		any := map[string]bool{}
		for _, x := range at {
			inA, inB := a.Contains(x), b.Contains(x)
			for _, c := range []struct {
				name      string
				set       Values
				got, want bool
			}{
				{"union", union, union.Contains(x), inA || inB},
				{"intersection", both, both.Contains(x), inA && inB},
				{"difference", less, less.Contains(x), inA && !inB},
			} {
				if c.got != c.want {
					t.Fatalf("%s of %s and %s: %s is wrong about %s", c.name, a, b, c.set, x)
				}
				any[c.name] = any[c.name] || c.got
			}
		}
		for name, set := range map[string]Values{"union": union, "intersection": both, "difference": less} {
			if any[name] && set.Empty() || !set.Limited && (set.Other || set.Ranges != nil) {
				t.Fatalf("%s of %s and %s: %+v", name, a, b, set)
			}
			for i := 1; i < len(set.Ranges); i++ {
				_, hi := set.Ranges[i-1].cuts()
				if lo, _ := set.Ranges[i].cuts(); hi.cmp(lo) >= 0 {
					t.Fatalf("%s is not in order", set)
				}
			}
		}
	}
}

func TestParseRange(t *testing.T) {
	for in, want := range map[string]string{"15..25": "15..25", "..-2.50": "..-2.50", "1e2..": "100..", "-5..-5": "-5..-5"} {
		r, err := ParseRange(in)
		if err != nil || r.String() != want {
			t.Errorf("%s: %s, %v", in, r, err)
		}
	}
	for _, in := range []string{"", "..", "15", "25..15", "a..b", "1..2..3", "1..x", "99999999999999999999.."} {
		if r, err := ParseRange(in); err == nil {
			t.Errorf("%q: %s", in, r)
		}
	}
	if got := fmt.Sprint(Numbers(Range{Min: num("1"), HasMin: true, MinOpen: true}).Union(Values{Limited: true, Other: true})); got != ">1.., what is no number" {
		t.Error(got)
	}
}

// A form shows the bounds within which somebody may set a parameter, on its
// grid.
func TestNarrow(t *testing.T) {
	bounds := func(s string) Values {
		r, err := ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		return r.Values()
	}
	open := func(s string) Values {
		v := bounds(s)
		v.Ranges[0].MinOpen, v.Ranges[0].MaxOpen = v.Ranges[0].HasMin, v.Ranges[0].HasMax
		return v
	}
	number := Parameter{Kind: drivers.KindNumber}
	level := Parameter{Kind: drivers.KindInt, Min: num("0"), Max: num("100"), HasMin: true, HasMax: true}
	stepped := Parameter{Kind: drivers.KindNumber, Min: num("5"), Max: num("30"), HasMin: true, HasMax: true, Step: num("0.5")}
	for _, c := range []struct {
		p    Parameter
		v    Values
		want string // empty: nothing is left
	}{
		{number, Values{}, ".."},
		{number, bounds("15..25"), "15..25"},
		{number, bounds("..25").Union(bounds("30..40")), "..40"},
		{level, bounds("15..250"), "15..100"},
		{level, open("15..25"), "16..24"},
		{level, bounds("14.5..25.5"), "15..25"},
		{level, bounds("101.."), ""},
		{level, open("15..16"), ""},
		{level, NoValue(), ""},
		{stepped, bounds("15.2..24.9"), "15.5..24.5"},
		{stepped, open("15..25"), "15.5..24.5"},
		{stepped, bounds("-3..7"), "5..7.0"},
		{Parameter{Kind: drivers.KindBool}, bounds("0..1"), ""},
		{Parameter{Kind: drivers.KindBool}, Values{Limited: true, Other: true}, ".."},
	} {
		p := c.p
		ok := p.Narrow(c.v)
		got := Range{Min: p.Min, Max: p.Max, HasMin: p.HasMin, HasMax: p.HasMax}.String()
		if !ok {
			got = ""
		}
		if got != c.want {
			t.Errorf("%s within %+v: %q, want %q", c.v, c.p, got, c.want)
		}
		// What the form offers at its ends may be set.
		for _, end := range []struct {
			has bool
			n   drivers.Number
		}{{p.HasMin && !c.p.HasMin, p.Min}, {p.HasMax && !c.p.HasMax, p.Max}} {
			if ok && end.has && !c.v.Contains(drivers.Decimal(end.n)) {
				t.Errorf("%s within %+v offers %s", c.v, c.p, end.n)
			}
		}
	}
}

func TestValuesOfADecision(t *testing.T) {
	r := Range{Min: num("15"), Max: num("25"), HasMin: true, HasMax: true}
	d := Decision{Scopes: []Scope{
		{Parameters: []string{"a", "b"}, Values: []ParameterValues{{"a", r.Values()}}},
		{Nodes: []Ref{{ID: "n"}}, Parameters: []string{"a"}, Values: []ParameterValues{{"", Numbers(Range{Min: num("30"), HasMin: true})}}},
		{Parameters: []string{"c"}, Values: []ParameterValues{{"c", NoValue()}}},
	}}
	n, m := Ref{ID: "n"}, Ref{ID: "m"}
	for _, c := range []struct {
		ref        Ref
		name, want string
		settable   bool
	}{{m, "a", "15..25", true}, {n, "a", "15..25, 30..", true}, {m, "b", "any value", true}, {m, "c", "no value", false}, {m, "z", "no value", false}} {
		if got := d.Values(c.ref, c.name); got.String() != c.want || d.Settable(c.ref, c.name) != c.settable {
			t.Errorf("%s %s: %s", c.ref, c.name, got)
		}
	}
	d.Except = []Ref{n}
	if d.Settable(n, "a") {
		t.Error("what is excepted may be set")
	}
}

// Who is granted all of a request need not be asked about.
func TestGrants(t *testing.T) {
	n, m := Ref{ID: "n"}, Ref{ID: "m"}
	ask := Request{Nodes: []Ref{n}, Fields: []string{"a"}, Types: Momentary}
	open := Request{Types: Momentary}
	for _, c := range []struct {
		s            Scope
		ask, openAsk bool
	}{
		{Scope{}, true, true},
		{Scope{Nodes: []Ref{n, m}}, true, false},
		{Scope{Nodes: []Ref{m}}, false, false},
		{Scope{Fields: []string{"a", "b"}}, true, false},
		{Scope{Fields: []string{"b"}}, false, false},
		{Scope{Types: Momentary | Peak}, true, true},
		{Scope{Types: Peak}, false, false},
		{Scope{Values: []ParameterValues{{"p", NoValue()}}}, false, false},
	} {
		d := Decision{Scopes: []Scope{{Nodes: []Ref{m}}, c.s}}
		if d.Grants(ask) != c.ask || d.Grants(open) != c.openAsk {
			t.Errorf("%+v: %v, %v", c.s, d.Grants(ask), d.Grants(open))
		}
		d.Except = []Ref{n}
		if d.Grants(ask) {
			t.Errorf("%+v, but for the node", c.s)
		}
	}
	if (Decision{Scopes: []Scope{{Types: Momentary}}}).Grants(Request{}) {
		t.Error("no types stand for all")
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"15..25", "..-2.5", "1e18..", "-5..-5", "..", "1...2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		back, err := ParseRange(r.String())
		if err != nil || r.HasMin != back.HasMin || r.HasMax != back.HasMax || r.Min.Cmp(back.Min) != 0 || r.Max.Cmp(back.Max) != 0 {
			t.Fatalf("%q: %+v became %+v, %v", s, r, back, err)
		}
		for _, k := range []drivers.Kind{drivers.KindInt, drivers.KindNumber} {
			p := Parameter{Kind: k, Step: drivers.Num(5, -1)}
			if p.Narrow(r.Values()) && p.HasMin && p.HasMax && p.Min.Cmp(p.Max) > 0 {
				t.Fatalf("%q gives %s to %s", s, p.Min, p.Max)
			}
		}
	})
}
