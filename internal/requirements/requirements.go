// Package requirements keeps the requirement tables in docs/requirements true:
// it finds the tests that are named after a row and writes them into the
// row's last column.
package requirements

//go:generate go test -count=1 -run TestTablesAreCurrent . -update

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// testName matches test functions named after rows: Test0323R12_..., and
// Test0325R04R05_... for several rows of one text.
var testName = regexp.MustCompile(`(?m)^func (Test(\d{4}|Core|IM|Events)((?:R\d+)+)(?:_\w*)?)\(`)

var rowNumber = regexp.MustCompile(`R(\d+)`)

// Tests returns, for each row ("0323-R12", "CORE-R58"), the tests named after
// it as "dir: Name", sorted.
func Tests(root fs.FS) (map[string][]string, error) {
	found := make(map[string][]string)
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		for _, m := range testName.FindAllStringSubmatch(string(src), -1) {
			for _, n := range rowNumber.FindAllStringSubmatch(m[3], -1) {
				row := strings.ToUpper(m[2]) + "-R" + n[1]
				found[row] = append(found[row], fmt.Sprintf("`%s` %s", path.Dir(p), m[1]))
			}
		}
		return nil
	})
	for _, names := range found {
		slices.Sort(names)
	}
	return found, err
}

// shown is how many tests a row names; more are counted.
const shown = 3

// Update rewrites the last column of every row in a table. Text that somebody
// wrote there (a place in the documentation) stays when no test is named after
// the row. It returns the new text and the rows it saw.
func Update(table string, tests map[string][]string) (updated string, rows []string) {
	lines := strings.Split(table, "\n")
	for i, line := range lines {
		cells := strings.Split(line, " | ")
		if len(cells) < 5 || !rowID.MatchString(cells[0]) {
			continue
		}
		row := strings.TrimPrefix(cells[0], "| ")
		rows = append(rows, row)
		last := &cells[len(cells)-1]
		*last = where(strings.TrimSuffix(*last, " |"), tests[row]) + " |"
		lines[i] = strings.Join(cells, " | ")
	}
	return strings.Join(lines, "\n"), rows
}

var rowID = regexp.MustCompile(`^\| (\d{4}|CORE|IM|EVENTS)-R\d+$`)

func where(old string, tests []string) string {
	switch {
	case len(tests) > shown:
		return fmt.Sprintf("%s and %d more", strings.Join(tests[:shown], ", "), len(tests)-shown)
	case len(tests) > 0:
		return strings.Join(tests, ", ")
	case strings.HasPrefix(old, "`"): // a test that is gone
		return "—"
	}
	return old
}
