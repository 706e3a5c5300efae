package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"postern/internal/cli"
	"postern/internal/peertest"
)

const formNodes = `
  - {id: pump, kind: relay, line: "panel:OUT1", simulate: true, rules: {state: {confirm: "yes"}}}
  - {id: lamp, kind: relay, line: "panel:OUT2", simulate: true}
`

// A person fills a form in at a terminal, with a wrong value, a second step,
// and nothing edited; a program reads it as JSON.
func Test0325R17R23_FormAtATerminal(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		startGateway(t, s, gatewayOptions{nodes: formNodes})
		o := newOperator(t)
		if code := cli.Login(t.Context(), o.env(), []string{s.JID("owner"), "--server", s.Addr, "--ca", s.CAFile, "--password-file", s.PasswordFile("owner")}); code != 0 {
			t.Fatalf("login: %d %s", code, &o.err)
		}
		environment := append(os.Environ(), "XDG_CONFIG_HOME="+o.home, "LC_ALL=C")
		gw := s.JID("gateway")
		run := func(code int, args ...string) string {
			t.Helper()
			cmd := exec.Command(binary, args...)
			cmd.Env = environment
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			_ = cmd.Run() // the code is looked at
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Fatalf("%v ended with %d, want %d: %s%s", args, got, code, &out, &errs)
			}
			return out.String()
		}
		run(0, "read", gw, "--node", "lamp") // the gateway is online
		type step struct{ see, write string }
		dialogue := func(args []string, code int, steps ...step) string {
			t.Helper()
			cmd := exec.Command(binary, append([]string{"form", gw}, args...)...)
			cmd.Env = environment
			tty, err := pty.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer tty.Close()
			var seen bytes.Buffer
			rest := make(chan string, 100)
			go func() {
				b := make([]byte, 4096)
				for {
					n, err := tty.Read(b)
					if n > 0 {
						rest <- string(b[:n])
					}
					if err != nil {
						close(rest)
						return
					}
				}
			}()
			from := 0
			for _, st := range steps {
				limit := time.After(20 * time.Second)
				for !strings.Contains(seen.String()[from:], st.see) {
					select {
					case text, ok := <-rest:
						if !ok {
							t.Fatalf("ended before %q:\n%s", st.see, seen.String())
						}
						seen.WriteString(text)
					case <-limit:
						t.Fatalf("%q does not come:\n%s", st.see, seen.String())
					}
				}
				from = seen.Len()
				if _, err := io.WriteString(tty, st.write+"\n"); err != nil {
					t.Fatal(err)
				}
			}
			for text := range rest {
				seen.WriteString(text)
			}
			_ = cmd.Wait() // the code is looked at
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Fatalf("ended with %d, want %d:\n%s", got, code, seen.String())
			}
			return seen.String()
		}
		out := dialogue([]string{"lamp"}, 0, step{"[false]: ", "maybe"}, step{"must be true or false", "on"}, step{"Send this? [y/N]", "y"})
		if !strings.Contains(out, "done") {
			t.Errorf("%s", out)
		}
		if out := dialogue([]string{"lamp"}, 0, step{"[true]: ", ""}); !strings.Contains(out, "nothing was changed") {
			t.Errorf("%s", out)
		}
		if out := dialogue([]string{"lamp"}, 0, step{"[true]: ", "off"}, step{"Send this? [y/N]", ""}); !strings.Contains(out, "nothing was sent") {
			t.Errorf("%s", out)
		}
		out = dialogue([]string{"pump"}, 0, step{"[false]: ", "on"}, step{"(confirm)", ""}, step{"Send this?", "y"}, step{"Send it again with the code?", "y"})
		if !regexp.MustCompile(`confirm = [0-9]{6}`).MatchString(out) || !strings.Contains(out, "done") {
			t.Errorf("the second step: %s", out)
		}
		if out := dialogue([]string{"lamp"}, 1, step{"[true]: ", "\x04"}); !strings.Contains(out, "given up") {
			t.Errorf("%s", out)
		}
		var doc struct {
			Fields []struct {
				Name, Type string
				Value      *string
			}
		}
		if err := json.Unmarshal([]byte(run(0, "form", gw, "lamp", "--json")), &doc); err != nil || len(doc.Fields) != 1 || doc.Fields[0].Type != "boolean" || *doc.Fields[0].Value != "true" {
			t.Errorf("%v %+v", err, doc)
		}
		if out := run(0, "form", gw, "lamp", "state=off"); !strings.Contains(out, "done") {
			t.Errorf("%s", out)
		}
		run(1, "form", gw, "lamp", "speed=3")
	})
}
