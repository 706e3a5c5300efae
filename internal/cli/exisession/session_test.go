package exisession

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sizes measures a recorded session by representation.
func sizes(t *testing.T, file string) map[string]Row {
	t.Helper()
	rows, err := measureFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]Row)
	for _, r := range rows {
		m[r.Mode] = r
	}
	return m
}

const (
	perStanza = "EXI, tables for each stanza"
	wide      = "EXI, sessionWideBuffers"
	window    = "EXI, kept window and sessionWideBuffers"
)

// What docs/benchmarks.md says about the first session.
func TestSizesOfTheFirstSession(t *testing.T) {
	dir := os.Getenv("POSTERN_VECTORS")
	if dir == "" {
		t.Skip("POSTERN_VECTORS names no folder with bench/session-200.xmll")
	}
	got := sizes(t, filepath.Join(dir, "bench/session-200.xmll"))
	for mode, most := range map[string]int{perStanza: 12_500, wide: 4_500, window: 3_700} {
		if n := got[mode].Octets; n == 0 || n > most {
			t.Errorf("%s: %d octets, the most is %d", mode, n, most)
		}
	}
	// The gains are not those of one recording: on the demo's they are at most
	// 10 % smaller.
	demo := sizes(t, "testdata/demo-session.xmll")
	for _, mode := range []string{perStanza, wide, window} {
		one, two := 1-got[mode].Ratio, 1-demo[mode].Ratio
		if two < 0.9*one {
			t.Errorf("%s saves %.1f %% of the first session and %.1f %% of the second", mode, 100*one, 100*two)
		}
	}
}

func TestSizesOfTheDemo(t *testing.T) {
	got := sizes(t, "testdata/demo-session.xmll")
	for mode, most := range map[string]float64{perStanza: 0.22, wide: 0.095, window: 0.052} {
		if r := got[mode].Ratio; r == 0 || r > most {
			t.Errorf("%s takes %.1f %%, the most is %.1f %%", mode, 100*r, 100*most)
		}
	}
}

func TestStanzasThatAreNone(t *testing.T) {
	if _, err := Measure([]string{"<message"}); err == nil {
		t.Error("a stanza that is cut off was measured")
	}
	if rows, err := Measure(nil); err != nil || len(rows) == 0 {
		t.Errorf("an empty session: %v, %v", rows, err)
	}
}

func TestCommand(t *testing.T) {
	var out, errs strings.Builder
	if code := Run([]string{"--json", "testdata/demo-session.xmll"}, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), `"octets"`) {
		t.Errorf("code %d, %s, %s", code, out.String(), errs.String())
	}
	if code := Run([]string{"no-such-file"}, nil, &out, &errs); code != 1 {
		t.Errorf("code %d", code)
	}
	if code := Run(nil, nil, &out, &errs); code != 2 {
		t.Errorf("code %d", code)
	}
}
