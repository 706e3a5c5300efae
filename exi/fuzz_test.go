package exi_test

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"postern/exi"
	"postern/exi/exitest"
	"postern/exi/xsd"
)

const fuzzXSD = `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:f" xmlns="urn:f" elementFormDefault="qualified">
 <xs:element name="r" type="R" nillable="true"/>
 <xs:complexType name="R"><xs:sequence>
  <xs:element name="i" type="xs:int" minOccurs="0" maxOccurs="3"/>
  <xs:element name="d" type="xs:decimal" minOccurs="0"/>
  <xs:element name="t" type="xs:dateTime" minOccurs="0" nillable="true"/>
  <xs:element name="l" type="L" minOccurs="0"/>
  <xs:element name="r" type="R" minOccurs="0" maxOccurs="unbounded"/>
  <xs:any namespace="##other" processContents="lax" minOccurs="0" maxOccurs="unbounded"/>
 </xs:sequence>
  <xs:attribute name="n" type="xs:unsignedByte"/><xs:attribute name="e" type="E"/>
  <xs:attribute name="b" type="xs:base64Binary"/><xs:attribute name="f" type="xs:double"/>
  <xs:anyAttribute namespace="##any"/>
 </xs:complexType>
 <xs:complexType name="X"><xs:complexContent><xs:extension base="R"><xs:attribute name="x" type="xs:boolean"/></xs:extension></xs:complexContent></xs:complexType>
 <xs:simpleType name="L"><xs:list itemType="xs:float"/></xs:simpleType>
 <xs:simpleType name="E"><xs:restriction base="xs:token"><xs:enumeration value="one"/><xs:enumeration value="two"/><xs:enumeration value="three"/></xs:restriction></xs:simpleType>
 <xs:element name="m"><xs:complexType mixed="true"><xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element ref="m"/><xs:element name="p" type="P"/></xs:choice></xs:complexType></xs:element>
 <xs:simpleType name="P"><xs:restriction base="xs:string"><xs:pattern value="[a-f]*"/></xs:restriction></xs:simpleType>
</xs:schema>`

var fuzzSchema = sync.OnceValue(func() *exi.Schema {
	s, err := xsd.Compile(xsd.Files{"f.xsd": []byte(fuzzXSD)}, "f.xsd")
	if err != nil {
		panic(err)
	}
	return s
})

// fuzzOptions are the options that a selector picks.
func fuzzOptions(sel uint8) exi.Options {
	o := exi.DefaultOptions()
	o.Limits = exi.Limits{Depth: 200, StringLen: 1 << 16, TableOctets: 1 << 20, TableSize: 1 << 14, Grammars: 1 << 14, Inflated: 1 << 20, Events: 1 << 16}
	all := exi.Preserve{Comments: true, PIs: true, DTD: true, Prefixes: true}
	switch sel % 14 {
	case 1:
		o.Alignment = exi.ByteAligned
	case 2:
		o.Alignment = exi.PreCompression
		o.BlockSize = 3
	case 3:
		o.Alignment = exi.Compression
	case 4:
		o.Preserve = all
	case 5:
		o.ValuePartitionCapacity, o.ValueMaxLength = 3, 8
	case 6:
		o.Fragment, o.SelfContained = true, true
	case 7:
		o.Schema = fuzzSchema()
	case 8:
		o.Schema, o.Strict = fuzzSchema(), true
	case 9:
		o.Schema, o.Preserve = fuzzSchema(), all
		o.Preserve.LexicalValues = true
	case 10:
		o.Schema, o.Alignment = fuzzSchema(), exi.Compression
	case 11:
		o.Schema, o.Fragment, o.SelfContained, o.Preserve = fuzzSchema(), true, true, all
	case 12:
		o.Schema, o.Profile = fuzzSchema(), &exi.Profile{MaximumNumberOfBuiltInProductions: 2, MaximumNumberOfBuiltInElementGrammars: 1}
	case 13:
		o.Schema, o.KeepFloatDigits = fuzzSchema(), true
		o.DatatypeRepresentationMap = []exi.DatatypeMapping{{
			Type: exi.N(exi.NSXSD, "decimal"), Representation: exi.N("http://www.w3.org/2009/exi", "string")}}
	}
	o.Schemas = func(string) (*exi.Schema, error) { return fuzzSchema(), nil }
	return o
}

