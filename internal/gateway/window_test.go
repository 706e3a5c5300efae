package gateway

import (
	"strings"
	"testing"
	"time"

	"postern/drivers/gpio"
)

// A gateway with a claim window is in no registry until its button is pressed,
// and leaves it again when nobody claimed it in time.
func TestClaimWindowOpensByTheButton(t *testing.T) {
	r := newRig(t, provisioned("  registry: {address: things.example.org}\n  server: {use: false}\nboard: {button: \"chip:1\", claim_window: 3s}\n"))
	w := world{"things.example.org info": bothFeatures, "things.example.org register": "", "things.example.org unregister": ""}
	line := gpio.NewSimLine("chip:1")
	line.Drive(gpio.High)
	p := newPanel(r.Gateway)
	p.openLine = func(string) (gpio.Line, error) { return line, nil }
	done := make(chan error, 1)
	go func() { done <- p.runButton(t.Context()) }()
	press := func() {
		line.Drive(gpio.Low)
		time.Sleep(100 * time.Millisecond) // longer than the button bounces
		line.Drive(gpio.High)
	}
	window := func() string { return r.Status().Gateway.Provisioning.Window }

	// A former session may have left it in the registry.
	if got := r.play(w, "<unregister"); strings.Contains(got, "<register") || window() != "shut" || r.claimable() {
		t.Errorf("before: window %s\n%s", window(), got)
	}
	press()
	if got := r.play(w, "<register"); window() != "open" {
		t.Errorf("pressed: window %s\n%s", window(), got)
	}
	begin := time.Now()
	if got := r.play(w, "<unregister"); window() != "shut" {
		t.Errorf("after its time: window %s\n%s", window(), got)
	}
	if d := time.Since(begin); d < time.Second {
		t.Errorf("it was open for %s", d)
	}
	press()
	r.play(w, "<register")
	r.peer.Send(strings.Replace(claimedBy, "%s", "owner@example.org", 1))
	r.play(w, "id='c1'")
	for begin := time.Now(); window() != "shut" && time.Since(begin) < 10*time.Second; {
		time.Sleep(50 * time.Millisecond)
	}
	things := r.Status().Gateway.Provisioning.Things
	if window() != "shut" || things[0].Owner != "owner@example.org" || !things[0].Registered {
		t.Errorf("claimed: window %s, %+v", window(), things)
	}
	select {
	case err := <-done:
		t.Errorf("the button: %v", err)
	default:
	}
}
