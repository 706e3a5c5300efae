package xsd

import (
	"math/big"
	"math/bits"
	"strings"

	"postern/exi"
)

// simpleInfo is what a simple type, or the simple content of a complex type,
// hands on to the types derived from it.
type simpleInfo struct {
	data  *exi.Datatype // the representation
	plain *exi.Datatype // the same without enumerated values
	// Bounds of an integer type, both inclusive; nil where there is none.
	lo, hi       *big.Int
	variety      variety
	atomicString bool // derived from xs:string: patterns may restrict the characters
	integer      bool // derived from xs:integer
}

type variety uint8

const (
	atomicVariety variety = iota
	listVariety
	unionVariety
)

// maxRange is the number of values up to which a bounded integer is coded in
// n bits (EXI 1.0 §7.1.5).
const maxRange = 4096

// setInteger chooses the representation of an integer type by its bounds.
func (s *simpleInfo) setInteger() {
	d := s.plain
	d.Min, d.Max, d.Bits, d.Enum, d.EnumType = 0, 0, 0, nil, nil
	d.Codec = exi.CodecInteger
	if s.lo != nil && s.lo.Sign() >= 0 {
		d.Codec = exi.CodecUnsigned
	}
	if s.lo == nil || s.hi == nil {
		return
	}
	n := new(big.Int).Sub(s.hi, s.lo)
	if n.Sign() < 0 || n.Cmp(big.NewInt(maxRange)) >= 0 {
		return
	}
	if s.lo.IsInt64() && s.hi.IsInt64() {
		d.Codec, d.Min, d.Max = exi.CodecNBit, s.lo.Int64(), s.hi.Int64()
		d.Bits = uint8(bits.Len64(n.Uint64()))
		return
	}
	s.listRange(int(n.Int64()) + 1)
}

// listRange describes a range of integers beyond 64 bits as the enumeration of
// its values, which is coded the same.
func (s *simpleInfo) listRange(n int) {
	each := *s.plain
	s.plain.Codec, s.plain.EnumType = exi.CodecEnumeration, &each
	s.plain.Enum = make([]string, n)
	v := new(big.Int).Set(s.lo)
	for i := range s.plain.Enum {
		s.plain.Enum[i] = v.String()
		v.Add(v, big.NewInt(1))
	}
}

// simpleType fills in a type that a simpleType element defines.
func (c *compiler) simpleType(t *typeDef) {
	t.base = c.anySimple
	t.simple = c.anySimple.simple
	switch n := t.node.child("restriction", "list", "union"); {
	case n == nil:
		c.fail(t.node, "needs a restriction, list or union")
	case n.kind == "restriction":
		t.base = c.simpleBase(t, n)
		t.simple = c.restrict(t.name, &t.base.simple, n)
	case n.kind == "list":
		t.simple = c.list(t.name, n)
	default:
		c.unionMembers(n)
		d := &exi.Datatype{Name: t.name, Base: c.anySimple.simple.data, Codec: exi.CodecString, Union: true}
		t.simple = simpleInfo{data: d, plain: d, variety: unionVariety}
	}
}

// simpleBase is the type that a restriction inside a simpleType starts from.
func (c *compiler) simpleBase(t *typeDef, n *node) *typeDef {
	base := c.anySimple
	if v, ok := n.attr("base"); ok {
		base = c.typeRef(n, v, t)
	} else if k := n.child("simpleType"); k != nil {
		base = c.anonymousType(k)
	} else {
		c.fail(n, "names no base type")
	}
	if base.complex {
		c.fail(n, "the base of a simple type must be a simple type")
		return c.anySimple
	}
	return base
}

func (c *compiler) list(name exi.Name, n *node) simpleInfo {
	item := c.anySimple
	if v, ok := n.attr("itemType"); ok {
		item = c.typeRef(n, v, nil)
	} else if k := n.child("simpleType"); k != nil {
		item = c.anonymousType(k)
	} else {
		c.fail(n, "names no item type")
	}
	if item.complex || item.simple.variety == listVariety {
		c.fail(n, "the items of a list must be of an atomic or union type")
		item = c.anySimple
	}
	d := &exi.Datatype{
		Name: name, Base: c.anySimple.simple.data, Codec: exi.CodecList,
		Item: item.simple.data, Charset: item.simple.data.Charset, WhiteSpace: exi.WSCollapse,
	}
	return simpleInfo{data: d, plain: d, variety: listVariety}
}

// unionMembers resolves the member types, for the sake of the faults in them:
// EXI codes every union as a string.
func (c *compiler) unionMembers(n *node) {
	v, _ := n.attr("memberTypes")
	for _, m := range strings.Fields(v) {
		if c.typeRef(n, m, nil).complex {
			c.fail(n, "member %s is not a simple type", m)
		}
	}
	for _, k := range n.kids {
		if k.kind == "simpleType" {
			c.anonymousType(k)
		}
	}
}