func addVectors(f *testing.F, add func([]byte)) {
	root := os.Getenv("POSTERN_VECTORS")
	if root == "" {
		root = "testdata"
	}
	for _, pattern := range []string{"exi/own/*/expected.exi", "exi/own/bad/*/input.exi"} {
		names, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, name := range names {
			if text, err := os.ReadFile(name); err == nil && len(text) < 2000 {
				add(text)
			}
		}
	}
}

// FuzzDecode decodes anything; what decodes must survive coding again.
func FuzzDecode(f *testing.F) {
	addVectors(f, func(p []byte) {
		for sel := range uint8(14) {
			f.Add(sel, p)
		}
	})
	f.Fuzz(func(t *testing.T, sel uint8, data []byte) {
		o := fuzzOptions(sel)
		x, err := exi.NewDecoder(o)
		if err != nil {
			t.Fatal(err)
		}
		var d exi.Doc
		if err := x.DecodeDocument(bufio.NewReader(bytes.NewReader(data)), &d); err != nil {
			var typed *exi.Error
			if !errors.As(err, &typed) {
				t.Fatalf("not an *exi.Error: %v", err)
			}
			if d.Len() != 0 {
				t.Fatal("a Doc with half a document in it")
			}
			return
		}
		again(t, &d, x.Options())
	})
}

// again encodes a document and checks that it decodes to the same.
func again(t *testing.T, d *exi.Doc, o exi.Options) {
	o.StripSpace = false
	stream, err := exitest.Encode(d, o)
	if err != nil {
		if errors.Is(err, exi.ErrContent) || errors.Is(err, exi.ErrLimit) || errors.Is(err, exi.ErrOptions) {
			return
		}
		t.Fatalf("encoding what was decoded: %v", err)
	}
	back, err := exitest.Decode(stream, o)
	if err != nil {
		if errors.Is(err, exi.ErrLimit) {
			return
		}
		t.Fatalf("decoding what was encoded: %v\n% x", err, stream)
	}
	same := o
	same.Preserve.Prefixes = false // made-up documents do not declare their prefixes
	if err := exitest.Diff(back, d, &same); err != nil {
		t.Fatalf("round trip: %v\n% x", err, stream)
	}
	streamed, err := exitest.EncodeStream(d, o)
	if err != nil || !bytes.Equal(streamed, stream) {
		t.Fatalf("the streaming encoder differs: %v", err)
	}
}

// FuzzHeader reads headers.
func FuzzHeader(f *testing.F) {
	addVectors(f, func(p []byte) { f.Add(p) })
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := exi.HeaderLen(data, fuzzOptions(0))
		if err == nil && (n < 1 || n > len(data)) {
			t.Fatalf("%d octets of %d", n, len(data))
		}
	})
}

// FuzzEncode builds a document from the data and codes it.
func FuzzEncode(f *testing.F) {
	f.Add(uint8(0), []byte("aAbB\x01text\x00c"))
	f.Add(uint8(7), []byte{0x10, 0x20, 0x31, 0x42, 0x53, 0, 0, 0x11})
	f.Add(uint8(9), bytes.Repeat([]byte{0x10, 0x51, 0x22, 0x60}, 9))
	f.Fuzz(func(t *testing.T, sel uint8, data []byte) {
		o := fuzzOptions(sel)
		d := fuzzDoc(data, &o)
		again(t, d, o)
		keeping(t, d, o)
	})
}

