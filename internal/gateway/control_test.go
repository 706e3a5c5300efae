package gateway

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

const fan = "  - {id: fan, kind: relay, line: \"chip:5\", safe: \"off\"}\n  - {id: door,"

// Who may set what is asked of the provisioning server, with the nodes, the
// parameters and the tokens of the request; what it denies does not move.
func Test0325R38_ProvisioningDecides(t *testing.T) {
	r := newRig(t, strings.Replace(provisioned("  registry: {use: false}\n  server: {address: things.example.org}\n"), "  - {id: door,", fan, 1))
	w := world{
		"things.example.org info":       bothFeatures,
		"things.example.org canControl": "<canControlResponse xmlns='urn:xmpp:iot:provisioning' jid='friend@example.org' result='true'><node nodeId='fan'/><parameter name='state'/></canControlResponse>",
	}
	r.play(w, "to='things.example.org'/>") // the directed presence
	send := func(id, body string) string {
		t.Helper()
		r.peer.Send("<iq type='" + map[bool]string{true: "get", false: "set"}[strings.HasPrefix(body, "<getForm")] + "' id='" + id + "' from='friend@example.org/pc' to='thing@example.org/x'>" + body + "</iq>")
		return strings.ReplaceAll(r.play(w, "id='"+id+"'"), `"`, "'")
	}
	got := send("p1", "<set xmlns='urn:xmpp:iot:control' serviceToken='S' deviceToken='D' userToken='U'><node nodeId='fan'/><boolean name='state' value='true'/></set>")
	for _, want := range []string{"<canControl ", "jid='friend@example.org'", "serviceToken='S'", "deviceToken='D'", "userToken='U'", "<node nodeId='fan'", "<parameter name='state'/>", "<setResponse"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if high, _ := r.hw.bench.line("chip:5").Driven(); !bool(high) {
		t.Error("the granted set moved nothing")
	}
	if got = send("p2", "<getForm xmlns='urn:xmpp:iot:control'><node nodeId='fan'/></getForm>"); !strings.Contains(got, "var='state'") {
		t.Errorf("the form: %s", got)
	}
	w["things.example.org canControl"] = "<canControlResponse xmlns='urn:xmpp:iot:provisioning' jid='friend@example.org' result='false'/>"
	if got = send("p3", "<set xmlns='urn:xmpp:iot:control' userToken='other'><node nodeId='pump'/><boolean name='state' value='false'/></set>"); !strings.Contains(got, "<forbidden") {
		t.Errorf("denied: %s", got)
	}
	if high, _ := r.hw.bench.line("chip:1").Driven(); !bool(high) {
		t.Error("a denied set moved the output")
	}
}

// What the configuration wants set together says so in the form.
func TestActionsOfTheConfiguration(t *testing.T) {
	r := newRig(t, strings.Replace(basicConfig, "    registers:\n", "    fields: {level: {together: dimming}, fade: {together: dimming}}\n    registers:\n      - {name: level, address: 20, writable: true}\n      - {name: fade, address: 21, writable: true}\n", 1))
	form := strings.ReplaceAll(r.ask("boss@example.org/pc", "get", "<getForm xmlns='urn:xmpp:iot:control'><node nodeId='meter'/></getForm>", "</x>"), `"`, "'")
	if strings.Count(form, "<parameterGroup xmlns='urn:xmpp:iot:control' name='dimming'/>") != 2 {
		t.Error(form)
	}
}

// A control parameter may have the name of a parameter of the node (XEP-0326):
// each stays what it is.
func Test0325R40_NodeParametersAreOthers(t *testing.T) {
	text := strings.Replace(basicConfig, "      - {name: voltage, address: 0, scale: 0.1, unit: V}\n",
		"      - {name: kind, table: coil, address: 0, writable: true}\n      - {name: voltage, address: 0, scale: 0.1, unit: V}\n", 1)
	r := newRig(t, text)
	nodes := func(id string) string {
		t.Helper()
		got := r.ask("boss@example.org/pc", "get", "<getNode xmlns='urn:xmpp:iot:concentrators' nodeId='"+id+"' sourceId='MeteringTopology' parameters='true' xml:lang='en'/>", "getNodeResponse")
		return strings.ReplaceAll(got, `"`, "'")
	}
	if got := nodes("meter"); !strings.Contains(got, "id='kind' name='Kind' value='modbus'") {
		t.Fatalf("the node's own: %s", got)
	}
	form := strings.ReplaceAll(r.ask("boss@example.org/pc", "get", "<getForm xmlns='urn:xmpp:iot:control'><node nodeId='meter'/></getForm>", "</x>"), `"`, "'")
	if !strings.Contains(form, "var='kind' type='boolean'") || strings.Contains(form, "modbus") || strings.Contains(form, "var='label'") {
		t.Errorf("the form: %s", form)
	}
	r.ask("boss@example.org/pc", "set", "<set xmlns='urn:xmpp:iot:control'><node nodeId='meter'/><boolean name='kind' value='true'/></set>", "setResponse")
	samples, err := r.hw.get("meter").Device.Read(t.Context(), nil)
	if on, _ := samples[0].Value.Bool(); err != nil || !on {
		t.Errorf("the coil: %v %v", samples, err)
	}
	if got := nodes("meter"); !strings.Contains(got, "id='kind' name='Kind' value='modbus'") {
		t.Errorf("a set changed the node's own: %s", got)
	}
	// Where only the node has one of the name, nothing can be set.
	if got := r.ask("boss@example.org/pc", "set", "<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><string name='kind' value='modbus'/></set>", "</iq>"); !strings.Contains(got, "item-not-found") {
		t.Errorf("a parameter of the node was set: %s", got)
	}
}

// A server with a certificate of somebody else learns no password and gets no
// stanza, and nothing asks who may do what before the provisioning server has
// shown that it is one.
func Test0325R59_CertificatesBeforeTrust(t *testing.T) {
	for name, o := range map[string]xmpptest.Options{
		"another domain": {Certificate: func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }},
		"expired":        {Certificate: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigAt(t, basicConfig, quiet(), o, nil)
			p := r.srv.Accept()
			p.Open()
			p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
			p.Read()
			p.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
			if p.TryHandshake() == nil && p.TryOpen() == nil {
				t.Error("the gateway goes on")
			}
			p.Cut()
			var bad *xmpp.CertError
			for range 200 {
				if errors.As(r.session.State().Err, &bad) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if bad == nil {
				t.Errorf("the state says %v", r.session.State().Err)
			}
		})
	}
	t.Run("no provisioning server", func(t *testing.T) {
		r := newRig(t, provisioned("  registry: {use: false}\n  server: {address: things.example.org}\n"))
		w := world{"things.example.org info": strings.Replace(bothFeatures, "<feature var='urn:xmpp:iot:provisioning'/>", "", 1)}
		r.peer.Send("<iq type='set' id='n1' from='friend@example.org/pc' to='thing@example.org/x'><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='false'/></set></iq>")
		if got := r.play(w, "id='n1'"); !strings.Contains(got, "<forbidden") || strings.Contains(got, "canControl") {
			t.Errorf("got %s", got)
		}
		if s := r.Status().Gateway.Provisioning; s == nil || len(s.Servers) != 0 {
			t.Errorf("it is trusted: %+v", s)
		}
	})
}
