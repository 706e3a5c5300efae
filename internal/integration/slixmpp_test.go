package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/peertest"
)

// field is one value that slixmpp handed to its application.
func slixField(t *testing.T, answer map[string]any, node, name string) map[string]any {
	t.Helper()
	for _, f := range answer["fields"].([]any) {
		m := f.(map[string]any)
		if m["node"] == node && m["name"] == name {
			return m
		}
	}
	t.Fatalf("slixmpp got no field %s of %s: %v", name, node, answer)
	return nil
}

func TestSlixmppReadsAndSwitches(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		startGateway(t, s, gatewayOptions{})
		p := startPeer(t, s, "owner")
		gw := p.waitOnline(s.JID("gateway"))

		info := p.do("disco", map[string]any{"to": gw})
		features := fmt.Sprint(info["features"])
		for _, f := range []string{"urn:xmpp:iot:sensordata", "urn:xmpp:iot:control", "urn:xmpp:ping", "http://jabber.org/protocol/caps"} {
			if !strings.Contains(features, f) {
				t.Errorf("disco does not show %s: %v", f, info)
			}
		}

		all := p.do("read", map[string]any{"to": gw})
		if all["accepted"] != true || all["done"] != true {
			t.Fatalf("read of everything: %v", all)
		}
		temp := slixField(t, all, "climate", "temperature")
		if temp["typename"] != "numeric" || temp["unit"] != "°C" || !strings.Contains(fmt.Sprint(temp["value"]), ".") {
			t.Errorf("temperature as slixmpp has it: %v", temp)
		}
		flags := temp["flags"].(map[string]any)
		if flags["momentary"] != "true" || flags["automaticReadout"] != "true" {
			t.Errorf("flags as slixmpp has them: %v", flags)
		}
		slixField(t, all, "boiler", "temperature")
		slixField(t, all, "host", "load-1")
		if f := slixField(t, all, "pump", "state"); f["value"] != "false" {
			t.Errorf("pump before it was switched: %v", f)
		}

		some := p.do("read", map[string]any{"to": gw, "nodes": []string{"climate", "pump"}, "fields": []string{"state", "humidity"}})
		var names []string
		for _, f := range some["fields"].([]any) {
			names = append(names, f.(map[string]any)["name"].(string))
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"humidity", "state"}) {
			t.Errorf("chosen fields: %v", some)
		}

		set := p.do("set", map[string]any{"to": gw, "nodes": []string{"pump"}, "fields": [][3]string{{"state", "boolean", "true"}}})
		if set["result"] == nil || set["error"] != nil {
			t.Fatalf("set: %v", set)
		}
		if f := slixField(t, p.do("read", map[string]any{"to": gw, "nodes": []string{"pump"}}), "pump", "state"); f["value"] != "true" {
			t.Errorf("pump after it was switched on: %v", f)
		}

		// By message: executed, and never answered (0325-R04).
		p.do("command", map[string]any{"to": gw, "nodes": []string{"pump"}, "fields": [][3]string{{"state", "boolean", "false"}}})
		eventually(t, 5*time.Second, func() error {
			if f := slixField(t, p.do("read", map[string]any{"to": gw, "nodes": []string{"pump"}}), "pump", "state"); f["value"] != "false" {
				return fmt.Errorf("pump after it was switched off by message: %v", f)
			}
			return nil
		})
	})
}

func TestSlixmppIsRefused(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		s.Befriend("gateway", "reader")
		startGateway(t, s, gatewayOptions{})
		p := startPeer(t, s, "owner")
		gw := p.waitOnline(s.JID("gateway"))

		// slixmpp understands a refused read-out only by the old element beside
		// the stanza error; the application then gets the reason.
		got := p.do("read", map[string]any{"to": gw, "nodes": []string{"attic"}})
		if got["rejected"] == nil || got["rejected"] == "" {
			t.Errorf("unknown node: %v", got)
		}
		for _, tc := range []struct {
			name   string
			fields [][3]string
			nodes  []string
			want   string
		}{
			{"unknown node", [][3]string{{"state", "boolean", "true"}}, []string{"attic"}, "item-not-found"},
			{"unknown parameter", [][3]string{{"speed", "int", "1"}}, []string{"pump"}, "item-not-found"},
			{"wrong type", [][3]string{{"state", "string", "on"}}, []string{"pump"}, "bad-request"},
			{"bad value", [][3]string{{"state", "boolean", "maybe"}}, []string{"pump"}, "bad-request"},
			{"good and bad", [][3]string{{"state", "boolean", "true"}, {"speed", "int", "1"}}, []string{"pump"}, "item-not-found"},
		} {
			if got := p.do("set", map[string]any{"to": gw, "nodes": tc.nodes, "fields": tc.fields}); got["error"] != tc.want {
				t.Errorf("%s: %v, want %s", tc.name, got, tc.want)
			}
		}
		reader := startPeer(t, s, "reader")
		reader.waitOnline(s.JID("gateway"))
		if got := reader.do("set", map[string]any{"to": gw, "nodes": []string{"pump"}, "fields": [][3]string{{"state", "boolean", "true"}}}); got["error"] != "forbidden" {
			t.Errorf("set by one who may only read: %v", got)
		}
		stranger := startPeer(t, s, "stranger")
		if got := stranger.do("read", map[string]any{"to": gw}); got["rejected"] == nil && got["error"] == nil {
			t.Errorf("read by a stranger: %v", got)
		}
		if got := stranger.do("set", map[string]any{"to": gw, "nodes": []string{"pump"}, "fields": [][3]string{{"state", "boolean", "true"}}}); got["error"] != "forbidden" {
			t.Errorf("set by a stranger: %v", got)
		}
		stranger.do("command", map[string]any{"to": gw, "nodes": []string{"pump"}, "fields": [][3]string{{"state", "boolean", "true"}}})
		reader.do("command", map[string]any{"to": gw, "nodes": []string{"pump"}, "fields": [][3]string{{"state", "boolean", "true"}}})
		if f := slixField(t, p.do("read", map[string]any{"to": gw, "nodes": []string{"pump"}}), "pump", "state"); f["value"] != "false" {
			t.Errorf("a refused command moved the pump: %v", f)
		}
	})
}

// TestOperatorReadsASlixmppThing turns the tables: our commands understand a
// thing that slixmpp serves.
func TestOperatorReadsASlixmppThing(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	s.Befriend("device", "owner")
	needPython(t, "slixmpp", "python3-slixmpp")
	startSlixmppThing(t, s, "device")
	o := newOperator(t).login(t, s, "owner")
	d := parseDocument(t, o.postern(t, "read", s.JID("device"), "--json"))
	if !d.Complete || d.value("room", "temperature") != "21.50" || d.value("room", "heating") != "false" {
		t.Errorf("%+v", d)
	}
	if r := o.postern(t, "set", s.JID("device"), "room", "heating=on"); r.code != cli.ExitOK {
		t.Errorf("set: exit code %d: %s", r.code, r.err)
	}
	if r := o.postern(t, "set", s.JID("device"), "room", "nonsense:boolean=on"); r.code == cli.ExitOK {
		t.Errorf("setting what there is not succeeded: %s", r.out)
	}
	d = parseDocument(t, o.postern(t, "read", s.JID("device"), "--json", "--field", "heating"))
	if d.value("room", "heating") != "true" {
		t.Errorf("after set: %+v", d)
	}
}
