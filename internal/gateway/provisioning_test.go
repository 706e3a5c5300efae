package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/local"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

// provisioned is basicConfig with the section provisioning and nobody in access.
func provisioned(section string) string {
	text := strings.Replace(basicConfig, "access:\n  owner: boss@example.org\n  allow:\n    - {jid: reader@example.org, rights: [read], nodes: [air]}\n", "access: {ask: keep}\n", 1)
	return text + "provisioning:\n  use: true\n  tags: {SN: \"1\"}\n" + section
}

// world answers what the gateway asks: by address and payload.
type world map[string]string

// play reads stanzas and answers them until one contains want; it returns all
// that came.
func (r *rig) play(w world, want string) string {
	r.t.Helper()
	defer time.AfterFunc(15*time.Second, r.peer.Cut).Stop()
	var all strings.Builder
	for range 100 {
		d := r.peer.Read()
		text := xmpptest.Text(r.t, d)
		all.WriteString(text + "\n")
		if xmpp.KindOf(d.Root().Name()) == xmpp.IQ {
			st := xmpptest.Stanza(r.t, text)
			if st.Type == xmpp.Get || st.Type == xmpp.Set {
				name := st.Child().Name().Value()
				answer, ok := w[st.To.String()+" "+name.Local]
				if strings.HasSuffix(name.Space, "#info") {
					answer, ok = w[st.To.String()+" info"]
				}
				typ := "result"
				if !ok && st.To.String() != "" && st.To.String() != "thing@example.org" {
					typ, answer = "error", "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
				}
				from := ""
				if st.To.String() != "" {
					from = " from='" + st.To.String() + "'"
				}
				r.peer.Send(fmt.Sprintf("<iq type='%s' id='%s'%s to='thing@example.org/x'>%s</iq>", typ, st.ID, from, answer))
			}
		}
		if strings.Contains(strings.ReplaceAll(all.String(), `"`, "'"), want) {
			return all.String()
		}
	}
	r.t.Fatalf("%q did not come:\n%s", want, &all)
	return ""
}

const bothFeatures = "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='component' type='generic'/><feature var='urn:xmpp:iot:discovery'/><feature var='urn:xmpp:iot:provisioning'/></query>"

const claimedBy = "<iq type='set' id='c1' from='things.example.org' to='thing@example.org/x'><claimed xmlns='urn:xmpp:iot:discovery' jid='%s' public='true'/></iq>"

// Until it is claimed nobody gets in; then its owner does, and the owner's
// subscription is accepted without a question.
func Test0347R26_TheOwnerIsAFriend(t *testing.T) {
	r := newRig(t, provisioned("  registry: {address: things.example.org}\n  server: {use: false}\n"))
	w := world{"things.example.org info": bothFeatures, "things.example.org register": ""}
	r.play(w, "<register")
	p, err := local.NewClient(r.door.Path).Pairing(t.Context())
	if err != nil || len(p.Things) != 1 || !strings.Contains(p.Things[0].Code, "SN:1;KEY:") || p.Registry != "things.example.org" {
		t.Fatalf("%+v, %v", p, err)
	}
	r.peer.Send("<presence type='subscribe' from='owner@example.org' id='s0'/>")
	read := "<iq type='get' id='%s' from='owner@example.org/pc' to='thing@example.org/x'><req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true'/></iq>"
	r.peer.Send(fmt.Sprintf(read, "r1"))
	if got := r.play(w, "id='r1'"); !strings.Contains(got, "forbidden") || strings.Contains(got, "subscribed") {
		t.Errorf("before the claim:\n%s", got)
	}
	r.peer.Send(fmt.Sprintf(claimedBy, "owner@example.org"))
	r.play(w, "id='c1'")
	r.peer.Send("<presence type='subscribe' from='owner@example.org' id='s1'/>")
	if got := r.play(w, "type='subscribed'"); !strings.Contains(got, "owner@example.org") {
		t.Errorf("got\n%s", got)
	}
	r.peer.Send(fmt.Sprintf(read, "r2"))
	if got := r.play(w, "id='r2'"); strings.Contains(got, "forbidden") {
		t.Errorf("the owner got\n%s", got)
	}
	p, err = local.NewClient(r.door.Path).Pairing(t.Context())
	if err != nil || p.Things[0].Code != "" || p.Things[0].Owner != "owner@example.org" {
		t.Errorf("%+v, %v", p, err)
	}
	r.stop()
	if got := r.Status().Gateway.Provisioning; got == nil || got.Things[0].Owner != "owner@example.org" {
		t.Errorf("%+v", got)
	}
}

// A provisioning server on an account is befriended before it is asked.
func Test0324R59_AnAccountIsBefriendedFirst(t *testing.T) {
	r := newRig(t, provisioned("  registry: {use: false}\n  server: {address: ps@example.org}\n"))
	got := r.play(world{}, "type='subscribe'")
	if !strings.Contains(got, "ps@example.org") || strings.Contains(got, "disco#info' to='ps@example.org") {
		t.Errorf("got\n%s", got)
	}
	if p := r.Status().Gateway.Provisioning; len(p.Servers) != 0 {
		t.Errorf("%+v", p)
	}
}

// The answer to a set names what was narrowed.
func Test0324R37_NarrowedSetsSaySo(t *testing.T) {
	text := strings.Replace(provisioned("  registry: {use: false}\n  server: {address: things.example.org}\n"),
		"  - {id: door,", "  - {id: fan, kind: relay, line: \"chip:5\", safe: \"off\"}\n  - {id: door,", 1)
	r := newRig(t, text)
	w := world{
		"things.example.org info":       bothFeatures,
		"things.example.org canControl": "<canControlResponse xmlns='urn:xmpp:iot:provisioning' jid='friend@example.org' result='true'><node nodeId='fan'/><parameter name='state'/></canControlResponse>",
	}
	r.play(w, "to='things.example.org'/>") // the directed presence
	r.peer.Send("<iq type='set' id='w1' from='friend@example.org/pc' to='thing@example.org/x'><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><node nodeId='fan'/><boolean name='state' value='false'/></set></iq>")
	got := strings.ReplaceAll(r.play(w, "setResponse"), `"`, "'")
	_, response, _ := strings.Cut(got, "<setResponse")
	if !strings.Contains(response, "nodeId='fan'") || strings.Contains(response, "pump") {
		t.Errorf("got\n%s", got)
	}
	if !strings.Contains(got, "<canControl") || !strings.Contains(got, "jid='friend@example.org'") {
		t.Errorf("nobody was asked:\n%s", got)
	}
}
