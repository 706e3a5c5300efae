package cli

import (
	"crypto/sha1"
	"encoding/base64"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"
)

// Capabilities tell what a resource can do without asking it again; one without
// any is asked.
func Test0323R02_CapabilitiesFirst(t *testing.T) {
	sum := sha1.Sum([]byte("client/bot//<urn:xmpp:iot:sensordata<")) // XEP-0115 §5.1
	ver := base64.StdEncoding.EncodeToString(sum[:])
	f, s, m := startFinder(t, func(req string) string {
		switch {
		case strings.Contains(req, "roster"):
			return rosterAnswer("to")
		case strings.Contains(req, "/phone"):
			return "<iq type='result' from='gateway@site.example/phone' id='x'><query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='phone'/><feature var='urn:xmpp:ping'/></query></iq>"
		}
		return "<iq type='result' from='" + testThing + "' id='x'><query xmlns='http://jabber.org/protocol/disco#info' node='https://example.org#" + ver +
			"'><identity category='client' type='bot'/><feature var='urn:xmpp:iot:sensordata'/></query></iq>"
	})
	deliver(t, m, "<presence from='gateway@site.example/phone'><priority>5</priority></presence>")
	deliver(t, m, "<presence from='"+testThing+"'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://example.org' ver='"+ver+"'/></presence>")
	for range 3 {
		full, err := f.find(t.Context(), jid.MustParse("gateway@site.example"))
		if err != nil || full.String() != testThing {
			t.Fatalf("%v, %v", full, err)
		}
	}
	asked := map[string]int{}
	for _, text := range s.sent {
		if !strings.Contains(text, "disco#info") {
			continue
		}
		if strings.Contains(text, "/phone") {
			asked["phone"]++
		} else if strings.Contains(text, "https://example.org#"+ver) {
			asked["thing by its capabilities"]++
		} else {
			asked["thing"]++
		}
	}
	if asked["phone"] != 3 || asked["thing by its capabilities"] != 1 || asked["thing"] != 0 {
		t.Errorf("asked: %v", asked)
	}
}
