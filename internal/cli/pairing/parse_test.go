package pairing

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/provisioning"
)

// Every operator of XEP-0347 can be said, and nothing else is taken.
func Test0347R40_EveryOperatorOfASearch(t *testing.T) {
	op := func(tag string, numeric bool, c provisioning.Compare, v string) provisioning.Op {
		return provisioning.Op{Tag: tag, Numeric: numeric, Compare: c, Value: v}
	}
	between := func(c provisioning.Compare, low, high string, openLow, openHigh bool) provisioning.Op {
		return provisioning.Op{Tag: "LAT", Numeric: true, Compare: c, Min: low, Max: high, OpenMin: openLow, OpenMax: openHigh}
	}
	for s, want := range map[string]provisioning.Op{
		"MAN=example.org":     op("MAN", false, provisioning.Eq, "example.org"),
		"MAN!=example.org":    op("MAN", false, provisioning.NEq, "example.org"),
		"SN<5":                op("SN", false, provisioning.Lt, "5"),
		"SN<=5":               op("SN", false, provisioning.LtEq, "5"),
		"SN>5":                op("SN", false, provisioning.Gt, "5"),
		"SN>=5":               op("SN", false, provisioning.GtEq, "5"),
		"V=1.20":              op("V", true, provisioning.Eq, "1.20"),
		"v!=1.2":              op("v", true, provisioning.NEq, "1.2"),
		"#FLOOR>=-3e1":        op("FLOOR", true, provisioning.GtEq, "-3e1"),
		"FLOOR>=3":            op("FLOOR", false, provisioning.GtEq, "3"),
		"NAME=~Kiln*":         {Tag: "NAME", Compare: provisioning.Mask, Value: "Kiln*", Wildcard: "*"},
		"NAME==[1,2]":         op("NAME", false, provisioning.Eq, "[1,2]"),
		"NAME=a=b":            op("NAME", false, provisioning.Eq, "a=b"),
		"NAME=":               op("NAME", false, provisioning.Eq, ""),
		"NAME=[x]":            op("NAME", false, provisioning.Eq, "[x]"),
		"LAT=[47.1, 47.5]":    between(provisioning.Range, "47.1", "47.5", false, false),
		"LAT=(47.1,47.5)":     between(provisioning.Range, "47.1", "47.5", true, true),
		"LAT=[47.1,47.5)":     between(provisioning.Range, "47.1", "47.5", false, true),
		"LAT!=(47.1,47.5]":    between(provisioning.NRange, "47.1", "47.5", true, false),
		"CITY=[Bern,Zürich)":  {Tag: "CITY", Compare: provisioning.Range, Min: "Bern", Max: "Zürich", OpenMax: true},
		"STREET!=[Allee,Weg]": {Tag: "STREET", Compare: provisioning.NRange, Min: "Allee", Max: "Weg"},
	} {
		got, err := parseCondition(s, "*")
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v\nwant %+v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"MAN": "no condition", "=x": "no condition", "": "no condition", "MAN!x": "no comparison",
		"V=one": "is a number", "V=~1*": "is a number", "LAT=[a,b]": "is a number", "#X=": "is a number", "V=NaN": "is a number",
		"key!=x": "secret", "KEY=~*": "secret",
	} {
		if _, err := parseCondition(s, "*"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"MAN=x", "LAT=[1,2)", "#A!=(1,2]", "N=~*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parseCondition(s, "*")
		if err == nil && (o.Tag == "" || o.Compare == provisioning.Mask && o.Wildcard == "") {
			t.Errorf("%q: %+v", s, o)
		}
	})
}

