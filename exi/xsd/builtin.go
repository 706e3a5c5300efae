package xsd

import (
	"math/big"

	"postern/exi"
)

// builtinType is a row of the table of XML Schema's built-in simple types with
// their default representations (EXI 1.0 table 7-1).
type builtinType struct {
	name, base string
	codec      exi.Codec
	ws         exi.WhiteSpace
	charset    string // under preserved lexical values: EXI 1.0 table 7-2
	lo, hi     string // of the integer types
	item       string // of the list types
}

// Characters of table 7-2, without the white space that all rows share.
const (
	base64Chars  = "+/=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	hexChars     = "0123456789ABCDEFabcdef"
	booleanChars = "01aeflrstu"
	dateChars    = "+-.0123456789:TZ"
	decimalChars = "+-.0123456789"
	doubleChars  = "+-.0123456789EFINae"
	integerChars = "+-0123456789"
)

// builtinTypes lists every type before those derived from it. Types that
// table 7-1 does not name take the representation of the closest ancestor:
// durations, URIs, QNames and notations are strings.
func builtinTypes() []builtinType {
	const (
		str  = exi.CodecString
		num  = exi.CodecInteger
		coll = exi.WSCollapse
	)
	return []builtinType{
		{name: "string", codec: str},
		{name: "normalizedString", base: "string", codec: str, ws: exi.WSReplace},
		{name: "token", base: "normalizedString", codec: str, ws: coll},
		{name: "language", base: "token", codec: str, ws: coll},
		{name: "NMTOKEN", base: "token", codec: str, ws: coll},
		{name: "Name", base: "token", codec: str, ws: coll},
		{name: "NCName", base: "Name", codec: str, ws: coll},
		{name: "ID", base: "NCName", codec: str, ws: coll},
		{name: "IDREF", base: "NCName", codec: str, ws: coll},
		{name: "ENTITY", base: "NCName", codec: str, ws: coll},
		{name: "NMTOKENS", codec: exi.CodecList, ws: coll, item: "NMTOKEN"},
		{name: "IDREFS", codec: exi.CodecList, ws: coll, item: "IDREF"},
		{name: "ENTITIES", codec: exi.CodecList, ws: coll, item: "ENTITY"},
		{name: "boolean", codec: exi.CodecBoolean, ws: coll, charset: booleanChars},
		{name: "decimal", codec: exi.CodecDecimal, ws: coll, charset: decimalChars},
		{name: "integer", base: "decimal", codec: num, ws: coll, charset: integerChars},
		{name: "nonPositiveInteger", base: "integer", codec: num, ws: coll, charset: integerChars, hi: "0"},
		{name: "negativeInteger", base: "nonPositiveInteger", codec: num, ws: coll, charset: integerChars, hi: "-1"},
		{name: "long", base: "integer", codec: num, ws: coll, charset: integerChars, lo: "-9223372036854775808", hi: "9223372036854775807"},
		{name: "int", base: "long", codec: num, ws: coll, charset: integerChars, lo: "-2147483648", hi: "2147483647"},
		{name: "short", base: "int", codec: num, ws: coll, charset: integerChars, lo: "-32768", hi: "32767"},
		{name: "byte", base: "short", codec: num, ws: coll, charset: integerChars, lo: "-128", hi: "127"},
		{name: "nonNegativeInteger", base: "integer", codec: num, ws: coll, charset: integerChars, lo: "0"},
		{name: "unsignedLong", base: "nonNegativeInteger", codec: num, ws: coll, charset: integerChars, lo: "0", hi: "18446744073709551615"},
		{name: "unsignedInt", base: "unsignedLong", codec: num, ws: coll, charset: integerChars, lo: "0", hi: "4294967295"},
		{name: "unsignedShort", base: "unsignedInt", codec: num, ws: coll, charset: integerChars, lo: "0", hi: "65535"},
		{name: "unsignedByte", base: "unsignedShort", codec: num, ws: coll, charset: integerChars, lo: "0", hi: "255"},
		{name: "positiveInteger", base: "nonNegativeInteger", codec: num, ws: coll, charset: integerChars, lo: "1"},
		{name: "float", codec: exi.CodecFloat, ws: coll, charset: doubleChars},
		{name: "double", codec: exi.CodecFloat, ws: coll, charset: doubleChars},
		{name: "duration", codec: str, ws: coll},
		{name: "dateTime", codec: exi.CodecDateTime, ws: coll, charset: dateChars},
		{name: "time", codec: exi.CodecTime, ws: coll, charset: dateChars},
		{name: "date", codec: exi.CodecDate, ws: coll, charset: dateChars},
		{name: "gYearMonth", codec: exi.CodecGYearMonth, ws: coll, charset: dateChars},
		{name: "gYear", codec: exi.CodecGYear, ws: coll, charset: dateChars},
		{name: "gMonthDay", codec: exi.CodecGMonthDay, ws: coll, charset: dateChars},
		{name: "gDay", codec: exi.CodecGDay, ws: coll, charset: dateChars},
		{name: "gMonth", codec: exi.CodecGMonth, ws: coll, charset: dateChars},
		{name: "hexBinary", codec: exi.CodecHex, ws: coll, charset: hexChars},
		{name: "base64Binary", codec: exi.CodecBase64, ws: coll, charset: base64Chars},
		{name: "anyURI", codec: str, ws: coll},
		{name: "QName", codec: str, ws: coll},
		{name: "NOTATION", codec: str, ws: coll},
	}
}

