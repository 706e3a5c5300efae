package drivers

import "math"

// Mul returns n × o exactly: the exponents add up, so 2301 × 0.1 is 230.1 and
// 2300 × 0.1 is 230.0. It returns ErrRange when the digits do not fit.
func (n Number) Mul(o Number) (Number, error) {
	m, ok := mul64(n.Mant, o.Mant)
	exp := n.Exp + o.Exp
	if !ok || exp < -18 || exp > 18 {
		return Number{}, ErrRange
	}
	return Number{m, exp}, nil
}

// Add returns n + o with the finer of the two precisions, or ErrRange.
func (n Number) Add(o Number) (Number, error) {
	exp := int(min(n.Exp, o.Exp))
	a, err := n.Rescale(exp)
	if err != nil {
		return Number{}, err
	}
	b, err := o.Rescale(exp)
	if err != nil {
		return Number{}, err
	}
	s := a.Mant + b.Mant
	if (s > a.Mant) != (b.Mant > 0) && b.Mant != 0 {
		return Number{}, ErrRange
	}
	return Number{s, int32(exp)}, nil
}

// Neg returns −n, or ErrRange for the one mantissa that has no opposite.
func (n Number) Neg() (Number, error) {
	if n.Mant == math.MinInt64 {
		return Number{}, ErrRange
	}
	return Number{-n.Mant, n.Exp}, nil
}

// Quo returns n ÷ o where that is a number with exponent exp, and reports
// whether the division was exact. It returns ErrRange for a zero divisor and
// for what does not fit.
func (n Number) Quo(o Number, exp int) (q Number, exact bool, err error) {
	if o.Mant == 0 {
		return Number{}, false, ErrRange
	}
	// n.Mant·10^n.Exp / (o.Mant·10^o.Exp) = q·10^exp
	shift := int(n.Exp) - int(o.Exp) - exp
	num, den := n.Mant, o.Mant
	for ; shift > 0; shift-- {
		var ok bool
		if num, ok = mul64(num, 10); !ok {
			return Number{}, false, ErrRange
		}
	}
	for ; shift < 0; shift++ {
		var ok bool
		if den, ok = mul64(den, 10); !ok {
			return Number{}, num == 0, nil
		}
	}
	if num == math.MinInt64 && den == -1 {
		return Number{}, false, ErrRange
	}
	return Number{num / den, int32(exp)}, num%den == 0, nil
}

func mul64(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	p := a * b
	if p/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, false
	}
	return p, true
}
