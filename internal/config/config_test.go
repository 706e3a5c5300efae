package config

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

type chip struct {
	Bus     string        `yaml:"bus" default:"1" doc:"bus" example:"1"`
	Address int           `yaml:"address" default:"0x76" min:"0x76" max:"0x77" doc:"address"`
	Rate    string        `yaml:"rate" default:"4x" oneof:"1x|2x|4x" doc:"rate"`
	Age     time.Duration `yaml:"age" default:"100ms" min:"0s" max:"1h" doc:"age"`
}

type meter struct {
	Bus       string     `yaml:"bus" doc:"line" example:"field"`
	Registers []register `yaml:"registers" doc:"values"`
}

type register struct {
	Name  string `yaml:"name" doc:"channel" example:"voltage"`
	At    int    `yaml:"address" min:"0" max:"65535" doc:"address"`
	Scale string `yaml:"scale" default:"1" doc:"factor"`
}

func (m meter) Validate() error {
	if len(m.Registers) == 0 {
		return errors.New("registers: there are none")
	}
	var errs []error
	for i, r := range m.Registers {
		if r.Scale == "0" {
			errs = append(errs, fmt.Errorf("registers[%d] %s: scale: is zero", i, r.Name))
		}
	}
	return errors.Join(errs...)
}

type board struct {
	Disks []string `yaml:"disks" default:"/" doc:"mount points" example:"/, /var"`
}

type lineBus struct {
	Port string `yaml:"port" doc:"device" example:"/dev/ttyUSB0"`
	Baud int    `yaml:"baud" default:"9600" min:"50" max:"4000000" doc:"rate"`
}

type i2cBus struct {
	Device string `yaml:"device" doc:"bus of the machine" example:"1"`
}

func testKinds() *Kinds {
	return &Kinds{
		Devices: []Kind{
			{Name: "chip", Doc: "a chip", Bus: "i2c", New: func() any { return new(chip) }, Claims: func(c any) (string, string) {
				return fmt.Sprintf("address %#x on bus %s", c.(*chip).Address, c.(*chip).Bus), "address"
			}, Channels: func(any) ([]Channel, bool) {
				return []Channel{{Name: "temperature", Type: "double"}, {Name: "heater", Type: "boolean", Writable: true}}, true
			}},
			{Name: "meter", Doc: "a meter", Bus: "line", New: func() any { return new(meter) }, Channels: func(c any) ([]Channel, bool) {
				var out []Channel
				for _, r := range c.(*meter).Registers {
					out = append(out, Channel{Name: r.Name})
				}
				return out, true
			}},
			{Name: "board", Doc: "this machine", New: func() any { return new(board) }},
		},
		Buses: []BusKind{
			{Type: "i2c", Doc: "I2C", New: func() any { return new(i2cBus) }, Direct: func(s string) bool { return s == "1" }},
			{Type: "line", Doc: "a serial line", New: func() any { return new(lineBus) }},
		},
		Formats: Formats{"bare-jid": func(s string) error {
			if strings.Contains(s, "/") || strings.HasSuffix(s, "@") {
				return errors.New("write name@domain")
			}
			return nil
		}},
	}
}

const head = "account: {jid: gw@site.example, password: {env: PW}}\n"

