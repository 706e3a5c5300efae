package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build makes the binary as a person would.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "postern")
	cmd := exec.Command("go", "build", "-o", exe, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// demoRun is a running postern demo.
type demoRun struct {
	cmd  *exec.Cmd
	text strings.Builder // what it printed until it was ready
	rest chan string     // what it printed after that, once it has ended
}

// startDemo starts the demo and waits until it has walked through.
func startDemo(t *testing.T, exe, state string) *demoRun {
	t.Helper()
	r := &demoRun{cmd: exec.Command(exe, "demo"), rest: make(chan string, 1)}
	r.cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill() }) // has ended by then
	ready := make(chan bool, 1)
	go func() {
		br := bufio.NewReader(out)
		for {
			line, err := br.ReadString('\n')
			r.text.WriteString(line)
			if strings.HasPrefix(line, "Ctrl-C") || err != nil {
				ready <- err == nil
				break
			}
		}
		rest, _ := io.ReadAll(br) // an error shows as missing text
		r.rest <- string(rest)
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("the demo ended early:\n%s", r.text.String())
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the demo does not get ready")
	}
	return r
}

// interrupt ends the demo as Ctrl-C does and returns how long that took.
func (r *demoRun) interrupt(t *testing.T) (took time.Duration, rest string) {
	t.Helper()
	begin := time.Now()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest = <-r.rest
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("the demo: %v", err)
	}
	return time.Since(begin), rest
}

// commandsOf returns the commands that the demo says to try.
func commandsOf(text string) []string {
	_, next, _ := strings.Cut(text, "Now you")
	var out []string
	for _, l := range strings.Split(next, "\n") {
		if strings.HasPrefix(l, "  ") {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return out
}

// shell runs a command line as it was printed.
func shell(t *testing.T, line string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("sh", "-c", line)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary and runs a whole site")
	}
	exe, state := build(t), t.TempDir()
	r := startDemo(t, exe, state)
	text := r.text.String()
	for _, want := range []string{
		`online: TLS 1\.3 .*SCRAM-SHA-256`,
		`board +uptime +[0-9.]+ +s +ok`,
		`meter +voltage +2[0-9][0-9]\.[0-9] +V +ok`,
		`meter +power +[0-9]+ +W +ok`,
		`climate +temperature +[0-9]+\.[0-9][0-9] +°C +ok`,
		`cabinet +temperature +[0-9.]+ +°C +ok`,
		`(?s)fan +state +false.*fan +state = true.*fan +state +true +ok`,
		`door +state +(true|false) +ok`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the walk-through lacks %s", want)
		}
	}
	commands := commandsOf(text)
	if len(commands) < 6 {
		t.Fatalf("only %d commands to try:\n%s", len(commands), text)
	}
	expect := map[string]struct {
		code int
		want string
	}{
		"watch":       {0, "climate"},
		"read":        {0, `"temperature"`},
		"state=false": {0, "state = false"},
		"state=maybe": {2, "maybe"},
		"status":      {0, "encoding"},
		"list":        {0, "operator@demo.example"},
		"check":       {0, "fine"},
	}
	for name, e := range expect {
		line := ""
		for _, c := range commands {
			if strings.Contains(c, " "+name+" ") {
				line = c
			}
		}
		if line == "" {
			t.Errorf("no command with %s is shown", name)
			continue
		}
		if name == "watch" {
			line += " --count 1"
		}
		out, code := shell(t, line)
		if code != e.code || !strings.Contains(out, e.want) {
			t.Errorf("%s\nended with %d instead of %d, and printed\n%s", line, code, e.code, out)
		}
	}
	if out, code := shell(t, fmt.Sprintf("XDG_STATE_HOME=%s %s demo", state, exe)); code != 1 || !strings.Contains(out, "running already") {
		t.Errorf("a second demo: %d\n%s", code, out)
	}
	took, rest := r.interrupt(t)
	if took > time.Second || !strings.Contains(rest, "ended") {
		t.Errorf("Ctrl-C took %v and printed %q", took, rest)
	}

	// Started again, it serves the commands of before.
	r = startDemo(t, exe, state)
	if out, code := shell(t, commands[1]); code != 0 {
		t.Errorf("after a restart %s ended with %d:\n%s", commands[1], code, out)
	}
	if took, _ := r.interrupt(t); took > time.Second {
		t.Errorf("Ctrl-C took %v", took)
	}
	if out, code := shell(t, exe+" status --socket "+filepath.Join(state, "postern/demo/gateway.sock")); code != 3 {
		t.Errorf("status after the end: %d\n%s", code, out)
	}
}
