package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/peertest"
)

// binary is the program under test, built once as it ships.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "postern")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "postern")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "postern/cmd/postern")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
		os.Exit(1)
	}
	// Most of a test's time goes by waiting for other processes.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil {
		f.Value.Set("6")
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// logBuffer collects a process's output.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// gateway is a running postern run.
type gateway struct {
	t      *testing.T
	dir    string
	config string
	socket string
	cmd    *exec.Cmd
	log    *logBuffer
	done   chan struct{}
}

// gatewayOptions change the configuration of a gateway under test.
type gatewayOptions struct {
	addr     string // instead of the server's
	password string // instead of the right one
	nodes    string // section nodes, instead of simNodes
	buses    string // section buses
	server   string // further lines of section server
	access   string // section access, instead of owner and reader
	more     string // further sections
	noResume bool
}

// simNodes are simulated chips, lines and this machine.
const simNodes = `
  - {id: climate, kind: bme280, simulate: true, interval: 1s}
  - {id: boiler, kind: mcp9808, simulate: true, interval: 1s}
  - {id: door, kind: contact, line: "panel:IN1", simulate: true}
  - {id: pump, kind: relay, line: "panel:OUT1", simulate: true}
  - {id: host, kind: host, interval: 1s}
`

// startGateway runs a gateway with the account gateway@ of the server.
func startGateway(t *testing.T, s *peertest.Server, o gatewayOptions) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir()}
	g.socket = filepath.Join(g.dir, "door.sock")
	g.config = filepath.Join(g.dir, "postern.yaml")
	g.write(s, o)
	g.start()
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.log)
		}
	})
	return g
}

func (g *gateway) write(s *peertest.Server, o gatewayOptions) {
	g.t.Helper()
	if o.addr == "" {
		o.addr = s.Addr
	}
	if o.password == "" {
		o.password = s.Password("gateway")
	}
	if o.nodes == "" {
		o.nodes = simNodes
	}
	if o.access == "" {
		o.access = fmt.Sprintf("{owner: %q, allow: [{jid: %q, rights: [read]}]}", s.JID("owner"), s.JID("reader"))
	}
	if o.buses != "" {
		o.buses = "buses:" + o.buses
	}
	secret := filepath.Join(g.dir, "password")
	config := fmt.Sprintf(`account:
  jid: %s
  password: {file: %s}
server:
  address: "%s"
  ca_file: %s
  resume: %v
%saccess: %s
state: {directory: %s}
local: {socket: %s}
log: {level: debug}
%s%s
nodes:%s`, s.JID("gateway"), secret, o.addr, s.CAFile, !o.noResume, o.server, o.access, filepath.Join(g.dir, "state"), g.socket, o.more, o.buses, o.nodes)
	for path, text := range map[string]string{secret: o.password + "\n", g.config: config} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *gateway) start() {
	g.t.Helper()
	g.log = &logBuffer{}
	g.cmd = exec.Command(binary, "run", "--config", g.config)
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		close(done)
	}(g.cmd, g.done)
	eventually(g.t, 10*time.Second, func() error {
		if !g.running() {
			g.t.Fatalf("the gateway ended at once:\n%s", g.log)
		}
		_, err := os.Stat(g.socket)
		return err
	})
}

// stop ends the gateway as a service manager would and returns how long it
// took.
func (g *gateway) stop() time.Duration {
	begin := time.Now()
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.done:
	case <-time.After(10 * time.Second):
		g.t.Errorf("the gateway did not end within 10 s of SIGTERM")
		g.cmd.Process.Kill()
		<-g.done
	}
	return time.Since(begin)
}

func (g *gateway) running() bool {
	select {
	case <-g.done:
		return false
	default:
		return true
	}
}

// eventually repeats check until it returns nil.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// outcome is how a command ended.
type outcome struct {
	code     int
	out, err string
	took     time.Duration
}

// postern runs a command of the binary with the home of an operator.
func (o *operator) postern(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+o.home, "POSTERN_ACCOUNT=", "LC_ALL=", "LC_MESSAGES=", "LANG="+o.lang)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	begin := time.Now()
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(begin)}
}

// login keeps an account of the server for the operator.
func (o *operator) login(t *testing.T, s *peertest.Server, account string) *operator {
	t.Helper()
	r := o.postern(t, "login", s.JID(account), "--server", s.Addr, "--ca", s.CAFile, "--password-file", s.PasswordFile(account))
	if r.code != 0 {
		t.Fatalf("login of %s: exit code %d: %s", account, r.code, r.err)
	}
	return o
}