func TestLoadGood(t *testing.T) {
	cfg, ps := Parse("f.yaml", []byte(head+`
server: {address: "127.0.0.1:5222"}
access:
  owner: boss@site.example
  allow:
    - jid: helper@site.example
      rights: [read, control]
      nodes: [no]
buses:
  field: {type: line, port: /dev/ttyS0, simulate: true}
nodes:
  - id: no            # a text, not a boolean
    kind: chip
    address: 0x77
    interval: 1m30s
    fields:
      temperature: {name: Temp, type: status}
    writable: []
  - id: 0815
    kind: meter
    bus: field
    parent: no
    registers:
      - {name: power, address: 7, scale: 0.10}
`), testKinds())
	if ps != nil {
		t.Fatal(ps.Error())
	}
	n := cfg.Nodes[0]
	c := n.Config.(*chip)
	if n.ID != "no" || n.Interval != 90*time.Second || c.Address != 0x77 || c.Rate != "4x" || c.Age != 100*time.Millisecond || n.Bus != "1" {
		t.Errorf("%+v %+v", n, c)
	}
	if !reflect.DeepEqual(n.Fields["temperature"], Field{Name: "Temp", Type: "status"}) || n.MayWrite("heater") {
		t.Errorf("%+v", n.Fields)
	}
	m := cfg.Nodes[1]
	if m.ID != "0815" || !m.MayWrite("power") || m.Config.(*meter).Registers[0] != (register{"power", 7, "0.10"}) {
		t.Errorf("%+v %+v", m, m.Config)
	}
	if b := cfg.Buses["field"]; !b.Simulate || b.Config.(*lineBus).Baud != 9600 {
		t.Errorf("%+v", b)
	}
	if cfg.Access.Allow[0].Rights[1] != "control" || cfg.Account.Resource != "postern" || !cfg.Server.Resume {
		t.Errorf("%+v", cfg)
	}
}

