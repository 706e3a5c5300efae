package daemon

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/local"
)

// do runs postern registry with arguments.
func do(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(stdin), Stdout: &o, Stderr: &e, Getenv: func(string) string { return "" }}
	code = Registry(t.Context(), env, args)
	return code, o.String(), e.String()
}

// A registry whose server is away serves its local door, keeps services, and
// its state can be carried elsewhere once it has ended.
func TestRegistryCommands(t *testing.T) {
	dir := t.TempDir()
	// A server that never answers.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	secret, socket, state := filepath.Join(dir, "secret"), filepath.Join(dir, "r.sock"), filepath.Join(dir, "state")
	if err := os.WriteFile(secret, []byte("s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		var o, e bytes.Buffer
		env := cli.Env{Stdin: strings.NewReader(""), Stdout: &o, Stderr: &e, Getenv: func(string) string { return "" }}
		done <- Registry(ctx, env, []string{"--domain", "things.example", "--server", ln.Addr().String(), "--secret-file", secret, "--state", state, "--socket", socket})
	}()
	var st local.Status
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if st, err = local.NewClient(socket).Status(ctx); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if st.Role != "registry" || st.Registry.Connected || st.Healthy || st.Registry.Domain != "things.example" {
		t.Errorf("%+v", st)
	}
	service := `{"name": "portal", "token": "T", "users": [{"name": "u", "credentials": ["userName=u"], "privileges": ["A"]}]}`
	if code, out, errs := do(t, service, "services", "put", "-", "--socket", socket); code != 0 || !strings.Contains(out, `"anonymous"`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	for _, bad := range []string{"nonsense", `{"name": ""}`, `{"name": "x", "token": "U", "users": [{"name": "u", "credentials": ["shoe=44"]}]}`, `{"name": "y", "token": "T"}`} {
		if code, _, errs := do(t, bad, "services", "put", "-", "--socket", socket); code != cli.ExitFailure || errs == "" {
			t.Errorf("%s: %d %s", bad, code, errs)
		}
	}
	if code, out, _ := do(t, "", "services", "--socket", socket); code != 0 || strings.Count(out, `"name": "portal"`) != 1 {
		t.Errorf("%d %s", code, out)
	}
	if code, _, errs := do(t, "", "export", "--state", state); code != cli.ExitFailure || !strings.Contains(errs, "stop it first") {
		t.Errorf("export of a running one: %d %s", code, errs)
	}
	if code, _, errs := do(t, "", "--domain", "things.example", "--server", "x:1", "--secret-file", secret, "--socket", socket, "--state", dir); code != cli.ExitFailure || !strings.Contains(errs, "another daemon") {
		t.Errorf("a second one: %d %s", code, errs)
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("ended with %d", code)
	}
	lines := filepath.Join(dir, "lines")
	if code, _, errs := do(t, "", "export", lines, "--state", state); code != 0 {
		t.Fatal(errs)
	}
	if code, _, _ := do(t, "", "export", lines, "--state", state); code != cli.ExitFailure {
		t.Error("an export over another")
	}
	other := filepath.Join(dir, "other")
	if code, out, errs := do(t, "", "import", lines, "--state", other); code != 0 || !strings.Contains(out, "2 values") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, _, errs := do(t, "", "import", lines, "--state", other); code != cli.ExitFailure || !strings.Contains(errs, "empty") {
		t.Errorf("%d %s", code, errs)
	}
	first, _ := os.ReadFile(lines)
	if code, out, _ := do(t, "", "export", "--state", other); code != 0 || out != string(first) {
		t.Errorf("%d %s", code, out)
	}
	if code, _, errs := do(t, `{"bucket":"registry.things","key":"k","value":"no thing"}`, "import", "--state", filepath.Join(dir, "third")); code != cli.ExitFailure || !strings.Contains(errs, "line 1") {
		t.Errorf("%d %s", code, errs)
	}
	for _, args := range [][]string{{"expart"}, {"run", "x"}, {"services", "put"}, {}} {
		if code, _, errs := do(t, "", args...); code != cli.ExitUsage || errs == "" {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}