// declareBuiltins enters the ur-types and the built-in simple types.
func (c *compiler) declareBuiltins() {
	xsdName := func(local string) exi.Name { return exi.N(exi.NSXSD, local) }
	c.anyType = &typeDef{name: xsdName("anyType"), state: resolved, complex: true, mixed: true}
	c.anyType.content = &particle{kind: anyParticle, min: 0, max: unbounded, wild: &wildcard{kind: wildAny}}
	c.anyType.wild = &wildcard{kind: wildAny}
	c.anySimple = &typeDef{name: xsdName("anySimpleType"), state: resolved, base: c.anyType}
	ur := &exi.Datatype{Name: c.anySimple.name, Codec: exi.CodecString}
	c.anySimple.simple = simpleInfo{data: ur, plain: ur}
	c.anyType.subtypes = true

	c.addBuiltin(c.anyType)
	c.addBuiltin(c.anySimple)
	sets := map[string][]rune{}
	for _, b := range builtinTypes() {
		t := &typeDef{name: xsdName(b.name), state: resolved, base: c.anySimple}
		if b.base != "" {
			t.base = c.builtin[xsdName(b.base)]
		}
		t.base.subtypes = true
		d := &exi.Datatype{Name: t.name, Base: t.base.simple.data, Codec: b.codec, WhiteSpace: b.ws}
		if b.charset != "" {
			if sets[b.charset] == nil {
				sets[b.charset] = []rune("\t\n\r " + b.charset)
			}
			d.Charset = sets[b.charset]
		}
		t.simple = simpleInfo{data: d, plain: d, lo: bound(b.lo), hi: bound(b.hi), atomicString: b.name == "string" || t.base.simple.atomicString}
		if b.item != "" {
			d.Item = c.builtin[xsdName(b.item)].simple.data
			t.simple.variety = listVariety
		}
		if b.codec == exi.CodecInteger {
			t.simple.integer = true
			t.simple.setInteger()
		}
		c.addBuiltin(t)
	}
}

func (c *compiler) addBuiltin(t *typeDef) {
	c.builtin[t.name] = t
	c.builtins = append(c.builtins, t)
}

func bound(s string) *big.Int {
	if s == "" {
		return nil
	}
	n, _ := new(big.Int).SetString(s, 10)
	return n
}