// Each case has one mistake; the problem has to be at the place, say what is
// wrong and what to do.
func TestProblems(t *testing.T) {
	for _, c := range []struct{ yaml, at, what, fix string }{
		{head + "nodes:\n  - id: a\n    kind: chip\n    intervall: 5s\n", "5:5", "no such key for kind chip", "did you mean interval?"},
		{head + "nodes:\n  - id: a\n    kind: cihp\n", "4:", `"cihp" is not a known kind`, "did you mean chip?"},
		{head + "nodes:\n  - id: a\n", "3:5", "kind is missing", "chip, meter, board"},
		{head + "nodes:\n  - kind: chip\n", "3:5", "the key id is missing", "add id: boiler"},
		{head + "nodes:\n  - {id: a, kind: chip, address: 0x50}\n", "3:34", `"0x50" is out of range`, "0x76 to 0x77"},
		{head + "nodes:\n  - {id: a, kind: chip, address: 076}\n", "3:34", "does not fit", "octal"},
		{head + "nodes:\n  - {id: a, kind: chip, address: hot}\n", "3:34", `"hot" does not fit`, "a whole number"},
		{head + "nodes:\n  - {id: a, kind: chip, address: '0x76'}\n", "3:34", "because of its quotes", "leave the quotes out"},
		{head + "nodes:\n  - {id: a, kind: chip, rate: 3x}\n", "3:31", `"3x" is not one of`, "1x, 2x, 4x"},
		{head + "nodes:\n  - {id: a, kind: chip, age: 5}\n", "3:30", `"5" does not fit`, "write 5s for seconds"},
		{head + "nodes:\n  - {id: a, kind: chip, age: soon}\n", "3:30", `"soon" does not fit`, "10s"},
		{head + "nodes:\n  - {id: a, kind: chip, interval: 10ms}\n", "3:35", "out of range", "100ms to 24h"},
		{head + "nodes:\n  - {id: a, kind: chip, simulate: yes}\n", "3:35", `"yes" does not fit`, "write true"},
		{head + "nodes:\n  - {id: a, kind: chip, bus: nine}\n", "3:30", `no bus "nine"`, "add it to buses"},
		{head + "buses: {feild: {type: line, port: x}}\nnodes:\n  - {id: a, kind: meter, bus: field, registers: [{name: x, address: 1}]}\n", "4:31", `no bus "field"`, "did you mean feild?"},
		{head + "buses: {b: {type: line, port: x}}\nnodes:\n  - {id: a, kind: chip, bus: b}\n", "4:30", "of type line", "type i2c"},
		{head + "nodes:\n  - {id: a, kind: chip}\n  - {id: b, kind: chip, address: 0x76}\n", "4:34", "address 0x76 on bus 1 is taken by the node in line 3", "change address"},
		{head + "nodes:\n  - {id: a, kind: chip}\n  - {id: a, kind: board}\n", "4:10", "taken by the node in line 3", "its own id"},
		{head + "nodes:\n  - {id: a, kind: chip, parent: b}\n  - {id: bb, kind: board}\n", "3:33", `no node "b"`, "bb"},
		{head + "nodes:\n  - {id: a, kind: chip, parent: a}\n", "3:33", "part of itself", "circle"},
		{head + "nodes:\n  - {id: a, kind: chip, fields: {temprature: {name: T}}}\n", "3:34", `no channel "temprature"`, "did you mean temperature?"},
		{head + "nodes:\n  - {id: a, kind: chip, fields: {heater: {name: temperature}, temperature: {type: status}}}\n", "3:77", "also shown as", "its own name"},
		{head + "nodes:\n  - {id: a, kind: chip, writable: [temperature]}\n", "3:36", "cannot be switched", "heater"},
		{head + "nodes:\n  - {id: a, kind: meter, bus: b, registers: []}\nbuses: {b: {type: line, port: x}}\n", "3:34", "there are none", ""},
		{head + "nodes:\n  - {id: a, kind: meter, bus: b, registers: [{name: x, address: 1}, {name: y, address: 2, scale: 0}]}\nbuses: {b: {type: line, port: x}}\n", "3:70", "nodes[a].registers[1]: scale: is zero", ""},
		{head + "nodes:\n  - {id: a, kind: meter, bus: b, registers: [{name: x}]}\nbuses: {b: {type: line, port: x}}\n", "3:", "the key address is missing", "add"},
		{head + "nodes: {a: {kind: chip}}\n", "2:9", "a list is wanted", "- id:"},
		{head + "nodes:\n", "", "", ""},
		{head + "access: {owner: a@b/c}\n", "2:17", "does not fit", "name@domain"},
		{head + "access: {allow: [{jid: a@b, rights: [write]}]}\n", "2:38", `"write" is not one of`, "read, control"},
		{head + "access: {allow: [{jid: a@b, rights: read}]}\n", "2:37", "a list is wanted", "write [read]"},
		{head + "access: {allow: [{jid: a@b, nodes: [x]}]}\n", "2:37", `no node "x"`, ""},
		{head + "server: {address: nowhere}\n", "2:19", "does not fit", "host:port"},
		{head + "sever: {}\n", "2:1", "no such key", "did you mean server?"},
		{head + "log: {level: debug\n", "", "not valid YAML", "brackets"},
		{head + "log:\n\tlevel: debug\n", "3:1", "not valid YAML: a tab indents", "spaces"},
		{head + "log: {level: info, level: debug}\n", "2:20", "there twice, first in line 2", "keep one"},
		{head + "log: info\n", "2:6", "keys with values are wanted", ""},
		{head + "log: {level: }\n", "2:7", "value is missing", ""},
		{head + "version: 2\n", "2:10", "out of range", "1 to 1"},
		{head + "log: &x {level: info}\n", "2:6", "anchors", "quote"},
		{head + "---\nlog: {}\n", "3:4", "more than one document", "keep one"},
		{"log: {}\n", "1:1", "the key account is missing", "add it"},
		{"account: {jid: a@b}\n", "1:11", "nothing to log in with", "password: {file:"},
		{"account: {jid: a@b, certificate_file: x}\n", "1:21", "private key of the certificate is missing", "key_file"},
		{"account: {jid: a@b, password: {file: x, env: y}}\n", "1:32", "2 places", "exactly one"},
		{"account: {jid: a@b, password: }\n", "1:21", "where the secret is kept", "{file:"},
		{"", "1:1", "holds no configuration", "example"},
		{"# nothing\n", "1:1", "holds no configuration", "example"},
		{"- a\n", "1:1", "keys with values", "account:"},
		{"a\xff", "1:2", "not UTF-8", "UTF-8"},
		{"account: " + strings.Repeat("[", 1000), "1:", "nested too deep", ""},
		{strings.Repeat("- ", 1000), "1:", "nested too deep", ""},
	} {
		t.Run(fmt.Sprintf("%.60s", strings.ReplaceAll(strings.TrimPrefix(c.yaml, head), "\n", "↵")), func(t *testing.T) {
			cfg, ps := Parse("f.yaml", []byte(c.yaml), testKinds())
			if c.what == "" {
				if ps != nil {
					t.Fatalf("unexpected: %v", ps)
				}
				return
			}
			if cfg != nil || len(ps) != 1 {
				t.Fatalf("%d problems, want one:\n%v", len(ps), ps)
			}
			s := ps[0].String()
			if !strings.HasPrefix(s, "f.yaml:"+c.at) || !strings.Contains(s, c.what) || !strings.Contains(s, c.fix) {
				t.Errorf("got  %s\nwant f.yaml:%s … %s … %s", s, c.at, c.what, c.fix)
			}
		})
	}
}

