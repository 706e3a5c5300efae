package exi

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
)

// AppendText appends the text of v: the text itself for lexical values, else
// a lexical form of its XML Schema type. Floats with exponents from −15 to 0
// are written in plain decimal, so that 2340 × 10^−2 reads 23.40.
func (v Value) AppendText(dst []byte) []byte {
	switch v.kind {
	case Bool:
		return strconv.AppendBool(dst, v.num != 0)
	case Int:
		return strconv.AppendInt(dst, v.num, 10)
	case Decimal:
		return AppendDec(dst, v.num, int(v.exp))
	case Float:
		return appendFloat(dst, v.num, int(v.exp))
	case DateTime, Date, Time, GYear, GYearMonth, GMonth, GMonthDay, GDay:
		return v.appendCalendar(dst)
	case Base64:
		return base64.StdEncoding.AppendEncode(dst, []byte(v.str))
	case Hex:
		n := len(dst)
		dst = hex.AppendEncode(dst, []byte(v.str))
		for i := n; i < len(dst); i++ {
			if dst[i] >= 'a' {
				dst[i] -= 'a' - 'A'
			}
		}
		return dst
	}
	if v.kind == NameRef {
		return append(dst, v.str[:v.num]...)
	}
	return append(dst, v.str...)
}

// appendFloat writes mant × 10^exp in plain decimal where that stays short.
func appendFloat(dst []byte, mant int64, exp int) []byte {
	switch {
	case exp == ExpSpecial && mant == 1:
		return append(dst, "INF"...)
	case exp == ExpSpecial && mant == -1:
		return append(dst, "-INF"...)
	case exp == ExpSpecial:
		return append(dst, "NaN"...)
	case exp <= 0 && exp >= -15:
		return AppendDec(dst, mant, exp)
	}
	dst = strconv.AppendInt(dst, mant, 10)
	dst = append(dst, 'E')
	return strconv.AppendInt(dst, int64(exp), 10)
}

// AppendDec appends mant × 10^exp in plain decimal notation with exactly −exp
// digits after the point. exp is at most 18 in either direction; a greater
// one is written with an exponent.
func AppendDec(dst []byte, mant int64, exp int) []byte {
	if exp > 18 || exp < -64 {
		dst = strconv.AppendInt(dst, mant, 10)
		dst = append(dst, 'E')
		return strconv.AppendInt(dst, int64(exp), 10)
	}
	if mant < 0 {
		dst = append(dst, '-')
	}
	var buf [24]byte
	digits := strconv.AppendUint(buf[:0], magnitude(mant), 10)
	if exp >= 0 {
		dst = append(dst, digits...)
		if mant != 0 {
			for ; exp > 0; exp-- {
				dst = append(dst, '0')
			}
		}
		return dst
	}
	point := len(digits) + exp
	if point <= 0 {
		dst = append(dst, '0', '.')
		for ; point < 0; point++ {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[:point]...)
	dst = append(dst, '.')
	return append(dst, digits[point:]...)
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// ParseDec parses xs:decimal and xs:double text (without special values) and
// keeps its digits: "21.50" is 2150, −2. It is not ok for anything else, for
// more than 18 significant digits, or an exponent outside ±16383.
func ParseDec(s string) (mant int64, exp int, ok bool) {
	i, neg := 0, false
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		neg = s[i] == '-'
		i++
	}
	digits, point := 0, false
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.' && !point:
			point = true
			continue
		case c < '0' || c > '9':
		default:
			if mant > (math.MaxInt64-9)/10 {
				return 0, 0, false
			}
			mant = mant*10 + int64(c-'0')
			digits++
			if point {
				exp--
			}
			continue
		}
		break
	}
	if digits == 0 {
		return 0, 0, false
	}
	if i < len(s) {
		if s[i] != 'e' && s[i] != 'E' {
			return 0, 0, false
		}
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e > 16383 || e < -16383 {
			return 0, 0, false
		}
		exp += e
	}
	if neg {
		mant = -mant
	}
	return mant, exp, exp >= -16383 && exp <= 16383
}
