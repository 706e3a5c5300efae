package xmltext

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"postern/exi"
)

// scanner reads markup from a bufio.Reader, looking straight into the
// Reader's buffer:
//
//	        in[0]        in[pos]             len(in)
//	          |  consumed   |   not yet        |
//	base -----'                                '---- the next refill starts here
//
// A token that continues behind the window is collected in spill or text.
// Octets behind the element that was asked for stay in the Reader.
type scanner struct {
	r    *bufio.Reader
	in   []byte
	pos  int
	base int64 // offset of in[0]
	from int64 // offset at which the octet limit starts to count
	lim  Limits
	docs bool // whole documents instead of streams

	spill []byte // a name across windows
	text  []byte // a value across windows or with references in it

	d *exi.Doc    // takes the events, or only their text when docs is set
	q []exi.Event // takes the events when docs is set

	tag    []byte // raw names of the attributes of the current tag
	attrs  []attr
	open   []frame
	raws   []byte    // raw names of the open elements
	scope  []binding // prefixes in scope, innermost last
	prefix []byte    // their texts
	def    nsRef     // default namespace in scope
	names  nameTable

	ents  *entities // documents only
	aside []byte    // a comment or instruction
}

// attr is an attribute of the tag being read. Its raw name is in tag.
type attr struct {
	off, end, colon int // colon is relative to off, 0 without a prefix
	name            exi.Name
	value           exi.Value
}

// frame is an open element. Its raw name is in raws.
type frame struct {
	raw    int // start of the raw name
	name   exi.Name
	scope  int // number of bindings outside of it
	prefix int // length of prefix outside of it
	def    nsRef
}

// binding is a declared prefix.
type binding struct {
	off, end int // in prefix
	ns       nsRef
}

func (s *scanner) begin(r *bufio.Reader, d *exi.Doc) {
	if s.inEntity() {
		return
	}
	s.r, s.d, s.pos = r, d, 0
	s.in, _ = r.Peek(r.Buffered())
	s.from = s.base
}

// end gives back what was not consumed.
func (s *scanner) end() {
	if s.inEntity() {
		return
	}
	// What is discarded is buffered, so this cannot fail.
	_, _ = s.r.Discard(s.pos)
	s.base += int64(s.pos)
	s.in, s.pos, s.r, s.d = nil, 0, nil, nil
}

// more replaces the window by the next one, keeping its last keep octets. It
// blocks until there is at least one octet more.
func (s *scanner) more(keep int) error {
	if s.inEntity() {
		return s.notWell(errUnbalanced)
	}
	n := len(s.in) - keep
	_, _ = s.r.Discard(n)
	s.base += int64(n)
	s.in, s.pos = nil, 0
	if s.base-s.from > s.lim.Octets {
		return s.fail(CondPolicy, errOctets)
	}
	_, err := s.r.Peek(keep + 1)
	s.in, _ = s.r.Peek(s.r.Buffered())
	return err
}

func (s *scanner) offset() int64 { return s.base + int64(s.pos) }

func (s *scanner) fail(cond string, err error) error {
	return &Error{Condition: cond, Offset: s.offset(), Err: err}
}

func (s *scanner) notWell(err error) error { return s.fail(CondNotWell, err) }

// peek returns the next octet without consuming it.
func (s *scanner) peek() (byte, error) {
	if s.pos == len(s.in) {
		if err := s.more(0); err != nil {
			return 0, inside(err)
		}
	}
	return s.in[s.pos], nil
}

func (s *scanner) next() (byte, error) {
	c, err := s.peek()
	s.pos++
	return c, err
}

// expect consumes the given text.
func (s *scanner) expect(text string, reason error) error {
	for i := 0; i < len(text); i++ {
		c, err := s.peek()
		if err != nil {
			return err
		}
		if c != text[i] {
			return s.notWell(reason)
		}
		s.pos++
	}
	return nil
}

// space consumes white space and reports whether there was any.
func (s *scanner) space() (found bool, err error) {
	for {
		for s.pos < len(s.in) {
			if classes[s.in[s.pos]]&clSpace == 0 {
				return found, nil
			}
			s.pos++
			found = true
		}
		if err := s.more(0); err != nil {
			return found, inside(err)
		}
	}
}

// inside turns the end of input within markup into an unexpected one.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// name reads a qualified name. raw is valid until the next octet is read;
// colon is the position of the colon, 0 without one.
func (s *scanner) name() (raw []byte, colon int, err error) {
	start, spilled, wide := s.pos, false, byte(0)
	for {
		for s.pos < len(s.in) && classes[s.in[s.pos]]&clName != 0 {
			wide |= s.in[s.pos]
			s.pos++
		}
		if s.pos < len(s.in) {
			break
		}
		if !spilled {
			s.spill, spilled = s.spill[:0], true
		}
		s.spill = append(s.spill, s.in[start:]...)
		if len(s.spill) > s.lim.NameLen {
			return nil, 0, s.fail(CondPolicy, errNameLen)
		}
		if err := s.more(0); err != nil {
			return nil, 0, inside(err)
		}
		start = 0
	}
	raw = s.in[start:s.pos]
	if spilled {
		s.spill = append(s.spill, raw...)
		raw = s.spill
	}
	switch {
	case len(raw) > s.lim.NameLen:
		return nil, 0, s.fail(CondPolicy, errNameLen)
	case len(raw) == 0 || classes[raw[0]]&clStart == 0:
		return nil, 0, s.notWell(errName)
	}
	if i := bytes.IndexByte(raw, ':'); i > 0 {
		colon = i
		if !validNCName(raw[i+1:]) {
			return nil, 0, s.notWell(errColon)
		}
	}
	if wide >= 0x80 {
		first := raw
		if colon > 0 {
			first = raw[:colon]
		}
		if !validNCName(first) {
			return nil, 0, s.notWell(errName)
		}
	}
	return raw, colon, nil
}

