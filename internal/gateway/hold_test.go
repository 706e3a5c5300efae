package gateway

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/control"
	"postern/drivers"
	"postern/drivers/gpio"
	"postern/internal/node"
	"postern/internal/systemd"
)

// wireLine is a line of a chip in another process: its descriptor is a
// connection, and the chip sees whether anybody still has it, as the kernel
// sees whether anybody has a line.
type wireLine struct {
	*gpio.SimLine // what an output does not need
	conn          *net.UnixConn
}

func openWire(string) (gpio.Line, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: os.Getenv("POSTERN_HOLD_CHIP"), Net: "unixpacket"})
	return &wireLine{gpio.NewSimLine("wire"), c}, err
}

func adoptWire(_ string, f *os.File) (gpio.Line, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	return &wireLine{gpio.NewSimLine("wire"), c.(*net.UnixConn)}, nil
}

// call asks the chip. A process that was killed may have left an answer behind
// that nobody read, so each has a name.
func (w *wireLine) call(what string) (string, error) {
	_ = w.conn.SetDeadline(time.Now().Add(5 * time.Second))
	tag := rand.Text() + " "
	if _, err := w.conn.Write([]byte(tag + what)); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	for {
		n, err := w.conn.Read(b)
		if answer, ok := strings.CutPrefix(string(b[:n]), tag); ok || err != nil {
			return answer, err
		}
	}
}

func (w *wireLine) set(l gpio.Level) error {
	_, err := w.call(map[gpio.Level]string{gpio.Low: "out 0", gpio.High: "out 1"}[l])
	return err
}

func (w *wireLine) Output(_ string, l gpio.Level) error { return w.set(l) }
func (w *wireLine) Out(l gpio.Level) error              { return w.set(l) }
func (w *wireLine) Level() (gpio.Level, error) {
	v, err := w.call("get")
	return v == "1", err
}
func (w *wireLine) Close() error            { return w.conn.Close() }
func (w *wireLine) Keep() (*os.File, error) { return w.conn.File() }

// TestHoldChild is the gateway that TestHold restarts.
func TestHoldChild(t *testing.T) {
	if os.Getenv("POSTERN_HOLD_CHIP") == "" {
		t.Skip("part of TestHold")
	}
	_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	text, err := os.ReadFile(os.Getenv("POSTERN_HOLD_CONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, string(text))
	dir := filepath.Dir(os.Getenv("POSTERN_HOLD_CONFIG"))
	cfg.State.Directory = dir
	manager := systemd.New(os.Getenv)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	g, err := New(ctx, Options{
		Config: cfg, Version: "test", Socket: filepath.Join(dir, "s"), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Manager: manager, Inherited: systemd.Inherited(os.Getenv, os.Unsetenv), open: openWire, adopt: adoptWire,
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
			if sc.Text() == "show" {
				for _, o := range g.control.Outputs() {
					fmt.Printf("answer %s=%s by %s, active %v for %v\n", o.Output, o.Value, o.By, o.Active, time.Since(o.Since).Round(time.Hour))
				}
				continue
			}
			do := func() error {
				_, err := g.control.Do(ctx, control.Command{Nodes: []node.Ref{{ID: "pump"}},
					Assignments: []control.Assignment{{Name: "state", Value: drivers.Bool(sc.Text() == "on")}}})
				return err
			}
			err := do()
			for err != nil && strings.Contains(err.Error(), "not ready") && ctx.Err() == nil {
				err = do() // Run has only just begun
			}
			fmt.Printf("answer %v\n", err)
		}
	}()
	_ = manager.Ready()
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// chip is the other end of the line, with everything it saw.
type chip struct {
	mu  sync.Mutex
	log []string
}

func (c *chip) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, s)
}

func (c *chip) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

func (c *chip) serve(conn net.Conn) {
	c.note("requested")
	level := "0"
	b := make([]byte, 100)
	for {
		n, err := conn.Read(b)
		if err != nil || n == 0 {
			c.note("released")
			return
		}
		tag, what, _ := strings.Cut(string(b[:n]), " ")
		answer := level
		if v, ok := strings.CutPrefix(what, "out "); ok {
			level, answer = v, "ok"
			c.note("to " + v)
		}
		_, _ = conn.Write([]byte(tag + " " + answer))
	}
}

// pretender plays systemd: it starts the service, keeps its descriptors, and
// hands them to the next process.
type pretender struct {
	t      *testing.T
	dir    string
	socket *net.UnixConn
	news   chan string

	mu    sync.Mutex
	store map[string][]*os.File

	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers chan string
}

func newPretender(t *testing.T) *pretender {
	p := &pretender{t: t, dir: t.TempDir(), news: make(chan string, 1000), store: map[string][]*os.File{}}
	var err error
	p.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(p.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.socket.Close() })
	go p.listen()
	return p
}

