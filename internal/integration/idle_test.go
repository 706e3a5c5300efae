package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// idleCPU is the most of one core, in percent, that an idle gateway may take.
const idleCPU = 1.0

// TestIdle measures what a gateway costs that nobody asks anything: its
// processor time, and how often it wakes one up. It has the example
// configuration, every node of it that can be simulated, for the time in
// POSTERN_IDLE. Simulated devices wake the processor too, so that the figures
// are of all of them and of the gateway with the machine's own node alone.
func TestIdle(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("POSTERN_IDLE"))
	if err != nil {
		t.Skip("a measurement; make bench-idle runs it")
	}
	s := peertest.Prosody(t)
	text, err := os.ReadFile("../../docs/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, nodes string
		wakeups     float64 // at most, a second
	}{{"example", "", 150}, {"one node", "nodes:\n  - {id: host, kind: host}\n", 15}} {
		t.Run(c.name, func(t *testing.T) {
			g := &gateway{t: t, dir: t.TempDir()}
			g.config, g.socket = filepath.Join(g.dir, "postern.yaml"), filepath.Join(g.dir, "door.sock")
			secret := filepath.Join(g.dir, "password")
			config := string(text)
			if c.nodes != "" {
				config = config[:strings.Index(config, "\nnodes:")+1] + c.nodes
			}
			for old, now := range map[string]string{
				"jid: gateway@site.example ":            "jid: " + s.JID("gateway") + " ",
				"{file: /etc/postern/password":          "{file: " + secret,
				"  tls: auto":                           "  address: \"" + s.Addr + "\"\n  ca_file: " + s.CAFile + "\n  tls: auto",
				"# simulate: false  ":                   "simulate: true  ",
				"  # directory: /var/lib/postern\n":     "  directory: " + filepath.Join(g.dir, "state") + "\n",
				"  # socket: /run/postern/postern.sock": "  socket: " + g.socket,
			} {
				if !strings.Contains(config, old) {
					t.Fatalf("the example has no %q", old)
				}
				config = strings.Replace(config, old, now, 1)
			}
			for path, text := range map[string]string{secret: s.Password("gateway") + "\n", g.config: config} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			g.start()
			t.Cleanup(func() { g.stop() })
			time.Sleep(15 * time.Second) // logged in, every node read
			if out := g.log.String(); !strings.Contains(out, "msg=online") {
				t.Fatalf("the gateway is not online:\n%s", out)
			}
			begin, cpu, wakeups := time.Now(), g.cpu(), g.wakeups()
			time.Sleep(length)
			took := time.Since(begin).Seconds()
			share := 100 * (g.cpu() - cpu).Seconds() / took
			rate := float64(g.wakeups()-wakeups) / took
			t.Logf("%s: %.2f %% of one core, %.0f wake-ups a second, RssAnon %.1f MB", c.name, share, rate, g.anonymous()/1e6)
			if share > idleCPU || rate > c.wakeups {
				t.Errorf("more than %.1f %% or %.0f wake-ups", idleCPU, c.wakeups)
			}
		})
	}
}

var switches = regexp.MustCompile(`(?m)^voluntary_ctxt_switches:\s*([0-9]+)`)

// wakeups is how often threads of the gateway have waited for something and
// were woken up (proc(5), /proc/PID/task/TID/status).
func (g *gateway) wakeups() (n int) {
	g.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, file := range tasks {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has just ended
		}
		if m := switches.FindSubmatch(b); m != nil {
			k, _ := strconv.Atoi(string(m[1]))
			n += k
		}
	}
	return n
}
