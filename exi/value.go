package exi

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"
)

// ValueKind tells how a Value holds its content.
type ValueKind uint8

// The kinds of Value. Lexical values are text nobody has looked into; the
// typed kinds hold what an EXI datatype representation carries (EXI 1.0 §7.1)
// and are rendered to text only when somebody asks.
const (
	Lexical    ValueKind = iota // text as written
	Bool                        // xs:boolean
	Int                         // xs:integer and what derives from it, within int64
	Decimal                     // xs:decimal: mantissa × 10^exponent, exponent ≤ 0
	Float                       // xs:float, xs:double: mantissa × 10^exponent
	DateTime                    // xs:dateTime
	Date                        // xs:date
	Time                        // xs:time
	GYear                       // xs:gYear
	GYearMonth                  // xs:gYearMonth
	GMonth                      // xs:gMonth
	GMonthDay                   // xs:gMonthDay
	GDay                        // xs:gDay
	Base64                      // xs:base64Binary, held as octets
	Hex                         // xs:hexBinary, held as octets
	NameRef                     // value of xsi:type: a name with the namespace its prefix stands for (see NameValue)
)

// ExpSpecial is the exponent that marks a Float's special values
// (EXI 1.0 §7.1.4): mantissa 1 is INF, −1 is −INF, any other NaN.
const ExpSpecial = -1 << 14

// Value is the content of an attribute, text node, comment or instruction:
// either text or a typed value that renders to text. The zero Value is the
// empty text.
//
// A Value that came out of a Doc or a Reader may borrow memory from it and is
// then valid only until that Doc is reset; Clone or String give something to
// keep. Values are immutable and safe for concurrent use while valid.
type Value struct {
	str      string // Lexical: the text; Base64, Hex: the octets
	num      int64  // Bool 0/1; Int; mantissa; calendar fields packed (see Calendar)
	exp      int32  // exponent; year
	frac     uint32 // fraction of a second, in fracDigits digits
	digits   uint8  // number of fraction digits, 0..9
	kind     ValueKind
	borrowed bool // str points into a Doc's arena
}

// Str returns a lexical value. The string is kept, not copied.
func Str(s string) Value { return Value{str: s} }

// BoolValue returns an xs:boolean.
func BoolValue(b bool) Value {
	v := Value{kind: Bool}
	if b {
		v.num = 1
	}
	return v
}

// IntValue returns an xs:integer.
func IntValue(n int64) Value { return Value{kind: Int, num: n} }

// DecimalValue returns mant × 10^exp as an xs:decimal; exp must be in
// −18..0 (a greater exponent has no decimal rendering that EXI could keep).
func DecimalValue(mant int64, exp int) Value {
	return Value{kind: Decimal, num: mant, exp: int32(exp)}
}

// FloatValue returns mant × 10^exp as an xs:double. The digits are kept: 2340,
// −2 reads back as 23.40 in text, and in EXI when Options.KeepFloatDigits is
// set. exp is in −16383..16383; ExpSpecial marks the special values.
func FloatValue(mant int64, exp int) Value {
	return Value{kind: Float, num: mant, exp: int32(exp)}
}

// BytesValue returns binary content, rendered as base64 or hex by kind, which
// must be Base64 or Hex. The string holds the raw octets.
func BytesValue(kind ValueKind, octets string) Value {
	return Value{kind: kind, str: octets}
}

// NameValue returns a qualified name in content, as xsi:type carries it (EXI 1.0
// §7.1.7): the text, "local" or "prefix:local", and the namespace that its
// prefix stands for. Text readers make the value of xsi:type one when the prefix
// is bound. Its text alone says too little where prefixes are not preserved, so
// text writers must ask Value.Name and write a prefix that they have bound to
// that namespace.
func NameValue(space, text string) Value {
	n := int64(len(text))
	if space == "" {
		text = strings.Clone(text) // text may be borrowed
	}
	return Value{kind: NameRef, str: text + space, num: n}
}

// Name returns the parts of a NameRef value; prefix may be empty although space
// is not. ok is false for other kinds.
func (v Value) Name() (space, prefix, local string, ok bool) {
	if v.kind != NameRef {
		return "", "", "", false
	}
	text := v.str[:v.num]
	if i := strings.IndexByte(text, ':'); i >= 0 {
		return v.str[v.num:], text[:i], text[i+1:], true
	}
	return v.str[v.num:], "", text, true
}

