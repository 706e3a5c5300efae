package schemas

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/exi/xsd"
)

func TestSetCompiles(t *testing.T) {
	s, err := Set()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := Set(); again != s {
		t.Error("Set compiled twice")
	}
	var names []string
	for _, e := range s.DocumentElements {
		names = append(names, e.Name.Value().Local)
	}
	// At most 15, with SE(*) a document's first event code takes 4 bits.
	want := strings.Fields("a enable enabled error failed features iq message presence r resume resumed streamEnd streamStart")
	if !slices.Equal(names, want) {
		t.Errorf("global elements %q, want %q", names, want)
	}
	all, err := CompileWithNegotiation()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []exi.Name{
		exi.N("urn:ietf:params:xml:ns:xmpp-sasl", "auth"), exi.N("urn:ietf:params:xml:ns:xmpp-tls", "starttls"),
		exi.N("http://jabber.org/protocol/compress", "compress"), exi.N("http://jabber.org/protocol/compress/exi", "setup"),
	} {
		if all.Elements[n] == nil {
			t.Errorf("no element %v", n.Value())
		}
	}
}

// Every document must be usable alone: a peer resolves it by its namespace
// against the documents that were negotiated.
func TestEachFileResolvesByNamespace(t *testing.T) {
	all := append(Files(), Negotiation()...)
	for _, f := range all {
		if _, err := xsd.Compile(byNamespace(all), f.Name); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

type byNamespace []File

func (b byNamespace) Schema(_, location, namespace string) (string, []byte, error) {
	for _, f := range b {
		if namespace == "" && f.Name == location || namespace != "" && f.Namespace == namespace {
			return f.Name, f.Text, nil
		}
	}
	return "", nil, xsd.ErrNotFound
}

func TestFiles(t *testing.T) {
	seen := map[string]bool{}
	for i, f := range Files() {
		if seen[f.Namespace] {
			t.Errorf("%s: a second document for %s", f.Name, f.Namespace)
		}
		seen[f.Namespace] = true
		if i > 0 && f.Namespace < Files()[i-1].Namespace {
			t.Errorf("%s is out of order", f.Name)
		}
		var root struct {
			Target string `xml:"targetNamespace,attr"`
		}
		if err := xml.Unmarshal(f.Text, &root); err != nil || root.Target != f.Namespace {
			t.Errorf("%s: target namespace %q, read as %q (%v)", f.Name, root.Target, f.Namespace, err)
		}
		if bytes.ContainsAny(f.Text, "\r\t") || bytes.Contains(f.Text, []byte(" \n")) {
			t.Errorf("%s has carriage returns, tabs or white space at line ends", f.Name)
		}
	}
}

// The octets of each file are what peers are told about. A change here is a
// new schema: negotiated configurations of the old one are void.
func TestOctetsOfFiles(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "files.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range append(append(Files(), Negotiation()...), Words()) {
		sum := md5.Sum(f.Text)
		fmt.Fprintf(&got, "%s %d %s %s\n", hex.EncodeToString(sum[:]), len(f.Text), f.Name, f.Namespace)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(filepath.Join("testdata", "files.txt"), []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(golden) {
		t.Errorf("files changed (UPDATE_GOLDEN=1 accepts it):\n%s\nwere\n%s", got.String(), golden)
	}
}

// The examples of the XEPs can be coded and come back the same.
func TestExamplesOfXEPs(t *testing.T) {
	root := os.Getenv("POSTERN_SPEC")
	if root == "" {
		t.Skip("POSTERN_SPEC names no folder with examples/")
	}
	files, _ := filepath.Glob(filepath.Join(root, "examples", "*.xml"))
	if len(files) < 200 {
		t.Fatalf("only %d examples", len(files))
	}
	s, err := CompileWithNegotiation()
	if err != nil {
		t.Fatal(err)
	}
	o := xmppOptions(t)
	xmlSize, size, strict := 0, 0, 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := &exi.Doc{}
		if err := xmltext.ParseElement(withoutDeclaration(string(text)), d); err != nil {
			t.Fatalf("%s: %v", filepath.Base(name), err)
		}
		d = withoutIndentation(d)
		o.Schema, o.Strict = s, false
		n := octets(t, o, false, []*exi.Doc{d})
		xmlSize += len(xmlOf(t, d))
		size += n
		o.Strict = true
		if enc, err := exi.NewEncoder(o); err != nil {
			t.Fatal(err)
		} else if _, err = enc.Append(nil, d); err == nil {
			strict++
		} else {
			t.Logf("%s: strict: %v", filepath.Base(name), err)
		}
	}
	t.Logf("%d examples, %d octets of XML, %d of EXI; %d can be coded strictly", len(files), xmlSize, size, strict)
	if size*3 > xmlSize {
		t.Errorf("%d octets for %d octets of XML", size, xmlSize)
	}
}

func withoutDeclaration(text string) string {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "<?xml") {
		_, text, _ = strings.Cut(text, "?>")
	}
	return strings.TrimSpace(text)
}

// withoutIndentation drops the white space that only lays out an example.
func withoutIndentation(d *exi.Doc) *exi.Doc {
	out := &exi.Doc{}
	for i := range d.Len() {
		e := *d.Event(i)
		if e.Kind == exi.CH && strings.TrimSpace(e.Value.String()) == "" {
			continue
		}
		if e.Kind == exi.SE {
			e.Value = exi.Value{}
		}
		if err := out.Add(e); err != nil {
			panic(err)
		}
	}
	return out
}

// The compiled set takes 0.5 MB of heap (docs/architecture.md).
func TestHeap(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	s, err := Compile()
	if err != nil {
		t.Fatal(err)
	}
	used := int64(heap()) - int64(before)
	runtime.KeepAlive(s)
	t.Logf("%d octets of heap", used)
	if used > 1<<20 {
		t.Errorf("%d octets of heap", used)
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(); err != nil {
			b.Fatal(err)
		}
	}
}
