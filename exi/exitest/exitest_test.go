package exitest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOwnVectors runs the small cases that were written for this project.
func TestOwnVectors(t *testing.T) {
	runAll(t, filepath.Join("testdata", "own"), "own")
}

// TestVectors runs every case of the folders below $POSTERN_VECTORS/exi.
func TestVectors(t *testing.T) {
	root := os.Getenv("POSTERN_VECTORS")
	if root == "" {
		t.Skip("POSTERN_VECTORS is not set")
	}
	for _, set := range []string{"own", "third-party"} {
		dir := filepath.Join(root, "exi", set)
		if _, err := os.Stat(dir); err != nil {
			t.Logf("no vectors: %v", err)
			continue
		}
		runAll(t, dir, set)
	}
}

func runAll(t *testing.T, dir, set string) {
	cases, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	pass, all := map[string]int{}, map[string]int{}
	for i := range cases {
		c := &cases[i]
		tier := c.Tier
		if c.Expect == "error" {
			tier = "bad"
		}
		all[tier]++
		ok := t.Run(set+"/"+c.ID, func(t *testing.T) {
			err := c.Run()
			switch known := c.Known(); {
			case known != "" && err == nil:
				t.Error("passes, but is listed as known to fail")
			case known != "":
				t.Skip(known)
			case err != nil:
				t.Error(err)
			}
		})
		if ok && c.Known() == "" {
			pass[tier]++
		}
	}
	for _, tier := range []string{"A", "B", "C", "S", "bad"} {
		t.Logf("%s, tier %s: %d of %d", set, tier, pass[tier], all[tier])
	}
}
