package xsd

import (
	"fmt"
	"slices"
	"sort"
	"unicode/utf8"
)

// charset is a set of characters as sorted, disjoint, non-adjacent ranges.
type charset []span

type span struct{ lo, hi rune }

const (
	maxRune      = 0x10FFFF
	maxBMP       = 0xFFFF
	smallSet     = 256 // a restricted character set has fewer (EXI 1.0 §7.1.10.1)
	maxPattern   = 1 << 16
	maxPatternUp = 200 // nested parentheses or subtractions
)

func (s charset) union(t charset) charset {
	all := append(slices.Clone(s), t...)
	sort.Slice(all, func(i, j int) bool { return all[i].lo < all[j].lo })
	var out charset
	for _, r := range all {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
		} else {
			out = append(out, r)
		}
	}
	return out
}

func (s charset) negate() charset {
	var out charset
	next := rune(0)
	for _, r := range s {
		if r.lo > next {
			out = append(out, span{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= maxRune {
		out = append(out, span{next, maxRune})
	}
	return out
}

func (s charset) minus(t charset) charset {
	return s.negate().union(t).negate()
}

// small lists the characters if the set can be a restricted character set:
// fewer than 256, all of the basic plane.
func (s charset) small() ([]rune, bool) {
	n := 0
	for _, r := range s {
		if n += int(r.hi-r.lo) + 1; n >= smallSet || r.hi > maxBMP {
			return nil, false
		}
	}
	runes := make([]rune, 0, n)
	for _, r := range s {
		for c := r.lo; c <= r.hi; c++ {
			runes = append(runes, c)
		}
	}
	return runes, true
}

// patternChars derives the set of characters of a regular expression of XML
// Schema (EXI 1.0 appendix E). ok is false for expressions with an escape that
// stands for a class of characters other than white space.
func patternChars(pattern string) (set charset, ok bool, err error) {
	p := patternReader{text: []rune(pattern), ok: true}
	switch {
	case !utf8.ValidString(pattern):
		return nil, false, fmt.Errorf("pattern is not valid Unicode")
	case len(p.text) > maxPattern:
		return nil, false, fmt.Errorf("pattern has more than %d characters", maxPattern)
	}
	p.regExp(0)
	if p.err == nil && p.pos < len(p.text) {
		p.fail("unmatched )")
	}
	return charset(nil).union(p.set), p.ok, p.err
}

// patternReader walks over a regular expression and gathers characters.
type patternReader struct {
	text []rune
	pos  int
	set  charset // not normalised
	ok   bool
	err  error
}

func (p *patternReader) fail(msg string) {
	if p.err == nil {
		p.err = fmt.Errorf("pattern: %s at character %d", msg, p.pos+1)
	}
	p.pos = len(p.text)
}

func (p *patternReader) peek() rune {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return -1
}

// regExp reads branches up to a closing parenthesis or the end.
func (p *patternReader) regExp(depth int) {
	if depth > maxPatternUp {
		p.fail("nested too deeply")
		return
	}
	atom := false // something a quantifier can follow
	for p.pos < len(p.text) {
		r := p.text[p.pos]
		if r == ')' {
			if depth == 0 {
				p.fail("unmatched )")
			}
			return
		}
		p.pos++
		switch r {
		case '|':
			atom = false
			continue
		case '(':
			p.regExp(depth + 1)
			if p.peek() != ')' {
				p.fail("missing )")
				return
			}
			p.pos++
		case '?', '*', '+', '{':
			if !atom {
				p.fail("quantifier without an atom")
				return
			}
			if r == '{' {
				p.quantity()
			}
			atom = false
			continue
		case '[':
			p.set = append(p.set, p.class(depth+1)...)
		case '\\':
			p.set = append(p.set, p.escape()...)
		case '.':
			p.ok = false
		case ']', '}':
			p.fail("unmatched " + string(r))
			return
		default:
			p.set = append(p.set, span{r, r})
		}
		atom = true
	}
}

// quantity skips {n}, {n,} or {n,m}.
func (p *patternReader) quantity() {
	start := p.pos
	for p.pos < len(p.text) {
		r := p.text[p.pos]
		p.pos++
		switch {
		case r == '}' && p.pos-1 > start:
			return
		case r == ',' && p.pos-1 > start, r >= '0' && r <= '9':
		default:
			p.fail("bad quantity")
			return
		}
	}
	p.fail("missing }")
}

// class reads a character class expression behind its opening bracket.
func (p *patternReader) class(depth int) charset {
	if depth > maxPatternUp {
		p.fail("nested too deeply")
		return nil
	}
	negated := p.peek() == '^'
	if negated {
		p.pos++
	}
	var set charset
	for first := true; p.pos < len(p.text); first = false {
		r := p.text[p.pos]
		p.pos++
		var lo charset
		switch {
		case r == ']' && !first:
			return finishClass(set, negated)
		case r == '-' && p.peek() == '[' && !first:
			p.pos++
			minus := p.class(depth + 1)
			if p.peek() != ']' {
				p.fail("missing ] behind a subtraction")
				return nil
			}
			p.pos++
			return finishClass(set, negated).minus(charset(nil).union(minus))
		case r == '[', r == ']':
			p.fail("unescaped " + string(r))
			return nil
		case r == '\\':
			lo = p.escape()
		default:
			lo = charset{{r, r}}
		}
		set = append(set, p.rangeFrom(lo)...)
	}
	p.fail("missing ]")
	return nil
}

func finishClass(set charset, negated bool) charset {
	set = charset(nil).union(set)
	if negated {
		return set.negate()
	}
	return set
}

// rangeFrom completes a range that begins with the single character in lo, or
// returns lo.
func (p *patternReader) rangeFrom(lo charset) charset {
	if p.peek() != '-' || len(lo) != 1 || lo[0].lo != lo[0].hi || p.pos+1 >= len(p.text) {
		return lo
	}
	if next := p.text[p.pos+1]; next == ']' || next == '[' {
		return lo
	}
	p.pos++
	r := p.text[p.pos]
	p.pos++
	hi := charset{{r, r}}
	if r == '\\' {
		hi = p.escape()
	}
	if len(hi) != 1 || hi[0].lo != hi[0].hi || hi[0].lo < lo[0].lo {
		p.fail("bad range")
		return nil
	}
	return charset{{lo[0].lo, hi[0].lo}}
}

// escape reads what follows a backslash.
func (p *patternReader) escape() charset {
	r := p.peek()
	p.pos++
	switch r {
	case 'n':
		return charset{{'\n', '\n'}}
	case 'r':
		return charset{{'\r', '\r'}}
	case 't':
		return charset{{'\t', '\t'}}
	case '\\', '|', '.', '?', '*', '+', '(', ')', '{', '}', '-', '[', ']', '^', '$', ',', '/', '"', '\'', ':', '#', '@', '!', '%', '&', '=', '~', '_', ';', '<', '>', ' ':
		return charset{{r, r}}
	case 's':
		return charset{{'\t', '\n'}, {'\r', '\r'}, {' ', ' '}}
	case 'S', 'i', 'I', 'c', 'C', 'd', 'D', 'w', 'W':
		p.ok = false
		return nil
	case 'p', 'P':
		p.ok = false
		if p.peek() == '{' {
			for p.pos < len(p.text) && p.text[p.pos] != '}' {
				p.pos++
			}
			if p.peek() == '}' {
				p.pos++
				return nil
			}
		}
	}
	p.pos--
	p.fail("unknown escape")
	return nil
}