func TestAllProblemsAtOnceInOrder(t *testing.T) {
	_, ps := Parse("f.yaml", []byte(`acount: {}
log: {level: loud}
nodes:
  - {id: a, kind: chip, adress: 1, interval: 1us}
  - {id: a, kind: bored}
`), testKinds())
	var lines []int
	for _, p := range ps {
		lines = append(lines, p.Line)
	}
	if fmt.Sprint(lines) != "[1 1 2 4 4 5]" {
		t.Errorf("lines %v:\n%v", lines, ps)
	}
}

func TestInlineSecretIsRefusedAndNotShown(t *testing.T) {
	for _, y := range []string{"hunter2", "[hunter2]", "{fiel: hunter2}", "{file: [hunter2]}"} {
		_, ps := Parse("f.yaml", []byte("account: {jid: a@b, password: "+y+"}\n"), testKinds())
		if len(ps) == 0 {
			t.Fatalf("%s: accepted", y)
		}
		for _, p := range ps {
			if strings.Contains(p.String(), "hunter2") || !p.Private {
				t.Errorf("%s: %s (private %v)", y, p, p.Private)
			}
		}
		if s := ps.Error(); y[0] != '{' && !strings.Contains(s, "credential") {
			t.Errorf("%s does not say what to do: %s", y, s)
		}
	}
}

func TestSecretRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pw")
	if err := os.WriteFile(file, []byte("geheim \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("POSTERN_TEST_PW", "geheim ")
	for _, s := range []Secret{{File: file}, {Credential: "pw"}, {Env: "POSTERN_TEST_PW"}} {
		got, err := s.Read()
		if err != nil || got != "geheim " {
			t.Errorf("%s: %q, %v", s, got, err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %s", s, s, s.LogValue()), "geheim") {
			t.Error("the secret is shown")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Secret{{}, {File: file + "x"}, {Env: "POSTERN_TEST_NONE"}, {Credential: "empty"}} {
		if got, err := s.Read(); err == nil {
			t.Errorf("%s: %q", s, got)
		}
	}
}

func TestExampleLoads(t *testing.T) {
	text := Example(testKinds())
	cfg, ps := Parse("example.yaml", text, testKinds())
	if ps != nil {
		t.Fatalf("%v\n%s", ps, text)
	}
	if len(cfg.Nodes) != 3 || len(cfg.Buses) != 2 {
		t.Errorf("%+v", cfg)
	}
	// What is commented out is right, too: with the comment signs of one key
	// removed the file still loads.
	lines := strings.Split(string(text), "\n")
	tried := 0
	for i, l := range lines {
		body := strings.TrimLeft(l, " ")
		if !strings.HasPrefix(body, "# ") || !strings.Contains(body, ": ") || strings.HasPrefix(body, "#   ") || strings.Contains(l, "$schema") {
			continue
		}
		key, _, _ := strings.Cut(body[2:], ":")
		if strings.ContainsAny(key, " ({") || key == "parent" || key == "writable" || strings.HasPrefix(key, "certificate") || strings.HasPrefix(key, "key_") {
			continue
		}
		tried++
		with := append([]string{}, lines...)
		with[i] = strings.Repeat(" ", len(l)-len(body)) + body[2:]
		if _, ps := Parse("example.yaml", []byte(strings.Join(with, "\n")), testKinds()); ps != nil && !strings.HasSuffix(strings.TrimSpace(strings.SplitN(with[i], "  #", 2)[0]), ":") {
			t.Errorf("line %d %q: %v", i+1, with[i], ps)
		}
	}
	if tried < 10 {
		t.Errorf("only %d keys tried", tried)
	}
}

func TestSchemaAgreesWithLoader(t *testing.T) {
	schema, err := Schema(testKinds())
	if err != nil {
		t.Fatal(err)
	}
	python := ""
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-c", "import jsonschema, yaml").Run() == nil {
			python = p
			break
		}
	}
	if python == "" {
		const why = "python3-jsonschema and python3-yaml are not installed"
		if os.Getenv("REQUIRE_PEERS") == "1" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	check := write("check.py", []byte(`
import sys, json, yaml, jsonschema
s = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(s)
jsonschema.validate(yaml.safe_load(open(sys.argv[2])), s)
`))
	sp := write("schema.json", schema)
	for i, c := range []struct {
		yaml string
		ok   bool
	}{
		{string(Example(testKinds())), true},
		{head + "nodes:\n  - {id: a, kind: chip, interval: 1m30s, address: 0x76}\n", true},
		{head + "nodes:\n  - {id: a, kind: chip, adress: 0x76}\n", false},
		{head + "nodes:\n  - {id: a, kind: chip, address: 3}\n", false},
		{head + "nodes:\n  - {id: a, kind: board, address: 0x76}\n", false},
		{head + "nodes:\n  - {id: a, kind: nothing}\n", false},
		{head + "log: {level: loud}\n", false},
		{"account: {jid: a@b, password: hunter2}\n", false},
	} {
		out, err := exec.Command(python, check, sp, write("f.yaml", []byte(c.yaml))).CombinedOutput()
		_, ps := Parse("f.yaml", []byte(c.yaml), testKinds())
		if (err == nil) != c.ok || (ps == nil) != c.ok {
			t.Errorf("case %d: schema %v, loader %v\n%.600s", i, err, ps, out)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"interval", "address", "simulate", "id", "kind", "fields", "writable"}
	for _, c := range [][2]string{
		{"intervall", "interval"}, {"adress", "address"}, {"addr", "address"}, {"Interval", "interval"},
		{"itnerval", "interval"}, {"xyz", ""}, {"", ""}, {"kidn", "kind"}, {"writeable", "writable"},
	} {
		if got := Nearest(c[0], words); got != c[1] {
			t.Errorf("Nearest(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head))
	f.Add(Example(testKinds()))
	f.Add([]byte(head + "nodes:\n  - {id: a, kind: chip, fields: {temperature: {name: x}}}\n"))
	f.Add([]byte("a: |\n  b\n? c\n: d\n"))
	kinds := testKinds()
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, ps := Parse("f", data, kinds)
		if (cfg == nil) == (len(ps) == 0) {
			t.Fatalf("config %v, problems %v", cfg, ps)
		}
		for _, p := range ps {
			if p.What == "" || p.Line < 1 || p.Col < 1 || p.Line > 2+strings.Count(string(data), "\n")+strings.Count(string(data), "\r") {
				t.Fatalf("no place or no words: %+v", p)
			}
		}
	})
}

func TestClaimWindowNeedsAButton(t *testing.T) {
	_, ps := Parse("f", []byte(head+"board: {claim_window: 5m}\n"), testKinds())
	if len(ps) != 1 || !strings.Contains(ps[0].What, "nothing can open the window") {
		t.Errorf("%v", ps)
	}
}

func TestWhatEXIKeeps(t *testing.T) {
	for text, says := range map[string]string{
		"exi_keep: window":             "",
		"exi: port, exi_keep: nothing": "",
		"exi: port, exi_keep: tables":  "ordinary port",
		"exi: off, exi_keep: window":   "ordinary port",
		"exi_keep: all":                "is not one of the values",
	} {
		_, ps := Parse("f", []byte(head+"server: {"+text+"}\n"), testKinds())
		if says == "" && ps != nil || says != "" && (len(ps) != 1 || !strings.Contains(ps[0].What, says)) {
			t.Errorf("%s: %v, want %q", text, ps, says)
		}
	}
}
