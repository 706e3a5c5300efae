package schemas

import (
	"bufio"
	"bytes"
	"compress/flate"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/exi"
	"postern/exi/exitest"
	"postern/exi/xmltext"
)

// session reads the recorded session of the benchmarks, one stanza a line.
func session(t testing.TB) []*exi.Doc {
	root := os.Getenv("POSTERN_VECTORS")
	if root == "" {
		t.Skip("POSTERN_VECTORS names no folder with bench/session-200.xmll")
	}
	text, err := os.ReadFile(filepath.Join(root, "bench", "session-200.xmll"))
	if err != nil {
		t.Fatal(err)
	}
	var docs []*exi.Doc
	for line := range strings.Lines(string(text)) {
		d := &exi.Doc{}
		if err := xmltext.ParseElement(strings.TrimSpace(line), d); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	return docs
}

func xmppOptions(t testing.TB) exi.Options {
	s, err := Set()
	if err != nil {
		t.Fatal(err)
	}
	o := exi.DefaultOptions()
	o.Schema, o.KeepFloatDigits, o.KeepListSpace = s, true, true
	return o
}

// octets encodes the documents, decodes them again and returns the sum of the
// sizes.
func octets(t testing.TB, o exi.Options, keep bool, docs []*exi.Doc) (sum int) {
	t.Helper()
	enc, err := exi.NewEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := exi.NewDecoder(o)
	if err != nil {
		t.Fatal(err)
	}
	enc.Keep(keep)
	dec.Keep(keep)
	for _, d := range docs {
		body, err := enc.Append(nil, d)
		if err != nil {
			t.Fatalf("%v\n%s", err, xmlOf(t, d))
		}
		var back exi.Doc
		if err := dec.Decode(bufio.NewReader(bytes.NewReader(body)), &back); err != nil {
			t.Fatalf("%v\n%s", err, xmlOf(t, d))
		}
		if err := exitest.Diff(&back, d, &o); err != nil {
			t.Fatalf("%v: came back as\n%s\nsent\n%s", err, xmlOf(t, &back), xmlOf(t, d))
		}
		sum += len(body)
	}
	return sum
}

func xmlOf(t testing.TB, d *exi.Doc) string {
	t.Helper()
	text, err := xmltext.AppendElement(nil, d, xmltext.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The sizes of the recorded session of 200 stanzas, 49,719 octets of XML. Of
// the octets with session-wide buffers, 4,800 are values: 2,220 of them the
// text of chat messages, which no schema may restrict. Words takes these to 770.
func TestSessionSizes(t *testing.T) {
	docs := session(t)
	o := xmppOptions(t)
	for _, tt := range []struct {
		name   string
		strict bool
		keep   bool
		words  bool
		limit  int
	}{
		{"a document per stanza", false, false, false, 12000},
		{"session-wide buffers", false, true, false, 5930},
		{"session-wide buffers, words", false, true, true, 4500},
		{"strict, a document per stanza", true, false, false, 11750},
		{"strict, session-wide buffers", true, true, false, 5710},
	} {
		o := o
		o.Strict = tt.strict
		if tt.words {
			o.Schema = words(t)
		}
		n := octets(t, o, tt.keep, docs)
		t.Logf("%s: %d octets", tt.name, n)
		if n > tt.limit {
			t.Errorf("%s: %d octets, more than %d", tt.name, n, tt.limit)
		}
	}
}

// XEP-0322 with a kept DEFLATE window: byte-aligned bodies through one
// compressor, a flush behind each, the octets that a flush ends with stripped.
func TestSessionThroughKeptWindow(t *testing.T) {
	o := xmppOptions(t)
	o.Alignment = exi.ByteAligned
	enc, err := exi.NewEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	enc.Keep(true)
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	docs := session(t)
	for _, d := range docs {
		body, err := enc.Append(nil, d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	n := out.Len() - 4*len(docs)
	t.Logf("%d octets", n)
	if n > 3700 {
		t.Errorf("%d octets, more than 3700", n)
	}
}
