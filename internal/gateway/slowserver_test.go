package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/xmpp/xmpptest"
)

// While the provisioning server is silent, strangers' requests wait for it,
// more of them than the session has workers. The owner's are answered all the
// same, and so is the rest of what the gateway answers.
func TestASilentProvisioningServerHoldsUpNobody(t *testing.T) {
	text := strings.Replace(provisioned("  registry: {use: false}\n  server: {address: things.example.org, timeout: 5s}\n"), "access: {ask: keep}", "access: {owner: boss@example.org, ask: keep}", 1)
	r := newRig(t, text)
	r.play(world{"things.example.org info": bothFeatures}, "to='things.example.org'/>") // it is found
	read := "<iq type='get' id='%s' from='%s@example.org/pc' to='thing@example.org/x'><req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true'/></iq>"
	set := "<iq type='set' id='%s' from='%s@example.org/pc' to='thing@example.org/x'><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/></set></iq>"
	began := time.Now()
	for i := range 12 {
		who := fmt.Sprint("stranger", i)
		r.peer.Send(fmt.Sprintf(read, "r"+who, who) + fmt.Sprintf(set, "s"+who, who))
		r.peer.Send("<presence type='subscribe' from='asks" + who + "@example.org' id='p" + who + "'/>")
	}
	r.peer.Send(fmt.Sprintf(read, "boss1", "boss") + "<iq type='get' id='ping1' from='example.org' to='thing@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>")
	asked, owner, ping := 0, false, false
	for !owner || !ping || asked < 20 {
		text := strings.ReplaceAll(xmpptest.Text(t, r.peer.Read()), `"`, "'")
		switch {
		case strings.Contains(text, "<canRead"), strings.Contains(text, "<isFriend"):
			asked++
		case strings.Contains(text, "id='boss1'"):
			if owner = true; !strings.Contains(text, "<accepted") {
				t.Errorf("the owner got %s", text)
			}
		case strings.Contains(text, "id='ping1'"):
			ping = true
		case strings.Contains(text, "<canControl"):
			t.Errorf("a set overtook the same sender's read: %s", text)
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v: somebody waited for the provisioning server; %d questions, owner %v, ping %v", took, asked, owner, ping)
	}
}
