package gateway

import (
	"slices"
	"strings"
	"testing"

	"postern/internal/config"
)

func simulating(top, node string) (*config.Config, config.Problems) {
	return config.Parse("gateway.yaml", []byte(top+"account: {jid: gw@site.example, password: {env: PW}}\nnodes:\n  - {id: thing, "+node+"}\n"), Kinds())
}

// A node that asks for a simulation gets one or is refused: never the real
// device in its place.
func TestSimulateIsKeptOrRefused(t *testing.T) {
	for _, c := range []struct{ top, node, want string }{
		{"", "kind: host, simulate: true", "kind host is the machine"},
		{"", "kind: board, simulate: true", "kind board is the machine"},
		{"", "kind: group, simulate: true", "simulate its parts"},
		{"", `kind: ascii, simulate: true, serial: {port: /dev/ttyS9}, values: [{name: x, pattern: 'x\by(1)'}]`, "values[0] x: no text is found"},
		{"simulate: true\n", `kind: ascii, serial: {port: /dev/ttyS9}, values: [{name: x, pattern: 'x\by(1)'}]`, "cannot be simulated"},
		{"", `kind: ascii, serial: {port: /dev/ttyS9}, values: [{name: x, pattern: 'x\by(1)'}]`, ""},
		{"simulate: true\n", "kind: host", ""},
		{"simulate: true\n", "kind: group", ""},
		{"", "kind: nmea, simulate: true, serial: {port: /dev/ttyS9}", ""},
		{"", "kind: hwmon, simulate: true, chip: rpi_volt", ""},
	} {
		_, ps := simulating(c.top, c.node)
		switch text := ps.Error(); {
		case c.want == "" && ps != nil, c.want != "" && (ps == nil || !strings.Contains(text, c.want)):
			t.Errorf("%s%s: %v; want %q", c.top, c.node, ps, c.want)
		case ps != nil && ps[0].Key != "nodes[thing].simulate":
			t.Errorf("%s: at %s", c.node, ps[0].Key)
		}
	}
}

func TestSimulatedLists(t *testing.T) {
	cfg, ps := simulating("simulate: true\n", "kind: host}\n  - {id: g, kind: group}\n  - {id: p, kind: pwm, chip: x")
	if ps != nil {
		t.Fatal(ps)
	}
	if s, real := Simulated(cfg); !slices.Equal(s, []string{"p"}) || !slices.Equal(real, []string{"thing"}) {
		t.Errorf("simulated %v, real %v", s, real)
	}
	cfg.Simulate, cfg.Nodes[2].Simulate = false, true
	if s, real := Simulated(cfg); !slices.Equal(s, []string{"p"}) || real != nil {
		t.Errorf("simulated %v, real %v", s, real)
	}
}
