// Package formula evaluates expressions over the gateway's readings, in three
// values: a reading that is missing, failed or old makes the result unknown
// unless the rest decides it. Interlocks are formulas that must be true,
// computed fields are formulas with a value. Numbers stay decimal: 0.1 + 0.2
// is 0.3.
//
// A formula looks like
//
//	tank.level < 80 and not door.open
//	[boiler room/2].mode = 'auto' or boiler.temperature <= 65.5
//	meter.power > 0 ? round(heat.power / meter.power, 2) : 0
//
// with and, or, not, comparison (= or ==, != < <= > >=), arithmetic (+ - * /),
// a choice (condition ? this : that), numbers, texts in single quotes, true
// and false, and the functions abs, ceil, dew_point, floor, max, mean, min,
// round, sqrt and sum. A reading is node.field; names with other characters
// than letters, digits, _ and - stand in brackets. Since names may hold a
// minus, subtraction needs a space before and after it.
package formula

import (
	"fmt"

	"postern/drivers"
	"postern/internal/node"
)

// Truth is the value of a condition.
type Truth int8

// The three values. False is less than Unknown, Unknown less than True: and is
// the minimum, or the maximum.
const (
	False   Truth = -1
	Unknown Truth = 0
	True    Truth = 1
)

// String returns the value in a word.
func (t Truth) String() string { return [...]string{"false", "unknown", "true"}[t+1] }

// Reading names a value that a formula looks at.
type Reading struct {
	Node  node.Ref
	Field string
}

// String writes the reading as formulas do.
func (r Reading) String() string { return quoteName(r.Node.ID) + "." + quoteName(r.Field) }

// Source gives the present value of a reading; ok is false where there is
// none that can be relied on.
type Source func(Reading) (v drivers.Value, ok bool)

// Formula is a compiled expression. It is immutable and safe for concurrent
// use.
type Formula struct {
	text string
	root expr
	uses []Reading
}

// Parse compiles a formula. The error says where it is wrong.
func Parse(text string) (*Formula, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("formula: longer than %d octets", maxLength)
	}
	p := parser{text: text}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Formula{text: text, root: root, uses: p.uses}, nil
}

const (
	maxLength = 4096
	maxDepth  = 50
)

// String returns the text the formula was parsed from.
func (f *Formula) String() string { return f.text }

// Uses lists the readings in the formula, each once.
func (f *Formula) Uses() []Reading { return f.uses }

// Truth evaluates the formula as a condition. Where that is unknown, because
// names the first reading that made it so, if one did.
func (f *Formula) Truth(src Source) (t Truth, because Reading) {
	e := env{src: src}
	t = e.truth(f.root)
	if t == Unknown {
		because = e.missing
	}
	return t, because
}

// Value evaluates the formula. Where the value is not known, because names the
// first reading that made it so; without one it was the calculation: a division
// by zero, kinds that do not fit, or a result out of range.
func (f *Formula) Value(src Source) (v drivers.Value, ok bool, because Reading) {
	e := env{src: src}
	if v, ok = e.value(f.root); !ok {
		return drivers.Value{}, false, e.missing
	}
	return v, true, because
}

// Logical reports whether the formula has a truth for its value, whatever the
// readings are.
func (f *Formula) Logical() bool {
	switch f.root.op {
	case opNot, opAnd, opOr, opEqual, opNotEqual, opLess, opLessEqual:
		return true
	}
	return f.root.op == opLiteral && f.root.value.Kind() == drivers.KindBool
}

// expr is a node of the syntax tree.
type expr struct {
	op    op
	args  []expr
	value drivers.Value // literal
	fn    *function
	ref   Reading
}

type op uint8

const (
	opLiteral op = iota
	opReading
	opNot
	opAnd
	opOr
	opEqual
	opNotEqual
	opLess
	opLessEqual
	opAdd
	opSub
	opMul
	opDiv
	opNeg
	opChoice
	opCall
)

// env is one evaluation.
type env struct {
	src     Source
	missing Reading
}

// truth evaluates an expression as a condition.
func (e *env) truth(x expr) Truth {
	switch x.op {
	case opNot:
		return -e.truth(x.args[0])
	case opAnd:
		a := e.truth(x.args[0])
		if a == False {
			return False
		}
		return min(a, e.truth(x.args[1]))
	case opOr:
		a := e.truth(x.args[0])
		if a == True {
			return True
		}
		return max(a, e.truth(x.args[1]))
	case opEqual, opNotEqual, opLess, opLessEqual:
		return e.compare(x)
	}
	v, ok := e.value(x)
	b, isBool := v.Bool()
	if !ok || !isBool {
		return Unknown
	}
	return truthOf(b)
}

func truthOf(b bool) Truth {
	if b {
		return True
	}
	return False
}

func (e *env) compare(x expr) Truth {
	a, okA := e.value(x.args[0])
	b, okB := e.value(x.args[1])
	if !okA || !okB {
		return Unknown
	}
	if x.op == opEqual || x.op == opNotEqual {
		same, ok := equal(a, b)
		switch {
		case !ok:
			return Unknown
		case x.op == opNotEqual:
			return truthOf(!same)
		}
		return truthOf(same)
	}
	n, okN := a.Number()
	m, okM := b.Number()
	if !okN || !okM {
		return Unknown
	}
	c := n.Cmp(m)
	if x.op == opLess {
		return truthOf(c < 0)
	}
	return truthOf(c <= 0)
}

// equal compares values of comparable kinds.
func equal(a, b drivers.Value) (same, ok bool) {
	n, okN := a.Number()
	m, okM := b.Number()
	if okN && okM {
		return n.Cmp(m) == 0, true
	}
	s, okS := a.Text()
	t, okT := b.Text()
	if okS && okT {
		return s == t, true
	}
	p, okP := a.Bool()
	q, okQ := b.Bool()
	return p == q, okP && okQ
}

// value evaluates an expression as a value.
func (e *env) value(x expr) (drivers.Value, bool) {
	switch x.op {
	case opLiteral:
		return x.value, true
	case opReading:
		v, ok := e.src(x.ref)
		if (!ok || v.Kind() == drivers.KindNone) && e.missing == (Reading{}) {
			e.missing = x.ref
		}
		return v, ok && v.Kind() != drivers.KindNone
	case opAdd, opSub, opMul, opDiv, opNeg, opCall:
		return e.arithmetic(x)
	case opChoice:
		switch e.truth(x.args[0]) {
		case True:
			return e.value(x.args[1])
		case False:
			return e.value(x.args[2])
		}
		return drivers.Value{}, false
	}
	t := e.truth(x)
	return drivers.Bool(t == True), t != Unknown
}

func (e *env) arithmetic(x expr) (drivers.Value, bool) {
	n := make([]drivers.Number, len(x.args))
	for i := range x.args {
		v, ok := e.value(x.args[i])
		if ok {
			n[i], ok = v.Number()
		}
		if !ok {
			return drivers.Value{}, false
		}
	}
	r, err := apply(x, n)
	return drivers.Decimal(r), err == nil // what does not fit, or x/0, is unknown
}

// ParseReading reads the name of one reading.
func ParseReading(text string) (Reading, error) {
	f, err := Parse(text)
	if err != nil {
		return Reading{}, err
	}
	if f.root.op != opReading {
		return Reading{}, fmt.Errorf("formula: %q is a calculation; one reading, node.field, is wanted", text)
	}
	return f.root.ref, nil
}
