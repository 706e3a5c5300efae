package pairing

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/cli"
	"postern/internal/local"
	"postern/internal/peertest"
)

const (
	aCode = "IoTDisco;MAN:example.org;SN:4711;KEY:K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO"
	aURI  = "iotdisco:MAN=example.org;SN=4711;KEY=K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO;R=things.site.example"
)

// device answers postern pair as a gateway would.
func device(t *testing.T, p local.Pairing) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	srv := &local.Server{Path: socket, Handlers: map[string]local.Handler{
		"POST /v1/pairing": func(context.Context, *local.Request) (any, error) { return p, nil },
	}}
	if err := srv.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return socket
}

func unclaimed() local.Pairing {
	return local.Pairing{Account: "gateway@site.example", Registry: "things.site.example", Things: []local.Claiming{
		{Tags: []local.Tag{{Name: "MAN", Value: "example.org"}, {Name: "SN", Value: "4711"}}, Code: aCode, URI: aURI, Registered: true},
	}}
}

type ran struct {
	code     int
	out, err string
}

func run(t *testing.T, f func(context.Context, cli.Env, []string) int, stdin string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Getenv: func(k string) string {
		if k == "XDG_CONFIG_HOME" {
			return t.TempDir()
		}
		return ""
	}}
	code := f(t.Context(), env, args)
	return ran{code, out.String(), errs.String()}
}

func TestPairShowsTheCode(t *testing.T) {
	s := device(t, unclaimed())
	r := run(t, Pair, "", "--socket", s)
	if r.code != 0 || !strings.Contains(r.out, aCode) || !strings.Contains(r.out, aURI) || !strings.Contains(r.out, "█▄▄▄█") ||
		!strings.Contains(r.out, "postern claim '"+aCode+"'") {
		t.Errorf("%+v", r)
	}
	for want, args := range map[string][]string{
		aCode + "\n": {"--code"},
		aURI + "\n":  {"--code", "--uri"},
		"4711,gateway@site.example,," + aCode + "," + aURI + "\n":                               {"--csv"},
		"serial,address,node,code,uri\n4711,gateway@site.example,," + aCode + "," + aURI + "\n": {"--csv", "--header"},
	} {
		if r := run(t, Pair, "", append(args, "--socket", s)...); r.code != 0 || r.out != want {
			t.Errorf("%v: %+v", args, r)
		}
	}
	var p local.Pairing
	if r := run(t, Pair, "", "--json", "--socket", s); r.code != 0 || json.Unmarshal([]byte(r.out), &p) != nil || p.Things[0].Code != aCode {
		t.Errorf("%+v", r)
	}
}

// Pictures hold the code, are for the operator's eyes only, and are read by
// another decoder.
func TestPairDraws(t *testing.T) {
	s, dir := device(t, unclaimed()), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	r := run(t, Pair, "", "--socket", s, "--png", file("c.png"), "--svg", file("c.svg"), "--label", file("l.svg"), "--sheet", file("s.pdf"), "--copies", "3")
	if r.code != 0 || r.out != "" {
		t.Fatalf("%+v", r)
	}
	for _, name := range []string{"c.png", "c.svg", "l.svg", "s.pdf"} {
		if st, err := os.Stat(file(name)); err != nil || st.Mode().Perm() != 0o600 || st.Size() == 0 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	label, err := os.ReadFile(file("l.svg"))
	if err != nil || !strings.Contains(string(label), "SN 4711") || !strings.Contains(string(label), "gateway@site.example") {
		t.Errorf("the label: %s, %v", label, err)
	}
	if r := run(t, Pair, "", "--socket", s, "--png", "-", "--uri"); r.code != 0 || !strings.HasPrefix(r.out, "\x89PNG") {
		t.Errorf("to standard output: %d %s", r.code, r.err)
	}
	if _, err := exec.LookPath("zbarimg"); err != nil {
		peertest.Missing(t, "zbarimg", "zbar-tools")
	}
	out, err := exec.Command("zbarimg", "-q", "--raw", file("c.png")).Output()
	if err != nil || string(out) != aCode+"\n" {
		t.Errorf("zbar reads %q, %v", out, err)
	}
}

// Codes of many gateways, gathered by --csv, become one sheet.
func TestPairBatch(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(csvHeader)
	for range 30 {
		_ = w.Write([]string{"47,11", "gateway@site.example", "boiler", `IoTDisco;SN:a\;b;KEY:K7DQ2M4ZB5XWVJH3`, ""})
	}
	w.Flush()
	sheet := filepath.Join(dir, "s.pdf")
	if r := run(t, Pair, b.String(), "--from", "-", "--sheet", sheet, "--skip", "20"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	data, err := os.ReadFile(sheet)
	if err != nil || !bytes.Contains(data, []byte("/Count 3")) { // 1 + 21 + 8
		t.Errorf("not 3 sheets: %v", err)
	}
	for text, want := range map[string]string{
		"":                       "holds no codes",
		"a,b\n":                  "wrong number of fields",
		"1,g@x,,NoCode;SN:1,\n":  "line 1: not a claim code",
		"\"1,g@x,,IoTDisco;SN:1": "extraneous or missing",
	} {
		if r := run(t, Pair, text, "--from", "-", "--code"); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%q: %+v", text, r)
		}
	}
	if r := run(t, Pair, b.String(), "--from", "-", "--png", "-"); r.code != 2 || !strings.Contains(r.err, "--sheet") {
		t.Errorf("30 codes as one picture: %+v", r)
	}
}

func Test0347R61_PairHidesAClaimedCode(t *testing.T) {
	p := unclaimed()
	p.Things[0].Code, p.Things[0].URI, p.Things[0].Owner = "", "", "owner@site.example"
	p.Things = append(p.Things, local.Claiming{Node: "boiler", Code: aCode, Registered: true})
	s := device(t, p)
	r := run(t, Pair, "", "--socket", s, "--node", "boiler")
	if r.code != 0 || !strings.Contains(r.out, "node boiler of gateway@site.example can be claimed") {
		t.Errorf("the other thing: %+v", r)
	}
	p.Things = p.Things[:1]
	s = device(t, p)
	for _, args := range [][]string{{}, {"--code"}, {"--csv"}, {"--png", "-"}} {
		r := run(t, Pair, "", append(args, "--socket", s)...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, "claimed by owner@site.example") || !strings.Contains(r.err, "disown") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := run(t, Pair, "", "--socket", s, "--node", "none"); r.code != 1 || !strings.Contains(r.err, `no node "none"`) {
		t.Errorf("%+v", r)
	}
}

func TestPairWithoutGateway(t *testing.T) {
	if r := run(t, Pair, "", "--socket", filepath.Join(t.TempDir(), "none")); r.code != cli.ExitUnreachable || !strings.Contains(r.err, "postern run") {
		t.Errorf("%+v", r)
	}
	p := unclaimed()
	p.Error, p.Things[0].Registered = "no thing registry is found yet", false
	r := run(t, Pair, "", "--socket", device(t, p))
	if r.code != 0 || !strings.Contains(r.err, "no thing registry is found yet") || !strings.Contains(r.out, "does not know it yet") {
		t.Errorf("%+v", r)
	}
}
