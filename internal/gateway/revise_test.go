package gateway

import (
	"fmt"
	"strings"
	"testing"
)

// What goes on of a former owner, of a friend whose right was taken, and of one
// whose friendship ended, ends: subscriptions with a notice.
func TestSubscriptionsEndWithTheRight(t *testing.T) {
	text := provisioned("  registry: {address: things.example.org}\n  server: {address: things.example.org}\n")
	r := newRig(t, text)
	allowed := func(who, result string) string {
		return "<canReadResponse xmlns='urn:xmpp:iot:provisioning' jid='" + who + "@example.org' result='" + result + "'/>"
	}
	w := world{
		"things.example.org info": bothFeatures, "things.example.org register": "",
		"things.example.org isFriend": "<isFriendResponse xmlns='urn:xmpp:iot:provisioning' jid='friend@example.org' result='true'/>",
	}
	r.play(w, "<register")
	r.peer.Send(fmt.Sprintf(claimedBy, "owner@example.org"))
	r.play(w, "id='c1'")
	for _, who := range []string{"owner", "friend", "third"} {
		r.peer.Send(fmt.Sprintf("<iq type='set' id='push%s' to='thing@example.org/x'><query xmlns='jabber:iq:roster'><item jid='%s@example.org' subscription='both'/></query></iq>", who, who))
		r.play(w, "id='push"+who+"'")
		w["things.example.org canRead"] = allowed(who, "true")
		r.peer.Send(fmt.Sprintf("<presence from='%s@example.org/pc'/>", who) +
			fmt.Sprintf("<iq type='get' id='sub%s' from='%s@example.org/pc' to='thing@example.org/x'><subscribe xmlns='urn:xmpp:iot:events' seqnr='7' momentary='true' maxInterval='PT1H'/></iq>", who, who))
		if got := r.play(w, "id='sub"+who+"'"); !strings.Contains(got, "<accepted") {
			t.Fatalf("%s cannot subscribe:\n%s", who, got)
		}
	}
	ends := func(who, got string) {
		t.Helper()
		for _, line := range strings.Split(strings.ReplaceAll(got, `"`, "'"), "\n") {
			if strings.Contains(line, "<failure") {
				if !strings.Contains(line, "to='"+who+"@example.org/pc'") || !strings.Contains(line, "seqnr='7' done='true'") || !strings.Contains(line, "you may not read this any more") {
					t.Errorf("%s is told %s", who, line)
				}
			}
		}
	}
	// The friend's right ends: the server says that what it said is not true.
	w["things.example.org canRead"] = allowed("friend", "false")
	r.peer.Send("<iq type='set' id='clear1' from='things.example.org' to='thing@example.org/x'><clearCache xmlns='urn:xmpp:iot:provisioning'/></iq>")
	ends("friend", r.play(w, "<failure"))
	// The third one's friendship ends.
	r.peer.Send("<iq type='set' id='push4' to='thing@example.org/x'><query xmlns='jabber:iq:roster'><item jid='third@example.org' subscription='none'/></query></iq><presence type='unsubscribed' from='third@example.org'/>")
	ends("third", r.play(w, "<failure"))
	// The owner gives it up.
	w["things.example.org canRead"] = allowed("owner", "false")
	r.peer.Send("<iq type='set' id='d1' from='things.example.org' to='thing@example.org/x'><disowned xmlns='urn:xmpp:iot:discovery'/></iq>")
	ends("owner", r.play(w, "<failure"))
}