// Calendar is the content of the date and time kinds. Fields that the kind
// does not have are zero.
type Calendar struct {
	Year                             int32 // may be negative, never 0 in XML Schema 1.0
	Month, Day, Hour, Minute, Second uint8
	Fraction                         uint32 // digits of the fraction, leading zeros implied by Digits
	Digits                           uint8  // 0..9; 0 means no fraction
	HasZone                          bool
	ZoneMinutes                      int16 // −840..840
}

// CalendarValue returns a value of one of the date and time kinds. Fields are
// masked to their widths, not validated: decoders validate.
func CalendarValue(kind ValueKind, c Calendar) Value {
	n := int64(c.Month&15) | int64(c.Day&31)<<4 | int64(c.Hour&31)<<9 |
		int64(c.Minute&63)<<14 | int64(c.Second&63)<<20
	if c.HasZone {
		n |= int64(c.ZoneMinutes+1024)<<26 | 1<<40
	}
	return Value{kind: kind, num: n, exp: c.Year, frac: c.Fraction, digits: c.Digits}
}

// TimeValue returns t as an xs:dateTime with its zone offset and at most
// digits fraction digits (0..9); digits < 0 keeps what is not zero.
func TimeValue(t time.Time, digits int) Value {
	_, off := t.Zone()
	ns := t.Nanosecond()
	if digits < 0 {
		digits = 9
		for digits > 0 && ns%10 == 0 {
			ns /= 10
			digits--
		}
	} else {
		for i := digits; i < 9; i++ {
			ns /= 10
		}
	}
	return CalendarValue(DateTime, Calendar{
		Year: int32(t.Year()), Month: uint8(t.Month()), Day: uint8(t.Day()),
		Hour: uint8(t.Hour()), Minute: uint8(t.Minute()), Second: uint8(t.Second()),
		Fraction: uint32(ns), Digits: uint8(digits),
		HasZone: true, ZoneMinutes: int16(off / 60),
	})
}

// Kind tells how the value is held.
func (v Value) Kind() ValueKind { return v.kind }

// IsZero reports whether v is the empty text.
func (v Value) IsZero() bool { return v.kind == Lexical && v.str == "" }

// Clone returns a Value that does not borrow from a Doc.
func (v Value) Clone() Value {
	if v.borrowed {
		v.str = strings.Clone(v.str)
		v.borrowed = false
	}
	return v
}

// String returns the text of v, safe to keep. It allocates unless the text is
// a string that v owns.
func (v Value) String() string {
	if v.kind == Lexical {
		if v.borrowed {
			return strings.Clone(v.str)
		}
		return v.str
	}
	var buf [48]byte
	return string(v.AppendText(buf[:0]))
}

// View returns the text of a lexical value without copying; it is valid as
// long as the Doc it came from is not reset. For typed values it is String.
func (v Value) View() string {
	if v.kind == Lexical {
		return v.str
	}
	return v.String()
}

// Is reports whether the text of v is s. It does not allocate for lexical
// values, nor for most typed ones.
func (v Value) Is(s string) bool {
	if v.kind == Lexical {
		return v.str == s
	}
	var buf [64]byte
	return string(v.AppendText(buf[:0])) == s
}

// Octets returns the raw octets of a Base64 or Hex value; ok is false for
// other kinds. Use Bytes to accept text as well.
func (v Value) Octets() (octets string, ok bool) {
	return v.str, v.kind == Base64 || v.kind == Hex
}

// Bool returns v as xs:boolean; text is parsed by its four spellings.
func (v Value) Bool() (b, ok bool) {
	switch v.kind {
	case Bool:
		return v.num != 0, true
	case Lexical:
		switch trimSpace(v.str) {
		case "true", "1":
			return true, true
		case "false", "0":
			return false, true
		}
	}
	return false, false
}

