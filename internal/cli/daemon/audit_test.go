package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/audit"
	"postern/internal/cli"
	"postern/internal/store"
)

// auditCmd runs postern audit and returns what it printed.
func auditCmd(t *testing.T, state string, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("STATE_DIRECTORY", state)
	var o, e bytes.Buffer
	code = Audit(context.Background(), cli.Env{Stdout: &o, Stderr: &e, Getenv: os.Getenv}, args)
	return code, o.String(), e.String()
}

func TestAuditOffline(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "postern.db")
	db, err := store.Open(context.Background(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := audit.New(audit.Config{DB: db})
	now := time.Now()
	for i, node := range []string{"pump", "fan"} {
		if _, err := l.Add(audit.Record{At: now.Add(time.Duration(i-2) * time.Hour), Outcome: audit.Begun, From: "a@example.org/\x1b[31m", Nodes: []string{node}}); err != nil {
			t.Fatal(err)
		}
	}
	l.Refuse("x", audit.Record{At: now, From: "x@example.net", Error: "forbidden"})
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := auditCmd(t, dir, "--state", path); code != cli.ExitFailure || !strings.Contains(errs, "another process holds the store") {
		t.Error(code, errs)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs := auditCmd(t, dir, "--state", path)
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(out, "begun fan") || !strings.Contains(out, "   r1  ") || strings.Contains(out, "\x1b") {
		t.Error(code, out, errs)
	}
	if _, out, _ := auditCmd(t, dir, "--state", path, "--since", "90m", "--json"); !strings.Contains(out, `"fan"`) || strings.Contains(out, "pump") || !json.Valid([]byte(out)) {
		t.Error(out)
	}
	if _, out, _ := auditCmd(t, dir, "--state", path, "--node", "pump"); !strings.Contains(out, "begun pump") || strings.Contains(out, "fan") {
		t.Error(out)
	}
	if code, out, _ := auditCmd(t, dir, "--verify", "--state", path); code != 0 || strings.Count(out, ": sound") != 2 {
		t.Error(code, out)
	}
	// One octet changed on the disk.
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(file, []byte(`"nodes":["pump"]`), []byte(`"nodes":["pumq"]`)), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs = auditCmd(t, dir, "--verify", "--state", path)
	if code != cli.ExitFailure || !strings.Contains(out, "! record 1: it is damaged") || !strings.Contains(errs, "not what was written") {
		t.Error(code, out, errs)
	}
	for _, args := range [][]string{{"x"}, {"--since", "soon"}, {"--limit", "0"}, {"--state", "a", "--socket", "b"}} {
		if code, _, _ := auditCmd(t, dir, args...); code != cli.ExitUsage {
			t.Errorf("%q: %d", args, code)
		}
	}
	if code, _, errs := auditCmd(t, dir, "--socket", filepath.Join(dir, "no.sock")); code != cli.ExitUnreachable {
		t.Error(code, errs)
	}
}
