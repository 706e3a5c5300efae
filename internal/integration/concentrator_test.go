package integration

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"postern/internal/peertest"
)

// slixmpp has no plugin for XEP-0326, so it sends the elements as they are and
// shows what comes back over a real server.
func Test0326R02R04R09R12R30_OverRealServers(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		nodes := `
  - {id: house, kind: group}
  - {id: room, kind: group, parent: house}
  - {id: climate, kind: bme280, simulate: true, interval: 1s, parent: room}
`
		g := startGateway(t, s, gatewayOptions{nodes: nodes})
		p := startPeer(t, s, "owner")
		gw := p.waitOnline(s.JID("gateway"))
		id := 0
		ask := func(typ, elem string) string {
			t.Helper()
			id++
			a := p.do("raw", map[string]any{"xml": fmt.Sprintf("<iq type='%s' id='c%d' to='%s'>%s</iq>", typ, id, gw,
				strings.Replace(elem, " ", " xmlns='urn:xmpp:iot:concentrators' ", 1))})
			return fmt.Sprint(a["xml"])
		}
		want := func(got string, parts ...string) {
			t.Helper()
			for _, part := range parts {
				if !strings.Contains(got, part) {
					t.Errorf("%s is not in %s", part, got)
				}
			}
		}
		const mt = "sourceId='MeteringTopology'"
		want(ask("get", "<getCapabilities />"), `result="OK"`, "getAncestors")
		want(ask("get", "<getAllDataSources />"), `sourceId="MeteringTopology"`)
		want(ask("get", "<moveNodeUp "+mt+" nodeId='room'/>"), "moveNodeUpResponse", `result="NotImplemented"`)
		got := ask("get", "<getAncestors "+mt+" nodeId='climate'/>")
		if ids := fmt.Sprint(regexp.MustCompile(`nodeId="(\w+)"`).FindAllString(got, -1)); ids != `[nodeId="climate" nodeId="room" nodeId="house"]` {
			t.Errorf("%s in %s", ids, got)
		}
		want(ask("set", "<subscribe "+mt+"/>"), "subscribeResponse", `result="OK"`)

		// Read by the address that the concentrator gave.
		a := p.do("raw", map[string]any{"xml": "<iq type='get' id='r1' to='" + gw + "'><req xmlns='urn:xmpp:iot:sensordata' seqnr='5' momentary='true'><node nodeId='climate' " + mt + "/></req></iq>"})
		want(fmt.Sprint(a["xml"]), "accepted")

		// The climate moves from the room to the house.
		g.write(s, gatewayOptions{nodes: strings.Replace(nodes, "1s, parent: room", "1s, parent: house", 1)})
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m := fmt.Sprint(p.do("message", map[string]any{"namespace": "urn:xmpp:iot:concentrators"})["xml"])
		removed, added := strings.Index(m, "nodeRemoved"), strings.Index(m, "nodeAdded")
		if removed < 0 || added < removed || !strings.Contains(m, `parentId="house"`) {
			t.Errorf("%s", m)
		}
	})
}
