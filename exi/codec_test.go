package exi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// bitString packs 0s and 1s, spaces ignored, into octets.
func bitString(parts ...string) []byte {
	s := strings.ReplaceAll(strings.Join(parts, ""), " ", "")
	var out []byte
	for i := 0; i < len(s); i += 8 {
		var b byte
		for j := range 8 {
			b <<= 1
			if i+j < len(s) && s[i+j] == '1' {
				b |= 1
			}
		}
		out = append(out, b)
	}
	return out
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// small is <a b="x"><a b="x"/></a>.
func small() *Doc {
	d := new(Doc)
	a, b := N("", "a"), N("", "b")
	d.Start(a)
	d.Attr(b, Str("x"))
	d.Start(a)
	d.Attr(b, Str("x"))
	d.End()
	d.End()
	return d
}

// The bits of a small document, derived by hand from EXI 1.0 §7.3 and §8.4.3.
func TestBuiltInGrammarsBitByBit(t *testing.T) {
	want := bitString(
		// DocContent: SE(*) is the only production: 0 bits. uri "" is entry 0 of
		// 3: 1 in 2 bits. The local name misses: length 1+1, "a".
		"01 00000010 01100001",
		// StartTagContent of a: one one-part code (the escape): 0 bits; AT(*) is
		// 0.1 of four (EE, AT, SE, CH): 2 bits.
		"01", "01 00000010 01100010",
		// Value "x" misses: length 1+2.
		"00000011 01111000",
		// AT(b) was learned: codes 0 (AT b) and 1 (escape). SE(*) is 1.2; the
		// name hits: 0, then 1 bit for the two local names.
		"1 10", "01 00000000 0",
		// The inner a has the same grammar, which learned SE(a) last: codes SE(a)
		// 0, AT(b) 1, escape 2 in 2 bits. AT(b); "x" hits the local partition of b:
		// 0 and no bits for one entry.
		"01", "00000000",
		// EE is 2.0.
		"10 00",
		// ElementContent: EE is code 0 of two (EE, escape).
		"0",
		// DocEnd: ED alone.
	)
	enc := must(NewEncoder(DefaultOptions()))(t)
	got := must(enc.Append(nil, small()))(t)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %08b\nwant %08b", got, want)
	}
	var back Doc
	dec := must(NewDecoder(DefaultOptions()))(t)
	if rest := must(dec.DecodeBytes(got, &back))(t); len(rest) != 0 || back.Len() != 6 {
		t.Errorf("%d events, %d octets left", back.Len(), len(rest))
	}
}

func TestHeaderBits(t *testing.T) {
	o := DefaultOptions()
	doc := new(Doc)
	doc.Element(N("", "a"), Value{})
	for _, c := range []struct {
		name string
		set  func(*Options)
		want string
	}{
		{"plain", func(*Options) {}, "\x80"},
		{"cookie", func(o *Options) { o.Cookie = true }, "$EXI\x80"},
		// Options document: SE(header) 0, then EE 11 of lesscommon, common, strict, EE.
		{"options", func(o *Options) { o.OptionsInHeader = true }, "\xa0\x60"},
		// header 0, common 01, compression 00, EE 10 (of fragment, schemaId, EE), EE 1
		// (of strict, EE).
		{"compression", func(o *Options) { o.OptionsInHeader, o.Alignment = true, Compression }, "\xa0\x25"},
	} {
		p := o
		c.set(&p)
		got := must(must(NewEncoder(p))(t).AppendDocument(nil, doc))(t)
		n := must(HeaderLen(got, o))(t)
		head := string(got[:n])
		if p.Alignment == BitPacked && p.OptionsInHeader {
			head = head[:1] + string(head[1]&0xe0)
		}
		if head != c.want {
			t.Errorf("%s: % x, want % x", c.name, head, c.want)
		}
	}
}

