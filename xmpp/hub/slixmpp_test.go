package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

const python = "/usr/bin/python3"

// TestSlixmpp: an independent client logs in over STARTTLS with SCRAM, keeps a
// roster, makes friends, exchanges messages, and resumes.
func TestSlixmpp(t *testing.T) {
	if err := exec.Command(python, "-c", "import slixmpp").Run(); err != nil {
		if os.Getenv("REQUIRE_PEERS") == "1" {
			t.Fatal("python3-slixmpp is not installed")
		}
		t.Skip("python3-slixmpp is not installed")
	}
	x := newSite(t)
	_, port, err := net.SplitHostPort(x.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "testdata/slixmpp_pair.py", port, x.ca.CertFile())
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	for key, want := range map[string]string{
		"roster_anna": "result", "jid": "anna@site.example/slix", "presence": "ben@site.example/slix",
		"presence_back": "anna@site.example/slix", "subscription": "both", "version": "1.2.3", "message": "direct ä",
		"message_from": "anna@site.example/slix", "resumed": "while away", "offline": "offline",
		"delay_from": "site.example", "wrong_password": "refused", "tls": "TLSv1.3",
	} {
		if got[key] != want {
			t.Errorf("%s: %v, want %s", key, got[key], want)
		}
	}
	if got["ping"] != true {
		t.Error("no ping")
	}
	t.Logf("slixmpp logged in by %v", got["mechanism"])
}
