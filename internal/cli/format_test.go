package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/sensors"
)

func sampleResult(t *testing.T) sensors.Result {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	room, meter := node.Ref{ID: "room"}, node.Ref{ID: "meter", Source: "bus1"}
	return sensors.Result{
		Items: []sensors.Item{
			{Ref: room, Time: now, Name: "temperature", Value: drivers.Decimal(drivers.Num(2150, -2)), Unit: "°C", Types: node.Momentary, Quality: live.AutomaticReadout, Writable: sensors.No},
			{Ref: room, Time: now, Name: "humidity", Value: drivers.Decimal(drivers.Num(0, 0)), Unit: "%", Types: node.Momentary, Quality: live.Missing},
			{Ref: meter, Time: time.Date(2001, 2, 3, 4, 5, 6, 0, time.Local), NoZone: true, Name: "door", Value: drivers.Bool(true), Types: node.Momentary, Quality: live.AutomaticReadout | live.Warning},
			{Ref: meter, Time: now, Name: "label", Value: drivers.String("a\x1b[2Jb\u202e"), Types: node.Momentary, Quality: live.AutomaticReadout},
			{Ref: meter, Time: now, Name: "limit", Value: drivers.String("INF"), Types: node.Momentary, Quality: live.AutomaticReadout},
			{Ref: meter, Time: now, Name: "big", Value: drivers.Decimal(drivers.Num(5, 12)), Types: node.Momentary, Quality: live.AutomaticReadout},
		},
		Faults: []sensors.Fault{{Ref: node.Ref{ID: "attic"}, Time: now, Text: "no\nanswer"}},
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if _, err := readoutTable(sampleResult(t), false).WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{
		"NODE        FIELD        VALUE  UNIT  QUALITY  TIME",
		"room        temperature  21.50  °C    ok       ",
		"room        humidity         -  %     missing  ",
		"bus1/meter  door          true        warning  2001-02-03 04:05:06",
		"bus1/meter  label        a\uFFFD[2Jb\uFFFD        ok       ",
	} {
		want = strings.ReplaceAll(want, "VALUE", " VALUE"[1:])
		got := squeeze(lines[i])
		if !strings.HasPrefix(got, squeeze(want)) {
			t.Errorf("line %d:\n got %q\nwant %q", i, got, squeeze(want))
		}
	}
	// Columns start at the same place in every line.
	col := strings.Index(lines[0], "QUALITY")
	for i, word := range []string{"ok", "missing"} {
		if got := runeIndex(lines[i+1], word); got != col {
			t.Errorf("%q starts at column %d, its heading at %d", word, got, col)
		}
	}
	if strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Error("control characters of the thing reach the terminal")
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func runeIndex(s, word string) int { return len([]rune(s[:strings.Index(s, word)])) }

func TestColourOnlyOnATerminal(t *testing.T) {
	env := map[string]string{}
	e := Env{Getenv: func(k string) string { return env[k] }}
	if e.color() {
		t.Error("coloured without a terminal")
	}
	e.OutTerminal = func() (int, int, bool) { return 24, 80, true }
	if !e.color() {
		t.Error("not coloured on a terminal")
	}
	env["NO_COLOR"] = "1"
	if e.color() {
		t.Error("NO_COLOR does nothing")
	}
}

func TestJSONKeepsDigits(t *testing.T) {
	var out bytes.Buffer
	if err := writeJSON(&out, readoutJSON("gateway@site.example/x", sampleResult(t), true)); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version  int
		Complete bool
		Fields   []struct {
			Node, Field, Unit string
			Value             json.RawMessage
			Quality, Types    []string
			Writable          *bool
		}
		Failures []struct{ Node, Text string }
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"21.50", "null", "true", `"a\u001b[2Jb` + "\u202e" + `"`, `"INF"`, "5000000000000"} {
		if got := string(doc.Fields[i].Value); got != want {
			t.Errorf("value %d is %s, want %s", i, got, want)
		}
	}
	if doc.Version != 1 || !doc.Complete || doc.Fields[0].Writable == nil || doc.Fields[1].Writable != nil || doc.Failures[0].Node != "attic" {
		t.Errorf("%+v", doc)
	}
}

func TestAssignments(t *testing.T) {
	for in, want := range map[string]param{
		"state=on":           {name: "state", text: "on"},
		"a=b=c":              {name: "a", text: "b=c"},
		"state:boolean=on":   {"state", "on", drivers.Bool(true)},
		"x:y=1":              {name: "x:y", text: "1"},
		"x:y:int=-5":         {"x:y", "-5", drivers.Int(-5)},
		"label:string=":      {"label", "", drivers.String("")},
		"colour:color=00ff0": {"colour", "00ff0", drivers.Text(drivers.KindColor, "00ff0")}, // the thing judges
	} {
		got, err := parseAssignment(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"state", "=on", "x:int=1.5", "x:int=3000000000", "x:boolean=maybe", "x:double=1/2", "x:double=INF", "x:long=9223372036854775808"} {
		if got, err := parseAssignment(in); err == nil {
			t.Errorf("%s was taken as %+v", in, got)
		}
	}
}

func TestGuessKind(t *testing.T) {
	for in, want := range map[string]string{
		"on": "boolean", "false": "boolean", "1": "int", "-7": "int", "3000000000": "long", "21.50": "double", "1e3": "double",
		"eco": "string", "": "string", "1/2": "string", "INF": "string",
	} {
		if got := guessKind(in).String(); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func testEnv(t *testing.T, home string) (*Env, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	var out, errs bytes.Buffer
	vars := map[string]string{"XDG_CONFIG_HOME": home}
	return &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(k string) string { return vars[k] }}, &out, &errs
}

func TestAccountFile(t *testing.T) {
	dir := t.TempDir()
	e, _, _ := testEnv(t, dir)
	path, err := AccountPath(e, "")
	if err != nil || path != filepath.Join(dir, "postern", "account.yaml") {
		t.Fatal(path, err)
	}
	want := Account{JID: "op@site.example", Password: "p: #'\"ä", Server: "192.0.2.1:5222", CAFile: "ca.pem"}
	if err := SaveAccount(path, want); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	got, err := LoadAccount(path)
	want.CAFile = filepath.Join(filepath.Dir(path), "ca.pem")
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAccount(path); err == nil || !strings.Contains(err.Error(), "others may read it") {
		t.Errorf("readable by others: %v", err)
	}
}

func TestBadAccountFiles(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":  "jid: op@site.example\npassword: x\nserverr: a\n",
		"no password":  "jid: op@site.example\n",
		"no name":      "jid: site.example\npassword: x\n",
		"not YAML":     "\tjid: [",
		"not a JID":    "jid: '@'\npassword: x\n",
		"wrong type":   "jid: [a]\npassword: x\n",
		"empty":        "",
		"tagged alias": "jid: *x\npassword: x\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "account.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			e, out, errs := testEnv(t, t.TempDir())
			if code := Read(t.Context(), *e, []string{"gw@site.example", "--account", path}); code != ExitConfig {
				t.Errorf("exit code %d, %s", code, errs)
			}
			if out.Len() > 0 || !strings.Contains(errs.String(), "\n  ") {
				t.Errorf("no advice in %q", errs)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	e, out, errs := testEnv(t, t.TempDir())
	for _, tc := range []struct {
		cmd  func([]string) int
		args string
		code int
	}{
		{func(a []string) int { return Read(t.Context(), *e, a) }, "", ExitUsage},
		{func(a []string) int { return Read(t.Context(), *e, a) }, "gw", ExitUsage},
		{func(a []string) int { return Read(t.Context(), *e, a) }, "gw@site.example --type nonsense", ExitUsage},
		{func(a []string) int { return Read(t.Context(), *e, a) }, "gw@site.example --timeout 0s", ExitUsage},
		{func(a []string) int { return Read(t.Context(), *e, a) }, "gw@site.example --nonsense", ExitUsage},
		{func(a []string) int { return Read(t.Context(), *e, a) }, "gw@site.example", ExitConfig}, // no account yet
		{func(a []string) int { return Read(t.Context(), *e, a) }, "--help", ExitOK},
		{func(a []string) int { return Set(t.Context(), *e, a) }, "gw@site.example pump", ExitUsage},
		{func(a []string) int { return Set(t.Context(), *e, a) }, "gw@site.example pump state", ExitUsage},
		{func(a []string) int { return Watch(t.Context(), *e, a) }, "gw@site.example --interval 1ms", ExitUsage},
		{func(a []string) int { return Login(t.Context(), *e, a) }, "op@site.example", ExitUsage}, // no terminal
		{func(a []string) int { return Login(t.Context(), *e, a) }, "site.example", ExitUsage},
		{func(a []string) int { return Login(t.Context(), *e, a) }, "op@site.example --password-file /nonexistent", ExitConfig},
	} {
		out.Reset()
		errs.Reset()
		if code := tc.cmd(strings.Fields(tc.args)); code != tc.code {
			t.Errorf("%q: exit code %d, want %d: %s", tc.args, code, tc.code, errs)
		}
		if (errs.Len() == 0) != (tc.code == ExitOK) {
			t.Errorf("%q: standard error %q", tc.args, errs)
		}
	}
}

func TestFlagsBehindArguments(t *testing.T) {
	e, _, _ := testEnv(t, t.TempDir())
	fs := newFlags("x", "")
	json := fs.Bool("json", false, "")
	rest, err := fs.parse(e, []string{"a", "--json", "b=-1", "--", "--c"})
	if err != nil || !*json || strings.Join(rest, " ") != "a b=-1 --c" {
		t.Errorf("%v %v %v", rest, *json, err)
	}
}
