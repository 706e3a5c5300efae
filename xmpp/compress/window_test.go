package compress

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/exi"
	"postern/exi/xsd"
	"postern/xmpp"
)

// noise is text or octets that DEFLATE cannot pack, so that it stores them.
func noise(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func windowCodec(t testing.TB, wide bool) *Codec {
	t.Helper()
	s, err := xsd.Compile(xsd.Files{"b.xsd": []byte(`<schema xmlns="http://www.w3.org/2001/XMLSchema">
		<element name="b" type="base64Binary"/></schema>`)}, "b.xsd")
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCodec(Params{Alignment: exi.ByteAligned, Window: true, SessionWide: wide}, s, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bodyDoc(content []byte) *exi.Doc {
	d := new(exi.Doc)
	d.Start(exi.N("", "b"))
	d.Text(exi.BytesValue(exi.Base64, string(content)))
	d.End()
	return d
}

// Bodies of all kinds and sizes come back, those among them that DEFLATE
// stores, whose headers look like the end of a body.
func TestWindowFindsTheEndOfEveryBody(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, wide := range []bool{false, true} {
		enc, dec := windowCodec(t, wide), windowCodec(t, wide)
		var docs []*exi.Doc
		for i := range 60 {
			switch i % 3 {
			case 0:
				docs = append(docs, bodyDoc(noise(r, 1+r.IntN(20_000))))
			case 1:
				docs = append(docs, bodyDoc(bytes.Repeat([]byte("the same again "), r.IntN(3000))))
			default:
				docs = append(docs, bodyDoc([]byte{byte(i)}))
			}
		}
		var wire []byte
		stored := 0
		for _, d := range docs {
			n := len(wire)
			var err error
			if wire, err = enc.AppendElement(wire, d); err != nil {
				t.Fatal(err)
			}
			stored += bytes.Count(wire[n:], []byte(enc.win.raw[max(len(enc.win.raw)-200, 0):])) // verbatim
		}
		if stored == 0 {
			t.Fatal("nothing was stored: the test does not test")
		}
		br := bufio.NewReader(bytes.NewReader(wire))
		var got exi.Doc
		for i, d := range docs {
			if err := dec.ReadElement(br, &got); err != nil {
				t.Fatalf("body %d: %v", i, err)
			}
			if got.Root().Text().String() != d.Root().Text().String() {
				t.Fatalf("body %d came back as another", i)
			}
		}
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("octets are left: %v", err)
		}
	}
}

// The inflater agrees with the standard library's on what that packs.
func TestInflaterAgainstTheStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, level := range []int{flate.HuffmanOnly, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression} {
		var packed bytes.Buffer
		w, err := flate.NewWriter(&packed, level)
		if err != nil {
			t.Fatal(err)
		}
		f := inflater{limit: 1 << 20}
		for round := range 60 {
			var text []byte
			for range r.IntN(200) {
				text = append(text, noise(r, r.IntN(8))...)
				text = append(text, strings.Repeat(string(rune('a'+r.IntN(3))), r.IntN(400))...)
			}
			packed.Reset()
			if _, err := w.Write(text); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			f.begin(bufio.NewReader(&packed))
			for {
				if err := f.upToStored(); err != nil {
					t.Fatalf("level %d, round %d: %v", level, round, err)
				}
				if len(f.out)-f.start == len(text) {
					break
				}
				if err := f.stored(); err != nil {
					t.Fatalf("level %d, round %d: stored: %v", level, round, err)
				}
			}
			if !bytes.Equal(f.out[f.start:], text) {
				t.Fatalf("level %d, round %d: unpacked to something else", level, round)
			}
		}
	}
}

// A bomb, a stream that is ended within, and blocks without content end with
// an error of the stream.
func TestWindowBounds(t *testing.T) {
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, flate.BestCompression)
	_, _ = w.Write(make([]byte, 64<<20))
	_ = w.Close()
	for name, wire := range map[string][]byte{
		"bomb":           bomb.Bytes(),
		"ended":          {0x03, 0x00},
		"reserved":       {0x06},
		"empty blocks":   bytes.Repeat([]byte{0x02, 0x08, 0x20, 0x80, 0x00}, 1<<20),
		"stored nothing": {0, 0, 0, 0xff, 0xff},
		"far distance":   {0x4b, 0x04, 0x7e, 0xff},
	} {
		dec := windowCodec(t, false)
		var d exi.Doc
		err := dec.ReadElement(bufio.NewReader(bytes.NewReader(append(wire, make([]byte, 64)...))), &d)
		var se *xmpp.StreamError
		if !errors.As(err, &se) || !se.Local {
			t.Errorf("%s: %v", name, err)
		}
		if n := cap(dec.win.in.out); n > 4<<20 {
			t.Errorf("%s: %d octets are kept", name, n)
		}
	}
}

func FuzzInflate(f *testing.F) {
	var seed bytes.Buffer
	w, _ := flate.NewWriter(&seed, flate.BestCompression)
	_, _ = w.Write([]byte("abcabcabcabd"))
	_ = w.Flush()
	f.Add(seed.Bytes())
	f.Add([]byte{0x03, 0x00})
	f.Fuzz(func(t *testing.T, p []byte) {
		// What both accept must be the same.
		in := inflater{limit: 1 << 16}
		in.begin(bufio.NewReader(bytes.NewReader(p)))
		if in.upToStored() != nil {
			return
		}
		if err := in.stored(); err == nil {
			return
		}
		got := in.out[in.start:]
		want, err := io.ReadAll(flate.NewReader(bytes.NewReader(p)))
		if len(want) >= len(got) && !bytes.Equal(want[:len(got)], got) {
			t.Fatalf("unpacked %q, the standard library %q, %v", got, want, err)
		}
	})
}