// value reads a quoted attribute value and normalises it (XML 1.0 §3.3.3).
// The result is valid until the next octet is read.
func (s *scanner) value() ([]byte, error) {
	quote, err := s.next()
	if err != nil {
		return nil, err
	}
	if quote != '"' && quote != '\'' {
		return nil, s.notWell(errValue)
	}
	s.text = s.text[:0]
	start := s.pos
	for {
		in, p := s.in, s.pos
		for p < len(in) && classes[in[p]]&clAttr == 0 {
			p++
		}
		s.pos = p
		if p == len(in) {
			s.text = append(s.text, in[start:]...)
			if err := s.more(0); err != nil {
				return nil, inside(err)
			}
			start = 0
			continue
		}
		switch c := in[p]; c {
		case quote:
			v := in[start:p]
			s.pos++
			if len(s.text) > 0 {
				s.text = append(s.text, v...)
				v = s.text
			}
			return v, nil
		case '"', '\'':
			s.pos++
		case '<':
			return nil, s.notWell(errLess)
		default:
			s.text = append(s.text, in[start:p]...)
			if err := s.special(c, true); err != nil {
				return nil, err
			}
			start = s.pos
		}
	}
}

// special takes what needs a closer look in a value or in text at in[pos] and
// appends what it stands for to s.text.
func (s *scanner) special(c byte, inAttr bool) error {
	switch {
	case c == '&':
		s.pos++
		return s.reference(inAttr)
	case c >= 0x80:
		return s.wide()
	case c == '\r':
		// XML 1.0 §2.11: CR LF and CR read as LF.
		s.pos++
		if n, err := s.peek(); err != nil {
			return err
		} else if n == '\n' {
			s.pos++
		}
		c = '\n'
	case c == '\n' || c == '\t':
		s.pos++
	default:
		return s.notWell(errChar)
	}
	if inAttr {
		c = ' '
	}
	s.text = append(s.text, c)
	return nil
}

// wide takes a run of characters beyond ASCII.
func (s *scanner) wide() error {
	for {
		start := s.pos
		for s.pos < len(s.in) && s.in[s.pos] >= 0x80 {
			r, n := utf8.DecodeRune(s.in[s.pos:])
			if r == utf8.RuneError && n == 1 {
				if utf8.FullRune(s.in[s.pos:]) {
					return s.notWell(errUTF8)
				}
				break // the rest of it is in the next window
			}
			if r >= 0xfffe && !isChar(r) {
				return s.notWell(errChar)
			}
			s.pos += n
		}
		s.text = append(s.text, s.in[start:s.pos]...)
		if s.pos < len(s.in) && (s.in[s.pos] < 0x80 || utf8.FullRune(s.in[s.pos:])) {
			return nil
		}
		if err := s.more(len(s.in) - s.pos); err != nil {
			return inside(err)
		}
	}
}

// reference takes what follows an ampersand.
func (s *scanner) reference(inAttr bool) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == '#' {
		s.pos++
		return s.charRef()
	}
	raw, colon, err := s.name()
	if err != nil {
		return err
	}
	if colon > 0 || len(raw) == 0 {
		return s.notWell(errRef)
	}
	var ch byte
	switch string(raw) {
	case "amp":
		ch = '&'
	case "lt":
		ch = '<'
	case "gt":
		ch = '>'
	case "quot":
		ch = '"'
	case "apos":
		ch = '\''
	default:
		if !s.docs {
			return s.fail(CondRestricted, errEntity)
		}
		return s.entity(string(raw), inAttr)
	}
	if err := s.expect(";", errRef); err != nil {
		return err
	}
	s.text = append(s.text, ch)
	return nil
}

// charRef takes what follows "&#" (XML 1.0 §4.1).
func (s *scanner) charRef() error {
	base, digits, r := rune(10), 0, rune(0)
	for {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case c == ';' && digits > 0:
			if !isChar(r) {
				return s.notWell(errChar)
			}
			s.text = utf8.AppendRune(s.text, r)
			return nil
		case c == 'x' && base == 10 && digits == 0:
			base = 16
			continue
		}
		v := hexDigit(c)
		if v < 0 || v >= base {
			return s.notWell(errRef)
		}
		digits++
		if r = r*base + v; r > utf8.MaxRune {
			return s.notWell(errChar)
		}
	}
}

func hexDigit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
