//go:build fleet

package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/local"
	"postern/internal/peertest"
)

// until waits for the status to be as wanted.
func until(t *testing.T, socket, what string, ok func(local.Status) bool) {
	t.Helper()
	var st local.Status
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if st, err = local.NewClient(socket).Status(t.Context()); err == nil && ok(st) {
			return
		}
	}
	t.Fatalf("%s: not within 20 s: %+v, %v", what, st, err)
}

// A registry on PostgreSQL: it waits for a database that is away, is the only
// one, says when the database goes, and what it keeps can be carried to a file
// and back.
func TestRegistryOnPostgreSQL(t *testing.T) {
	server := peertest.NewPostgres(t)
	if err := server.SQL("postgres", "create database things"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // an XMPP server that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	secret, socket, password := filepath.Join(dir, "secret"), filepath.Join(dir, "r.sock"), filepath.Join(dir, "password")
	for path, text := range map[string]string{secret: "s\n", password: peertest.PostgresPassword + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := "postgres://postern@" + server.Addr + "/things"
	database := []string{"--database", address, "--database-password-file", password}
	args := append([]string{"--domain", "things.example", "--server", ln.Addr().String(), "--secret-file", secret, "--socket", socket}, database...)

	server.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	var log safeBuffer
	go func() {
		env := cli.Env{Stdin: strings.NewReader(""), Stdout: &log, Stderr: &log, Getenv: func(string) string { return "" }}
		done <- Registry(ctx, env, args)
	}()
	until(t, socket, "it waits for the database", func(s local.Status) bool {
		return s.Role == "registry" && !s.Healthy && len(s.Problems) == 1 && strings.Contains(s.Problems[0], "the database is away") && s.Registry.Database == address
	})
	if code, _, errs := do(t, "", "services", "--socket", socket); code != cli.ExitFailure || !strings.Contains(errs, "waits for its database") {
		t.Errorf("%d %s", code, errs)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, socket, "it serves", func(s local.Status) bool {
		return len(s.Problems) == 1 && strings.HasPrefix(s.Problems[0], "not connected")
	})
	service := `{"name": "portal", "token": "T", "users": [{"name": "u", "credentials": ["userName=u"], "privileges": ["A"]}]}`
	if code, _, errs := do(t, service, "services", "put", "-", "--socket", socket); code != 0 {
		t.Fatal(errs)
	}
	// A second one is refused; an export is not.
	second := append(append([]string{}, args...), "--socket", filepath.Join(dir, "other.sock"))
	if code, _, errs := do(t, "", second...); code != cli.ExitFailure || !strings.Contains(errs, "another registry serves this database") {
		t.Errorf("%d %s", code, errs)
	}
	code, lines, errs := do(t, "", append([]string{"export"}, database...)...)
	if code != 0 || strings.Count(lines, "\n") != 2 {
		t.Fatalf("%d %s %s", code, lines, errs)
	}
	if code, _, errs := do(t, lines, append([]string{"import"}, database...)...); code != cli.ExitFailure || !strings.Contains(errs, "another registry") {
		t.Errorf("%d %s", code, errs)
	}
	// The database goes while it serves.
	server.Kill()
	until(t, socket, "it says that the database went", func(s local.Status) bool {
		return strings.Contains(strings.Join(s.Problems, "\n"), "the database is away")
	})
	if code, _, errs := do(t, service, "services", "put", "-", "--socket", socket); code != cli.ExitFailure || !strings.Contains(errs, "the database is away") {
		t.Errorf("%d %s", code, errs)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, socket, "it is back", func(s local.Status) bool { return !strings.Contains(strings.Join(s.Problems, "\n"), "database") })
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("ended with %d", code)
	}
	if text := log.String(); strings.Contains(text, peertest.PostgresPassword) || strings.Count(text, "level=ERROR") > 6 {
		t.Error(text)
	}

	// To a file, from there into another database, and out again.
	state := filepath.Join(dir, "state")
	if code, out, errs := do(t, lines, "import", "--state", state); code != 0 || !strings.Contains(out, "2 values") {
		t.Fatalf("%d %s", code, errs)
	}
	code, again, errs := do(t, "", "export", "--state", state)
	if code != 0 || again != lines {
		t.Errorf("%d %s\nfrom the file:\n%s\nfrom the database:\n%s", code, errs, again, lines)
	}
	if err := server.SQL("postgres", "create database copy"); err != nil {
		t.Fatal(err)
	}
	database[1] = strings.Replace(address, "/things", "/copy", 1)
	if code, _, errs := do(t, "", append([]string{"export"}, database...)...); code != cli.ExitFailure || !strings.Contains(errs, "no state of a registry") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, errs := do(t, again, append([]string{"import"}, database...)...); code != 0 || !strings.Contains(out, "2 values") {
		t.Fatalf("%d %s", code, errs)
	}
	if code, _, errs := do(t, again, append([]string{"import"}, database...)...); code != cli.ExitFailure || !strings.Contains(errs, "empty") {
		t.Errorf("%d %s", code, errs)
	}
	if code, third, errs := do(t, "", append([]string{"export"}, database...)...); code != 0 || third != lines {
		t.Errorf("%d %s\n%s", code, errs, third)
	}
}

// What is wrong on the command line is said before anything is opened.
func TestDatabaseOptions(t *testing.T) {
	_, text, _ := do(t, "", "--example")
	example := filepath.Join(t.TempDir(), "example.yaml")
	if err := os.WriteFile(example, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{cli.ExitConfig, "must not hold the password", []string{"export", "--database", "postgres://u:s3cret@h/d"}},
		{cli.ExitConfig, "postgres://USER@HOST/DATABASE", []string{"export", "--database", "things.db"}},
		{cli.ExitUsage, "no database", []string{"export", "--database-password-file", "x"}},
		{cli.ExitFailure, "no state of a registry", []string{"export", "--config", example, "--state", t.TempDir()}}, // the example can be used as it is
		{cli.ExitUsage, "not in both", []string{"export", "--database", "postgres:///d", "--state", "/x"}},
		{cli.ExitFailure, "password", []string{"export", "--database", "postgres://u@127.0.0.1:1/d", "--database-password-file", filepath.Join(t.TempDir(), "none")}},
		{cli.ExitUnreachable, "is away", []string{"export", "--database", "postgres://u@127.0.0.1:1/d"}},
	} {
		if code, _, errs := do(t, "", c.args...); code != c.code || !strings.Contains(errs, c.want) || strings.Contains(errs, "s3cret") {
			t.Errorf("%v: %d %s", c.args, code, errs)
		}
	}
}
