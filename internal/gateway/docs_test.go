package gateway

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"postern/internal/config"
)

// The configuration in docs/safety.md is one, and the tests it names exist.
func TestSafetyPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/safety.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(page)
	if block == nil {
		t.Fatal("no configuration on the page")
	}
	text := "account: {jid: gw@site.example, password: {env: PW}}\nbuses:\n  field: {type: modbus, serial: {port: /dev/ttyS9}}\n" + block[1]
	cfg, ps := config.Parse("safety.md", []byte(text), Kinds())
	if ps != nil {
		t.Fatal(ps)
	}
	if r := cfg.Nodes[2].Rules["state"]; len(r.Interlocks) != 2 || r.Confirm != "yes" {
		t.Errorf("%+v", r)
	}
	var tests strings.Builder
	for _, dir := range []string{"../../control", "../../control/schedule", "../../sensors", "../audit", "../../board/hil", "../integration", "."} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), "_test.go") {
				src, err := os.ReadFile(dir + "/" + e.Name())
				if err != nil {
					t.Fatal(err)
				}
				tests.Write(src)
			}
		}
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(tests.String(), "func "+m[1]+"(") {
			t.Errorf("%s does not exist", m[1])
		}
	}
}
