package drivers

import (
	"strconv"
	"time"
)

// Kind is the kind of a Value. The kinds are those that XEP-0323 fields and
// XEP-0325 parameters know.
type Kind uint8

// The kinds.
const (
	KindNone     Kind = iota // no value
	KindBool                 // boolean
	KindInt                  // whole number, −2^31..2^31−1
	KindLong                 // whole number, int64
	KindNumber               // decimal number with its digits
	KindString               // text
	KindEnum                 // text out of a closed list
	KindTime                 // instant
	KindDate                 // calendar day, xs:date text
	KindClock                // time of day, xs:time text
	KindDuration             // xs:duration text
	KindColor                // RRGGBB or RRGGBBAA hex digits
)

var kindNames = [...]string{"none", "boolean", "int", "long", "double", "string", "enum", "dateTime", "date", "time", "duration", "color"}

// String returns the name that configuration files and messages use.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind?"
}

// Value is one typed value; the zero Value holds nothing. Values are
// comparable with ==, but numbers of different precision then differ: use
// Number.Cmp for these.
type Value struct {
	kind Kind
	num  Number
	str  string
	at   time.Time
}

// Bool returns a boolean Value.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.num.Mant = 1
	}
	return v
}

// Int returns a whole number of 32 bits.
func Int(n int32) Value { return Value{kind: KindInt, num: Number{Mant: int64(n)}} }

// Long returns a whole number of 64 bits.
func Long(n int64) Value { return Value{kind: KindLong, num: Number{Mant: n}} }

// Decimal returns a decimal number.
func Decimal(n Number) Value { return Value{kind: KindNumber, num: n} }

// String returns a text Value.
func String(s string) Value { return Value{kind: KindString, str: s} }

// Enum returns a text out of a closed list.
func Enum(s string) Value { return Value{kind: KindEnum, str: s} }

// Time returns an instant.
func Time(t time.Time) Value { return Value{kind: KindTime, at: t} }

// Text returns a Value of one of the kinds that are held as text: date, time
// of day, duration, colour, string, enum.
func Text(k Kind, s string) Value { return Value{kind: k, str: s} }

// Kind tells what v holds.
func (v Value) Kind() Kind { return v.kind }

// Bool returns a boolean; ok is false for other kinds.
func (v Value) Bool() (b, ok bool) { return v.num.Mant != 0, v.kind == KindBool }

// Number returns the number of the numeric kinds (int, long, number).
func (v Value) Number() (n Number, ok bool) {
	return v.num, v.kind == KindInt || v.kind == KindLong || v.kind == KindNumber
}

// Int returns a whole number; ok is false for other kinds.
func (v Value) Int() (n int64, ok bool) {
	return v.num.Mant, v.kind == KindInt || v.kind == KindLong
}

// Time returns an instant; ok is false for other kinds.
func (v Value) Time() (t time.Time, ok bool) { return v.at, v.kind == KindTime }

// Text returns the text of the kinds held as text; ok is false for others.
func (v Value) Text() (s string, ok bool) {
	switch v.kind {
	case KindString, KindEnum, KindDate, KindClock, KindDuration, KindColor:
		return v.str, true
	}
	return "", false
}

// String returns v as a person reads it. Instants are RFC 3339 in their zone.
func (v Value) String() string {
	switch v.kind {
	case KindNone:
		return ""
	case KindBool:
		return strconv.FormatBool(v.num.Mant != 0)
	case KindInt, KindLong, KindNumber:
		return v.num.String()
	case KindTime:
		return v.at.Format(time.RFC3339Nano)
	}
	return v.str
}
