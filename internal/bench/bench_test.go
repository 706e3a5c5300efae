package bench

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// TestMain turns the test binary into the bare responder or the bare relay when
// it is started as one.
func TestMain(m *testing.M) {
	if at := os.Getenv("RELAY_LISTEN"); at != "" {
		fmt.Fprintln(os.Stderr, Relay(at, os.Getenv("RELAY_SERVER")))
		os.Exit(1)
	}
	if os.Getenv("BARE_ADDR") != "" {
		env := os.Getenv
		err := Bare(Login{
			Addr: env("BARE_ADDR"), Domain: env("BARE_DOMAIN"), CAFile: env("BARE_CA"), Account: env("BARE_ACCOUNT"),
			Password: env("BARE_PASSWORD"), Resource: "bare",
		}, strings.Split(env("BARE_TEMPLATE"), "\n"), env("BARE_COUNTED") != "")
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// startBare runs a bare responder as its own process under an account, with or
// without stream management.
func startBare(t *testing.T, s *peertest.Server, account string, tpl Template, counted bool) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	mark := ""
	if counted {
		mark = "yes"
	}
	cmd.Env = append(os.Environ(), "BARE_COUNTED="+mark, "BARE_ADDR="+s.DirectTLS, "BARE_DOMAIN="+s.Domain, "BARE_CA="+s.CAFile,
		"BARE_ACCOUNT="+account, "BARE_PASSWORD="+s.Password(account), "BARE_TEMPLATE="+strings.Join(tpl, "\n"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func login(s *peertest.Server, account string) Login {
	return Login{Addr: s.DirectTLS, Domain: s.Domain, CAFile: s.CAFile, Account: account, Password: s.Password(account), Resource: "load"}
}

// sample is what a thing with two fields sends.
var sample = Template{
	"<fields xmlns='urn:xmpp:iot:sensordata' seqnr='" + seqMark + "'><node nodeId='n'><timestamp value='2026-11-25T17:00:00Z'>" +
		"<numeric name='a' value='1.0' unit='V' momentary='true' automaticReadout='true'/><boolean name='b' value='true' momentary='true' automaticReadout='true'/></timestamp></node></fields>",
	"<fields xmlns='urn:xmpp:iot:sensordata' seqnr='" + seqMark + "' done='true'/>",
}

// TestBareResponder proves the measuring tools: what the bare responder sends
// arrives whole, on both servers.
func TestBareResponder(t *testing.T) {
	peertest.EachInTurn(t, peertest.Options{}, func(t *testing.T, s *peertest.Server) {
		t.Run("plain", func(t *testing.T) { tryBare(t, s, "device", false) })
		t.Run("counted", func(t *testing.T) { tryBare(t, s, "operator", true) })
	})
}

func tryBare(t *testing.T, s *peertest.Server, account string, counted bool) {
	s.Befriend(account, "reader")
	startBare(t, s, account, sample, counted)
	r, err := NewReader(login(s, "reader"), "n")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	full, err := r.WaitFor(s.JID(account), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	tpl, fields, err := r.Capture(full)
	if err != nil {
		t.Fatal(err)
	}
	if len(tpl) != 2 || fields != 2 || !strings.Contains(tpl[1], seqMark) {
		t.Errorf("captured %d fields in %q", fields, tpl)
	}
	for _, inFlight := range []int{1, 16} {
		run, err := r.Measure(full, inFlight, 300*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if run.Reads < 20 || run.P50 <= 0 || run.P99 < run.P50 {
			t.Errorf("%d in flight: %+v", inFlight, run)
		}
		t.Logf("%d in flight: %v", inFlight, run)
	}
	if _, err := r.Measure(s.JID(account)+"/nobody", 1, time.Second); err == nil {
		t.Error("reading from nobody succeeded")
	}
}
