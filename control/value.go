package control

import (
	"errors"
	"math"
	"strings"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
)

// value turns what somebody wants into a value of parameter p, or says what is
// wrong with it. Typed elements must have p's type, or one that widens to it
// without loss (D14); fields of a form are text and read as p's type (R42).
func (w *want) value(p *node.Parameter, loc *time.Location) (drivers.Value, error) {
	if w.missing {
		w = &want{name: w.name, kind: w.kind}
	}
	if w.kind != drivers.KindNone && !widens(w.kind, p.Kind) {
		return drivers.Value{}, node.Phrasef("is of type %s, not %s", typeName(p.Kind), typeName(w.kind))
	}
	v, err := parseText(p.Kind, w.text, loc)
	if err != nil {
		return v, err
	}
	if w.kind == drivers.KindInt && p.Kind != drivers.KindInt {
		if _, err := parseText(drivers.KindInt, w.text, loc); err != nil {
			return v, err // an int is an int also where it is widened
		}
	}
	if p.Kind == drivers.KindColor {
		v = opaque(v, p)
	}
	return v, p.Check(v)
}

// widens reports whether an element of kind from may set a parameter of kind
// to.
func widens(from, to drivers.Kind) bool {
	switch {
	case from == to, from == drivers.KindString && to == drivers.KindEnum:
		return true
	case from == drivers.KindInt:
		return to == drivers.KindLong || to == drivers.KindNumber
	}
	return false
}

// typeName is the name of the typed element for kind k.
func typeName(k drivers.Kind) string { return elementFor(k).Value().Local }

// opaque completes a colour without transparency for a parameter that has it
// (D29).
func opaque(v drivers.Value, p *node.Parameter) drivers.Value {
	if s, _ := v.Text(); p.Alpha && len(s) == 6 {
		return drivers.Text(drivers.KindColor, s+"FF")
	}
	return v
}

// parseText reads the lexical form of kind k (XML Schema part 2).
func parseText(k drivers.Kind, s string, loc *time.Location) (drivers.Value, error) {
	switch k {
	case drivers.KindString:
		return drivers.String(s), nil
	case drivers.KindEnum:
		return drivers.Enum(s), nil
	}
	s = strings.Trim(s, " \t\r\n")
	v := exi.Str(s)
	switch k {
	case drivers.KindBool:
		b, ok := v.Bool()
		return drivers.Bool(b), lexical(ok, "must be true or false")
	case drivers.KindInt:
		i, ok := v.Int()
		return drivers.Int(int32(i)), lexical(ok && i >= math.MinInt32 && i <= math.MaxInt32, "must be a whole number of 32 bits")
	case drivers.KindLong:
		i, ok := v.Int()
		return drivers.Long(i), lexical(ok, "must be a whole number of 64 bits")
	case drivers.KindNumber:
		// INF and NaN are no numbers one can set (D21).
		m, e, ok := v.Dec()
		return drivers.Decimal(drivers.Num(m, e)), lexical(ok && e >= -18 && e <= 18, "must be a decimal number of at most 18 digits")
	case drivers.KindTime:
		t, _, ok := v.Time(loc)
		return drivers.Time(t), lexical(ok, "must be a date and time")
	case drivers.KindDate:
		_, ok := exi.ParseDate(s)
		return drivers.Text(k, s), lexical(ok, "must be a date")
	case drivers.KindClock:
		_, ok := exi.ParseTime(s)
		return drivers.Text(k, s), lexical(ok, "must be a time of day")
	case drivers.KindDuration:
		return drivers.Text(k, s), lexical(isDuration(s), "must be a duration such as PT30S")
	case drivers.KindColor:
		return drivers.Text(k, s), nil // Parameter.Check looks at it
	}
	return drivers.Value{}, errors.New("cannot be set")
}

func lexical(ok bool, fault string) error {
	if ok {
		return nil
	}
	return errors.New(fault)
}

// isDuration reports whether s is an xs:duration.
func isDuration(s string) bool {
	s = strings.TrimPrefix(s, "-")
	if !strings.HasPrefix(s, "P") {
		return false
	}
	date, clock, timed := strings.Cut(s[1:], "T")
	n, ok := designators(date, "YMD", false)
	m, ok2 := designators(clock, "HMS", true)
	return ok && ok2 && n+m > 0 && timed == (m > 0)
}

// designators counts the parts of s: digits followed by one of letters, in
// their order; the last letter may follow a fraction.
func designators(s, letters string, fraction bool) (n int, ok bool) {
	for s != "" {
		i := strings.IndexAny(s, letters)
		if i <= 0 {
			return n, false
		}
		num, letter := s[:i], s[i]
		at := strings.IndexByte(letters, letter)
		if fraction && at == len(letters)-1 {
			if whole, frac, has := strings.Cut(num, "."); has {
				if frac == "" || whole == "" {
					return n, false
				}
				num = whole + frac
			}
		}
		if strings.Trim(num, "0123456789") != "" {
			return n, false
		}
		s, letters = s[i+1:], letters[at+1:]
		if n++; letters == "" && s != "" {
			return n, false
		}
	}
	return n, true
}

// lexicalForm is the text of v as XML Schema writes it.
func lexicalForm(v drivers.Value) string {
	if t, ok := v.Time(); ok {
		return exi.TimeValue(t, -1).String()
	}
	if n, ok := v.Number(); ok && v.Kind() == drivers.KindNumber {
		return exi.FloatValue(n.Mant, int(n.Exp)).String()
	}
	return v.String()
}

// same compares by value: 21.5 equals 21.50, and an integer the same decimal.
func same(a, b drivers.Value) bool {
	x, okX := a.Number()
	y, okY := b.Number()
	if okX && okY {
		return x.Cmp(y) == 0
	}
	s, okS := a.Text()
	t, okT := b.Text()
	if okS && okT {
		return s == t
	}
	if p, ok := a.Time(); ok {
		q, ok := b.Time()
		return ok && p.Equal(q)
	}
	return a == b
}
