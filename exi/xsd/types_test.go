package xsd

import (
	"slices"
	"testing"

	"postern/exi"
)

func TestDatatypes(t *testing.T) {
	const head = `<xs:simpleType name="T"><xs:restriction base="xs:`
	const tail = `</xs:restriction></xs:simpleType>`
	tests := []struct {
		name, body string
		codec      exi.Codec
		min        int64
		bits       uint8
		charset    string // "-" for not checked, "" for none
	}{
		{"bounded to 4096 values", head + `int"><xs:minInclusive value="-5"/><xs:maxExclusive value="4091"/>` + tail, exi.CodecNBit, -5, 12, "-"},
		{"bounded to 4097 values", head + `int"><xs:minInclusive value="-5"/><xs:maxInclusive value="4091"/>` + tail, exi.CodecInteger, 0, 0, "-"},
		{"one value takes no bits", head + `int"><xs:minInclusive value="7"/><xs:maxInclusive value="7"/>` + tail, exi.CodecNBit, 7, 0, "-"},
		{"minExclusive −1 is unsigned", head + `integer"><xs:minExclusive value="-1"/>` + tail, exi.CodecUnsigned, 0, 0, "-"},
		{"range beyond 64 bits", head + `integer"><xs:minInclusive value="9999999999999999990"/><xs:maxInclusive value="9999999999999999999"/>` + tail, exi.CodecEnumeration, 0, 0, "-"},
		{"half of a byte", head + `unsignedByte"><xs:maxInclusive value="15"/>` + tail, exi.CodecNBit, 0, 4, "-"},
		{"byte", head + `byte">` + tail, exi.CodecNBit, -128, 8, "-"},
		{"short is too wide", head + `short">` + tail, exi.CodecInteger, 0, 0, "\t\n\r +-0123456789"},
		{"positiveInteger", head + `positiveInteger">` + tail, exi.CodecUnsigned, 0, 0, "-"},
		{"range of decimals does not count", head + `decimal"><xs:minInclusive value="0"/><xs:maxInclusive value="5"/>` + tail, exi.CodecDecimal, 0, 0, "-"},
		{"boolean", head + `boolean">` + tail, exi.CodecBoolean, 0, 0, "\t\n\r 01aeflrstu"},
		{"boolean with a pattern", head + `boolean"><xs:pattern value="0|1"/>` + tail, exi.CodecBooleanPattern, 0, 0, "\t\n\r 01aeflrstu"},
		{"pattern on a string", head + `token"><xs:pattern value="[a-c]x"/><xs:pattern value="-+"/>` + tail, exi.CodecRestrictedString, 0, 0, "-abcx"},
		{"pattern with a class escape", head + `token"><xs:pattern value="[a-c]x"/><xs:pattern value="\d"/>` + tail, exi.CodecString, 0, 0, ""},
		{"pattern of a built-in type", head + `NMTOKEN">` + tail, exi.CodecString, 0, 0, ""},
		{"pattern on anyURI", head + `anyURI"><xs:pattern value="[a-c]"/>` + tail, exi.CodecString, 0, 0, ""},
		{"pattern on an integer", head + `int"><xs:pattern value="[1-3]"/>` + tail, exi.CodecInteger, 0, 0, "-"},
		{"list", `<xs:simpleType name="T"><xs:list itemType="xs:hexBinary"/></xs:simpleType>`, exi.CodecList, 0, 0, "\t\n\r 0123456789ABCDEFabcdef"},
		{"list with enumeration", `<xs:simpleType name="L"><xs:list itemType="xs:int"/></xs:simpleType><xs:simpleType name="T"><xs:restriction base="L"><xs:enumeration value="1 2"/></xs:restriction></xs:simpleType>`, exi.CodecList, 0, 0, "-"},
		{"union", `<xs:simpleType name="T"><xs:union memberTypes="xs:int xs:boolean"/></xs:simpleType>`, exi.CodecString, 0, 0, ""},
		{"QName with enumeration", head + `QName"><xs:enumeration value="a"/>` + tail, exi.CodecString, 0, 0, ""},
		{"duration", head + `duration">` + tail, exi.CodecString, 0, 0, ""},
		{"enumeration of integers", head + `int"><xs:enumeration value="1"/><xs:enumeration value="22"/>` + tail, exi.CodecEnumeration, 0, 0, "\t\n\r +-0123456789"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := compileText(t, tt.body).Types[exi.N("", "T")].Simple
			if d.Codec != tt.codec || d.Min != tt.min || d.Bits != tt.bits {
				t.Errorf("codec %d min %d bits %d, want %d %d %d", d.Codec, d.Min, d.Bits, tt.codec, tt.min, tt.bits)
			}
			if tt.charset != "-" && string(d.Charset) != tt.charset {
				t.Errorf("charset %q, want %q", string(d.Charset), tt.charset)
			}
		})
	}
}

