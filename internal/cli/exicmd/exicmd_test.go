package exicmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/exi/exitest"
)

// run runs the command and returns exit code, output and messages.
func run(stdin string, args ...string) (int, string, string) {
	var out, msg bytes.Buffer
	code := Run(args, strings.NewReader(stdin), &out, &msg)
	return code, out.String(), msg.String()
}

func TestRoundTrip(t *testing.T) {
	const doc = `<a xmlns="urn:x"><b c="1">text</b><!-- no --><b c="2"/></a>`
	for _, flags := range [][]string{
		nil,
		{"--compression"},
		{"--alignment", "byteAligned", "--cookie", "--options-in-header"},
		{"--alignment=preCompression", "--value-max-length=2"},
		{"--self-contained-element", "{urn:x}b"},
	} {
		code, stream, msg := run(doc, append([]string{"encode"}, flags...)...)
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", flags, code, msg)
		}
		code, xml, msg := run(stream, append([]string{"decode"}, flags...)...)
		want := `<a xmlns="urn:x"><b c="1">text</b><b c="2"/></a>`
		if code != 0 || xml != want {
			t.Errorf("%v: exit %d, %q, %s", flags, code, xml, msg)
		}
	}
}

func TestHeaderOptionsNeedNoFlags(t *testing.T) {
	code, stream, msg := run("<a>1</a>", "encode", "--options-in-header", "--compression", "--preserve=comments,pis")
	if code != 0 {
		t.Fatal(msg)
	}
	if code, xml, msg := run(stream, "decode"); code != 0 || xml != "<a>1</a>" {
		t.Errorf("exit %d, %q, %s", code, xml, msg)
	}
}

func TestPrefixesSurvive(t *testing.T) {
	const doc = `<p:a xmlns:p="urn:x" xmlns:q="urn:x"><q:b p:c="1"/><b xmlns="urn:y"/></p:a>`
	_, stream, _ := run(doc, "encode", "--preserve=prefixes")
	if code, xml, msg := run(stream, "decode", "--preserve=prefixes"); code != 0 || xml != doc {
		t.Errorf("exit %d, %q, %s", code, xml, msg)
	}
}

func TestInspect(t *testing.T) {
	_, stream, _ := run("<a b='1'>text</a>", "encode", "--cookie")
	code, out, msg := run(stream, "inspect")
	if code != 0 {
		t.Fatal(msg)
	}
	for _, want := range []string{
		"header   40 bits; cookie true, options document false",
		"bitPacked, no schema",
		"SE a", `AT b = "1"`, `CH "text"`, "EE", "ED",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"explode"}, {"encode", "--alignment", "sideways"}, {"encode", "a", "b", "c"}, {"encode", "--no-such-flag"}} {
		if code, _, msg := run("", args...); code != 2 || msg == "" {
			t.Errorf("%v: exit %d, %q", args, code, msg)
		}
	}
	if _, _, msg := run("", "encode", "--no-such-flag"); msg != "postern exi encode: there is no option --no-such-flag\n  postern exi --help explains the command\n" {
		t.Errorf("%q", msg)
	}
	if code, out, _ := run("", "encode", "--help"); code != 0 || !strings.Contains(out, "--alignment") || !strings.Contains(out, "note.xml note.exi") {
		t.Errorf("--help: exit %d, %s", code, out)
	}
}

func TestFailureLeavesNoFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	code, _, msg := run("\x00", "decode", "-", out)
	if code != 1 || !strings.Contains(msg, "not an EXI header") {
		t.Errorf("exit %d, %q", code, msg)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("half an output file was left")
	}
}

// What is no regular file must survive a failure: it was not made here.
func TestFailureLeavesPipes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(out, 0o600); err != nil {
		t.Skip(err)
	}
	r, err := os.OpenFile(out, os.O_RDWR, 0) // so that opening it does not wait
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if code, _, _ := run("\x00", "decode", "-", out); code != 1 {
		t.Errorf("exit %d", code)
	}
	if _, err := os.Stat(out); err != nil {
		t.Errorf("the pipe is gone: %v", err)
	}
}

// TestVectors runs the vectors through the command line, as an operator would.
func TestVectors(t *testing.T) {
	root := os.Getenv("POSTERN_VECTORS")
	if root == "" {
		t.Skip("POSTERN_VECTORS is not set")
	}
	for _, set := range []string{"own", "third-party"} {
		cases, err := exitest.Load(filepath.Join(root, "exi", set))
		if err != nil {
			t.Logf("no vectors: %v", err)
			continue
		}
		for i := range cases {
			c := &cases[i]
			t.Run(set+"/"+c.ID, func(t *testing.T) { runCase(t, c) })
		}
	}
}

func runCase(t *testing.T, c *exitest.Case) {
	options := "--options=" + c.File("options.json")
	if c.Expect == "error" {
		if code, _, msg := run("", "decode", options, c.File("input.exi")); code != 1 || msg == "" {
			t.Errorf("exit %d, %q", code, msg)
		}
		return
	}
	if c.ID == "exf-schema.xsi-type4__lex" {
		t.Skip(c.Known())
	}
	o, err := c.Options()
	if err != nil {
		t.Fatal(err)
	}
	code, xml, msg := run("", "decode", options, c.File("expected.exi"))
	if code != 0 {
		t.Fatalf("decode: exit %d: %s", code, msg)
	}
	got, err := exitest.ReadXML(strings.NewReader(xml), &o)
	if err != nil {
		t.Fatalf("decode wrote what is no XML: %v\n%.300s", err, xml)
	}
	stream, err := os.ReadFile(c.File("expected.exi"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := exitest.Decode(stream, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := exitest.Diff(got, want, &o); err != nil {
		t.Errorf("decode: %v", err)
	}
	code, coded, msg := run("", "encode", options, c.File("input.xml"))
	if code != 0 {
		t.Fatalf("encode: exit %d: %s", code, msg)
	}
	input, err := os.Open(c.File("input.xml"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = input.Close() }()
	doc, err := exitest.ReadXML(input, &o)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := exitest.Encode(doc, o); err != nil || string(want) != coded {
		t.Errorf("encode differs from the library: %v", err)
	}
	if code, _, msg := run("", "inspect", options, c.File("expected.exi")); code != 0 {
		t.Errorf("inspect: exit %d: %s", code, msg)
	}
}