func TestScopesOfRules(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	opt := func(f func(*ruleOptions)) *ruleOptions {
		o := &ruleOptions{nodes: new([]string), names: new([]string), types: new([]string)}
		f(o)
		return o
	}
	for s, want := range map[string]time.Duration{"8h": 8 * time.Hour, "30m": 30 * time.Minute, "14d": 14 * 24 * time.Hour, "1.5d": 36 * time.Hour} {
		o := opt(func(o *ruleOptions) { o.lasting = s })
		if err := o.scope(now); err != nil || !o.untilTime.Equal(now.Add(want)) {
			t.Errorf("--for %s: %v, %v", s, o.untilTime, err)
		}
	}
	o := opt(func(o *ruleOptions) { o.until = "2026-03-02" })
	if err := o.scope(now); err != nil || o.untilTime.Format("2006-01-02") != "2026-03-02" {
		t.Errorf("%v, %v", o.untilTime, err)
	}
	o = opt(func(o *ruleOptions) { *o.nodes, o.source, *o.types = []string{"a"}, "s", []string{"momentary,peak"} })
	if err := o.scope(now); err != nil || fmt.Sprint(o.ruleNodes) != fmt.Sprint([]provisioning.Ref{{ID: "a", Source: "s"}}) || o.ruleTypes.String() != "momentary peak" {
		t.Errorf("%+v, %v", o, err)
	}
	for want, f := range map[string]func(*ruleOptions){
		"needs --node":   func(o *ruleOptions) { o.source = "s" },
		"no field type":  func(o *ruleOptions) { *o.types = []string{"often"} },
		"exclude":        func(o *ruleOptions) { o.until, o.lasting = "2027-01-01", "8h" },
		"has passed":     func(o *ruleOptions) { o.until = "2026-02-28" },
		"is no time":     func(o *ruleOptions) { o.until = "tomorrow" },
		"no length":      func(o *ruleOptions) { o.lasting = "d" },
		"no length of t": func(o *ruleOptions) { o.lasting = "-8h" },
	} {
		if err := opt(f).scope(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSentences(t *testing.T) {
	j := unclaimed().Account
	for want, r := range map[string]provisioning.Rule{
		"a@b.example may read everything of " + j:                        {Subject: "a@b.example", Action: "read"},
		"everyone may not control on, off on fan of " + j:                {Subject: "*", Action: "control", Deny: true, Names: []string{"on", "off"}, Nodes: []provisioning.Ref{{ID: "fan"}}},
		"everybody of b.example may be a friend of " + j:                 {Subject: "b.example", Action: "friend"},
		"a@b.example may read momentary power of " + j + ", once":        {Subject: "a@b.example", Action: "read", Types: 1, Names: []string{"power"}, Once: true},
		"a@b.example may not be a friend of " + j + ", until 2026-03-01": {Subject: "a@b.example", Action: "friend", Deny: true, Until: time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)},
	} {
		r.Device = mustThing(t, j)
		if got := sentence(r); !strings.HasPrefix(got, want) {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}

func TestQuestionsArePicked(t *testing.T) {
	all := []provisioning.Asked{{ID: "ABCD1"}, {ID: "ABCE2"}}
	if q, err := pick(all, "abcd"); err != nil || q.ID != "ABCD1" {
		t.Errorf("%v, %v", q, err)
	}
	if _, err := pick(all, "ABC"); err == nil || !strings.Contains(err.Error(), "2 questions") {
		t.Error(err)
	}
	if _, err := pick(all, "X"); err == nil || !strings.Contains(err.Error(), "no open question") {
		t.Error(err)
	}
}

// Codes come as arguments, in files and from standard input; what is none is
// said before anything is sent.
func TestCodesAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "code.txt")
	if err := os.WriteFile(file, []byte("\n "+aCode+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxFile+2); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		"IoTDisco": "put it into quotes", "nothing": "neither a claim code", "IoTDisco;SN": "has no colon", "iotdisco:SN=1;KEY": "no equals sign",
		"-": "not a claim code", large: "32 MiB",
	} {
		if r := run(t, Claim, "rubbish", arg); r.code != 2 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", arg, r)
		}
	}
	// What is a code gets as far as the account.
	for _, arg := range []string{aCode, aURI, file, "-"} {
		if r := run(t, Claim, aCode+"\n", arg); r.code != 78 || !strings.Contains(r.err, "postern login") {
			t.Errorf("%s: %+v", arg, r)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		f    func() ran
		want string
	}{
		{func() ran { return run(t, Search, "") }, "at least one condition"},
		{func() ran { return run(t, Search, "", "A=b", "--max", "0") }, "--max"},
		{func() ran { return run(t, Transfer, "", "g@x.example") }, "name the new owner"},
		{func() ran { return run(t, Transfer, "", "g@x.example", "a@x.example", "--accept") }, "name the new owner"},
		{func() ran { return run(t, Transfer, "", "g@x.example", "--accept", "--withdraw") }, "exclude"},
		{func() ran { return run(t, Transfer, "", "g@x.example", "x.example") }, "not the address of an account"},
		{func() ran { return run(t, Disown, "") }, "give the address"},
		{func() ran { return run(t, Rules, "", "ad", "g@x.example", "a@x.example", "read") }, "did you mean add?"},
		{func() ran { return run(t, Rules, "", "add", "g@x.example", "a@x.example") }, "say which thing"},
		{func() ran { return run(t, Rules, "", "add", "g@x.example", "a@x.example", "own") }, "is not read"},
		{func() ran { return run(t, Rules, "", "add", "g@x.example", "a@x.example", "friend", "--node", "n") }, "whole thing"},
		{func() ran { return run(t, Rules, "", "add", "g@x.example", "a@x.example", "control", "--type", "peak") }, "only reading"},
		{func() ran { return run(t, Rules, "", "list", "--node", "n") }, "rules add"},
		{func() ran { return run(t, Rules, "", "test", "g@x.example", "a@x.example", "read", "--deny") }, "rules add"},
		{func() ran { return run(t, Rules, "", "test", "g@x.example", "*", "read") }, "one person"},
		{func() ran { return run(t, Rules, "", "remove") }, "which?"},
		{func() ran { return run(t, Friends, "") }, "name the thing"},
		{func() ran { return run(t, Friends, "", "add", "g@x.example", "x.example") }, "address of a person"},
		{func() ran { return run(t, Approve, "", "A", "--once", "--domain") }, "exclude"},
		{func() ran { return run(t, Deny, "", "--domain") }, "which question?"},
		{func() ran { return run(t, Things, "", "a@x.example", "b@x.example") }, "one thing"},
		{func() ran { return run(t, Claim, "", aCode, "--registry", "@") }, "--registry"},
		{func() ran { return run(t, Pair, "", "--light", "--dark") }, "exclude"},
		{func() ran { return run(t, Pair, "", "--copies", "0") }, "--copies"},
	} {
		if r := c.f(); r.code != 2 || !strings.Contains(r.err, c.want) {
			t.Errorf("%q: %+v", c.want, r)
		}
	}
}

func mustThing(t *testing.T, s string) jid.JID {
	t.Helper()
	j, err := cli.ParseThing(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// What is typed as a rule becomes a rule, or a usage error that says why.
func FuzzRuleOptions(f *testing.F) {
	f.Add("climate", "temperature", "momentary,peak", "15..25", "2030-01-01", "")
	f.Add("", "", "all", "..", "", "14d")
	f.Add("n", "", "", "-1e3..", "", "1h30m")
	f.Fuzz(func(t *testing.T, n, name, types, values, until, lasting string) {
		list := func(s string) *[]string {
			if s == "" {
				return new([]string)
			}
			return &[]string{s}
		}
		o := ruleOptions{nodes: list(n), names: list(name), types: list(types), values: values, until: until, lasting: lasting}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := o.scope(now); err != nil {
			env := cli.Env{Stdout: io.Discard, Stderr: io.Discard}
			if code := env.Finish("rules", err); code != cli.ExitUsage {
				t.Fatalf("%v ends with %d", err, code)
			}
			return
		}
		if o.ruleRange != nil && o.ruleRange.Check() != nil || (until != "" || lasting != "") && !o.untilTime.After(now) {
			t.Fatalf("%+v", o)
		}
		ruleText(provisioning.Rule{Nodes: o.ruleNodes, Names: *o.names, Types: o.ruleTypes, Range: o.ruleRange, Until: o.untilTime})
	})
}
