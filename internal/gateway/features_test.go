package gateway

import (
	"strings"
	"testing"
)

// What the gateway serves is in its service discovery.
func Test0323R01_Feature(t *testing.T) { hasFeatures(t, "urn:xmpp:iot:sensordata") }

func Test0325R01R48_Features(t *testing.T) {
	hasFeatures(t, "urn:xmpp:iot:control", "urn:xmpp:xdata:dynamic", "jabber:x:data",
		"http://jabber.org/protocol/xdata-validate", "http://jabber.org/protocol/xdata-layout")
}

func hasFeatures(t *testing.T, features ...string) {
	t.Helper()
	r := newRig(t, basicConfig)
	got := r.ask("boss@example.org/pc", "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "</iq>")
	got = strings.ReplaceAll(got, "'", `"`)
	for _, f := range features {
		if !strings.Contains(got, `<feature var="`+f+`"/>`) {
			t.Errorf("%s is not advertised:\n%s", f, got)
		}
	}
	// A device that only uses these services must not say that it is one:
	// others choose servers by it.
	for _, f := range []string{"urn:xmpp:iot:provisioning", "urn:xmpp:iot:discovery"} {
		if strings.Contains(got, f) {
			t.Errorf("%s is advertised", f)
		}
	}
}

func Test0326R01_Feature(t *testing.T) { hasFeatures(t, "urn:xmpp:iot:concentrators") }
