package integration

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// docs/pairing.md is typed through word for word: every command of it is run,
// in its order, and must say what the page says.
func TestThePageAboutPairing(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/pairing.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newTyped(t)
	n := 0
	for _, block := range regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if block[1] == "yaml" {
			d.write("etc/postern.yaml", d.here(block[2]))
			continue
		}
		for _, c := range regexp.MustCompile(`(?m)^\$ `).Split(block[2], -1) {
			if line, says, _ := strings.Cut(c, "\n"); line != "" {
				d.run(line, says)
				n++
			}
		}
	}
	if n < 25 {
		t.Errorf("only %d commands were found", n)
	}
}

// typed is a machine on which the page is typed.
type typed struct {
	t     *testing.T
	dir   string
	addr  string
	names map[string]string // what the page calls something, and what it is
	logs  map[string]*logBuffer
}

func newTyped(t *testing.T) *typed {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &typed{t: t, dir: t.TempDir(), addr: l.Addr().String(), names: map[string]string{}, logs: map[string]*logBuffer{}}
	l.Close()
	// A machine has one hub and one gateway in their usual places; here these
	// are below the test's directory.
	d.write("bin/postern", fmt.Sprintf(`#!/bin/sh
D=%s
export XDG_CONFIG_HOME=$D/config POSTERN_CONFIG=$D/etc/postern.yaml POSTERN_ACCOUNT=
export RUNTIME_DIRECTORY=$D/run STATE_DIRECTORY=$D/state
if [ "$1" = hub ]; then export RUNTIME_DIRECTORY=$D/run-hub STATE_DIRECTORY=$D/state-hub; fi
case "$1 $2" in "hub --domain") set -- "$@" --listen %s --listen-tls none;; esac
exec %s "$@"
`, d.dir, d.addr, binary))
	d.write("etc/empty", "")
	if err := os.Chmod(filepath.Join(d.dir, "bin/postern"), 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *typed) write(name, text string) {
	d.t.Helper()
	file := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// here puts this machine's places and names in place of the page's.
func (d *typed) here(s string) string {
	s = strings.NewReplacer("/etc/postern/", d.dir+"/etc/", "/var/lib/postern-hub", d.dir+"/state-hub", "127.0.0.1:5222", d.addr).Replace(s)
	for page, real := range d.names {
		s = strings.ReplaceAll(s, page, real)
	}
	return s
}

// run types a line. What happened before may take a moment to arrive.
func (d *typed) run(line, says string) {
	d.t.Helper()
	if daemon, ok := strings.CutSuffix(line, " &"); ok {
		d.start(daemon)
		return
	}
	eventually(d.t, 20*time.Second, func() error {
		cmd := d.command(d.here(line))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // what it says counts
		return d.same(line, says, out.String())
	})
}

func (d *typed) command(line string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(d.dir, "bin")+":"+os.Getenv("PATH"), "LC_ALL=C")
	return cmd
}

func (d *typed) start(line string) {
	d.t.Helper()
	log := &logBuffer{}
	cmd := d.command("exec " + d.here(line))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if d.t.Failed() {
			d.t.Logf("%s:\n%s", line, log)
		}
	})
	socket := "run/postern.sock"
	if strings.Contains(line, "hub") {
		socket = "run-hub/postern.sock"
	}
	eventually(d.t, 20*time.Second, func() error {
		_, err := os.Stat(filepath.Join(d.dir, socket))
		return err
	})
}

// What differs from one time to the next: times, and names of questions.
var (
	times     = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`)
	columns   = regexp.MustCompile(`  +`) // as wide as what stands in them
	questions = regexp.MustCompile(`\b[A-Z2-7]{8}\b`)
)

// same compares what was said with the page, on which three dots stand for
// anything.
func (d *typed) same(line, page, got string) error {
	pattern := regexp.QuoteMeta(strings.TrimSpace(page))
	pattern = times.ReplaceAllString(pattern, `\d{4}-\d\d-\d\d \d\d:\d\d`)
	var names []string
	pattern = questions.ReplaceAllStringFunc(pattern, func(s string) string {
		if d.names[s] != "" || s == "QUESTION" {
			return s
		}
		names = append(names, s)
		return "([A-Z2-7]{8})"
	})
	pattern = strings.ReplaceAll(pattern, `\.\.\.`, ".*")
	pattern = columns.ReplaceAllString(pattern, "  *")
	m := regexp.MustCompile("(?s)^" + pattern + "$").FindStringSubmatch(strings.TrimSpace(got))
	if m == nil {
		return fmt.Errorf("$ %s\n%s\nThe page says:\n%s", line, got, page)
	}
	for i, n := range names {
		d.names[n] = m[i+1]
	}
	return nil
}
