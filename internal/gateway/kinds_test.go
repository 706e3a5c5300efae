package gateway

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/internal/config"
)

func TestExampleOfAllKindsLoads(t *testing.T) {
	text := config.Example(Kinds())
	cfg, ps := config.Parse("example.yaml", text, Kinds())
	if ps != nil {
		t.Fatalf("%v\n%s", ps, text)
	}
	if len(cfg.Nodes) != len(kinds()) {
		t.Errorf("%d nodes of %d kinds", len(cfg.Nodes), len(kinds()))
	}
}

// A device's keys stand beside those of the node, and defaults and bounds are
// read from tags: both have to hold for every kind.
func TestKindsAreSound(t *testing.T) {
	if _, err := config.Schema(Kinds()); err != nil {
		t.Fatal(err)
	}
	common := map[string]bool{}
	keys := func(typ reflect.Type) (out []string) {
		for i := range typ.NumField() {
			key, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			if key != "" && key != "-" {
				out = append(out, key)
			}
		}
		return out
	}
	for _, k := range keys(reflect.TypeFor[config.NodeKeys]()) {
		common[k] = true
	}
	seen := map[string]bool{}
	for _, k := range kinds() {
		if seen[k.Name] || k.Doc == "" || k.Name != strings.ToLower(k.Name) {
			t.Errorf("kind %q: twice, undocumented or not lower case", k.Name)
		}
		seen[k.Name] = true
		cfgKeys := keys(reflect.TypeOf(k.New()).Elem())
		for _, key := range cfgKeys {
			if common[key] {
				t.Errorf("kind %s: its key %s is a key of all nodes", k.Name, key)
			}
		}
		if k.Bus != "" && !slices.Contains(cfgKeys, "bus") {
			t.Errorf("kind %s sits on a bus but has no key bus", k.Name)
		}
	}
}

// The files in docs are those that the table gives now.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	schema, err := config.Schema(Kinds())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"example.yaml": config.Example(Kinds()), "postern.schema.json": schema, "hardware.md": config.Hardware(Kinds()),
	} {
		got, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not current (%v): run make generate", name, err)
		}
	}
}