// keeping codes a document twice with tables kept, a failing one in between.
func keeping(t *testing.T, d *exi.Doc, o exi.Options) {
	enc, err := exi.NewEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := exi.NewDecoder(o)
	if err != nil {
		t.Fatal(err)
	}
	enc.Keep(true)
	dec.Keep(true)
	var bad exi.Doc
	bad.Start(exi.N("urn:bad", "bad"))
	bad.Attr(exi.N("urn:bad", "worse"), exi.Str("value"))
	bad.Text(exi.Str("not \xff UTF-8"))
	bad.End()
	for i := range 3 {
		if got, err := enc.Append([]byte("x"), &bad); err == nil || string(got) != "x" {
			t.Fatalf("a bad document gave %q, %v", got, err)
		}
		body, err := enc.Append(nil, d)
		if err != nil {
			return
		}
		var back exi.Doc
		rest, err := dec.DecodeBytes(body, &back)
		if errors.Is(err, exi.ErrLimit) {
			return
		}
		if err != nil || len(rest) > 0 {
			t.Fatalf("body %d: %v, %d octets left\n% x", i, err, len(rest), body)
		}
		same := o
		same.Preserve.Prefixes = false
		if err := exitest.Diff(&back, d, &same); err != nil {
			t.Fatalf("body %d: %v", i, err)
		}
	}
}

// fuzzDoc turns octets into a document that the options can carry.
func fuzzDoc(data []byte, o *exi.Options) *exi.Doc {
	names := []exi.Name{
		exi.N("urn:f", "r"), exi.N("urn:f", "i"), exi.N("urn:f", "d"), exi.N("urn:f", "t"), exi.N("urn:f", "l"),
		exi.N("urn:f", "m"), exi.N("urn:f", "p"), exi.N("", "a"), exi.N("urn:g", "b"), exi.N(exi.NSXML, "lang"),
	}
	attrs := []exi.Name{
		exi.N("", "n"), exi.N("", "e"), exi.N("", "b"), exi.N("", "f"), exi.N("", "x"), exi.N("urn:f", "q"),
		exi.N("urn:g", "b"), exi.NameXsiNil, exi.NameXsiType, exi.N(exi.NSXML, "lang"),
	}
	values := []exi.Value{
		exi.Str("1"), exi.Str("one"), exi.Str("2014-02-11T10:00:00Z"), exi.IntValue(-7), exi.FloatValue(2340, -2), exi.Str("true"),
		exi.DecimalValue(-1205, -3), exi.Str("1.5 2E3 INF"), exi.Str("fade"), exi.Str("é😀"), exi.BytesValue(exi.Base64, "\x00\xff"),
		exi.BoolValue(true), exi.Str("-99999999999999999999999.000000000000000000001"), exi.Str("300"), exi.Str("two"), exi.Str("AA=="),
	}
	d := new(exi.Doc)
	root := exi.N("urn:f", "r")
	d.Start(root)
	used := map[exi.Name]bool{}
	open := true
	for i := 0; i+1 < len(data) && d.Len() < 300; i += 2 {
		arg := int(data[i+1])
		switch data[i] >> 4 & 7 {
		case 0, 1:
			d.Start(names[arg%len(names)])
			used, open = map[exi.Name]bool{}, true
		case 2, 3:
			n := attrs[arg%len(attrs)]
			if !open || used[n] {
				continue
			}
			used[n] = true
			v := values[int(data[i]&15)]
			if n == exi.NameXsiType {
				v = exi.NameValue("urn:f", "X")
			}
			d.Attr(n, v)
		case 4, 5:
			v := values[int(data[i]&15)]
			if d.Event(d.Len()-1).Kind == exi.CH {
				continue
			}
			d.Text(v)
			open = false
		default:
			if d.Depth() > 1 {
				d.End()
				open = false
			}
		}
	}
	for d.Depth() > 0 {
		d.End()
	}
	return d
}
