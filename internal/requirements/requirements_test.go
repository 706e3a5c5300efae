package requirements

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the tables in docs/requirements")

const root = "../.."

// TestTablesAreCurrent fails when a table does not name the tests that exist,
// and when a test is named after a row that no table has.
func TestTablesAreCurrent(t *testing.T) {
	tests, err := Tests(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "docs/requirements/*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables found: %v", err)
	}
	known := make(map[string]bool)
	for _, f := range files {
		old, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		now, rows := Update(string(old), tests)
		for _, r := range rows {
			if known[r] {
				t.Errorf("%s: row %s stands twice", f, r)
			}
			known[r] = true
		}
		if now == string(old) {
			continue
		}
		if !*update {
			t.Errorf("%s is out of date: run `make generate`", f)
			continue
		}
		if err := os.WriteFile(f, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for row, names := range tests {
		if !known[row] {
			t.Errorf("%s: no table in docs/requirements has the row %s", strings.Join(names, ", "), row)
		}
	}
}

func TestUpdateKeepsWrittenPlaces(t *testing.T) {
	const table = "| 0323-R01 | MUST | device | Advertise | — |\n" +
		"| 0323-R02 | MUST | device | Operate | docs/security.md |\n" +
		"| 0323-R03 | MUST | device | Gone | `x` TestGone |\n" +
		"no row\n"
	got, rows := Update(table, map[string][]string{"0323-R01": {"`sensors` Test0323R01_Disco"}})
	want := "| 0323-R01 | MUST | device | Advertise | `sensors` Test0323R01_Disco |\n" +
		"| 0323-R02 | MUST | device | Operate | docs/security.md |\n" +
		"| 0323-R03 | MUST | device | Gone | — |\n" +
		"no row\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(rows) != 3 {
		t.Errorf("rows = %v, want three", rows)
	}
}
