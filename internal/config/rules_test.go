package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// valve is a device with a safe state.
type valve struct {
	Bus  string `yaml:"bus" default:"1" doc:"bus"`
	Safe string `yaml:"safe" default:"off" oneof:"off|on" doc:"safe state"`
}

// ruleKinds knows conditions of the form "node.field".
func ruleKinds() *Kinds {
	k := testKinds()
	valves := k.Devices[0]
	valves.Name, valves.New, valves.Claims = "valve", func() any { return new(valve) }, nil
	channels := valves.Channels
	valves.Channels = func(cfg any) ([]Channel, bool) {
		chs, ok := channels(cfg)
		chs = slices.Clone(chs)
		for i := range chs {
			chs[i].Safe = chs[i].Writable
		}
		return chs, ok
	}
	k.Devices = append(k.Devices, valves)
	k.Formats["condition"] = func(s string) error {
		if !strings.Contains(s, ".") {
			return errors.New("write node.field")
		}
		return nil
	}
	k.Values = func(s string) []Value {
		if node, field, ok := strings.Cut(s, "."); ok {
			return []Value{{node, field}}
		}
		return nil
	}
	return k
}

func TestRules(t *testing.T) {
	const nodes = head + "nodes:\n  - {id: door, kind: chip, fields: {temperature: {name: Door}, heater: {hide: true}}}\n  - id: a\n    kind: valve\n    bus: 1\n    rules:\n"
	cfg, ps := Parse("f", []byte(nodes+"      heater: {min_on: 60s, max_on: 30m, changes_per_hour: 6, group: g, link_lost: 5m, interlocks: [{condition: door.Door, reason: shut it}]}\n"), ruleKinds())
	if ps != nil {
		t.Fatal(ps)
	}
	r := cfg.Nodes[1].Rules["heater"]
	if r.MinOn != time.Minute || r.MaxOn != 30*time.Minute || r.PerHour != 6 || r.SensorLost != 10*time.Second || r.Confirm != "no" || r.LinkLost != 5*time.Minute || r.Interlocks[0].Reason != "shut it" {
		t.Errorf("%+v", r)
	}
	_, ps = Parse("f", []byte(strings.Replace(nodes, "kind: valve\n    bus: 1", "kind: chip\n    address: 0x77", 1)+"      heater: {min_on: 1s, max_on: 3s}\n"), ruleKinds())
	if len(ps) != 1 || !strings.Contains(ps[0].What, `need a safe state, which "heater" does not have`) {
		t.Errorf("%v", ps)
	}
	for _, c := range []struct{ rules, at, what, fix string }{
		{"      temperature: {min_on: 1s}", "8:7", "cannot be switched", "heater"},
		{"      heatr: {min_on: 1s}", "8:7", `no channel "heatr"`, "did you mean heater?"},
		{"      heater: {min_on: 2m, max_on: 1m}", "8:7", "shorter than min_on", "change"},
		{"      heater: {min_on: 1}", "8:24", `"1" does not fit`, "1s for seconds"},
		{"      heater: {sensor_lost: 1ms}", "8:29", "out of range", "1s to 1h"},
		{"      heater: {interlocks: [{reason: x}]}", "8:30", "the key condition is missing", "add condition"},
		{"      heater: {interlocks: [{condition: door}]}", "8:41", "does not fit", "node.field"},
		{"      heater: {interlocks: [{condition: dor.Door}]}", "8:41", `no node "dor"`, "did you mean door?"},
		{"      heater: {interlocks: [{condition: door.temperature}]}", "8:41", `shows no field "temperature"`, "Door"},
		{"      heater: {interlocks: [{condition: door.heater}]}", "8:41", `shows no field "heater"`, "Door"},
	} {
		_, ps := Parse("f", []byte(nodes+c.rules+"\n"), ruleKinds())
		if len(ps) != 1 {
			t.Errorf("%s: %v", c.rules, ps)
			continue
		}
		p := ps[0]
		if at := fmt.Sprintf("%d:%d", p.Line, p.Col); at != c.at || !strings.Contains(p.What, c.what) || !strings.Contains(p.Fix, c.fix) {
			t.Errorf("%s: %s %s; %s", c.rules, at, p.What, p.Fix)
		}
	}
}