func (p *pretender) listen() {
	data, oob := make([]byte, 4096), make([]byte, 1024)
	for {
		n, on, _, _, err := p.socket.ReadMsgUnix(data, oob)
		if err != nil {
			return
		}
		var files []*os.File
		if msgs, err := unix.ParseSocketControlMessage(oob[:on]); err == nil {
			for _, m := range msgs {
				fds, _ := unix.ParseUnixRights(&m)
				for _, fd := range fds {
					unix.CloseOnExec(fd)
					files = append(files, os.NewFile(uintptr(fd), "kept"))
				}
			}
		}
		text := string(data[:n])
		_, name, _ := strings.Cut(text, "FDNAME=")
		p.mu.Lock()
		switch {
		case strings.HasPrefix(text, "FDSTORE=1\n"):
			p.store[name], files = append(p.store[name], files...), nil
		case strings.HasPrefix(text, "FDSTOREREMOVE=1\n"):
			files = append(files, p.store[name]...)
			delete(p.store, name)
		}
		p.mu.Unlock()
		for _, f := range files { // also those of a barrier
			f.Close()
		}
		p.news <- text
	}
}

// start runs the gateway with a configuration until it is ready.
func (p *pretender) start(config string) {
	p.t.Helper()
	file := filepath.Join(p.dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0], "-test.run=^TestHoldChild$", "-test.timeout=60s")
	p.cmd.Stderr = os.Stderr
	var names []string
	p.mu.Lock() // until they are handed over, for listen may close them
	for name, files := range p.store {
		for _, f := range files {
			names = append(names, name)
			p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f)
		}
	}
	p.cmd.Env = append(os.Environ(), "POSTERN_TEST_PASSWORD=x", "POSTERN_HOLD_CONFIG="+file, "POSTERN_HOLD_CHIP="+filepath.Join(p.dir, "chip"),
		"NOTIFY_SOCKET="+filepath.Join(p.dir, "notify"), "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	err = p.cmd.Start()
	p.mu.Unlock()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := p.cmd
	p.t.Cleanup(func() { _ = cmd.Process.Kill() }) // has ended by then
	p.answers = make(chan string, 100)
	go func(answers chan string) {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if a, ok := strings.CutPrefix(sc.Text(), "answer "); ok {
				answers <- a
			}
		}
		close(answers)
	}(p.answers)
	p.await("READY=1")
}

func (p *pretender) await(want string) {
	p.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case got := <-p.news:
			if got == want {
				return
			}
		case <-limit:
			p.t.Fatalf("%s does not come", want)
		}
	}
}

func (p *pretender) ask(what string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, what+"\n"); err != nil {
		p.t.Fatal(err)
	}
	select {
	case a := <-p.answers:
		return a
	case <-time.After(30 * time.Second):
		p.t.Fatalf("no answer to %s", what)
	}
	return ""
}