func TestOptionsDocumentRoundTrip(t *testing.T) {
	o := DefaultOptions()
	o.OptionsInHeader, o.SchemaIDInHeader = true, true
	o.Alignment = ByteAligned
	o.Preserve = Preserve{Comments: true, PIs: true, DTD: true, Prefixes: true, LexicalValues: true}
	o.SelfContained, o.Fragment = true, true
	o.BlockSize, o.ValueMaxLength, o.ValuePartitionCapacity = 77, 0, 300
	o.Profile = &Profile{LocalValuePartitions: true, MaximumNumberOfBuiltInElementGrammars: Unbounded, MaximumNumberOfBuiltInProductions: Unbounded}
	o.DatatypeRepresentationMap = []DatatypeMapping{{N(NSXSD, "decimal"), N(nsEXI, "string")}, {N("urn:t", "T"), N("urn:u", "other")}}
	stream := must(must(NewEncoder(o))(t).AppendDocument(nil, small()))(t)
	dec := must(NewDecoder(DefaultOptions()))(t)
	var d Doc
	if err := dec.DecodeDocument(bufio.NewReader(bytes.NewReader(stream)), &d); err != nil {
		t.Fatal(err)
	}
	got := dec.Options()
	if got.Alignment != o.Alignment || got.Preserve != o.Preserve || !got.SelfContained || !got.Fragment ||
		got.BlockSize != 77 || got.ValueMaxLength != 0 || got.ValuePartitionCapacity != 300 {
		t.Errorf("options came back as %+v", got)
	}
	if got.Profile == nil || *got.Profile != *o.Profile {
		t.Errorf("profile came back as %+v", got.Profile)
	}
	if len(got.DatatypeRepresentationMap) != 2 || got.DatatypeRepresentationMap[1] != o.DatatypeRepresentationMap[1] {
		t.Errorf("map came back as %v", got.DatatypeRepresentationMap)
	}
}

func TestHeaderRefused(t *testing.T) {
	for _, c := range []struct{ in, why string }{
		{"", "EOF"}, {"\x00", "distinguishing"}, {"\xc0", "distinguishing"}, {"\x90\x00", "preview"}, {"\x81\x00", "later"},
		{"\x8f\xff", "later"}, {"$EXJ\x80", "cookie"}, {"$EXI", "EOF"}, {"<a/>", "distinguishing"}, {"\xa0\xff\xff\xff\xff", ""},
	} {
		var d Doc
		err := must(NewDecoder(DefaultOptions()))(t).DecodeDocument(bufio.NewReader(strings.NewReader(c.in)), &d)
		var e *Error
		if !errors.Is(err, ErrHeader) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: %v", c.in, err)
		}
	}
}

func TestContradictoryOptions(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"strict and comments":        func(o *Options) { o.Strict, o.Preserve.Comments = true, true },
		"selfContained and strict":   func(o *Options) { o.SelfContained, o.Strict = true, true },
		"selfContained, compression": func(o *Options) { o.SelfContained, o.Alignment = true, Compression },
		"negative block":             func(o *Options) { o.BlockSize = -1 },
		"alignment":                  func(o *Options) { o.Alignment = 9 },
		"negative length":            func(o *Options) { o.ValueMaxLength = -7 },
	} {
		o := DefaultOptions()
		set(&o)
		if _, err := NewEncoder(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: encoder: %v", name, err)
		}
		if _, err := NewDecoder(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: decoder: %v", name, err)
		}
	}
}

// One body after the other in the same octets: the decoder takes exactly one.
func TestDecodeStopsAtED(t *testing.T) {
	for _, align := range []Alignment{BitPacked, ByteAligned, PreCompression, Compression} {
		o := DefaultOptions()
		o.Alignment = align
		enc, dec := must(NewEncoder(o))(t), must(NewDecoder(o))(t)
		var all []byte
		for range 3 {
			all = must(enc.Append(all, small()))(t)
		}
		all = append(all, "tail"...)
		r := bufio.NewReader(iotest.OneByteReader(bytes.NewReader(all)))
		var d Doc
		for i := range 3 {
			if err := dec.Decode(r, &d); err != nil || !d.Complete() {
				t.Fatalf("alignment %d, body %d: %v", align, i, err)
			}
		}
		if rest, _ := io.ReadAll(r); string(rest) != "tail" {
			t.Errorf("alignment %d: left %q", align, rest)
		}
		rest := all
		for range 3 {
			rest = must(dec.DecodeBytes(rest, &d))(t)
		}
		if string(rest) != "tail" {
			t.Errorf("alignment %d: DecodeBytes left %q", align, rest)
		}
	}
}

