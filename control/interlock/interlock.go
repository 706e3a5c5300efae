// Package interlock evaluates conditions over the gateway's readings, in three
// values: a reading that is missing, failed or old makes a condition unknown
// unless the rest decides it. Unknown never allows anything.
//
// A condition looks like
//
//	tank.level < 80 and not door.open
//	[boiler room/2].mode = 'auto' or boiler.temperature <= 65.5
//
// with and, or, not, comparison (= != < <= > >=), arithmetic (+ - * /),
// numbers, texts in single quotes, true and false. A reading is node.field;
// names with other characters than letters, digits, _ and - stand in brackets.
// Since names may hold a minus, subtraction needs a space before and after it.
package interlock

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

// Reading names a value that a condition looks at.
type Reading struct {
	Node  node.Ref
	Field string
}

// String writes the reading as conditions do.
func (r Reading) String() string { return quoteName(r.Node.ID) + "." + quoteName(r.Field) }

// Source gives the present value of a reading; ok is false where there is
// none that can be relied on.
type Source func(Reading) (v drivers.Value, ok bool)

// Condition is a compiled condition. It is immutable and safe for concurrent
// use.
type Condition struct {
	text string
	root expr
	uses []Reading
}

// Parse compiles a condition. The error says where it is wrong.
func Parse(text string) (*Condition, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("condition: longer than %d octets", maxLength)
	}
	p := parser{text: text}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Condition{text: text, root: root, uses: p.uses}, nil
}

const (
	maxLength = 4096
	maxDepth  = 50
)

// String returns the text the condition was parsed from.
func (c *Condition) String() string { return c.text }

// Uses lists the readings in the condition, each once.
func (c *Condition) Uses() []Reading { return c.uses }

// Eval evaluates the condition. Where it is not True, because names the first
// reading that made it unknown, if one did.
func (c *Condition) Eval(src Source) (t Truth, because Reading) {
	e := env{src: src}
	t = e.truth(c.root)
	if t == Unknown {
		because = e.missing
	}
	return t, because
}

// expr is a node of the syntax tree.
type expr struct {
	op    op
	args  []expr
	value drivers.Value // literal
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
	case opAdd, opSub, opMul, opDiv, opNeg:
		return e.arithmetic(x)
	}
	t := e.truth(x)
	return drivers.Bool(t == True), t != Unknown
}

// quotient is how many digits a division keeps behind the point.
const quotient = 9

func (e *env) arithmetic(x expr) (drivers.Value, bool) {
	var n [2]drivers.Number
	for i := range x.args {
		v, ok := e.value(x.args[i])
		if ok {
			n[i], ok = v.Number()
		}
		if !ok {
			return drivers.Value{}, false
		}
	}
	r, err := n[0], error(nil)
	switch x.op {
	case opNeg:
		r, err = n[0].Neg()
	case opAdd:
		r, err = n[0].Add(n[1])
	case opSub:
		if r, err = n[1].Neg(); err == nil {
			r, err = n[0].Add(r)
		}
	case opMul:
		r, err = n[0].Mul(n[1])
	case opDiv:
		r, _, err = n[0].Quo(n[1], -quotient)
	}
	return drivers.Decimal(r), err == nil // what does not fit, or x/0, is unknown
}
