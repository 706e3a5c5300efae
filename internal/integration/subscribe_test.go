package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/peertest"
)

// command is a command of an operator's that runs until it is interrupted.
type command struct {
	*exec.Cmd
	out, errs *logBuffer
}

func (o *operator) start(t *testing.T, args ...string) *command {
	t.Helper()
	c := &command{exec.Command(binary, args...), &logBuffer{}, &logBuffer{}}
	c.Env = append(os.Environ(), "XDG_CONFIG_HOME="+o.home, "POSTERN_ACCOUNT=")
	c.Stdout, c.Stderr = c.out, c.errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() }) // has ended by then
	return c
}

// sees waits for a text in the output.
func (c *command) sees(t *testing.T, times int, text string) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		if strings.Count(c.out.String(), text) < times {
			return fmt.Errorf("the output lacks %q, %d times: %s %s", text, times, c.out, c.errs)
		}
		return nil
	})
}

func (c *command) interrupt(t *testing.T) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v: %s", err, c.errs)
	}
}

// An operator that the gateway does not know yet subscribes, gets what others
// do, outlives the loss of its link, and unsubscribes at the end.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(testing.TB) *peertest.Server{"Prosody": peertest.Prosody, "ejabberd": peertest.Ejabberd} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := server(t)
			proxy := peertest.NewProxy(t, s.Addr)
			startGateway(t, s, gatewayOptions{})
			o := newOperator(t)
			if r := o.postern(t, "login", s.JID("owner"), "--server", proxy.Addr, "--ca", s.CAFile, "--password-file", s.PasswordFile("owner")); r.code != cli.ExitOK {
				t.Fatal(r.err)
			}
			gw := s.JID("gateway")
			other := newOperator(t).login(t, s, "owner")
			set := func(value string) {
				t.Helper()
				if r := other.postern(t, "set", gw, "pump", "state="+value); r.code != cli.ExitOK {
					t.Fatal(r.err)
				}
			}

			sub := o.start(t, "subscribe", gw, "pump", "--keep")
			sub.sees(t, 1, "pump  state = false") // the state at the start
			set("on")
			sub.sees(t, 1, "pump  state = true")
			proxy.Cut()
			set("off") // while nobody listens
			time.Sleep(300 * time.Millisecond)
			proxy.Resume()
			sub.sees(t, 2, "pump  state = false")
			set("on")
			sub.sees(t, 2, "pump  state = true")
			sub.interrupt(t)
			numbers := map[string]bool{}
			for line := range strings.Lines(sub.out.String()) {
				n, _, _ := strings.Cut(line, " ")
				if n == "--" {
					t.Errorf("a message was skipped: %s", line)
				}
				if !strings.HasPrefix(n, "#") {
					t.Errorf("no number: %s", line)
				}
				numbers[line] = true
			}
			if len(numbers) != strings.Count(sub.out.String(), "\n") {
				t.Errorf("a line came twice:\n%s", sub.out)
			}

			// Conditions, and documents.
			r := o.postern(t, "subscribe", gw, "climate", "--field", "temperature", "--max", "1s", "--count", "3", "--json")
			docs := 0
			var last uint64
			for dec := json.NewDecoder(strings.NewReader(r.out)); dec.More(); docs++ {
				var d struct {
					N      uint64
					Boot   string
					Fields []struct{ Field string }
				}
				if err := dec.Decode(&d); err != nil || d.Boot == "" || d.N <= last || len(d.Fields) != 1 || d.Fields[0].Field != "temperature" {
					t.Fatalf("%v, %+v in %s", err, d, r.out)
				}
				last = d.N
			}
			if r.code != cli.ExitOK || docs != 3 {
				t.Errorf("%d documents, exit code %d: %s", docs, r.code, r.err)
			}

			// watch uses them too, and polling shows the same.
			watch := o.start(t, "watch", gw, "--node", "pump")
			watch.sees(t, 1, "state = true")
			set("off")
			watch.sees(t, 1, "state = false")
			watch.interrupt(t)
			if r := o.postern(t, "watch", gw, "--node", "pump", "--poll", "--count", "2"); r.code != cli.ExitOK || !strings.Contains(r.out, "state = false") {
				t.Errorf("%d: %s %s", r.code, r.out, r.err)
			}

			// Refusals.
			stranger := newOperator(t).login(t, s, "stranger")
			for _, tc := range []struct {
				o    *operator
				args []string
				code int
			}{
				{o, []string{"subscribe", gw, "attic"}, cli.ExitFailure},
				{o, []string{"subscribe", gw, "--max", "1s", "--min", "2s"}, cli.ExitUsage},
				{o, []string{"subscribe", gw, "--keep", "--change", "temperature=1"}, cli.ExitUsage},
				{o, []string{"subscribe", gw, "--change", "temperature=warm"}, cli.ExitUsage},
				{stranger, []string{"subscribe", gw, "--timeout", "3s"}, cli.ExitDenied},
			} {
				if r := tc.o.postern(t, tc.args...); r.code != tc.code || r.err == "" {
					t.Errorf("%q: %d, want %d: %s", tc.args, r.code, tc.code, r.err)
				}
			}
		})
	}
}
