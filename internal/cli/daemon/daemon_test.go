package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/local"
)

// safeBuffer is a buffer that a command writes while the test reads.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type command = func(context.Context, cli.Env, []string) int

// call runs a command with stdin and returns its exit code and output.
func call(t *testing.T, f command, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	code = f(t.Context(), env, args)
	return code, out.String(), errs.String()
}

// serve runs a daemon until stop, which returns its exit code.
func serve(t *testing.T, f command, env map[string]string, args ...string) (stderr *safeBuffer, stop func() int) {
	t.Helper()
	stderr = new(safeBuffer)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- f(ctx, cli.Env{Stdin: strings.NewReader(""), Stdout: stderr, Stderr: stderr, Getenv: func(k string) string { return env[k] }}, args)
	}()
	var once sync.Once
	code := 0
	stop = func() int {
		once.Do(func() {
			begin := time.Now()
			cancel()
			code = <-done
			if d := time.Since(begin); d > time.Second {
				t.Errorf("stopping took %v", d)
			}
		})
		return code
	}
	t.Cleanup(func() { stop() })
	return stderr, stop
}

// await waits until a daemon answers at a socket.
func await(t *testing.T, socket string, log *safeBuffer) {
	t.Helper()
	for range 200 {
		if _, err := local.NewClient(socket).Status(t.Context()); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("nobody listens on %s:\n%s", socket, log)
}

func file(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "postern.yaml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCheck(t *testing.T) {
	good := file(t, "account: {jid: gw@site.example, password: {env: PW}}\nnodes:\n  - {id: room, kind: bme280}\n")
	if code, out, _ := call(t, Check, "", good); code != 0 || !strings.Contains(out, "fine: account gw@site.example, 1 node (room)") || !strings.Contains(out, "nobody may read") {
		t.Errorf("%d %s", code, out)
	}
	claimed := file(t, "account: {jid: gw@site.example, password: {env: PW}}\nprovisioning: {use: true}\nnodes:\n  - {id: room, kind: bme280}\n")
	if code, out, _ := call(t, Check, "", claimed); code != 0 || !strings.Contains(out, "until somebody has claimed it") {
		t.Errorf("%d %s", code, out)
	}
	bad := file(t, "account: {jid: gw@site.example, password: hunter2}\nnodes:\n  - {id: room, kind: bme28O, adress: 3}\n  - id: x\n    kind: relay\n    line: chip:1\n    save: on\n")
	code, out, _ := call(t, Check, "", bad)
	for _, want := range []string{":1:43: account.password", ":3:22: ", "did you mean bme280?", "    7 |     save: on\n      |     ^", "did you mean safe?", "3 problems"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != cli.ExitConfig || strings.Contains(out, "hunter2") {
		t.Errorf("%d\n%s", code, out)
	}
	code, out, _ = call(t, Check, "", "--json", good, bad)
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != cli.ExitConfig || len(list) != 3 || list[0]["line"] != 1.0 {
		t.Errorf("%d %v %s", code, err, out)
	}
	if code, _, errs := call(t, Check, ""); code != cli.ExitUsage || !strings.Contains(errs, "which file?") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, _ := call(t, Check, "", "/no/such/file"); code != cli.ExitConfig || !strings.Contains(out, "there is no such file") {
		t.Errorf("%d %s", code, out)
	}
}

func TestCheckNamesThePasswordFileThatOthersRead(t *testing.T) {
	pw := file(t, "secret")
	if err := os.Chmod(pw, 0o644); err != nil {
		t.Fatal(err)
	}
	_, out, _ := call(t, Check, "", file(t, "account: {jid: gw@site.example, password: {file: "+pw+"}}\n"))
	if !strings.Contains(out, "may be read by others (mode 0644)") {
		t.Error(out)
	}
}

func TestSchema(t *testing.T) {
	code, out, _ := call(t, Schema, "")
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v["properties"] == nil {
		t.Errorf("%d %v", code, err)
	}
	if code, out, _ := call(t, Schema, "", "--example"); code != 0 || !strings.Contains(out, "kind: bme280") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := call(t, Schema, "", "--hardware"); code != 0 || !strings.Contains(out, "## bme280") {
		t.Errorf("%d %s", code, out)
	}
	if code, _, _ := call(t, Schema, "", "--hardware", "--example"); code != cli.ExitUsage {
		t.Errorf("%d", code)
	}
}

func TestSchemaNamesTheNearestModel(t *testing.T) {
	if code, _, errs := call(t, Schema, "", "--model", "eastron-sdm72d-n"); code != cli.ExitFailure || !strings.Contains(errs, "did you mean eastron-sdm72d-m?") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestStatusWhenNobodyListens(t *testing.T) {
	code, _, errs := call(t, Status, "", "--socket", filepath.Join(t.TempDir(), "s"))
	if code != cli.ExitUnreachable || !strings.Contains(errs, "no daemon is running here") || !strings.Contains(errs, "postern run --config") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestRunRefusesABadConfiguration(t *testing.T) {
	code, _, errs := call(t, Run, "", "--config", file(t, "account: {jid: x@y}\nnods: []\n"))
	if code != cli.ExitConfig || !strings.Contains(errs, "did you mean nodes?") || !strings.Contains(errs, "2 problems") {
		t.Errorf("%d %s", code, errs)
	}
	noCA := file(t, "account: {jid: x@y.example, password: {env: PW}}\nserver: {ca_file: /no/such.pem}\n"+
		"state: {directory: "+t.TempDir()+"}\nlocal: {socket: "+filepath.Join(t.TempDir(), "s")+"}\n")
	if code, _, errs := call(t, Run, "", "--config", noCA); code != cli.ExitConfig || !strings.Contains(errs, "server.ca_file: open /no/such.pem") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := call(t, Run, "", "--cnofig", "x"); code != cli.ExitUsage || !strings.Contains(errs, "did you mean --config?") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestHubAccountsWithAndWithoutAHub(t *testing.T) {
	dir := t.TempDir()
	where := []string{"--state", filepath.Join(dir, "state"), "--socket", filepath.Join(dir, "s")}
	hub := func(stdin string, args ...string) (int, string, string) {
		t.Helper()
		return call(t, Hub, stdin, append(args, where...)...)
	}
	if code, _, errs := hub("", "list"); code != cli.ExitUsage || !strings.Contains(errs, "--domain") {
		t.Errorf("without a domain: %d %s", code, errs)
	}
	if code, _, errs := hub("x\n", "adduser", "anna", "--domain", "bad domain"); code != cli.ExitUsage || !strings.Contains(errs, "is no domain") {
		t.Errorf("a bad domain: %d %s", code, errs)
	}
	if code, out, errs := hub("pass one\n", "adduser", "anna", "--domain", "site.example"); code != 0 || !strings.Contains(out, "anna@site.example") || !strings.Contains(errs, "No hub is running") {
		t.Errorf("offline: %d %s%s", code, out, errs)
	}
	log, stop := serve(t, Hub, nil, append([]string{"run", "--listen", "127.0.0.1:0", "--listen-tls", "none"}, where...)...)
	await(t, where[3], log)
	if code, out, errs := hub("", "adduser", "bert@site.example", "--generate"); code != 0 || !strings.Contains(out, "bert@site.example") || !strings.Contains(out, "shown only now") || errs != "" {
		t.Errorf("%d %s%s", code, out, errs)
	}
	for _, c := range []struct {
		stdin, want string
		args        []string
		code        int
	}{
		{"x\n", "there is an account anna already", []string{"adduser", "anna"}, 1},
		{"x\n", "there is no account carl", []string{"passwd", "carl"}, 1},
		{"", "standard input is empty", []string{"passwd", "anna"}, 1},
		{"pass two\n", "", []string{"passwd", "anna"}, 0},
		{"", "which account?", []string{"remove"}, 2},
		{"", "did you mean adduser?", []string{"addusr", "x"}, 2},
		{"", "belong together", []string{"run", "--cert", "x"}, 2},
		{"", "", []string{"remove", "bert"}, 0},
	} {
		if code, _, errs := hub(c.stdin, c.args...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%v: %d %s", c.args, code, errs)
		}
	}
	if code, out, _ := hub("", "list"); code != 0 || !strings.Contains(out, "anna@site.example") || strings.Contains(out, "bert") {
		t.Errorf("%d\n%s", code, out)
	}
	if code, out, _ := call(t, Status, "", "--socket", where[3]); code != 0 || !strings.Contains(out, "domain      site.example") || !strings.Contains(out, "127.0.0.1:") {
		t.Errorf("%d\n%s", code, out)
	}
	if code, _, errs := call(t, Hub, "", "run", "--state", where[1], "--domain", "other.example", "--socket", where[3]+"2"); code != 1 || !strings.Contains(errs, "for the domain site.example") {
		t.Errorf("another domain: %d %s", code, errs)
	}
	if code := stop(); code != 0 {
		t.Errorf("the hub ended with %d:\n%s", code, log)
	}
	if strings.Contains(log.String(), "pass one") || strings.Contains(log.String(), "pass two") {
		t.Errorf("a password is logged:\n%s", log)
	}
}

func TestRunReloadsAndShowsStatus(t *testing.T) {
	dir := t.TempDir()
	text := func(nodes string) string {
		return "account: {jid: gw@site.example, password: {env: PW}}\nserver: {address: \"127.0.0.1:1\"}\nsimulate: true\n" +
			"state: {directory: " + dir + "}\nlocal: {socket: " + filepath.Join(dir, "s") + "}\nnodes:\n" + nodes
	}
	cfg := file(t, text("  - {id: room, kind: bme280, interval: 100ms}\n"))
	log, stop := serve(t, Run, nil, "--config", cfg)
	await(t, filepath.Join(dir, "s"), log)
	var out string
	for range 300 {
		var code int
		if code, out, _ = call(t, Status, "", "--socket", filepath.Join(dir, "s")); code != cli.ExitFailure {
			t.Fatalf("not connected, and status ended with %d", code)
		}
		if strings.Contains(out, "ok\n") && strings.Contains(out, "! not connected") && strings.Contains(out, "refused") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, want := range []string{"room (simulated)  temperature", "°C", "ok", "! not connected", "connection refused", "next attempt in"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	code, js, _ := call(t, Status, "", "--socket", filepath.Join(dir, "s"), "--json")
	var s local.Status
	if err := json.Unmarshal([]byte(js), &s); err != nil || code != cli.ExitFailure || s.Gateway.Nodes[0].Fields[0].Unit != "°C" {
		t.Errorf("%d %v %s", code, err, js)
	}
	hup := func(yaml, want string) {
		t.Helper()
		if err := os.WriteFile(cfg, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			if strings.Contains(log.String(), want) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%q does not come:\n%s", want, log)
	}
	hup(text("  - {id: hall, kind: bme280}\n  - {id: hall, kind: nothing}\n"), "not used")
	if _, out, _ := call(t, Status, "", "--socket", filepath.Join(dir, "s")); !strings.Contains(out, "room") {
		t.Errorf("a wrong file changed something:\n%s", out)
	}
	hup(text("  - {id: hall, kind: bme280}\n"), "is in force")
	if _, out, _ := call(t, Status, "", "--socket", filepath.Join(dir, "s")); !strings.Contains(out, "hall") || strings.Contains(out, "room") {
		t.Errorf("the changed file is not in force:\n%s", out)
	}
	if code := stop(); code != 0 {
		t.Errorf("ended with %d:\n%s", code, log)
	}
}

func TestStoreCheck(t *testing.T) {
	p := file(t, strings.Repeat("this is no store", 1000))
	if code, _, errs := call(t, Store, "", "check", p); code != cli.ExitFailure || errs == "" {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, _ := call(t, Store, "", "chek", p); code != cli.ExitUsage {
		t.Errorf("%d", code)
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 400 * time.Millisecond: "0.4 s", 65 * time.Second: "65 s", 10 * time.Minute: "10 min",
		5*time.Hour + 20*time.Minute: "5 h 20 min", 50 * time.Hour: "2 d 2 h",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestPriorityPrefixUnderSystemd(t *testing.T) {
	var b bytes.Buffer
	env := cli.Env{Stderr: &b, Getenv: func(k string) string { return map[string]string{"JOURNAL_STREAM": "8:1"}[k] }}
	log := newLogger(&env, config.Log{Level: "info"})
	log.With("part", "x").Warn("careful")
	log.Error("broken")
	if got := b.String(); got != "<4>msg=careful part=x\n<3>msg=broken\n" {
		t.Errorf("%q", got)
	}
}