func TestEnumerationsAndDerivation(t *testing.T) {
	s := compileText(t, `
	<xs:simpleType name="Base"><xs:restriction base="xs:token"><xs:enumeration value=" a  b "/><xs:enumeration value="c"/></xs:restriction></xs:simpleType>
	<xs:simpleType name="Same"><xs:restriction base="Base"><xs:maxLength value="9"/></xs:restriction></xs:simpleType>
	<xs:simpleType name="Less"><xs:restriction base="Same"><xs:enumeration value="c"/></xs:restriction></xs:simpleType>
	<xs:complexType name="With"><xs:simpleContent><xs:extension base="Less"><xs:attribute name="x"/></xs:extension></xs:simpleContent></xs:complexType>
	<xs:simpleType name="U"><xs:union memberTypes="Base"/></xs:simpleType>
	<xs:simpleType name="V"><xs:restriction base="U"><xs:enumeration value="c"/></xs:restriction></xs:simpleType>`)
	typ := func(n string) *exi.Type { return s.Types[exi.N("", n)] }
	if d := typ("Same").Simple; d.Codec != exi.CodecEnumeration || !slices.Equal(d.Enum, []string{"a b", "c"}) || d.EnumType.Codec != exi.CodecString {
		t.Errorf("inherited enumeration: %+v", d)
	}
	if d := typ("Less").Simple; !slices.Equal(d.Enum, []string{"c"}) || d.Base != typ("Same").Simple || d.Base.Base != typ("Base").Simple {
		t.Errorf("narrowed enumeration: %+v", d)
	}
	if typ("With").Simple != typ("Less").Simple {
		t.Error("simple content is not of the base's datatype")
	}
	if d := typ("V").Simple; d.Codec != exi.CodecString || d.Enum != nil || !d.Union {
		t.Errorf("restricted union: %+v", d)
	}
	for n, want := range map[string]bool{"Base": true, "Same": true, "Less": true, "With": false, "U": true, "V": true} {
		if typ(n).HasSubtypes != want {
			t.Errorf("HasSubtypes of %s is %v", n, !want)
		}
	}
	for n, want := range map[string]bool{"anyType": true, "anySimpleType": true, "int": true, "boolean": false, "byte": false, "unsignedByte": false, "NMTOKEN": false, "token": true} {
		if got := s.Types[exi.N(exi.NSXSD, n)].HasSubtypes; got != want {
			t.Errorf("HasSubtypes of xs:%s is %v", n, got)
		}
	}
}

