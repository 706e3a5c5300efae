package exitest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"postern/exi"
	"postern/exi/xmltext"
)

// TestPeer measures EXIficient in the same run, on the same machine, and
// compares. Its XML to EXI is measured twice: with a parser and an encoder that
// are used again, and as its documentation shows it, with new ones for each
// document. POSTERN_EXIFICIENT is the class path of its published jars (Maven
// package com.siemens.ct.exi:exificient with what it depends on); java must be
// version 11 or later. Both sides are measured warm, by processor time.
func TestPeer(t *testing.T) {
	jars := os.Getenv("POSTERN_EXIFICIENT")
	if jars == "" {
		t.Skip("POSTERN_EXIFICIENT is not set")
	}
	t.Logf("%-28s %25s %25s %25s %25s %17s", "MB of XML per CPU second", "events to EXI", "EXI to events", "XML to EXI", "same, peer's made anew", "octets")
	for _, in := range benchInputs {
		xml, d, o := in.load(t)
		peer, err := runPeer(jars, in)
		if err != nil {
			t.Fatal(err)
		}
		own := measureOwn(t, xml, d, o)
		ratio := func(i int) string {
			return fmt.Sprintf("%.1f / %.1f = %4.1f", own[i], peer[i], own[i]/peer[i])
		}
		t.Logf("%-28s %25s %25s %25s %25s %8.0f / %6.0f", in.name(), ratio(0), ratio(1), ratio(2), ratio(3), own[4], peer[4])
		for i, what := range []string{"events to EXI", "EXI to events", "XML to EXI"} {
			if own[i] < peer[i] {
				t.Errorf("%s, %s: slower than the peer", in.name(), what)
			}
		}
	}
}

func runPeer(jars string, in benchInput) (out [5]float64, err error) {
	dir := filepath.Join(os.Getenv("POSTERN_VECTORS"), "bench")
	args := []string{"-cp", jars, filepath.Join("testdata", "peer", "PeerBench.java"), filepath.Join(dir, in.file+".xml"), "-"}
	if in.schema != "" {
		args[4] = filepath.Join(dir, "xsd", in.schema)
	}
	if in.strict {
		args = append(args, "strict")
	}
	if in.comp {
		args = append(args, "comp")
	}
	text, err := exec.Command("java", args...).Output()
	if err != nil {
		return out, fmt.Errorf("java: %w\n%s", err, text)
	}
	_, err = fmt.Sscan(string(bytes.TrimSpace(text)), &out[0], &out[1], &out[2], &out[3], &out[4])
	return out, err
}

// measureOwn is PeerBench's measurement for this codec.
func measureOwn(t *testing.T, xml []byte, d *exi.Doc, o exi.Options) (out [5]float64) {
	enc := mustEncoder(t, o)
	dec, err := exi.NewDecoder(o)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := enc.Append(nil, d)
	if err != nil {
		t.Fatal(err)
	}
	var buf []byte
	var doc exi.Doc
	try := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	rate := func(f func()) float64 {
		best := 0.0
		for range 6 { // the first one warms up
			start, n := cpuTime(), 0
			for cpuTime()-start < 300e6 {
				for range 1 + 200_000/len(xml) {
					f()
					n++
				}
			}
			best = max(best, float64(len(xml))*float64(n)/1e6/(cpuTime()-start).Seconds())
		}
		return best
	}
	out[0] = rate(func() {
		var err error
		buf, err = enc.Append(buf[:0], d)
		try(err)
	})
	out[1] = rate(func() {
		_, err := dec.DecodeBytes(stream, &doc)
		try(err)
	})
	r := newXMLSource(xml)
	out[2] = rate(func() {
		try(r.read(&doc))
		var err error
		buf, err = enc.Append(buf[:0], &doc)
		try(err)
	})
	out[3] = out[2]
	out[4] = float64(len(stream))
	return out
}

// xmlSource reads the same element again and again.
type xmlSource struct {
	xml []byte
	src *bytes.Reader
	br  *bufio.Reader
	r   *xmltext.StreamReader
}

func newXMLSource(xml []byte) *xmlSource {
	if i := bytes.Index(xml, []byte("?>")); i >= 0 {
		xml = xml[i+2:]
	}
	src := bytes.NewReader(xml)
	return &xmlSource{xml, src, bufio.NewReaderSize(src, 64<<10),
		xmltext.NewStreamReader(xmltext.Limits{Octets: 1 << 30, Depth: 100, Attributes: 1000})}
}

func (x *xmlSource) read(d *exi.Doc) error {
	x.src.Reset(x.xml)
	x.br.Reset(x.src)
	return x.r.ReadElement(x.br, d)
}