// restrict derives the representation of a restriction of base by the facets
// below n.
func (c *compiler) restrict(name exi.Name, base *simpleInfo, n *node) simpleInfo {
	s := *base
	plain := *base.plain
	plain.Name, plain.Base = name, base.data
	s.plain = &plain
	var enum []string
	if base.data != base.plain {
		enum = base.data.Enum
	}
	var patterns, values []*node
	for _, f := range n.kids {
		switch f.kind {
		case "minInclusive", "minExclusive", "maxInclusive", "maxExclusive":
			c.boundFacet(&s, f)
		case "whiteSpace":
			switch v, _ := f.attr("value"); v {
			case "collapse":
				plain.WhiteSpace = exi.WSCollapse
			case "replace":
				plain.WhiteSpace = exi.WSReplace
			}
		case "pattern":
			patterns = append(patterns, f)
		case "enumeration":
			values = append(values, f)
		}
	}
	if s.integer {
		s.setInteger()
	}
	if len(patterns) > 0 {
		c.patternFacets(&s, patterns)
	}
	if len(values) > 0 {
		enum = make([]string, len(values))
		for i, f := range values {
			enum[i] = enumValue(f, plain.WhiteSpace)
		}
	}
	s.data = s.plain
	if len(enum) > 0 && s.variety == atomicVariety && !c.isQName(base.data) {
		d := plain
		d.Codec, d.Enum, d.EnumType = exi.CodecEnumeration, enum, s.plain
		d.Min, d.Max, d.Bits, d.Item = 0, 0, 0, nil
		s.data = &d
	}
	return s
}

// patternFacets applies the patterns given in one restriction, of which a
// value must match one (EXI 1.0 §7.1.2, §7.1.10.1).
func (c *compiler) patternFacets(s *simpleInfo, patterns []*node) {
	var set charset
	restricted := true
	for _, f := range patterns {
		v := rawAttr(f, "value")
		one, ok, err := patternChars(v)
		if err != nil {
			c.fail(f, "%v", err)
			return
		}
		set, restricted = set.union(one), restricted && ok
	}
	switch {
	case s.variety != atomicVariety:
	case s.plain.Codec == exi.CodecBoolean:
		s.plain.Codec = exi.CodecBooleanPattern
	case s.atomicString:
		s.plain.Codec, s.plain.Charset = exi.CodecString, nil
		if runes, small := set.small(); restricted && small {
			s.plain.Codec, s.plain.Charset = exi.CodecRestrictedString, runes
		}
	}
}

// boundFacet narrows the range of an integer type.
func (c *compiler) boundFacet(s *simpleInfo, f *node) {
	if !s.integer {
		return
	}
	v, _ := f.attr("value")
	if len(v) > 200 {
		c.fail(f, "more than 200 digits")
		return
	}
	n, ok := new(big.Int).SetString(v, 10)
	if !ok {
		c.fail(f, "not an integer")
		return
	}
	switch f.kind {
	case "minInclusive":
		s.lo = n
	case "minExclusive":
		s.lo = n.Add(n, big.NewInt(1))
	case "maxInclusive":
		s.hi = n
	case "maxExclusive":
		s.hi = n.Sub(n, big.NewInt(1))
	}
}

// isQName reports types whose enumerated values EXI does not use: xs:QName,
// xs:NOTATION and what is derived from them (EXI 1.0 §7.2).
func (c *compiler) isQName(d *exi.Datatype) bool {
	for ; d != nil; d = d.Base {
		if q := zeroSafe(d.Name); q.Space == exi.NSXSD && (q.Local == "QName" || q.Local == "NOTATION") {
			return true
		}
	}
	return false
}

// zeroSafe is the content of a Name that may be the zero Name.
func zeroSafe(n exi.Name) exi.QName {
	if n == (exi.Name{}) {
		return exi.QName{}
	}
	return n.Value()
}

func rawAttr(n *node, name string) string {
	for _, a := range n.attrs {
		if a.name == name {
			return a.value
		}
	}
	return ""
}

// enumValue is an enumerated value after white-space processing.
func enumValue(f *node, ws exi.WhiteSpace) string {
	v := rawAttr(f, "value")
	switch ws {
	case exi.WSCollapse:
		return strings.Join(strings.FieldsFunc(v, isSpace), " ")
	case exi.WSReplace:
		return strings.Map(func(r rune) rune {
			if isSpace(r) {
				return ' '
			}
			return r
		}, v)
	}
	return v
}

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }
