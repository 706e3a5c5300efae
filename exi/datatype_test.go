package exi

import "testing"

// An entry for a type reaches the types derived from it down to those that
// table 7-1 gives a representation of their own (EXI 1.0 §7.4).
func TestRepresentationMapStopsAtDefaults(t *testing.T) {
	ur := &Datatype{Name: N(NSXSD, "anySimpleType"), Codec: CodecString}
	uri := &Datatype{Name: N(NSXSD, "anyURI"), Base: ur, Codec: CodecString}
	decimal := &Datatype{Name: N(NSXSD, "decimal"), Base: ur, Codec: CodecDecimal}
	price := &Datatype{Name: N("", "price"), Base: decimal, Codec: CodecDecimal}
	integer := &Datatype{Name: N(NSXSD, "integer"), Base: decimal, Codec: CodecInteger}
	short := &Datatype{Name: N(NSXSD, "short"), Base: integer, Codec: CodecInteger}
	list := &Datatype{Name: N("", "list"), Base: ur, Codec: CodecList, Item: short}
	short3 := &Datatype{Name: N("", "list3"), Base: list, Codec: CodecList, Item: short}
	for _, tt := range []struct {
		d    *Datatype
		of   Name
		want Codec
	}{
		{decimal, decimal.Name, CodecHex},
		{price, decimal.Name, CodecHex},
		{integer, decimal.Name, CodecInteger},
		{short, decimal.Name, CodecInteger},
		{short, integer.Name, CodecHex},
		{uri, ur.Name, CodecHex},
		{decimal, ur.Name, CodecDecimal},
		{list, ur.Name, CodecList},
		{short3, ur.Name, CodecList},
		{short3, list.Name, CodecHex},
	} {
		b := typeBinder{maps: map[Name]*Datatype{tt.of: {Codec: CodecHex}}}
		if got := b.mapped(tt.d); got.Codec != tt.want {
			t.Errorf("%v with an entry for %v: codec %d, want %d", tt.d.Name.Value(), tt.of.Value(), got.Codec, tt.want)
		}
	}
}

// Positions in a restricted set are those of its characters, whatever the set
// is made of and however it is ordered.
func TestCharsetPositions(t *testing.T) {
	for _, set := range []string{"", "abc", "abcäöü€", "€ab", "zyx", "a€b"} {
		c := newCharset([]rune(set))
		for i, r := range []rune(set) {
			if got := c.position(r); got != i {
				t.Errorf("%q: %q has position %d, want %d", set, r, got, i)
			}
		}
		if got := c.position('~'); got >= 0 {
			t.Errorf("%q: ~ has position %d", set, got)
		}
		text := set + "~" + set + "日"
		var e encoder
		e.w.Reset(nil)
		e.restricted(&e.w, c, text)
		d := decoder{o: &Options{Limits: DefaultLimits()}}
		d.r.Reset(e.w.Bytes())
		got, err := d.restricted(nil, uint64(len([]rune(text))), c)
		if string(got) != text || err != nil || e.err != nil {
			t.Errorf("%q: %q came back as %q, %v, %v", set, text, got, err, e.err)
		}
	}
}
