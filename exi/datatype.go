package exi

import (
	"math/big"
	"slices"
)

// dtype is a Datatype bound to options: preserved lexical values and datatype
// representation maps are already applied. nil is an untyped string.
type dtype struct {
	codec   Codec
	bits    uint
	min     int64
	max     int64
	offset  *big.Int
	charset *charset
	item    *dtype
	enum    []string
	enumOf  *dtype
	byText  map[string]int32 // enumeration: text → position
	byValue map[string]int32 // enumeration: encoded value → position
	ws      WhiteSpace
}

// charset is a restricted character set (EXI 1.0 §7.1.10.1).
type charset struct {
	runes  []rune
	bits   uint
	octets []byte     // the characters below 128 at its start, which is all of them in a sorted set
	ascii  [128]uint8 // positions in octets + 1
	rest   map[rune]int32
}

func newCharset(runes []rune) *charset {
	c := &charset{runes: runes, bits: bitsFor(len(runes) + 1)}
	for i, r := range runes {
		if r < 128 && i == len(c.octets) {
			c.octets = append(c.octets, byte(r))
			c.ascii[r] = uint8(i + 1)
			continue
		}
		if c.rest == nil {
			c.rest = make(map[rune]int32)
		}
		c.rest[r] = int32(i)
	}
	return c
}

// position returns the number of r in the set, or −1.
func (c *charset) position(r rune) int {
	if r < 128 && c.ascii[r] > 0 {
		return int(c.ascii[r]) - 1
	}
	if i, ok := c.rest[r]; ok {
		return int(i)
	}
	return -1
}

// The restricted character sets of table 7-2, under preserved lexical values.
const (
	setSpace    = "\t\n\r "
	setBase64   = setSpace + "+/0123456789=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	setHex      = setSpace + "0123456789ABCDEFabcdef"
	setBoolean  = setSpace + "01aeflrstu"
	setDateTime = setSpace + "+-.0123456789:TZ"
	setDecimal  = setSpace + "+-.0123456789"
	setDouble   = setSpace + "+-.0123456789EFINae"
	setInteger  = setSpace + "+-0123456789"
)

// lexicalSet returns the set of table 7-2 for a representation, "" for none.
func lexicalSet(d *Datatype) string {
	switch d.Codec {
	case CodecBase64:
		return setBase64
	case CodecHex:
		return setHex
	case CodecBoolean, CodecBooleanPattern:
		return setBoolean
	case CodecDateTime, CodecDate, CodecTime, CodecGYear, CodecGYearMonth, CodecGMonth, CodecGMonthDay, CodecGDay:
		return setDateTime
	case CodecDecimal:
		return setDecimal
	case CodecFloat:
		return setDouble
	case CodecInteger, CodecUnsigned, CodecNBit:
		return setInteger
	case CodecList:
		if d.Item != nil {
			return lexicalSet(d.Item)
		}
	case CodecEnumeration:
		if d.EnumType != nil {
			return lexicalSet(d.EnumType)
		}
	}
	return ""
}

// typeBinder binds the datatypes of a schema once each.
type typeBinder struct {
	lexical bool
	maps    map[Name]*Datatype // datatype representation map
	memo    map[*Datatype]*dtype
	sets    map[string]*charset
}

func newTypeBinder(lexical bool, m []DatatypeMapping) *typeBinder {
	t := &typeBinder{
		lexical: lexical,
		memo:    make(map[*Datatype]*dtype),
		sets:    make(map[string]*charset),
	}
	if t.lexical || len(m) == 0 {
		return t
	}
	t.maps = make(map[Name]*Datatype)
	for _, m := range m {
		t.maps[m.Type] = representation(m.Representation) // nil: one that nobody here knows
	}
	return t
}

// representation returns the built-in representation with an EXI datatype
// identifier (EXI 1.0 table 7-1), nil if there is none of that name.
func representation(n Name) *Datatype {
	q := n.Value()
	if q.Space != nsEXI {
		return nil
	}
	c, ok := representations[q.Local]
	if !ok {
		return nil
	}
	return &Datatype{Codec: c}
}

var representations = map[string]Codec{
	"base64Binary": CodecBase64, "hexBinary": CodecHex, "boolean": CodecBoolean,
	"dateTime": CodecDateTime, "time": CodecTime, "date": CodecDate,
	"gYearMonth": CodecGYearMonth, "gYear": CodecGYear, "gMonthDay": CodecGMonthDay,
	"gDay": CodecGDay, "gMonth": CodecGMonth, "decimal": CodecDecimal,
	"double": CodecFloat, "integer": CodecInteger, "string": CodecString,
}

