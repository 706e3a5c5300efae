package formula

import (
	"fmt"
	"slices"
	"strings"

	"postern/drivers"
	"postern/internal/node"
)

// parser is a recursive descent over
//
//	choice = or [ "?" choice ":" choice ]
//	or    = and { "or" and }
//	and   = not { "and" not }
//	not   = "not" not | comparison
//	comparison = sum [ ( "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum ]
//	sum   = product { ( "+" | "-" ) product }
//	product = unary { ( "*" | "/" ) unary }
//	unary = "-" unary | number | text | "true" | "false" | reading | "(" choice ")"
//	      | function "(" choice { "," choice } ")"
type parser struct {
	text  string
	pos   int
	depth int
	tok   string // the present token; empty at the end
	at    int    // where it starts
	kind  tokenKind
	uses  []Reading
}

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokWord
	tokNumber
	tokText
	tokMark
	tokBracket
)

// syntaxError is a fault at an octet of the text, counted from 1.
func (p *parser) fault(format string, args ...any) error {
	return fmt.Errorf("formula, character %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

func (p *parser) parse() (expr, error) {
	if err := p.next(); err != nil {
		return expr{}, err
	}
	x, err := p.choice()
	if err == nil && p.kind != tokEnd {
		err = p.fault("%q was not expected here", p.tok)
	}
	return x, err
}

// next reads a token.
func (p *parser) next() error {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	p.at = p.pos
	if p.pos == len(p.text) {
		p.kind, p.tok = tokEnd, ""
		return nil
	}
	rest := p.text[p.pos:]
	switch c := rest[0]; {
	case isDigit(c):
		p.take(tokNumber, span(rest, func(c byte) bool { return isDigit(c) || c == '.' }))
	case isLetter(c):
		p.take(tokWord, span(rest, isName))
	case c == '\'':
		return p.delimited(tokText, '\'', "text")
	case c == '[':
		return p.delimited(tokBracket, ']', "name")
	default:
		n := 1
		if len(rest) > 1 && rest[1] == '=' && strings.IndexByte("!<>=", c) >= 0 {
			n = 2
		}
		p.take(tokMark, n)
		if !slices.Contains(marks, p.tok) {
			return p.fault("%q is nothing a formula can hold", p.tok)
		}
	}
	return nil
}

var marks = []string{"=", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "(", ")", ".", ",", "?", ":"}

func (p *parser) take(k tokenKind, n int) {
	p.kind, p.tok = k, p.text[p.pos:p.pos+n]
	p.pos += n
}

// delimited reads up to a closing character; the token is what is inside.
func (p *parser) delimited(k tokenKind, end byte, what string) error {
	n := strings.IndexByte(p.text[p.pos+1:], end)
	if n < 0 {
		return p.fault("the %s is not closed by %c", what, end)
	}
	p.kind, p.tok = k, p.text[p.pos+1:p.pos+1+n]
	p.pos += n + 2
	return nil
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80 }
func isName(c byte) bool   { return isLetter(c) || isDigit(c) || c == '-' }

func quoteName(s string) string {
	if s != "" && isLetter(s[0]) && span(s, isName) == len(s) && !slices.Contains(words, s) {
		return s
	}
	return "[" + s + "]"
}

var words = []string{"and", "or", "not", "true", "false"}

func (p *parser) isMark(s string) bool { return p.kind == tokMark && p.tok == s }
func (p *parser) isWord(s string) bool { return p.kind == tokWord && p.tok == s }

// deeper bounds the recursion.
func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return p.fault("nested too deeply")
	}
	return nil
}

// choice reads condition ? this : that.
func (p *parser) choice() (expr, error) {
	if err := p.deeper(); err != nil {
		return expr{}, err
	}
	defer func() { p.depth-- }()
	x, err := p.or()
	if err != nil || !p.isMark("?") {
		return x, err
	}
	args := []expr{x}
	for _, after := range []string{"?", ":"} {
		if !p.isMark(after) {
			return x, p.fault("a choice is written condition ? this : that; the %s is missing", after)
		}
		if err := p.next(); err != nil {
			return x, err
		}
		y, err := p.choice()
		if err != nil {
			return x, err
		}
		args = append(args, y)
	}
	return expr{op: opChoice, args: args}, nil
}

func (p *parser) or() (expr, error) {
	return p.chain(p.and, func() (op, bool) { return opOr, p.isWord("or") })
}

func (p *parser) and() (expr, error) {
	return p.chain(p.not, func() (op, bool) { return opAnd, p.isWord("and") })
}

// chain reads operands of a left-associative operator.
func (p *parser) chain(operand func() (expr, error), is func() (op, bool)) (expr, error) {
	x, err := operand()
	for n := 0; err == nil; n++ {
		o, ok := is()
		if !ok {
			break
		}
		if n > maxDepth { // the tree leans to the left, and is walked recursively
			return x, p.fault("too many operands; use brackets")
		}
		if err = p.next(); err != nil {
			break
		}
		var y expr
		if y, err = operand(); err == nil {
			x = expr{op: o, args: []expr{x, y}}
		}
	}
	return x, err
}