// peer is the slixmpp client.
type peer struct {
	t      *testing.T
	in     io.WriteCloser
	lines  chan map[string]any
	online chan string
}

const debianPython = "/usr/bin/python3"

// needPython skips the test when Debian's Python lacks a module.
func needPython(t *testing.T, module, pkg string) {
	t.Helper()
	if err := exec.Command(debianPython, "-c", "import "+module).Run(); err != nil {
		peertest.Missing(t, module+" for "+debianPython, pkg)
	}
}

func startPeer(t *testing.T, s *peertest.Server, account string) *peer {
	t.Helper()
	needPython(t, "slixmpp", "python3-slixmpp")
	host, port, _ := strings.Cut(s.Addr, ":")
	cmd := exec.Command(debianPython, "testdata/peer.py", s.JID(account)+"/slixmpp", s.Password(account), host, port, s.CAFile)
	p := &peer{t: t, lines: make(chan map[string]any, 16), online: make(chan string, 16)}
	var errs logBuffer
	cmd.Stderr = &errs
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.read(out)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		p.in.Close()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() && errs.String() != "" {
			t.Logf("slixmpp: %s", &errs)
		}
	})
	if first := p.next(); first["ready"] == nil {
		t.Fatalf("slixmpp: %v %s", first, &errs)
	}
	return p
}

func (p *peer) read(out io.Reader) {
	defer close(p.lines)
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var m map[string]any
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			m = map[string]any{"fatal": sc.Text()}
		}
		if who, ok := m["online"].(string); ok {
			select {
			case p.online <- who:
			default:
			}
			continue
		}
		p.lines <- m
	}
}

func (p *peer) next() map[string]any {
	p.t.Helper()
	select {
	case m, ok := <-p.lines:
		if !ok {
			return map[string]any{"fatal": "the process ended"}
		}
		return m
	case <-time.After(30 * time.Second):
		p.t.Fatal("slixmpp is silent")
		return nil
	}
}

// do gives one order and returns its answer.
func (p *peer) do(op string, args map[string]any) map[string]any {
	p.t.Helper()
	order := map[string]any{"op": op}
	for k, v := range args {
		order[k] = v
	}
	b, err := json.Marshal(order)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		p.t.Fatal(err)
	}
	return p.next()
}

// waitOnline returns the full JID of the gateway once it is online.
func (p *peer) waitOnline(bare string) string {
	p.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case who := <-p.online:
			if strings.HasPrefix(who, bare+"/") {
				return who
			}
		case <-deadline:
			p.t.Fatalf("%s did not come online", bare)
		}
	}
}

// status is what the gateway says about itself at its local door.
type status struct {
	Healthy  bool
	Problems []string
	Memory   struct{ Anonymous, Goroutines uint64 }
	Gateway  struct {
		Connection struct {
			Phase, Error      string
			Connects, Resumes uint64
		}
		Nodes []struct {
			ID     string
			Fields []struct{ Name, Value string }
		}
	}
}

func (g *gateway) status() (status, error) {
	var s status
	cmd := exec.Command(binary, "status", "--json", "--socket", g.socket)
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		return s, fmt.Errorf("status: %w", err)
	}
	return s, json.Unmarshal(out, &s)
}

// value returns a reading as the local door shows it: not by way of XMPP.
func (g *gateway) value(node, field string) string {
	g.t.Helper()
	s, err := g.status()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, n := range s.Gateway.Nodes {
		for _, f := range n.Fields {
			if n.ID == node && f.Name == field {
				return f.Value
			}
		}
	}
	g.t.Fatalf("the local door shows no field %s of %s", field, node)
	return ""
}

// unmoved fails when the pump is on: nothing that the tests with faults send
// may switch it.
func (g *gateway) unmoved() {
	g.t.Helper()
	if v := g.value("pump", "state"); v != "false" {
		g.t.Errorf("the pump is %s", v)
	}
}

// waitPhase waits until the connection is in a phase.
func (g *gateway) waitPhase(phase string, limit time.Duration) status {
	g.t.Helper()
	var s status
	eventually(g.t, limit, func() (err error) {
		if s, err = g.status(); err == nil && s.Gateway.Connection.Phase != phase {
			err = fmt.Errorf("the connection is %s (%s), want %s", s.Gateway.Connection.Phase, s.Gateway.Connection.Error, phase)
		}
		return err
	})
	return s
}
