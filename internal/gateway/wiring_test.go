package gateway

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/config"
)

// Every piece of configuration in the wiring guide passes postern check, and
// every picture that it shows is there.
func TestWiringGuide(t *testing.T) {
	b, err := os.ReadFile("../../docs/wiring.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	pieces := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	for _, p := range pieces {
		cfg := "account: {jid: g@example.org, password: {env: P}}\n" + p[1]
		if _, ps := config.Parse("wiring.md", []byte(cfg), Kinds()); ps.Err() != nil {
			t.Errorf("%s\n%v", p[1], ps.Err())
		}
	}
	pictures := regexp.MustCompile(`\]\((pictures/wiring/[a-z0-9-]+\.svg)\)`).FindAllStringSubmatch(text, -1)
	for _, p := range pictures {
		svg, err := os.ReadFile(filepath.Join("../../docs", p[1]))
		if err != nil || !strings.HasPrefix(string(svg), "<svg ") {
			t.Errorf("%s: %v", p[1], err)
		}
	}
	if len(pieces) != 10 || len(pictures) != 10 {
		t.Errorf("%d pieces of configuration and %d pictures, want ten set-ups", len(pieces), len(pictures))
	}
}