func TestPatternChars(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{`a(b|c{2,3})*d?`, "abcd"},
		{`[0-9a-f-]+`, "-0123456789abcdef"},
		{`[a-z-[b-y]]`, "az"},
		{`[\-a\]]`, "-]a"},
		{`\s\t`, "\t\n\r "},
		{`\n\|\.\\\?\*\+\(\)\{\}\[\]\^`, "\n()*+.?[\\]^{|}"},
		{`[ -~-[^AB]]`, "AB"},
		{``, ""},
		{`x|`, "x"},
	}
	for _, tt := range tests {
		set, ok, err := patternChars(tt.pattern)
		runes, small := set.small()
		if err != nil || !ok || !small || string(runes) != tt.want {
			t.Errorf("%q: %q %v %v, want %q", tt.pattern, string(runes), ok, err, tt.want)
		}
	}
	for _, none := range []string{`\d`, `a\p{Lu}`, `[\w]`, `.`, `\P{IsBasicLatin}`, `[^a]`, `[\S]`, "\U0001F600"} {
		set, ok, err := patternChars(none)
		if _, small := set.small(); err != nil || ok && small {
			t.Errorf("%q gives a restricted set; error %v", none, err)
		}
	}
	for _, bad := range []string{`(`, `)`, `[`, `[a`, `a{`, `a{x}`, `*`, `a**`, `\`, `\q`, `[z-a]`, `\p{`, `[a-[b]`, `]`} {
		if _, _, err := patternChars(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestFragments(t *testing.T) {
	s := compileText(t, `
	<xs:attribute name="g" type="xs:int"/>
	<xs:element name="top"><xs:complexType><xs:sequence>
	 <xs:element name="x" type="xs:int"/><xs:element name="same" type="xs:int"/>
	 <xs:element name="nil" type="xs:int"/></xs:sequence><xs:attribute name="b" type="xs:int"/></xs:complexType></xs:element>
	<xs:element name="other"><xs:complexType><xs:sequence>
	 <xs:element name="x" type="xs:string"/><xs:element name="same" type="xs:int"/>
	 <xs:element name="nil" type="xs:int" nillable="true"/></xs:sequence>
	 <xs:attribute name="b" type="xs:string"/><xs:attribute name="a" type="xs:int"/></xs:complexType></xs:element>`)
	var got []string
	for _, e := range s.FragmentElements {
		n := e.Name.Value().Local
		if e.Type == nil {
			n += "*"
		}
		got = append(got, n)
	}
	if want := []string{"nil*", "other", "same", "top", "x*"}; !slices.Equal(got, want) {
		t.Errorf("fragment elements %v, want %v", got, want)
	}
	checkGrammar(t, dumpTrim(s, s.ElementFragment.Start), `
	0 first: AT(a)→0 AT(b)→0 AT(g)→0 AT(*)→0 SE(nil)→1 SE(other)→1 SE(same)→1 SE(top)→1 SE(x)→1 SE(*)→1 EE CH→1 | 1
	1: SE(nil)→1 SE(other)→1 SE(same)→1 SE(top)→1 SE(x)→1 SE(*)→1 EE CH→1`)
	checkGrammar(t, dumpTrim(s, s.ElementFragment.Empty), `
	0 first: AT(a)→0 AT(b)→0 AT(g)→0 AT(*)→0 EE | 1
	1: EE`)
	if p := s.ElementFragment.Start.Prods[1]; p.Datatype.Codec != exi.CodecString {
		t.Errorf("attribute b, declared in two ways, has codec %d", p.Datatype.Codec)
	}
	if p := s.ElementFragment.Start.Prods[0]; p.Datatype.Codec != exi.CodecInteger {
		t.Errorf("attribute a has codec %d", p.Datatype.Codec)
	}
}

// A declaration in a group that no type refers to is in no string table.
func TestUnusedGroupsDeclareNothing(t *testing.T) {
	s := compileText(t, `
	<xs:group name="used"><xs:sequence><xs:element name="u"><xs:complexType><xs:attribute name="ua"/></xs:complexType></xs:element></xs:sequence></xs:group>
	<xs:group name="unused"><xs:sequence><xs:element name="n"><xs:complexType><xs:attribute name="na"/></xs:complexType></xs:element></xs:sequence></xs:group>
	<xs:attributeGroup name="unusedA"><xs:attribute name="nb"/></xs:attributeGroup>
	<xs:complexType name="T"><xs:group ref="used"/></xs:complexType>`)
	if got, want := s.URIs[0].Locals, []string{"T", "u", "ua"}; !slices.Equal(got, want) {
		t.Errorf("local names %q, want %q", got, want)
	}
	if len(s.FragmentElements) != 1 {
		t.Errorf("%d fragment elements", len(s.FragmentElements))
	}
}

func TestTypesOnly(t *testing.T) {
	s := TypesOnly()
	if len(s.Elements) != 0 || len(s.DocumentElements) != 0 || len(s.Types) != 46 {
		t.Errorf("%d elements, %d types", len(s.Elements), len(s.Types))
	}
	if len(s.URIs) != 4 || s.URIs[3].URI != exi.NSXSD || len(s.URIs[3].Locals) != 46 || s.URIs[3].Locals[0] != "ENTITIES" || s.URIs[3].Locals[45] != "unsignedShort" {
		t.Errorf("string tables: %v", s.URIs)
	}
	for n, typ := range s.Types {
		if typ.Start == nil || typ.Empty == nil || !typ.Start.FirstStartTag {
			t.Errorf("%v has no grammar", n.Value())
		}
	}
}
