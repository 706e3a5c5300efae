package gateway

import (
	"slices"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/node"
)

// FuzzConfiguration loads files with the real kinds: their Validate methods and
// descriptions see whatever the decoder lets through.
func FuzzConfiguration(f *testing.F) {
	f.Add([]byte(basicConfig))
	kinds := Kinds()
	for _, part := range strings.Split(string(config.Example(kinds)), "\n\n") {
		if strings.Contains(part, "kind: ") {
			f.Add([]byte("account: {jid: a@b.example, password: {env: X}}\nnodes:\n" + strings.TrimPrefix(part, "nodes:\n")))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, ps := config.Parse("f", data, kinds)
		if cfg == nil {
			if len(ps) == 0 {
				t.Fatal("neither configuration nor problem")
			}
			return
		}
		if _, err := accessOf(cfg); err != nil {
			t.Fatalf("an access list that passed the check is refused: %v", err)
		}
		outputRules(cfg, mustTree(t, cfg))
	})
}

// mustTree opens everything simulated, as paper, and builds the nodes.
func mustTree(t *testing.T, cfg *config.Config) *node.Tree {
	t.Helper()
	h := newHardware(quiet())
	defer h.closeAll()
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		k, err := findKind(n.Kind)
		if err != nil {
			t.Fatal(err)
		}
		if k.branch || k.Channels == nil {
			continue
		}
		d, err := k.open(t.Context(), paper{h.bench}, n.Config)
		if err != nil {
			t.Fatalf("%s: a configuration that passed the check is refused by its driver: %v\n%+v", n.Kind, err, n.Config)
		}
		h.devices[n.ID] = &opened{Device: d, node: *n}
	}
	tr, err := tree(cfg, h)
	if err != nil {
		t.Fatalf("nodes of a configuration that passed the check: %v", err)
	}
	return tr
}

// What passes the check opens: each key of each kind is given values of all
// sorts, and the driver must take whatever the check lets through.
func TestWhatIsCheckedOpens(t *testing.T) {
	kinds := Kinds()
	values := []string{`""`, "0", "-1", "1", "7", "100000", "99999999999999999999", "x", `"\n"`, "1e400", "NaN", "0x44", "true", "[]", "{}", "[a]", "10s", "1.5", "a.b = 1", "28-000000000000"}
	passed := 0
	for _, part := range strings.Split(string(config.Example(kinds)), "\n\n") {
		part = strings.TrimPrefix(part, "nodes:\n")
		if !strings.Contains(part, "    kind: ") {
			continue
		}
		lines := strings.Split(part, "\n")
		for i, l := range lines {
			key, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimLeft(l, " "), "# "), ": ")
			if !ok || strings.ContainsAny(key, " {-") || key == "kind" {
				continue
			}
			indent := l[:len(l)-len(strings.TrimLeft(l, " "))]
			for _, v := range values {
				changed := slices.Clone(lines)
				changed[i] = indent + key + ": " + v
				text := "account: {jid: a@b.example, password: {env: X}}\nbuses: {example-modbus: {type: modbus, transport: tcp, host: \"192.0.2.1:502\"}}\nnodes:\n" + strings.Join(changed, "\n") + "\n"
				cfg, _ := config.Parse("f", []byte(text), kinds)
				if cfg == nil {
					continue
				}
				passed++
				outputRules(cfg, mustTree(t, cfg))
				if t.Failed() {
					t.Fatalf("with\n%s", changed[i])
				}
			}
		}
	}
	if passed < 200 {
		t.Errorf("only %d configurations passed the check", passed)
	}
}
