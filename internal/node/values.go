package node

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"postern/drivers"
)

// Range is a range of numbers. Its ends belong to it unless they are open;
// the zero Range holds all numbers.
type Range struct {
	Min     drivers.Number `json:",omitzero"`
	Max     drivers.Number `json:",omitzero"`
	HasMin  bool           `json:",omitempty"`
	HasMax  bool           `json:",omitempty"`
	MinOpen bool           `json:",omitempty"`
	MaxOpen bool           `json:",omitempty"`
}

// ParseRange reads a range with closed ends: 15..25, ..25 or 15.. .
func ParseRange(s string) (r Range, err error) {
	low, high, ok := strings.Cut(s, "..")
	if !ok || low == "" && high == "" {
		return r, fmt.Errorf("%q is no range; write 15.., ..25 or 15..25", s)
	}
	if r.HasMin = low != ""; r.HasMin {
		if r.Min, err = drivers.ParseNumber(low); err != nil {
			return r, err
		}
	}
	if r.HasMax = high != ""; r.HasMax {
		if r.Max, err = drivers.ParseNumber(high); err != nil {
			return r, err
		}
	}
	return r, r.Check()
}

// Check finds a range that holds nothing.
func (r Range) Check() error {
	if lo, hi := r.cuts(); lo.cmp(hi) >= 0 {
		return fmt.Errorf("the range %s holds no number", r)
	}
	return nil
}

// String writes the range as ParseRange reads it; an open end has a sign
// beside it: >15..<25.
func (r Range) String() string {
	var b strings.Builder
	if r.HasMin {
		if r.MinOpen {
			b.WriteByte('>')
		}
		b.WriteString(r.Min.String())
	}
	b.WriteString("..")
	if r.HasMax {
		if r.MaxOpen {
			b.WriteByte('<')
		}
		b.WriteString(r.Max.String())
	}
	return b.String()
}

// cut is a place between numbers: just before or just behind one, or beyond
// all of them. A range reaches from a cut to a later one, whatever its ends
// are, so the sets below need no cases.
type cut struct {
	at   drivers.Number
	side int8 // -1 before, 1 behind; -2 and 2 below and above all numbers
}

func (c cut) cmp(o cut) int {
	if c.side*c.side == 4 || o.side*o.side == 4 {
		switch {
		case c.side == o.side:
			return 0
		case c.side == -2 || o.side == 2:
			return -1
		}
		return 1
	}
	if n := c.at.Cmp(o.at); n != 0 {
		return n
	}
	return int(c.side - o.side)
}

func (r Range) cuts() (lo, hi cut) {
	lo, hi = cut{side: -2}, cut{side: 2}
	if r.HasMin {
		lo = cut{r.Min, -1}
		if r.MinOpen {
			lo.side = 1
		}
	}
	if r.HasMax {
		hi = cut{r.Max, 1}
		if r.MaxOpen {
			hi.side = -1
		}
	}
	return lo, hi
}

// between is the range from one cut to another; ok is false when nothing is
// in it.
func between(lo, hi cut) (r Range, ok bool) {
	if lo.cmp(hi) >= 0 {
		return r, false
	}
	if lo.side != -2 {
		r.Min, r.HasMin, r.MinOpen = lo.at, true, lo.side == 1
	}
	if hi.side != 2 {
		r.Max, r.HasMax, r.MaxOpen = hi.at, true, hi.side == -1
	}
	return r, true
}

// Values is a set of values that a parameter may be given. The zero Values
// holds every value.
type Values struct {
	Limited bool    `json:",omitempty"` // false: every value, and the rest is empty
	Other   bool    `json:",omitempty"` // also values that are no numbers
	Ranges  []Range `json:",omitempty"` // ascending, without a common number
}

// Numbers is the set of the numbers in some ranges.
func Numbers(ranges ...Range) Values { return valuesOf(false, ranges) }

// Values is the set of the numbers in the range.
func (r Range) Values() Values { return Numbers(r) }

// NoValue is the empty set.
func NoValue() Values { return Values{Limited: true} }

// Empty reports whether no value is in the set.
func (v Values) Empty() bool { return v.Limited && !v.Other && len(v.Ranges) == 0 }

func (v Values) parts() (other bool, ranges []Range) {
	if !v.Limited {
		return true, []Range{{}}
	}
	return v.Other, v.Ranges
}

// valuesOf puts the ranges in order and joins those that touch.
func valuesOf(other bool, ranges []Range) Values {
	list := append([]Range(nil), ranges...)
	sort.Slice(list, func(i, j int) bool {
		a, _ := list[i].cuts()
		b, _ := list[j].cuts()
		return a.cmp(b) < 0
	})
	var out []Range
	for _, r := range list {
		lo, hi := r.cuts()
		if lo.cmp(hi) >= 0 {
			continue
		}
		if n := len(out); n > 0 {
			first, last := out[n-1].cuts()
			if lo.cmp(last) <= 0 {
				if hi.cmp(last) < 0 {
					hi = last
				}
				out[n-1], _ = between(first, hi)
				continue
			}
		}
		out = append(out, r)
	}
	if other && len(out) == 1 && !out[0].HasMin && !out[0].HasMax {
		return Values{}
	}
	return Values{Limited: true, Other: other, Ranges: out}
}

// Union returns the values of either set.
func (v Values) Union(o Values) Values {
	a, x := v.parts()
	b, y := o.parts()
	return valuesOf(a || b, append(append([]Range(nil), x...), y...))
}

