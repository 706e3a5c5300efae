package formula

import (
	"fmt"
	"math"

	"postern/drivers"
)

// function is something a formula can call.
type function struct {
	name        string
	least, most int // operands
	of          func(n []drivers.Number) (drivers.Number, error)
}

// maxOperands bounds the operands of one call.
const maxOperands = 200

// quotient is how many digits a division or root keeps behind the point at
// most.
const quotient = 9

var functions = []function{
	{"abs", 1, 1, abs},
	{"ceil", 1, 1, func(n []drivers.Number) (drivers.Number, error) { return whole(n[0], 1) }},
	{"dew_point", 2, 2, dewPoint},
	{"floor", 1, 1, func(n []drivers.Number) (drivers.Number, error) { return whole(n[0], -1) }},
	{"max", 1, maxOperands, func(n []drivers.Number) (drivers.Number, error) { return extreme(n, 1), nil }},
	{"mean", 1, maxOperands, mean},
	{"min", 1, maxOperands, func(n []drivers.Number) (drivers.Number, error) { return extreme(n, -1), nil }},
	{"round", 1, 2, round},
	{"sqrt", 1, 1, root},
	{"sum", 1, maxOperands, sum},
}

func functionOf(name string) *function {
	for i := range functions {
		if functions[i].name == name {
			return &functions[i]
		}
	}
	return nil
}

func (f *function) operands() string {
	switch {
	case f.most == maxOperands:
		return "one operand or more"
	case f.least == f.most && f.most == 1:
		return "one operand"
	case f.least == f.most:
		return fmt.Sprintf("%d operands", f.most)
	}
	return fmt.Sprintf("%d or %d operands", f.least, f.most)
}

// apply calculates x, an operator or a call, from its operands.
func apply(x expr, n []drivers.Number) (drivers.Number, error) {
	switch x.op {
	case opNeg:
		return n[0].Neg()
	case opAdd:
		return add(n[0], n[1])
	case opSub:
		m, err := n[1].Neg()
		if err != nil {
			return m, err
		}
		return add(n[0], m)
	case opMul:
		return mul(n[0], n[1])
	case opDiv:
		return quo(n[0], n[1])
	}
	return x.fn.of(n)
}

func add(a, b drivers.Number) (drivers.Number, error) {
	if r, err := a.Add(b); err == nil {
		return r, nil
	}
	return approximate(a.Float64() + b.Float64())
}

func mul(a, b drivers.Number) (drivers.Number, error) {
	if r, err := a.Mul(b); err == nil {
		return r, nil
	}
	return approximate(a.Float64() * b.Float64())
}

// quo divides, exactly where the result has at most nine decimals, else
// truncated to them or to what fits.
func quo(a, b drivers.Number) (drivers.Number, error) {
	for digits := quotient; digits >= 0; digits-- {
		r, exact, err := a.Quo(b, -digits)
		if err != nil {
			continue
		}
		if exact {
			return short(r), nil
		}
		return r, nil
	}
	return drivers.Number{}, drivers.ErrRange
}

// short drops the zeros that a division left behind the point.
func short(n drivers.Number) drivers.Number {
	for n.Exp < 0 && n.Mant%10 == 0 && n.Mant != 0 {
		n.Mant, n.Exp = n.Mant/10, n.Exp+1
	}
	if n.Mant == 0 {
		n.Exp = 0
	}
	return n
}

// approximate stands in where mantissas do not fit: 15 significant digits.
func approximate(f float64) (drivers.Number, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) >= 1e18 {
		return drivers.Number{}, drivers.ErrRange
	}
	digits := 15
	if f != 0 {
		digits = min(max(14-int(math.Floor(math.Log10(math.Abs(f)))), 0), 15)
	}
	return drivers.FromFloat(f, digits)
}

func abs(n []drivers.Number) (drivers.Number, error) {
	if n[0].Mant < 0 {
		return n[0].Neg()
	}
	return n[0], nil
}

// whole returns the nearest whole number above (side 1) or below (side -1).
func whole(n drivers.Number, side int64) (drivers.Number, error) {
	if n.Exp >= 0 {
		return n, nil
	}
	r, err := n.Rescale(0)
	if err != nil {
		return r, err
	}
	if c := r.Cmp(n); side > 0 && c < 0 || side < 0 && c > 0 {
		r.Mant += side
	}
	return r, nil
}

// round rounds half away from zero, to the digits that the second operand
// says.
func round(n []drivers.Number) (drivers.Number, error) {
	digits := int64(0)
	if len(n) == 2 {
		d, err := n[1].Rescale(0)
		if err != nil || d.Cmp(n[1]) != 0 || d.Mant < 0 || d.Mant > quotient {
			return drivers.Number{}, drivers.ErrRange
		}
		digits = d.Mant
	}
	return n[0].Rescale(-int(digits))
}

func extreme(n []drivers.Number, side int) drivers.Number {
	best := n[0]
	for _, m := range n[1:] {
		if m.Cmp(best) == side {
			best = m
		}
	}
	return best
}

func sum(n []drivers.Number) (drivers.Number, error) {
	total := n[0]
	var err error
	for _, m := range n[1:] {
		if total, err = add(total, m); err != nil {
			return total, err
		}
	}
	return total, nil
}

func mean(n []drivers.Number) (drivers.Number, error) {
	total, err := sum(n)
	if err != nil {
		return total, err
	}
	return quo(total, drivers.Num(int64(len(n)), 0))
}

func root(n []drivers.Number) (drivers.Number, error) {
	f := math.Sqrt(n[0].Float64())
	r, err := approximate(f)
	if err != nil || -int(r.Exp) <= quotient {
		return short(r), err
	}
	r, err = r.Rescale(-quotient)
	return short(r), err
}

// The Magnus formula for water vapour over water, coefficients of the WMO
// Guide to Instruments (WMO-No. 8, 2018): dew point within 0.1 K of the tables
// from -45 to 60 °C.
const (
	magnusB = 17.62
	magnusC = 243.12 // °C
)

// dewPoint is the dew point in °C, to two digits, of air with a temperature in
// °C and a relative humidity in %.
func dewPoint(n []drivers.Number) (drivers.Number, error) {
	t, rh := n[0].Float64(), n[1].Float64()
	if rh <= 0 || rh > 100 || t < -45 || t > 60 {
		return drivers.Number{}, drivers.ErrRange
	}
	g := math.Log(rh/100) + magnusB*t/(magnusC+t)
	return drivers.FromFloat(magnusC*g/(magnusB-g), 2)
}
