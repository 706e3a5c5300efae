package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestCalibration(t *testing.T) {
	const nodes = head + "nodes:\n  - id: a\n    kind: chip\n    fields:\n      temperature:\n        calibration: "
	cfg, ps := Parse("f", []byte(nodes+"{table: [{measured: 0.5, true: 0}, {measured: 98, true: 100}], digits: 2, by: Alice, date: 2026-01-01, expires: 2027-01-01}\n"), calKinds())
	if ps != nil {
		t.Fatal(ps)
	}
	c := cfg.Nodes[0].Fields["temperature"].Calibration
	if len(c.Table) != 2 || c.Table[0].Measured != "0.5" || c.Digits != 2 || c.Expires != "2027-01-01" {
		t.Errorf("%+v", c)
	}
	for _, c := range []struct{ text, what string }{
		{"{by: Bob}", "it changes nothing"},
		{"{offset: 1, polynomial: [1, 2]}", "more than one way"},
		{"{table: [{measured: 1, true: 1}]}", "table of one point"},
		{"{table: [{measured: 2, true: 1}, {measured: 2.0, true: 2}]}", "does not rise"},
		{"{table: [{measured: 2}, {measured: 3, true: 2}]}", "key true is missing"},
		{"{offset: warm}", "does not fit"},
		{"{polynomial: [1, x]}", "does not fit"},
		{"{offset: 1, date: 2026-13-01}", "does not fit"},
		{"{offset: 1, date: 2026-02-01, expires: 2026-01-31}", "expires before"},
		{"{offset: 1, digits: 10}", "out of range"},
	} {
		_, ps := Parse("f", []byte(nodes+c.text+"\n"), calKinds())
		if len(ps) != 1 || !strings.Contains(ps[0].What, c.what) || ps[0].Line != 7 {
			t.Errorf("%s: %v", c.text, ps)
		}
	}
	_, ps = Parse("f", []byte(strings.Replace(nodes, "temperature:", "heater:", 1)+"{offset: 1}\n"), calKinds())
	if len(ps) != 1 || !strings.Contains(ps[0].What, "can be switched") {
		t.Errorf("%v", ps)
	}
}

func calKinds() *Kinds {
	k := testKinds()
	k.Formats["decimal"] = func(s string) error {
		var f float64
		_, err := fmt.Sscan(s, &f)
		return err
	}
	return k
}