// end ends the gateway by a signal, and waits until the manager has heard
// everything that it said.
func (p *pretender) end(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	for range p.answers { // until it has ended
	}
	if err := p.cmd.Wait(); (err != nil) != (sig == syscall.SIGKILL) {
		p.t.Fatalf("ended with %v", err)
	}
	m := systemd.New(func(k string) string {
		return map[string]string{"NOTIFY_SOCKET": filepath.Join(p.dir, "notify")}[k]
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Barrier(ctx); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pretender) keeps() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.store {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// forget lets go of everything, as a reset of the machine does.
func (p *pretender) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, files := range p.store {
		for _, f := range files {
			_ = f.Close()
		}
	}
	clear(p.store)
}

const heldConfig = `
account: {jid: thing@example.org, password: {env: POSTERN_TEST_PASSWORD}}
server: {address: "127.0.0.1:1"}
nodes:
  - {id: pump, kind: relay, line: "chip:1", rules: {state: {restart: hold, max_on: 10h}}}
`

// A line that is held never moves and is never let go while its gateway is
// restarted; what else can happen ends in the safe state.
func TestHold(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts processes")
	}
	p, c := newPretender(t), new(chip)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(p.dir, "chip"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	expect := func(what string, want ...string) {
		t.Helper()
		var got []string
		for range 500 { // a release is seen a little later
			if got = c.seen(); slices.Equal(got, want) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: the chip saw %q, want %q", what, got, want)
	}
	wants := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: %q, want %q", what, got, want)
		}
	}

	p.start(heldConfig)
	expect("the first start", "requested", "to 0", "to 0")
	wants("on", p.ask("on"), "<nil>")
	on := []string{"requested", "to 0", "to 0", "to 1"}
	expect("switched on", on...)

	p.end(syscall.SIGTERM)
	expect("stopped in good order", on...)
	if k := p.keeps(); len(k) != 2 || k[0] != noteName || !strings.HasPrefix(k[1], linePrefix+"0-chip") {
		t.Fatalf("the manager keeps %q", k)
	}
	p.start(heldConfig)
	expect("started again", on...)
	wants("who", p.ask("show"), "pump state=true by local, active true for 0s")
	if k := p.keeps(); len(k) != 1 {
		t.Errorf("the note counts twice: %q", k)
	}

	p.end(syscall.SIGKILL)
	expect("killed", on...)
	p.start(heldConfig)
	safe := append(on, "to 0", "to 0")
	expect("started after a kill: made safe without being let go", safe...)
	wants("who", p.ask("show"), "pump state=false by safe, active false for 0s")

	wants("on", p.ask("on"), "<nil>")
	p.end(syscall.SIGTERM)
	p.start(strings.Replace(heldConfig, "restart: hold, ", "", 1))
	again := append(safe, "to 1", "to 0", "to 0")
	expect("not held any more", again...)
	if k := p.keeps(); len(k) != 0 {
		t.Errorf("the manager still keeps %q", k)
	}
	p.end(syscall.SIGTERM)
	gone := append(again, "to 0", "to 0", "released")
	expect("stopped without holding", gone...)

	// Frozen, as before a hardware watchdog fires: nothing moves the line. The
	// manager's own watchdog ends the process; the line stays.
	p.start(heldConfig)
	wants("on", p.ask("on"), "<nil>")
	frozen := append(gone, "requested", "to 0", "to 0", "to 1")
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	expect("frozen", frozen...)
	p.end(syscall.SIGKILL)
	expect("frozen, then killed", frozen...)
	// A reset of the machine ends everybody who has the line.
	p.forget()
	reset := append(frozen, "released")
	expect("reset: let go without a move", reset...)
	p.start(heldConfig)
	reset = append(reset, "requested", "to 0", "to 0")
	expect("started after the reset", reset...)
	wants("who", p.ask("show"), "pump state=false by safe, active false for 0s")

	wants("on", p.ask("on"), "<nil>")
	p.end(syscall.SIGTERM)
	p.start(strings.Replace(heldConfig, `{id: pump, kind: relay, line: "chip:1", rules: {state: {restart: hold, max_on: 10h}}}`, "{id: host, kind: host}", 1))
	last := append(reset, "to 1", "to 0", "released")
	expect("no longer in the configuration: safe, then let go", last...)
	p.end(syscall.SIGTERM)
}

// What is written on a line that is wired another way, or was left long ago,
// does not count.
func TestHoldConditions(t *testing.T) {
	dir := t.TempDir()
	note := func(stopped time.Duration) *os.File {
		f, err := os.Create(filepath.Join(dir, "note"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, `{"stopped": %d, "lines": {"chip:1": {"config": "x", "set": true, "age": 5}}}`, bootTime()-int64(stopped))
		return f
	}
	line := func() *os.File {
		f, err := os.Create(filepath.Join(dir, "line"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	name := lineName("chip:1", gpio.High)
	for what, c := range map[string]struct {
		files map[string][]*os.File
		hold  bool
		want  bool
	}{
		"in good order":  {map[string][]*os.File{noteName: {note(time.Second)}, name: {line(), line()}}, true, true},
		"without a note": {map[string][]*os.File{name: {line()}}, true, false},
	} {
		h := newHolder(quiet(), nil, c.files)
		h.adopt = func(ref string, f *os.File) (gpio.Line, error) {
			if ref != "chip:1" {
				t.Errorf("%s: line %q", what, ref)
			}
			return gpio.NewSimLine(ref), f.Close()
		}
		h.open = func(string) (gpio.Line, error) { return nil, errors.New("opened anew") }
		if _, err := h.line("chip:1", c.hold, gpio.High); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, ok := h.resumed("chip:1"); ok != c.want {
			t.Errorf("%s: resumed %v", what, ok)
		}
	}
	for _, stopped := range []time.Duration{holdLimit + time.Minute, -time.Hour} {
		h := newHolder(quiet(), nil, map[string][]*os.File{noteName: {note(stopped)}, name: {line()}})
		h.adopt = func(ref string, f *os.File) (gpio.Line, error) { return gpio.NewSimLine(ref), f.Close() }
		if _, err := h.line("chip:1", true, gpio.High); err != nil {
			t.Fatal(err)
		}
		if _, ok := h.resumed("chip:1"); ok {
			t.Errorf("resumed after %v", stopped)
		}
	}
	h := newHolder(quiet(), nil, map[string][]*os.File{noteName: {note(time.Second)}, name: {line()}})
	sim := gpio.NewSimLine("chip:1")
	h.adopt = func(_ string, f *os.File) (gpio.Line, error) { return sim, f.Close() }
	l, err := h.line("chip:1", true, gpio.High)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openRelay(t.Context(), l, gpio.RelayConfig{Line: "chip:1", Drive: "push-pull", Safe: "on"}); err != nil {
		t.Fatal(err)
	}
	if high, output := sim.Driven(); !output || !bool(high) {
		t.Error("a line that is wired another way now was not made safe")
	}
	if _, ok := h.resumed("chip:1"); ok {
		t.Error("it counts as going on")
	}
}
