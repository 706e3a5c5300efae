package drivers

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Number is Mant × 10^Exp. The exponent carries the precision: 2150 × 10^-2 is
// 21.50, and stays so from the register to the wire. Exponents are within
// −18..18.
type Number struct {
	Mant int64
	Exp  int32
}

// Num returns mant × 10^exp.
func Num(mant int64, exp int) Number { return Number{mant, int32(exp)} }

// ErrRange: a number does not fit in 18 digits at the wanted precision.
var ErrRange = errors.New("number out of range")

// ParseNumber parses decimal text and keeps its digits. An exponent suffix
// (1.5e3) is accepted.
func ParseNumber(s string) (Number, error) {
	s = strings.TrimSpace(s)
	text, exp := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil {
			return Number{}, fmt.Errorf("number %q: exponent is not a whole number", s)
		}
		text, exp = s[:i], e
	}
	whole, frac, point := strings.Cut(text, ".")
	if whole == "" && frac == "" || whole == "-" && frac == "" || whole == "+" && frac == "" {
		return Number{}, fmt.Errorf("number %q: no digits", s)
	}
	if point {
		exp -= len(frac)
		if strings.ContainsAny(frac, "+-") {
			return Number{}, fmt.Errorf("number %q: not a decimal number", s)
		}
	}
	m, err := strconv.ParseInt(whole+frac, 10, 64)
	if errors.Is(err, strconv.ErrRange) || exp < -18 || exp > 18 {
		return Number{}, fmt.Errorf("number %q: %w", s, ErrRange)
	}
	if err != nil {
		return Number{}, fmt.Errorf("number %q: not a decimal number", s)
	}
	return Number{m, int32(exp)}, nil
}

// FromFloat rounds f half away from zero to digits places (0..15). Chips whose
// libraries give floats use it once, with the resolution of the chip. It
// returns ErrRange for NaN, infinities and what does not fit.
func FromFloat(f float64, digits int) (Number, error) {
	if digits < 0 || digits > 15 {
		return Number{}, ErrRange
	}
	m := math.Round(f * math.Pow10(digits))
	if math.IsNaN(m) || math.Abs(m) > 1<<53 {
		return Number{}, ErrRange
	}
	return Number{int64(m), int32(-digits)}, nil
}

// Float64 returns the nearest float64.
func (n Number) Float64() float64 {
	f, _ := strconv.ParseFloat(strconv.FormatInt(n.Mant, 10)+"e"+strconv.Itoa(int(n.Exp)), 64)
	return f
}

// String writes n in plain decimal notation with its digits: 21.50.
func (n Number) String() string { return string(n.Append(nil)) }

// Append appends what String returns to dst.
func (n Number) Append(dst []byte) []byte {
	u := uint64(n.Mant)
	if n.Mant < 0 {
		dst = append(dst, '-')
		u = -u
	}
	var buf [20]byte
	d := strconv.AppendUint(buf[:0], u, 10)
	if n.Exp >= 0 {
		dst = append(dst, d...)
		for i := int32(0); i < n.Exp && n.Mant != 0; i++ {
			dst = append(dst, '0')
		}
		return dst
	}
	point := len(d) + int(n.Exp)
	if point <= 0 {
		dst = append(dst, '0', '.')
		for ; point < 0; point++ {
			dst = append(dst, '0')
		}
		return append(dst, d...)
	}
	dst = append(dst, d[:point]...)
	dst = append(dst, '.')
	return append(dst, d[point:]...)
}

// Rescale returns n with exponent exp. A coarser exponent rounds half away
// from zero; a finer one returns ErrRange when the digits do not fit.
func (n Number) Rescale(exp int) (Number, error) {
	m := n.Mant
	for e := int(n.Exp); e > exp; e-- {
		if m > math.MaxInt64/10 || m < math.MinInt64/10 {
			return Number{}, ErrRange
		}
		m *= 10
	}
	if drop := exp - int(n.Exp); drop > 0 {
		if drop > 19 {
			return Number{0, int32(exp)}, nil
		}
		for ; drop > 1; drop-- {
			m /= 10
		}
		r := m % 10
		m /= 10
		switch {
		case r >= 5:
			m++
		case r <= -5:
			m--
		}
	}
	return Number{m, int32(exp)}, nil
}

// Cmp compares by value: −1, 0, 1. 21.5 equals 21.50.
func (n Number) Cmp(o Number) int {
	if n.Exp == o.Exp {
		return cmp(n.Mant, o.Mant)
	}
	exp := min(n.Exp, o.Exp)
	a, errA := n.Rescale(int(exp))
	b, errB := o.Rescale(int(exp))
	if errA != nil || errB != nil {
		// Digits do not fit: the magnitudes differ by far more than rounding.
		x, y := n.Float64(), o.Float64()
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return cmp(a.Mant, b.Mant)
}

func cmp(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