// A decoder must not wait for octets behind the body: on a stream they come
// only later.
func TestDecodeDoesNotReadAhead(t *testing.T) {
	enc, dec := must(NewEncoder(DefaultOptions()))(t), must(NewDecoder(DefaultOptions()))(t)
	body := must(enc.Append(nil, small()))(t)
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		var d Doc
		done <- dec.Decode(bufio.NewReader(pr), &d)
	}()
	if _, err := pw.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = pw.Close()
}

func TestFailedAppendChangesNothing(t *testing.T) {
	enc := must(NewEncoder(DefaultOptions()))(t)
	twin := must(NewEncoder(DefaultOptions()))(t)
	enc.Keep(true)
	twin.Keep(true)
	first := must(enc.Append(nil, small()))(t)
	must(twin.Append(nil, small()))(t)
	bad := new(Doc)
	bad.Start(N("urn:new", "new"))
	bad.Attr(N("urn:new", "attr"), Str("fresh value"))
	bad.Start(N("", "a"))
	bad.Text(Str("another"))
	bad.End()
	bad.Text(Str("broken \xff"))
	bad.End()
	dst := []byte("front")
	got, err := enc.Append(dst, bad)
	if !errors.Is(err, ErrContent) || string(got) != "front" {
		t.Fatalf("%q, %v", got, err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Path != "/new" || e.Op != "encode" {
		t.Errorf("error %+v", e)
	}
	a, b := must(enc.Append(nil, small()))(t), must(twin.Append(nil, small()))(t)
	if !bytes.Equal(a, b) || len(a) >= len(first) {
		t.Errorf("after the failure % x, without it % x", a, b)
	}
}

func TestKeepAcrossBodies(t *testing.T) {
	for _, capacity := range []int{Unbounded, 0, 1, 3} {
		o := DefaultOptions()
		o.ValuePartitionCapacity = capacity
		enc, dec := must(NewEncoder(o))(t), must(NewDecoder(o))(t)
		enc.Keep(true)
		dec.Keep(true)
		values := []string{"one", "two", "three", "four", "one", "five", "two", "two"}
		for i := range 40 {
			d := new(Doc)
			d.Start(nMessage)
			d.Attr(nTo, Str(values[i%len(values)]))
			d.Element(nBody, Str(values[(i*3)%len(values)]))
			d.End()
			var back Doc
			rest, err := dec.DecodeBytes(must(enc.Append(nil, d))(t), &back)
			if err != nil || len(rest) > 0 {
				t.Fatalf("capacity %d, body %d: %v", capacity, i, err)
			}
			v, _ := back.Root().Attr(nTo)
			en, eo := enc.Tables()
			if dn, do := dec.Tables(); en != dn || eo != do || en == 0 {
				t.Fatalf("capacity %d, body %d: tables of %d entries, %d octets and %d, %d", capacity, i, en, eo, dn, do)
			}
			if !v.Is(values[i%len(values)]) || !back.Root().First().Text().Is(values[(i*3)%len(values)]) {
				t.Fatalf("capacity %d, body %d: %q", capacity, i, v)
			}
		}
	}
}

func TestKeepFloatDigits(t *testing.T) {
	s := optionsSchemaWithFloat()
	for keep, want := range map[bool]string{true: "23.40", false: "23.4"} {
		o := DefaultOptions()
		o.Schema, o.KeepFloatDigits = s, keep
		d := new(Doc)
		d.Element(N("urn:fl", "f"), FloatValue(2340, -2))
		var back Doc
		body := must(must(NewEncoder(o))(t).Append(nil, d))(t)
		must(must(NewDecoder(o))(t).DecodeBytes(body, &back))(t)
		if got := back.Root().Text(); got.Kind() != Float || got.String() != want {
			t.Errorf("keep %v: %v %q, want %q", keep, got.Kind(), got.String(), want)
		}
	}
}

// optionsSchemaWithFloat is a schema of one element of type xs:float.
func optionsSchemaWithFloat() *Schema {
	g := &grammarBuilder{}
	f := &ElementDecl{Name: N("urn:fl", "f"), Type: g.simple(&Datatype{Codec: CodecFloat})}
	start := f.Type.Start
	start.StartTag, start.FirstStartTag = true, true
	start.ContentStart = g.state(start.Prods...)
	s := &Schema{Elements: map[Name]*ElementDecl{f.Name: f}, DocumentElements: []*ElementDecl{f}}
	s.URIs = []URIPartition{
		{URI: "", Prefixes: []string{""}},
		{URI: NSXML, Prefixes: []string{"xml"}, Locals: []string{"base", "id", "lang", "space"}},
		{URI: NSXSI, Prefixes: []string{"xsi"}, Locals: []string{"nil", "type"}},
		{URI: NSXSD}, {URI: "urn:fl", Locals: []string{"f"}},
	}
	return s
}

func TestSelfContained(t *testing.T) {
	o := DefaultOptions()
	o.SelfContained = true
	o.SelfContainedElements = []Name{nNumeric}
	d := new(Doc)
	buildFields(d)
	stream := must(must(NewEncoder(o))(t).Append(nil, d))(t)
	var back Doc
	must(must(NewDecoder(o))(t).DecodeBytes(stream, &back))(t)
	n := 0
	for i := range back.Len() {
		if back.Event(i).Kind == SC {
			n++
		}
	}
	if n != 10 || back.Len() != d.Len()+10 {
		t.Errorf("%d self-contained elements in %d events", n, back.Len())
	}
	o.SelfContainedElements = nil // what was read self-contained stays so
	if again := must(must(NewEncoder(o))(t).Append(nil, &back))(t); !bytes.Equal(again, stream) {
		t.Error("not self-contained when coded again")
	}
}

func TestLimits(t *testing.T) {
	deep := new(Doc)
	for range 50 {
		deep.Start(nBody)
	}
	for range 50 {
		deep.End()
	}
	wide := new(Doc)
	wide.Start(nBody)
	for i := range 50 {
		wide.Element(N("", "n"+strings.Repeat("x", i)), Str(strings.Repeat("v", i+1)))
	}
	wide.End()
	for name, c := range map[string]struct {
		d *Doc
		l Limits
	}{
		"depth":        {deep, Limits{Depth: 20}},
		"string":       {wide, Limits{StringLen: 20}},
		"table octets": {wide, Limits{TableOctets: 200}},
		"table size":   {wide, Limits{TableSize: 20}},
		"grammars":     {wide, Limits{Grammars: 20}},
		"octets":       {wide, Limits{Octets: 100}},
		"events":       {wide, Limits{Events: 20}},
	} {
		stream := must(must(NewEncoder(DefaultOptions()))(t).Append(nil, c.d))(t)
		o := DefaultOptions()
		o.Limits = c.l
		var d Doc
		err := must(NewDecoder(o))(t).Decode(bufio.NewReader(bytes.NewReader(stream)), &d)
		if !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
		o.Limits, o.Alignment = Limits{Block: 20}, Compression
		stream = must(must(NewEncoder(o))(t).Append(nil, c.d))(t)
		err = must(NewDecoder(o))(t).Decode(bufio.NewReader(bytes.NewReader(stream)), &d)
		if !errors.Is(err, ErrLimit) {
			t.Errorf("%s, compressed: %v", name, err)
		}
		o.Limits = Limits{}
		if err := must(NewDecoder(o))(t).Decode(bufio.NewReader(bytes.NewReader(stream)), &d); err != nil {
			t.Errorf("%s: refused with default limits: %v", name, err)
		}
	}
}

func TestSequenceErrors(t *testing.T) {
	open := new(Doc)
	open.Start(nBody)
	two := new(Doc)
	two.Element(nBody, Value{})
	two.Element(nBody, Value{})
	for name, d := range map[string]*Doc{"open": open, "empty": new(Doc), "two roots": two} {
		if _, err := must(NewEncoder(DefaultOptions()))(t).Append(nil, d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	o := DefaultOptions()
	o.Fragment = true
	for _, d := range []*Doc{two, new(Doc)} {
		body := must(must(NewEncoder(o))(t).Append(nil, d))(t)
		var back Doc
		must(must(NewDecoder(o))(t).DecodeBytes(body, &back))(t)
		if back.Len() != d.Len() {
			t.Errorf("fragment of %d events came back with %d", d.Len(), back.Len())
		}
	}
}
