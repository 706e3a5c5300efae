package exi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// Octets says what a body took on the wire, in every alignment, with one
// compressed stream or many.
func TestOctets(t *testing.T) {
	for _, a := range []Alignment{BitPacked, ByteAligned, PreCompression, Compression} {
		for _, blockSize := range []int{1_000_000, 150} {
			o := DefaultOptions()
			o.Alignment, o.BlockSize = a, blockSize
			var sizes []int
			var wire []byte
			for _, values := range []int{1, 99, 101, 1000} {
				d := new(Doc)
				d.Start(nBody)
				for i := range values {
					d.Element(N("", fmt.Sprint("n", i%3)), Str(fmt.Sprint("value ", i)))
				}
				d.End()
				n := len(wire)
				wire = must(must(NewEncoder(o))(t).Append(wire, d))(t)
				sizes = append(sizes, len(wire)-n)
			}
			dec := must(NewDecoder(o))(t)
			r := bufio.NewReaderSize(bytes.NewReader(wire), 64)
			var d Doc
			for i, want := range sizes {
				if err := dec.Decode(r, &d); err != nil {
					t.Fatal(err)
				}
				if got := dec.Octets(); got != int64(want) {
					t.Errorf("alignment %d, blocks of %d, body %d: %d octets of %d", a, blockSize, i, got, want)
				}
			}
		}
	}
}

func TestOctetsOfADocumentWithAHeader(t *testing.T) {
	o := DefaultOptions()
	o.Alignment, o.Cookie, o.OptionsInHeader = Compression, true, true
	d := new(Doc)
	d.Element(nBody, Str("text"))
	wire := must(must(NewEncoder(o))(t).AppendDocument(nil, d))(t)
	dec := must(NewDecoder(DefaultOptions()))(t)
	if err := dec.DecodeDocument(bufio.NewReader(bytes.NewReader(wire)), d); err != nil || dec.Octets() != int64(len(wire)) {
		t.Errorf("%d octets of %d, %v", dec.Octets(), len(wire), err)
	}
}

// endless is empty stored DEFLATE blocks without end.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "\x00\x00\x00\xff\xff"[(e.n+i)%5]
	}
	e.n += len(p)
	return len(p), nil
}

// A compressed body that never comes to anything ends at the limit of octets.
func TestEndlessCompressedBody(t *testing.T) {
	o := DefaultOptions()
	o.Alignment, o.Limits.Octets = Compression, 10_000
	src := &endless{}
	var d Doc
	err := must(NewDecoder(o))(t).Decode(bufio.NewReaderSize(io.Reader(src), 512), &d)
	if !errors.Is(err, ErrLimit) || src.n > 11_000 {
		t.Errorf("%v after %d octets", err, src.n)
	}
}