// codecUnknown marks types mapped to a user-defined representation: values of
// them cannot be coded (EXI 1.0 §7.4).
const codecUnknown Codec = 0xff

func (t *typeBinder) bind(d *Datatype) *dtype {
	if d == nil {
		return nil
	}
	if b, ok := t.memo[d]; ok {
		return b
	}
	b := &dtype{}
	t.memo[d] = b
	if t.lexical {
		b.codec = CodecString
		if set := lexicalSet(d); set != "" {
			b.codec, b.charset = CodecRestrictedString, t.named(set)
		}
		return b
	}
	t.fill(b, t.mapped(d))
	return b
}

func (t *typeBinder) named(set string) *charset {
	c := t.sets[set]
	if c == nil {
		c = newCharset([]rune(set))
		t.sets[set] = c
	}
	return c
}

// hasDefault reports whether table 7-1 associates a representation with the
// type itself: it shields the type, and those derived from it, from entries for
// the types above it, so that an entry for xs:decimal does not reach xs:integer.
func (d *Datatype) hasDefault() bool {
	if d.Name != (Name{}) {
		q := d.Name.Value()
		if _, ok := representations[q.Local]; q.Space == NSXSD && (ok || q.Local == "float") {
			return true
		}
	}
	direct := d.Base != nil && d.Base.Base == nil
	return direct && (d.Codec == CodecList || d.Union)
}

// mapped applies the datatype representation map: the nearest ancestor that
// has an entry decides, enumerations keep theirs unless that ancestor is one
// itself (EXI 1.0 §7.4).
func (t *typeBinder) mapped(d *Datatype) *Datatype {
	if t.maps == nil {
		return d
	}
	for a := d; a != nil; a = a.Base {
		rep, ok := t.maps[a.Name]
		if !ok || a.Name == (Name{}) {
			if a.hasDefault() {
				return d
			}
			continue
		}
		if d.Codec == CodecEnumeration && a.Codec != CodecEnumeration {
			return d
		}
		if rep == nil {
			return &Datatype{Codec: codecUnknown}
		}
		if rep.Codec == CodecInteger && isInteger(d.Codec) || rep.Codec == CodecBoolean && d.Codec == CodecBooleanPattern ||
			rep.Codec == CodecString && d.Codec == CodecRestrictedString {
			return d
		}
		m := *rep
		m.WhiteSpace = d.WhiteSpace
		return &m
	}
	return d
}

func isInteger(c Codec) bool { return c == CodecInteger || c == CodecUnsigned || c == CodecNBit }

func (t *typeBinder) fill(b *dtype, d *Datatype) {
	b.codec, b.ws = d.Codec, d.WhiteSpace
	switch d.Codec {
	case CodecNBit:
		b.bits, b.min, b.max, b.offset = uint(d.Bits), d.Min, d.Max, d.Offset
	case CodecRestrictedString:
		if len(d.Charset) == 0 {
			b.codec = CodecString
			break
		}
		set := slices.Clone(d.Charset)
		slices.Sort(set)
		b.charset = newCharset(set)
	case CodecList:
		b.item = t.bind(d.Item)
		if b.item == nil {
			b.item = &dtype{codec: CodecString}
		}
	case CodecEnumeration:
		t.fillEnum(b, d)
	case CodecQName:
		b.codec = CodecString
	}
}

// fillEnum indexes an enumeration by text and by value, so that 01 finds 1.
func (t *typeBinder) fillEnum(b *dtype, d *Datatype) {
	b.enum = d.Enum
	b.bits = bitsFor(len(d.Enum))
	b.enumOf = &dtype{codec: CodecString}
	if d.EnumType != nil {
		own := &dtype{}
		t.fill(own, d.EnumType)
		b.enumOf = own
	}
	b.byText = make(map[string]int32, len(d.Enum))
	for i, s := range d.Enum {
		if _, ok := b.byText[s]; !ok {
			b.byText[s] = int32(i)
		}
	}
	if !b.enumOf.isString() {
		b.byValue = make(map[string]int32, len(d.Enum))
		var v parsed
		for i, s := range d.Enum {
			text := Str(s)
			if key, ok := v.key(b.enumOf, &text); ok {
				if _, dup := b.byValue[key]; !dup {
					b.byValue[key] = int32(i)
				}
			}
		}
	}
}

func (d *dtype) isString() bool {
	return d == nil || d.codec == CodecString || d.codec == CodecRestrictedString
}
