package exi_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/exi"
	"postern/exi/exitest"
	"postern/exi/xsd"
)

func compiled(t *testing.T, text string) *exi.Schema {
	t.Helper()
	s, err := xsd.Compile(xsd.Files{"f.xsd": []byte(text)}, "f.xsd")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// meeting is a document that comes to grammars in every way: by a declaration,
// a wildcard, xsi:type, xsi:nil, and from a built-in grammar.
func meeting(o *exi.Options) *exi.Doc {
	el := func(local string) exi.Name { return exi.N("urn:f", local) }
	d := new(exi.Doc)
	d.Start(el("r"))
	d.Attr(exi.NameXsiType, exi.NameValue("urn:f", "X"))
	d.Attr(exi.N("", "n"), exi.IntValue(7))
	d.Attr(exi.N("", "x"), exi.BoolValue(true))
	d.Element(el("i"), exi.IntValue(-5))
	d.Start(el("t"))
	d.Attr(exi.NameXsiNil, exi.BoolValue(true))
	d.End()
	d.Start(el("r"))
	d.Element(el("l"), exi.Str("1.5 2E3"))
	d.End()
	if !o.Strict {
		d.Start(exi.N("urn:g", "unknown"))
		d.Start(el("m"))
		d.Element(el("p"), exi.Str("fade"))
		d.End()
		d.End()
	}
	d.End()
	return d
}

// Whatever comes to a grammar first, the stream is that of grammars which are
// there already.
func TestGrammarsOnEveryPath(t *testing.T) {
	mark := func(set func(*exi.Options)) exi.Options {
		o := exi.DefaultOptions()
		set(&o)
		return o
	}
	all := exi.Preserve{Comments: true, PIs: true, DTD: true, Prefixes: true}
	for name, o := range map[string]exi.Options{
		"plain":          mark(func(*exi.Options) {}),
		"strict":         mark(func(o *exi.Options) { o.Strict = true }),
		"byte":           mark(func(o *exi.Options) { o.Alignment = exi.ByteAligned }),
		"channels":       mark(func(o *exi.Options) { o.Alignment, o.BlockSize = exi.PreCompression, 2 }),
		"compression":    mark(func(o *exi.Options) { o.Alignment, o.Strict = exi.Compression, true }),
		"fragment":       mark(func(o *exi.Options) { o.Fragment = true }),
		"self-contained": mark(func(o *exi.Options) { o.SelfContained, o.SelfContainedElements = true, []exi.Name{exi.N("urn:f", "m")} }),
		"preserve":       mark(func(o *exi.Options) { o.Preserve = all }),
		"lexical":        mark(func(o *exi.Options) { o.Preserve.LexicalValues = true }),
		"profile": mark(func(o *exi.Options) {
			o.Profile = &exi.Profile{MaximumNumberOfBuiltInElementGrammars: 0, MaximumNumberOfBuiltInProductions: 0}
		}),
	} {
		fresh := func() exi.Options {
			o := o
			o.Schema = compiled(t, fuzzXSD)
			return o
		}
		d := meeting(&o)
		if _, err := exitest.Encode(d, fresh()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		used := fresh()
		var want []byte
		for range 2 {
			want, _ = exitest.Encode(d, used)
		}
		if got, err := exitest.Encode(d, fresh()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: encoder: %x, want %x; %v", name, got, want, err)
		}
		if got, err := exitest.EncodeStream(d, fresh()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: writer: %x, want %x; %v", name, got, want, err)
		}
		same := o
		same.Preserve.Prefixes = false
		back, err := exitest.Decode(want, fresh())
		if err == nil && o.Profile == nil { // the profile adds xsi:type
			err = exitest.Diff(back, d, &same)
		}
		if err != nil {
			t.Errorf("%s: decoder: %v", name, err)
			continue
		}
		known, err := exitest.Decode(want, used)
		if err != nil || known.Len() != back.Len() {
			t.Errorf("%s: %d events, %d with grammars that are there; %v", name, back.Len(), known.Len(), err)
		}
		read, inspected := 0, 0
		r, err := exi.NewDocumentReader(bytes.NewReader(want), fresh())
		for err == nil {
			var ev exi.Event
			err = r.Next(&ev)
			read++
		}
		if err != io.EOF {
			t.Errorf("%s: reader: %v", name, err)
		}
		err = exi.Inspect(bytes.NewReader(want), fresh(), nil, func(*exi.Step) error { inspected++; return nil })
		if err != nil || inspected != read-1 {
			t.Errorf("%s: %d events inspected, %d read: %v", name, inspected, read-1, err)
		}
	}
}

// States behind attributes that may be left out share productions, and what
// finds them by name: few, many, and so many that a map does.
func TestManyOptionalAttributes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{3, 20, 120} {
		var attrs strings.Builder
		for i := range n {
			use := ""
			if i == n/2 {
				use = ` use="required"`
			}
			fmt.Fprintf(&attrs, `<xs:attribute name="a%03d" type="xs:int"%s/>`, i, use)
		}
		s := compiled(t, `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r" nillable="true"><xs:complexType>
			<xs:sequence><xs:element name="e" type="xs:int" minOccurs="0"/></xs:sequence>`+attrs.String()+`</xs:complexType></xs:element></xs:schema>`)
		for _, strict := range []bool{false, true} {
			o := exi.DefaultOptions()
			o.Schema, o.Strict = s, strict
			for range 30 {
				d := new(exi.Doc)
				d.Start(exi.N("", "r"))
				for i := range n {
					if i == n/2 || rnd.IntN(4) == 0 {
						d.Attr(exi.N("", fmt.Sprintf("a%03d", i)), exi.IntValue(int64(i)))
					}
				}
				d.Element(exi.N("", "e"), exi.IntValue(1))
				d.End()
				again(t, d, o)
			}
		}
	}
}
