//go:build !fleet

package daemon

import (
	"strings"
	"testing"

	"postern/internal/cli"
)

// The build for boards says which one has PostgreSQL.
func TestBoardsHaveNoDatabase(t *testing.T) {
	secret := t.TempDir() + "/none"
	for _, args := range [][]string{
		{"export", "--database", "postgres:///x"}, {"import", "--database", "postgres:///x"},
		{"--domain", "things.example", "--server", "x:1", "--secret-file", secret, "--socket", t.TempDir() + "/s", "--database", "postgres:///x"},
	} {
		if code, _, errs := do(t, "", args...); code != cli.ExitConfig || !strings.Contains(errs, "-tags fleet") {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}
