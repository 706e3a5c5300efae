package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"postern/internal/cli"
	"postern/internal/peertest"
)

// The language of the environment goes to the gateway, and what it refuses
// comes back in it, whatever the server does with xml:lang (0325-R33, R34).
func TestOperatorIsRefusedInTheOwnLanguage(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		startGateway(t, s, gatewayOptions{})
		gw := s.JID("gateway")
		o := newOperator(t).login(t, s, "owner")
		for _, tc := range []struct{ lang, set, said string }{
			{"de_AT.UTF-8", "state:int=1", "state ist vom Typ boolean, nicht int"},
			{"de_DE", "speed:int=1", "speed ist kein Parameter von"},
			{"fi_FI.UTF-8", "state:int=1", "state is of type boolean, not int"},
			{"", "state:int=1", "state is of type boolean, not int"},
		} {
			o.lang = tc.lang
			if r := o.postern(t, "set", gw, "pump", tc.set); r.code != cli.ExitFailure || !strings.Contains(r.err, tc.said) {
				t.Errorf("%s: exit code %d: %s", tc.lang, r.code, r.err)
			}
		}
	})
}

// document is the JSON of postern read.
type document struct {
	Version  int
	Thing    string
	Complete bool
	Fields   []struct {
		Node, Field, Kind, Unit string
		Value                   json.RawMessage
		Quality, Types          []string
		Writable                *bool
	}
	Failures []struct{ Node, Text string }
}

func parseDocument(t *testing.T, r outcome) document {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		t.Fatalf("exit code %d, %v in %q; %s", r.code, err, r.out, r.err)
	}
	return d
}

func (d *document) nodes() []string {
	var all []string
	for _, f := range d.Fields {
		if !slices.Contains(all, f.Node) {
			all = append(all, f.Node)
		}
	}
	slices.Sort(all)
	return all
}

// value returns the value of a field as JSON text.
func (d *document) value(node, field string) string {
	for _, f := range d.Fields {
		if f.Node == node && f.Field == field {
			return string(f.Value)
		}
	}
	return "absent"
}

func TestOperatorReadsAndSwitches(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		startGateway(t, s, gatewayOptions{})
		o := newOperator(t).login(t, s, "owner")
		gw := s.JID("gateway")

		r := o.postern(t, "read", gw, "--json")
		d := parseDocument(t, r)
		if r.code != cli.ExitOK || !d.Complete || d.Version != 1 || !strings.HasPrefix(d.Thing, gw+"/") {
			t.Fatalf("exit code %d: %s\n%s", r.code, r.err, r.out)
		}
		if got := d.nodes(); !slices.Equal(got, []string{"boiler", "climate", "door", "host", "pump"}) {
			t.Errorf("nodes %v", got)
		}
		for _, f := range d.Fields {
			if len(f.Quality) == 0 {
				t.Errorf("%s %s has no quality", f.Node, f.Field)
			}
		}
		if r := o.postern(t, "read", gw, "--node", "climate", "--field", "temperature"); r.code != cli.ExitOK ||
			!strings.Contains(r.out, "°C") || strings.Contains(r.out, "humidity") || strings.Count(r.out, "\n") != 2 {
			t.Errorf("exit code %d: %s\n%s", r.code, r.err, r.out)
		}

		if got := d.value("pump", "state"); got != "false" {
			t.Errorf("the pump is %s before it was switched", got)
		}
		if r := o.postern(t, "set", gw, "pump", "state=on"); r.code != cli.ExitOK || !strings.Contains(r.out, "applied") {
			t.Fatalf("set: exit code %d: %s\n%s", r.code, r.err, r.out)
		}
		d = parseDocument(t, o.postern(t, "read", gw, "--node", "pump", "--json"))
		if got := d.value("pump", "state"); got != "true" {
			t.Errorf("the pump is %s after it was switched on", got)
		}
	})
}

func TestOperatorIsRefused(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	startGateway(t, s, gatewayOptions{})
	gw := s.JID("gateway")
	owner := newOperator(t).login(t, s, "owner")
	reader := newOperator(t).login(t, s, "reader")
	stranger := newOperator(t).login(t, s, "stranger")
	for _, tc := range []struct {
		name string
		o    *operator
		args []string
		code int
		said string
	}{
		{"unknown node", owner, []string{"read", gw, "--node", "attic"}, cli.ExitFailure, "item-not-found"},
		{"unknown parameter", owner, []string{"set", gw, "pump", "speed=1"}, cli.ExitFailure, "item-not-found"},
		{"wrong type", owner, []string{"set", gw, "pump", "state:int=1"}, cli.ExitFailure, "state"},
		{"nobody there", owner, []string{"read", gw + "/nobody"}, cli.ExitUnreachable, "running"},
		{"no such account", owner, []string{"read", s.JID("nobody"), "--timeout", "2s"}, cli.ExitTimeout, s.JID("owner")},
		{"reader reads", reader, []string{"read", gw, "--node", "pump"}, cli.ExitOK, ""},
		{"reader switches", reader, []string{"set", gw, "pump", "state=on"}, cli.ExitDenied, s.JID("reader")},
		{"stranger reads", stranger, []string{"read", gw, "--timeout", "5s"}, cli.ExitDenied, s.JID("stranger")},
		{"stranger reads the full address", stranger, []string{"read", gw + "/postern"}, cli.ExitDenied, s.JID("stranger")},
		{"stranger switches", stranger, []string{"set", gw + "/postern", "pump", "state=on"}, cli.ExitDenied, s.JID("stranger")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := tc.o.postern(t, tc.args...)
			if r.code != tc.code || !strings.Contains(r.err, tc.said) {
				t.Errorf("exit code %d, want %d; said %q", r.code, tc.code, r.err)
			}
		})
	}
	d := parseDocument(t, owner.postern(t, "read", gw, "--node", "pump", "--json"))
	if got := d.value("pump", "state"); got != "false" {
		t.Errorf("a refused command moved the pump: %s", got)
	}
}
