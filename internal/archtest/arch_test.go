package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "postern"

type listed struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

// packages asks the go command for every package of the module, as built for
// a board, or with further flags.
func packages(t *testing.T, flags ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append(append([]string{"list", "-json=ImportPath,Dir,Imports,GoFiles"}, flags...), module+"/...")...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.String())
	}
	var all []listed
	for dec := json.NewDecoder(&out); ; {
		var p listed
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			if len(all) == 0 {
				t.Fatal("go list found no packages")
			}
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func below(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

// violations returns what is wrong with one package's imports.
func violations(p listed) []string {
	pkg, _ := below(p.ImportPath)
	r := roomOf(pkg)
	if r == nil {
		return []string{pkg + ": no room in the table; add it there and to docs/architecture.md with its reason"}
	}
	var bad []string
	for _, imp := range p.Imports {
		dep, ours := below(imp)
		first, _, _ := strings.Cut(imp, "/")
		switch {
		case imp == "C":
			bad = append(bad, pkg+": imports C; the product is built with CGO_ENABLED=0")
		case ours && !r.allows(dep):
			bad = append(bad, pkg+" ("+r.why+") must not import "+dep)
		case !ours && strings.Contains(first, ".") && !r.allowsModule(imp):
			bad = append(bad, pkg+" ("+r.why+") must not import "+imp)
		}
	}
	return bad
}

func TestImports(t *testing.T) {
	for _, flags := range [][]string{nil, {"-tags=fleet"}} {
		for _, p := range packages(t, flags...) {
			for _, v := range violations(p) {
				t.Error(v)
			}
		}
	}
}

// TestBoardsLackTheFleet: what the tag fleet adds is not in what boards get.
func TestBoardsLackTheFleet(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/cmd/postern").Output()
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := exec.Command("go", "list", "-tags=fleet", "-deps", module+"/cmd/postern").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, mod := range []string{"github.com/jackc/", "github.com/makiuchi-d/gozxing"} {
		if bytes.Contains(out, []byte(mod)) {
			t.Errorf("the build for boards has %s", mod)
		}
		if !bytes.Contains(fleet, []byte(mod)) {
			t.Errorf("the build with the tag fleet has no %s", mod)
		}
	}
}

// TestTableFindsViolations proves that TestImports can fail.
func TestTableFindsViolations(t *testing.T) {
	for _, p := range []listed{
		{ImportPath: "postern/sensors", Imports: []string{"postern/control"}},
		{ImportPath: "postern/control", Imports: []string{"postern/sensors"}},
		{ImportPath: "postern/exi", Imports: []string{"postern/xmpp"}},
		{ImportPath: "postern/exi", Imports: []string{"example.org/codec"}},
		{ImportPath: "postern/xmpp", Imports: []string{"mellium.im/xmpp/jidder"}},
		{ImportPath: "postern/xmpp/ping", Imports: []string{"postern/xmpp/roster"}},
		{ImportPath: "postern/drivers/bme280", Imports: []string{"postern/drivers/mcp9808"}},
		{ImportPath: "postern/drivers", Imports: []string{"C"}},
		{ImportPath: "postern/util", Imports: nil},
	} {
		if len(violations(p)) != 1 {
			t.Errorf("%s importing %v: %v", p.ImportPath, p.Imports, violations(p))
		}
	}
	for _, p := range []listed{
		{ImportPath: "postern/sensors", Imports: []string{"fmt", "postern/xmpp", "postern/internal/live"}},
		{ImportPath: "postern/exi/xsd", Imports: []string{"encoding/xml", "postern/exi"}},
	} {
		if v := violations(p); v != nil {
			t.Error(v)
		}
	}
}

// TestArrowsPointDown: arrows point down the list only. The Go compiler
// refuses cycles of packages; this refuses an entry of the table that allows
// a room above it.
func TestArrowsPointDown(t *testing.T) {
	all := packages(t)
	rank := func(pkg string) int {
		r := roomOf(pkg)
		return slices.IndexFunc(table, func(x room) bool { return r != nil && x.pattern == r.pattern })
	}
	for _, p := range all {
		from, _ := below(p.ImportPath)
		for _, imp := range p.Imports {
			to, ours := below(imp)
			if ours && rank(to) < rank(from) && !helper(from) {
				t.Errorf("%s imports %s, which stands above it", from, to)
			}
		}
	}
}

// helper reports whether a package exists for tests and measurements only, so
// that its place in the list means nothing.
func helper(pkg string) bool {
	for _, p := range []string{"internal/integration/...", "internal/bench/...", "xmpp/xmpptest", "drivers/drivertest"} {
		if matches(p, pkg) {
			return true
		}
	}
	return false
}

func TestTopLevel(t *testing.T) {
	root := moduleRoot(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	allowed := strings.Fields("cmd drivers xmpp exi sensors control provisioning board internal docs bin dist " +
		"go.mod go.sum Makefile README.md CHANGELOG.md LICENSE SECURITY.md CONTRIBUTING.md")
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s does not belong at the top level (docs/architecture.md §1)", e.Name())
		}
	}
}

func TestNames(t *testing.T) {
	for _, p := range packages(t) {
		for _, part := range strings.Split(p.ImportPath, "/") {
			switch part {
			case "pkg", "util", "utils", "common", "types", "models", "helpers", "misc":
				t.Errorf("%s: name a package for what it does", p.ImportPath)
			}
		}
	}
}

// TestNoInit: start-up order is written down in code that is called, not in
// init functions.
func TestNoInit(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data, []byte("\nfunc init()")) {
				t.Errorf("%s/%s has an init function", p.ImportPath, f)
			}
		}
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
