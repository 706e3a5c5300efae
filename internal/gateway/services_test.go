package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What could not be handed out the first time, because the link was lost or
// the disk was full, is handed out the next time.
func TestWhatWasFoundIsHandedOutAgain(t *testing.T) {
	r := newRig(t, provisioned("  registry: {address: things.example.org}\n  server: {address: things.example.org}\n"))
	r.play(world{"things.example.org info": bothFeatures, "things.example.org register": ""}, "<register")
	s, fails := r.pairing.services, 1
	var got []trusted
	s.use = func(_ context.Context, k trusted) error {
		got = append(got, k)
		if fails--; fails >= 0 {
			return errors.New("not now")
		}
		return nil
	}
	if err := s.find(t.Context()); err == nil {
		t.Error("the failure is not seen")
	}
	if err := s.find(t.Context()); err != nil || len(got) != 2 || got[1].Registry != "things.example.org" || len(got[1].Servers) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

const (
	onlyRegistry = "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='component' type='generic'/><feature var='urn:xmpp:iot:discovery'/></query>"
	onlyServer   = "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc'/><feature var='urn:xmpp:iot:provisioning'/></query>"
)

// An owner's account that serves as the provisioning server stops deciding
// about the gateway when the owner gives it up.
func Test0324R44_TheOwnersServerEndsWithTheOwnership(t *testing.T) {
	r := newRig(t, provisioned("  registry: {address: things.example.org}\n"))
	w := world{"things.example.org info": onlyRegistry, "things.example.org register": "", "things.example.org update": "",
		"owner@example.org/pc info": onlyServer, "example.org info": onlyRegistry}
	r.play(w, "<register")
	r.peer.Send(fmt.Sprintf(claimedBy, "owner@example.org"))
	r.play(w, "id='c1'")
	r.peer.Send("<iq type='set' id='push1' to='thing@example.org/x'><query xmlns='jabber:iq:roster'><item jid='owner@example.org' subscription='both'/></query></iq><presence from='owner@example.org/pc'/>")
	r.play(w, "id='push1'")
	for begin := time.Now(); len(r.roster.Resources(parseJID("owner@example.org"))) == 0 && time.Since(begin) < 10*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	r.pairing.services.look()
	r.play(w, "to='owner@example.org'/>") // the directed presence
	if got := r.pairing.access.Servers(); len(got) != 1 || got[0].String() != "owner@example.org" {
		t.Fatalf("%v", got)
	}
	read := "<iq type='get' id='%s' from='friend@example.org/pc' to='thing@example.org/x'><req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true'/></iq>"
	w["owner@example.org/pc canRead"] = "<canReadResponse xmlns='urn:xmpp:iot:provisioning' jid='friend@example.org' result='true'/>"
	r.peer.Send(fmt.Sprintf(read, "r1"))
	if got := r.play(w, "id='r1'"); strings.Contains(got, "forbidden") {
		t.Fatalf("the owner's server is not asked:\n%s", got)
	}
	r.peer.Send("<iq type='set' id='d1' from='things.example.org' to='thing@example.org/x'><disowned xmlns='urn:xmpp:iot:discovery'/></iq>")
	r.play(w, "id='d1'")
	if got := r.pairing.access.Servers(); len(got) != 0 || r.pairing.services.trusted().Owner != "" {
		t.Errorf("after the ownership: %v", got)
	}
	r.peer.Send(fmt.Sprintf(read, "r2"))
	if got := r.play(w, "id='r2'"); !strings.Contains(got, "forbidden") || strings.Contains(got, "canRead") {
		t.Errorf("the former owner still decides:\n%s", got)
	}
}

// A new configuration that takes a right away ends what goes on by it.
func TestReloadEndsWhatIsNotAllowedAnyMore(t *testing.T) {
	text := basicConfig
	r := newRig(t, text)
	r.play(world{}, "<presence") // the roster is there
	r.peer.Send("<iq type='set' id='push1' to='thing@example.org/x'><query xmlns='jabber:iq:roster'><item jid='reader@example.org' subscription='both'/></query></iq>")
	r.play(world{}, "id='push1'")
	r.peer.Send("<presence from='reader@example.org/pc'/><iq type='get' id='sub1' from='reader@example.org/pc' to='thing@example.org/x'><subscribe xmlns='urn:xmpp:iot:events' seqnr='7' momentary='true' maxInterval='PT1H'><node nodeId='air'/></subscribe></iq>")
	if got := r.play(world{}, "id='sub1'"); !strings.Contains(got, "<accepted") {
		t.Fatalf("cannot subscribe:\n%s", got)
	}
	if err := r.reload(strings.Replace(text, "  allow:\n    - {jid: reader@example.org, rights: [read], nodes: [air]}\n", "", 1)); err != nil {
		t.Fatal(err)
	}
	if got := r.play(world{}, "<failure"); !strings.Contains(got, "you may not read this any more") {
		t.Errorf("got\n%s", got)
	}
}

// A registry on an account that asks for the presence of a claimed gateway gets
// it, also without a friendship from before: disown needs it.
func Test0347R51_ARegistryMaySeeTheGateway(t *testing.T) {
	r := newRig(t, provisioned("  registry: {address: registry@example.org}\n  server: {use: false}\n"))
	w := world{"registry@example.org/r info": onlyRegistry, "registry@example.org/r register": "", "registry@example.org/r update": ""}
	r.play(w, "to='registry@example.org'")
	r.peer.Send("<iq type='set' id='push1' to='thing@example.org/x'><query xmlns='jabber:iq:roster'><item jid='registry@example.org' subscription='to'/></query></iq>")
	r.play(w, "id='push1'")
	r.peer.Send("<presence from='registry@example.org/r'/>")
	r.play(w, "<register")
	r.peer.Send("<iq type='set' id='c1' from='registry@example.org/r' to='thing@example.org/x'><claimed xmlns='urn:xmpp:iot:discovery' jid='owner@example.org' public='true'/></iq>")
	r.play(w, "subscription='remove'")
	r.peer.Send("<iq type='set' id='push2' to='thing@example.org/x'><query xmlns='jabber:iq:roster'><item jid='registry@example.org' subscription='remove'/></query></iq>")
	r.play(w, "id='push2'")
	r.peer.Send("<presence type='subscribe' from='registry@example.org' id='s1'/><presence type='subscribe' from='somebody@example.org' id='s2'/>")
	if got := r.play(w, "type='subscribed'"); strings.Contains(got, "somebody") {
		t.Errorf("got\n%s", got)
	}
	r.peer.Send("<iq type='set' id='d1' from='registry@example.org/r' to='thing@example.org/x'><disowned xmlns='urn:xmpp:iot:discovery'/></iq>")
	r.play(w, "id='d1'")
	if o := r.pairing.owner(); o != "" {
		t.Errorf("%s still owns it", o)
	}
}
