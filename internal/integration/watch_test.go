package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"postern/internal/cli"
	"postern/internal/peertest"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	proxy := peertest.NewProxy(t, s.Addr)
	startGateway(t, s, gatewayOptions{})
	o := newOperator(t)
	r := o.postern(t, "login", s.JID("owner"), "--server", proxy.Addr, "--ca", s.CAFile, "--password-file", s.PasswordFile("owner"))
	if r.code != cli.ExitOK {
		t.Fatal(r.err)
	}
	gw := s.JID("gateway")

	// A line for each change, and a document for each read-out.
	r = o.postern(t, "watch", gw, "--node", "pump", "--interval", "200ms", "--count", "3")
	if r.code != cli.ExitOK || strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, "pump  state = false") {
		t.Errorf("exit code %d: %s\n%s", r.code, r.err, r.out)
	}
	r = o.postern(t, "watch", gw, "--node", "climate", "--interval", "200ms", "--count", "3", "--json")
	docs := 0
	for dec := json.NewDecoder(strings.NewReader(r.out)); dec.More(); docs++ {
		var d document
		if err := dec.Decode(&d); err != nil || len(d.Fields) != 3 {
			t.Fatalf("%v in %s", err, r.out)
		}
	}
	if docs != 3 || strings.Count(r.out, "\n") != 3 {
		t.Errorf("%d documents in %q", docs, r.out)
	}

	// It sees what another operator does, outlives the loss of its link, and
	// ends with 0 when interrupted.
	watch := exec.Command(binary, "watch", gw, "--node", "pump", "--interval", "200ms")
	watch.Env = append(os.Environ(), "XDG_CONFIG_HOME="+o.home, "POSTERN_ACCOUNT=")
	out, errs := &logBuffer{}, &logBuffer{}
	watch.Stdout, watch.Stderr = out, errs
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	sees := func(text string) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			if !strings.Contains(out.String(), text) {
				return fmt.Errorf("the output lacks %q: %s %s", text, out, errs)
			}
			return nil
		})
	}
	sees("state = false")
	if r := o.postern(t, "set", gw, "pump", "state=on"); r.code != cli.ExitOK {
		t.Fatal(r.err)
	}
	sees("state = true")
	proxy.Cut()
	time.Sleep(300 * time.Millisecond)
	proxy.Resume()
	other := newOperator(t).login(t, s, "owner")
	if r := other.postern(t, "set", gw, "pump", "state=off"); r.code != cli.ExitOK {
		t.Fatal(r.err)
	}
	eventually(t, 30*time.Second, func() error {
		if strings.Count(out.String(), "state = false") < 2 {
			return fmt.Errorf("no second line for off: %s %s", out, errs)
		}
		return nil
	})
	watch.Process.Signal(syscall.SIGINT)
	if err := watch.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v: %s", err, errs)
	}
}

// TestWatchOnATerminal: the table is redrawn in place and fits the screen.
func TestWatchOnATerminal(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	startGateway(t, s, gatewayOptions{})
	o := newOperator(t).login(t, s, "owner")
	cmd := exec.Command(binary, "watch", s.JID("gateway"), "--interval", "200ms", "--count", "3")
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+o.home, "POSTERN_ACCOUNT=", "TERM=xterm", "NO_COLOR=1")
	screen, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 8, Cols: 80})
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	defer screen.Close()
	var b bytes.Buffer
	b.ReadFrom(screen) // ends with an error when the command closes its end
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	draws := strings.Split(b.String(), "\x1b[H")
	if len(draws) != 4 {
		t.Fatalf("drawn %d times: %q", len(draws)-1, b.String())
	}
	for _, d := range draws[1:] {
		if n := strings.Count(d, "\n"); n > 7 {
			t.Errorf("%d lines on a screen of 8", n)
		}
		if !strings.Contains(d, "climate") || !strings.Contains(d, "lines more") || strings.Contains(d, "\x1b[1m") {
			t.Errorf("drawn %q", d)
		}
	}
}

func TestSetJSON(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	g := startGateway(t, s, gatewayOptions{})
	o := newOperator(t).login(t, s, "owner")
	var d struct {
		Version int
		Thing   string
		Results []struct {
			Node, Parameter, Kind, Value string
			Applied                      bool
		}
		Condition string
		Faults    []struct{ Parameter, Text string }
	}
	r := o.postern(t, "set", s.JID("gateway"), "pump", "state=on", "--json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil || r.code != cli.ExitOK {
		t.Fatalf("exit code %d, %v: %s", r.code, err, r.err)
	}
	if d.Version != 1 || len(d.Results) != 1 || !d.Results[0].Applied || d.Results[0].Kind != "boolean" || d.Results[0].Value != "true" {
		t.Errorf("%+v", d)
	}
	if v := g.value("pump", "state"); v != "true" {
		t.Errorf("the local door shows %s", v)
	}
	r = o.postern(t, "set", s.JID("gateway"), "pump", "state:int=1", "--json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil || r.code != cli.ExitFailure {
		t.Fatalf("exit code %d, %v: %s", r.code, err, r.err)
	}
	if d.Condition != "bad-request" || d.Results[0].Applied || len(d.Faults) != 1 || d.Faults[0].Parameter != "state" {
		t.Errorf("%+v", d)
	}
}

// TestLoginAsksOnATerminal: the password is asked for and not shown.
func TestLoginAsksOnATerminal(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	o := newOperator(t)
	cmd := exec.Command(binary, "login", s.JID("owner"), "--server", s.Addr, "--ca", s.CAFile)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+o.home, "POSTERN_ACCOUNT=")
	screen, err := pty.Start(cmd)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	defer screen.Close()
	shown := &logBuffer{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(shown, screen)
	}()
	eventually(t, 10*time.Second, func() error {
		if !strings.Contains(shown.String(), "Password of "+s.JID("owner")) {
			return fmt.Errorf("the terminal shows %q", shown)
		}
		return nil
	})
	time.Sleep(50 * time.Millisecond) // the echo is switched off behind the question
	if _, err := io.WriteString(screen, s.Password("owner")+"\r"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, shown)
	}
	screen.Close()
	<-ended
	if strings.Contains(shown.String(), s.Password("owner")) {
		t.Errorf("the password is shown: %q", shown)
	}
	if r := o.postern(t, "read", s.JID("gateway")+"/nobody", "--timeout", "2s"); r.code != cli.ExitUnreachable {
		t.Errorf("with the kept account: exit code %d: %s", r.code, r.err)
	}
}
