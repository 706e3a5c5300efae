package gateway

import (
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/local"
)

const computedConfig = `
account: {jid: thing@example.org, password: {env: POSTERN_TEST_PASSWORD}}
access: {owner: boss@example.org}
simulate: true
nodes:
  - {id: air, kind: bme280, interval: 100ms}
  - id: meter
    kind: modbus
    bus: field
    unit: 3
    interval: 100ms
    registers:
      - {name: p1, address: 0, scale: 0.1, unit: W}
      - {name: p2, address: 1, scale: 0.1, unit: W}
  - id: site
    kind: group
    computed:
      - {name: power, sum: [meter.p1, meter.p2]}
      - {name: skew, difference: [meter.p1, meter.p2]}
      - {name: mean, mean: [meter.p1, meter.p2]}
      - {name: dew, dew_point: {temperature: air.temperature, humidity: air.humidity}}
      - {name: energy, energy: site.power, unit: Wh}
      - {name: high, expression: site.power > 100 ? 'yes' : 'no'}
      - {name: twice, expression: site.power * 2, unit: W, digits: 1}
buses:
  field: {type: modbus, serial: {port: /dev/ttyS9}}
`

func TestComputedFields(t *testing.T) {
	r := newRig(t, computedConfig)
	var got map[string]local.Field
	for range 100 {
		got = map[string]local.Field{}
		for _, n := range r.Status().Gateway.Nodes {
			for _, f := range n.Fields {
				got[n.ID+"."+f.Name] = f
			}
		}
		if got["site.twice"].Value != "" && got["site.energy"].Value != "" && got["site.dew"].Value != "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for name, unit := range map[string]string{"power": "W", "skew": "W", "mean": "W", "dew": "°C", "energy": "Wh", "high": "", "twice": "W"} {
		f := got["site."+name]
		if f.Value == "" || f.Unit != unit || f.Error != "" || f.Quality != "automaticReadout" {
			t.Errorf("%s: %+v", name, f)
		}
	}
	e, err := local.NewClient(r.door.Path).Explain(t.Context(), "site")
	if err != nil {
		t.Fatal(err)
	}
	if w := e.Fields[0]; w.Computed != "sum(meter.p1, meter.p2)" || len(w.Sources) != 2 || w.Channel != "" {
		t.Errorf("%+v", w)
	}
	// A reload keeps the total and takes the changed formula.
	text := strings.Replace(computedConfig, "site.power * 2", "site.power * 0", 1)
	if err := r.reload(text); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if f := statusField(r.Gateway, "site", "twice"); f.Value == "0.0" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%+v", statusField(r.Gateway, "site", "twice"))
}

func statusField(g *Gateway, node, name string) local.Field {
	for _, n := range g.Status().Gateway.Nodes {
		for _, f := range n.Fields {
			if n.ID == node && f.Name == name {
				return f
			}
		}
	}
	return local.Field{}
}

// What is wrong with computed fields is told with its place.
func TestComputedFaults(t *testing.T) {
	const head = "account: {jid: a@example.org, password: {env: X}}\nnodes:\n  - {id: air, kind: bme280, fields: {pressure: {hide: true}}}\n  - id: m\n    kind: group\n    computed:\n"
	for line, want := range map[string]string{
		"- {name: x, sum: [air.temperature, air.humidity]}":                           `f:7:42: nodes[m].computed[x].sum: "air.humidity" has the unit "%RH", not "°C"`,
		"- {name: x, sum: [air.temperatur]}":                                          `f:7:25: nodes[m].computed[x].sum: the node "air" shows no field "temperatur"; did you mean temperature?`,
		"- {name: x, mean: [air.pressure]}":                                           `shows no field "pressure"`,
		"- {name: x, mean: [are.temperature]}":                                        `there is no node "are"; allowed: air, m`,
		"- {name: x, mean: [1 + 2]}":                                                  `one reading, node.field, is wanted`,
		"- {name: x, expression: air.temperature +}":                                  `f:7:31: nodes[m].computed[0].expression: "air.temperature +" does not fit`,
		"- {name: x, expression: sine(air.temperature)}":                              `the dot behind "sine" is missing`,
		"- {name: x, energy: air.temperature}":                                        `f:7:27: nodes[m].computed[x].energy: "air.temperature" has the unit "°C", which is none of power`,
		"- {name: x, dew_point: {temperature: air.humidity, humidity: air.humidity}}": `f:7:44: nodes[m].computed[x].dew_point.temperature: "air.humidity" has the unit "%RH", not "°C"`,
		"- {name: x}": `f:7:10: nodes[m].computed[x]: it is not said how it is computed`,
		"- {name: x, expression: '1', energy: air.temperature}":                                                `it is computed in more than one way`,
		"- {name: x, difference: [air.temperature]}":                                                           `out of range; allowed: 2 to 200`,
		"- {name: x, expression: m.x + 1}":                                                                     `f:7:10: nodes[m].computed[x]: it is computed from itself: m.x ← m.x; break the circle`,
		"- {name: x, expression: m.y}\n      - {name: y, expression: m.z}\n      - {name: z, sum: [m.x, m.y]}": `it is computed from itself: m.x ← m.y ← m.z ← m.x`,
		"- {name: x, expression: '1'}\n      - {name: x, expression: '2'}":                                     `the node already shows a field "x"`,
	} {
		_, ps := config.Parse("f", []byte(head+"      "+line+"\n"), Kinds())
		if len(ps) == 0 || !strings.Contains(ps.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", line, ps, want)
		}
	}
}