// Intersect returns the values that are in both sets.
func (v Values) Intersect(o Values) Values {
	a, x := v.parts()
	b, y := o.parts()
	var out []Range
	for i, j := 0, 0; i < len(x) && j < len(y); {
		lo, hi := x[i].cuts()
		from, to := y[j].cuts()
		first := hi.cmp(to) < 0 // x[i] ends first
		if from.cmp(lo) > 0 {
			lo = from
		}
		if !first {
			hi = to
		}
		if r, ok := between(lo, hi); ok {
			out = append(out, r)
		}
		if first {
			i++
		} else {
			j++
		}
	}
	return valuesOf(a && b, out)
}

// Without returns the values of v that are not in o.
func (v Values) Without(o Values) Values {
	b, y := o.parts()
	var gaps []Range
	from := cut{side: -2}
	for _, r := range y {
		lo, hi := r.cuts()
		if g, ok := between(from, lo); ok {
			gaps = append(gaps, g)
		}
		from = hi
	}
	if g, ok := between(from, cut{side: 2}); ok {
		gaps = append(gaps, g)
	}
	return v.Intersect(valuesOf(!b, gaps))
}

// Contains reports whether a value is in the set.
func (v Values) Contains(x drivers.Value) bool {
	if !v.Limited {
		return true
	}
	n, ok := x.Number()
	if !ok {
		return v.Other
	}
	before, behind := cut{n, -1}, cut{n, 1}
	for _, r := range v.Ranges {
		if lo, hi := r.cuts(); lo.cmp(before) <= 0 && behind.cmp(hi) <= 0 {
			return true
		}
	}
	return false
}

// ContainsText is Contains for a value as somebody writes it, whose kind is not
// known: what reads as a number is one.
func (v Values) ContainsText(s string) bool {
	if n, err := drivers.ParseNumber(s); err == nil {
		return v.Contains(drivers.Decimal(n))
	}
	return v.Contains(drivers.String(s))
}

// String lists the ranges, for people: 0..5, 15..25.
func (v Values) String() string {
	if !v.Limited {
		return "any value"
	}
	var parts []string
	for _, r := range v.Ranges {
		parts = append(parts, r.String())
	}
	if v.Other {
		parts = append(parts, "what is no number")
	}
	if len(parts) == 0 {
		return "no value"
	}
	return strings.Join(parts, ", ")
}

// hull is the smallest range around all numbers of the set; ok is false when
// there is none.
func (v Values) hull() (r Range, ok bool) {
	_, list := v.parts()
	if len(list) == 0 {
		return r, false
	}
	lo, _ := list[0].cuts()
	_, hi := list[len(list)-1].cuts()
	return between(lo, hi)
}

// Narrow takes values that may not be set out of the bounds and options of p,
// for a form; p is a copy of a node's parameter. It reports whether anything is
// left. Bounds are moved to the grid of p; gaps between ranges do not show in
// bounds, so whoever acts on a value checks it by Contains.
func (p *Parameter) Narrow(v Values) bool {
	if !v.Limited {
		return true
	}
	if v.Empty() {
		return false
	}
	switch p.Kind {
	case drivers.KindInt, drivers.KindLong, drivers.KindNumber:
	default:
		return v.Other
	}
	r, ok := v.hull()
	if !ok {
		return false
	}
	step := p.Step
	if step.Mant == 0 && p.Kind != drivers.KindNumber {
		step = drivers.Num(1, 0)
	}
	base := p.gridBase()
	if r.HasMin && (!p.HasMin || r.Min.Cmp(p.Min) >= 0) {
		p.Min, p.HasMin = toGrid(r.Min, base, step, 1, r.MinOpen), true
	}
	if r.HasMax && (!p.HasMax || r.Max.Cmp(p.Max) <= 0) {
		p.Max, p.HasMax = toGrid(r.Max, base, step, -1, r.MaxOpen), true
	}
	if p.Kind != drivers.KindNumber { // 15.0 is no xs:int
		for _, n := range []*drivers.Number{&p.Min, &p.Max} {
			if whole, err := n.Rescale(0); err == nil {
				*n = whole
			}
		}
	}
	return !(p.HasMin && p.HasMax && p.Min.Cmp(p.Max) > 0)
}

// toGrid moves n to the next point of a grid in a direction, beyond n itself
// where that is open. What cannot be calculated stays as it is.
func toGrid(n, base, step drivers.Number, dir int64, open bool) drivers.Number {
	if step.Mant == 0 {
		return n
	}
	exp := int(min(n.Exp, base.Exp, step.Exp))
	minus, err0 := base.Neg()
	d, err1 := n.Add(minus)
	if err := errors.Join(err0, err1); err != nil {
		return n
	}
	d, err0 = d.Rescale(exp)
	s, err1 := step.Rescale(exp)
	if err := errors.Join(err0, err1); err != nil || s.Mant <= 0 {
		return n
	}
	q, rest := d.Mant/s.Mant, d.Mant%s.Mant
	switch {
	case rest == 0 && open, rest > 0 && dir > 0, rest < 0 && dir < 0:
		q += dir
	}
	off, err0 := s.Mul(drivers.Num(q, 0))
	if err0 != nil {
		return n
	}
	out, err := base.Add(off)
	if err != nil {
		return n
	}
	return out
}
