package integration

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// startScript runs a Python script of testdata until the test ends and
// returns its standard output behind the line "ready".
func startScript(t *testing.T, args ...string) *bufio.Reader {
	t.Helper()
	cmd := exec.Command(debianPython, args...)
	errs := &logBuffer{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && errs.String() != "" {
			t.Logf("%s: %s", args[0], errs)
		}
	})
	r := bufio.NewReader(out)
	ready := make(chan error, 1)
	go func() {
		line, err := r.ReadString('\n')
		if err == nil && strings.TrimSpace(line) != "ready" {
			err = io.ErrUnexpectedEOF
		}
		ready <- err
	}()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatalf("%s: %v: %s", args[0], err, errs)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s is not ready after 20 s: %s", args[0], errs)
	}
	return r
}

func startSlixmppThing(t *testing.T, s *peertest.Server, account string) {
	t.Helper()
	host, port, _ := strings.Cut(s.Addr, ":")
	startScript(t, "testdata/thing.py", s.JID(account)+"/thing", s.Password(account), host, port, s.CAFile)
}