// Int returns v as a whole number within int64; text is parsed as xs:integer.
func (v Value) Int() (n int64, ok bool) {
	switch v.kind {
	case Int:
		return v.num, true
	case Lexical:
		n, err := strconv.ParseInt(trimSpace(v.str), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// Dec returns v as mantissa × 10^exponent; text is parsed as xs:decimal or
// xs:double with its digits kept (21.50 is 2150, −2). The special values of
// xs:double, and numbers beyond int64, are not ok.
func (v Value) Dec() (mant int64, exp int, ok bool) {
	switch v.kind {
	case Int:
		return v.num, 0, true
	case Decimal:
		return v.num, int(v.exp), true
	case Float:
		return v.num, int(v.exp), v.exp != ExpSpecial
	case Lexical:
		return ParseDec(trimSpace(v.str))
	}
	return 0, 0, false
}

// Float64 returns v as the nearest float64, special values included.
func (v Value) Float64() (f float64, ok bool) {
	switch v.kind {
	case Float:
		if v.exp == ExpSpecial {
			switch v.num {
			case 1:
				return math.Inf(1), true
			case -1:
				return math.Inf(-1), true
			}
			return math.NaN(), true
		}
	case Lexical:
		switch s := trimSpace(v.str); s {
		case "INF":
			return math.Inf(1), true
		case "-INF":
			return math.Inf(-1), true
		case "NaN":
			return math.NaN(), true
		}
	}
	mant, exp, ok := v.Dec()
	if !ok {
		return 0, false
	}
	var buf [40]byte
	b := strconv.AppendInt(buf[:0], mant, 10)
	b = append(b, 'e')
	b = strconv.AppendInt(b, int64(exp), 10)
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil || math.IsInf(f, 0)
}

// Calendar returns the fields of a date or time value; text is not parsed.
func (v Value) Calendar() (c Calendar, ok bool) {
	if v.kind < DateTime || v.kind > GDay {
		return c, false
	}
	n := v.num
	c = Calendar{
		Year: v.exp, Month: uint8(n & 15), Day: uint8(n >> 4 & 31), Hour: uint8(n >> 9 & 31),
		Minute: uint8(n >> 14 & 63), Second: uint8(n >> 20 & 63),
		Fraction: v.frac, Digits: v.digits,
	}
	if n>>40&1 != 0 {
		c.HasZone = true
		c.ZoneMinutes = int16(n>>26&0x3fff) - 1024
	}
	return c, true
}

// Time returns an xs:dateTime as a time.Time; hasZone is false when the value
// names no zone (the time is then in loc). Text is parsed.
func (v Value) Time(loc *time.Location) (t time.Time, hasZone, ok bool) {
	c, ok := v.Calendar()
	if !ok || v.kind != DateTime {
		if v.kind != Lexical {
			return t, false, false
		}
		if c, ok = ParseDateTime(trimSpace(v.str)); !ok {
			return t, false, false
		}
	}
	ns := int(c.Fraction)
	for i := c.Digits; i < 9; i++ {
		ns *= 10
	}
	if c.HasZone {
		loc = time.UTC
		if c.ZoneMinutes != 0 {
			loc = time.FixedZone("", int(c.ZoneMinutes)*60)
		}
	}
	t = time.Date(int(c.Year), time.Month(c.Month), int(c.Day), int(c.Hour), int(c.Minute), int(c.Second), ns, loc)
	return t, c.HasZone, true
}

// Bytes returns binary content, decoding text as base64 or hex by kind.
func (v Value) Bytes(kind ValueKind) (octets []byte, ok bool) {
	if o, ok := v.Octets(); ok {
		return []byte(o), true
	}
	if v.kind != Lexical {
		return nil, false
	}
	var err error
	if kind == Hex {
		octets, err = hex.DecodeString(trimSpace(v.str))
	} else {
		octets, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v.str), ""))
	}
	return octets, err == nil
}

// Number returns the content of the numeric kinds as they are held, without
// parsing text: mantissa and exponent (0 for Int and Bool).
func (v Value) Number() (mant int64, exp int) { return v.num, int(v.exp) }

// trimSpace collapses what XML Schema's whiteSpace=collapse strips at the ends.
func trimSpace(s string) string {
	if s == "" || s[0] > ' ' && s[len(s)-1] > ' ' {
		return s
	}
	return strings.Trim(s, " \t\r\n")
}