func (p *parser) not() (expr, error) {
	if !p.isWord("not") {
		return p.comparison()
	}
	if err := p.deeper(); err != nil {
		return expr{}, err
	}
	defer func() { p.depth-- }()
	if err := p.next(); err != nil {
		return expr{}, err
	}
	x, err := p.not()
	return expr{op: opNot, args: []expr{x}}, err
}

func (p *parser) comparison() (expr, error) {
	x, err := p.sum()
	if err != nil || p.kind != tokMark {
		return x, err
	}
	o, swap := opEqual, false
	switch p.tok {
	case "=", "==":
	case "!=":
		o = opNotEqual
	case "<":
		o = opLess
	case "<=":
		o = opLessEqual
	case ">":
		o, swap = opLess, true
	case ">=":
		o, swap = opLessEqual, true
	default:
		return x, nil
	}
	if err := p.next(); err != nil {
		return x, err
	}
	y, err := p.sum()
	if swap {
		x, y = y, x
	}
	return expr{op: o, args: []expr{x, y}}, err
}

func (p *parser) sum() (expr, error) {
	return p.chain(p.product, func() (op, bool) {
		if p.isMark("+") {
			return opAdd, true
		}
		return opSub, p.isMark("-")
	})
}

func (p *parser) product() (expr, error) {
	return p.chain(p.unary, func() (op, bool) {
		if p.isMark("*") {
			return opMul, true
		}
		return opDiv, p.isMark("/")
	})
}

func (p *parser) unary() (expr, error) {
	if err := p.deeper(); err != nil {
		return expr{}, err
	}
	defer func() { p.depth-- }()
	switch {
	case p.kind == tokNumber:
		n, err := drivers.ParseNumber(p.tok)
		if err != nil {
			return expr{}, p.fault("%v", err)
		}
		return expr{value: drivers.Decimal(n)}, p.next()
	case p.kind == tokText:
		return expr{value: drivers.String(p.tok)}, p.next()
	case p.isWord("true"), p.isWord("false"):
		return expr{value: drivers.Bool(p.tok == "true")}, p.next()
	case p.isMark("-"):
		if err := p.next(); err != nil {
			return expr{}, err
		}
		x, err := p.unary()
		return expr{op: opNeg, args: []expr{x}}, err
	case p.isMark("("):
		if err := p.next(); err != nil {
			return expr{}, err
		}
		x, err := p.choice()
		if err == nil && !p.isMark(")") {
			err = p.fault("a closing parenthesis is missing")
		}
		if err == nil {
			err = p.next()
		}
		return x, err
	}
	if fn := functionOf(p.tok); p.kind == tokWord && fn != nil && strings.HasPrefix(strings.TrimLeft(p.text[p.pos:], " "), "(") {
		return p.call(fn)
	}
	return p.reading()
}

// call reads the operands of a function.
func (p *parser) call(fn *function) (expr, error) {
	x := expr{op: opCall, fn: fn}
	err := p.next()
	for after := "("; err == nil && (after == "(" || p.isMark(",")); after = "," {
		if err = p.next(); err != nil {
			break
		}
		var y expr
		if y, err = p.choice(); err == nil {
			x.args = append(x.args, y)
		}
		if err == nil && len(x.args) > maxOperands {
			err = p.fault("%s has more than %d operands", fn.name, maxOperands)
		}
	}
	switch {
	case err != nil:
		return x, err
	case !p.isMark(")"):
		return x, p.fault("the parenthesis of %s is not closed", fn.name)
	case len(x.args) < fn.least || len(x.args) > fn.most:
		return x, p.fault("%s takes %s, not %d", fn.name, fn.operands(), len(x.args))
	}
	return x, p.next()
}

// reading reads node.field.
func (p *parser) reading() (expr, error) {
	id, err := p.name("the name of a node, a number, a text or a parenthesis")
	if err == nil && !p.isMark(".") {
		err = p.fault("a reading is written node.field; the dot behind %q is missing", id)
	}
	if err == nil {
		err = p.next()
	}
	if err != nil {
		return expr{}, err
	}
	field, err := p.name("the name of a field")
	r := Reading{Node: node.Ref{ID: id}, Field: field}
	if err == nil && !slices.Contains(p.uses, r) {
		p.uses = append(p.uses, r)
	}
	return expr{op: opReading, ref: r}, err
}

func (p *parser) name(what string) (string, error) {
	s := p.tok
	if p.kind != tokBracket && (p.kind != tokWord || slices.Contains(words, s)) || s == "" {
		return "", p.fault("%s was expected", what)
	}
	return s, p.next()
}
