package xmltext

import (
	"bufio"
	"errors"
	"io"

	"postern/exi"
)

// Options say what a Reader reports besides elements, attributes and text.
// What is left out is checked all the same, and text on both sides of it is
// joined.
type Options struct {
	Comments bool // CM events
	PIs      bool // PI events
	// DTD asks for the DT event, and for ER events in place of the text of
	// declared entities. Without it, entities of the internal subset are
	// replaced by their text and its attribute defaults are applied either
	// way. References to external entities are never followed: they are always
	// reported as ER.
	DTD bool
	// Prefixes asks for prefixes and NS events.
	Prefixes bool
	// Fragment reads any number of root elements, with nothing but white
	// space, comments and instructions between them.
	Fragment bool

	Limits Limits
}

// Reader reads a whole XML document as events (it is an exi.Reader). Values
// are lexical and valid until the following call of Next. Not safe for
// concurrent use.
type Reader struct {
	s     scanner
	opt   Options
	r     *bufio.Reader
	arena exi.Doc
	next  int // of s.q
	state docState
	err   error
}

type docState uint8

const (
	atStart docState = iota
	inProlog
	inContent
	inEpilog
	atEnd
)

// NewReader returns a Reader of the document in r. It reads ahead.
func NewReader(r io.Reader, o Options) *Reader {
	lim := o.Limits
	if lim.Octets == 0 {
		lim.Octets = 64 << 20
	}
	if lim.Depth == 0 {
		lim.Depth = 1000
	}
	if lim.Attributes == 0 {
		lim.Attributes = 1000
	}
	if lim.NameLen == 0 {
		lim.NameLen = 4096
	}
	lim.KeepPrefixes = o.Prefixes
	x := &Reader{opt: o, r: bufio.NewReaderSize(r, 64<<10)}
	x.s = scanner{lim: lim.withDefaults(), docs: true, ents: &entities{keep: o.DTD}}
	return x
}

// Next returns the following event: SD first, ED last, then io.EOF. Faults of
// the document are of type *Error.
func (x *Reader) Next(e *exi.Event) error {
	for x.next == len(x.s.q) {
		if x.err != nil {
			return x.err
		}
		x.next = 0
		clear(x.s.q)
		x.s.q = x.s.q[:0]
		x.arena.Reset()
		x.s.begin(x.r, &x.arena)
		x.err = x.step()
		x.s.end()
	}
	*e = x.s.q[x.next]
	x.next++
	return nil
}

// Offset is the number of octets read so far.
func (x *Reader) Offset() int64 { return x.s.base }

// step reads one piece of the document.
func (x *Reader) step() error {
	switch x.state {
	case atStart:
		return x.start()
	case inContent:
		return x.content()
	case atEnd:
		return io.EOF
	}
	return x.misc()
}

func (x *Reader) emit(e exi.Event) { x.s.q = append(x.s.q, e) }

// start reads a byte order mark and an XML declaration.
func (x *Reader) start() error {
	s := &x.s
	x.emit(exi.Event{Kind: exi.SD})
	x.state = inProlog
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case 0xef:
		if err := s.expect("\xef\xbb\xbf", errUTF8); err != nil {
			return err
		}
	case 0xfe, 0xff, 0:
		return s.fail(CondEncoding, errors.New("the document is not in UTF-8"))
	}
	for len(s.in)-s.pos < 6 {
		if s.more(len(s.in)-s.pos) != nil {
			break
		}
	}
	if n := len(s.in) - s.pos; n < 6 || string(s.in[s.pos:s.pos+5]) != "<?xml" || classes[s.in[s.pos+5]]&clName != 0 {
		return nil
	}
	s.pos += 2
	return s.xmlDecl(false)
}

// misc reads one item before or behind the root element.
func (x *Reader) misc() error {
	s := &x.s
	for s.pos < len(s.in) && classes[s.in[s.pos]]&clSpace != 0 {
		s.pos++
	}
	if s.pos == len(s.in) {
		err := s.more(0)
		if err == nil {
			return nil // once more, with a new window
		}
		if (x.state == inEpilog || x.opt.Fragment) && errors.Is(err, io.EOF) {
			x.emit(exi.Event{Kind: exi.ED})
			x.state = atEnd
			return nil
		}
		return inside(err)
	}
	if err := s.expect("<", errText); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch {
	case c == '?':
		s.pos++
		return x.instruction()
	case c == '!':
		s.pos++
		return x.declaration()
	case x.state == inEpilog && !x.opt.Fragment:
		return s.notWell(errors.New("a second root element"))
	}
	x.state = inContent
	return x.opened(s.startTag())
}

// opened sees to an empty root element.
func (x *Reader) opened(err error) error {
	if err == nil && len(x.s.open) == 0 {
		x.state = inEpilog
	}
	return err
}

// declaration reads a comment or document type behind "<!".
func (x *Reader) declaration() error {
	s := &x.s
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == '-' {
		return x.comment()
	}
	if x.state != inProlog || s.ents.seen {
		return s.notWell(errMarkup)
	}
	if err := s.expect("DOCTYPE", errMarkup); err != nil {
		return err
	}
	return s.doctype()
}

// content reads text up to markup, and the markup.
func (x *Reader) content() error {
	s := &x.s
	if err := s.chars(); err != nil {
		return err
	}
	s.pos++ // '<'
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '/':
		s.pos++
		if err := s.flush(); err != nil {
			return err
		}
		if s.unbalanced() {
			return s.notWell(errUnbalanced)
		}
		return x.opened(s.endTag())
	case '?':
		s.pos++
		return x.instruction()
	case '!':
		s.pos++
		if c, err = s.peek(); err != nil {
			return err
		}
		if c == '-' {
			return x.comment()
		}
		if err := s.expect("[CDATA[", errMarkup); err != nil {
			return err
		}
		return s.cdata()
	}
	if err := s.flush(); err != nil {
		return err
	}
	return x.opened(s.startTag())
}

// comment reads a comment behind "<!".
func (x *Reader) comment() error {
	s := &x.s
	if x.opt.Comments {
		if err := s.flush(); err != nil {
			return err
		}
	}
	text, err := s.commentText()
	if err != nil || !x.opt.Comments {
		return err
	}
	x.emit(exi.Event{Kind: exi.CM, Value: x.arena.Borrow(text)})
	return nil
}

// instruction reads a processing instruction behind "<?".
func (x *Reader) instruction() error {
	s := &x.s
	if x.opt.PIs {
		if err := s.flush(); err != nil {
			return err
		}
	}
	target, text, err := s.instructionText()
	if err != nil || !x.opt.PIs {
		return err
	}
	x.emit(exi.Event{Kind: exi.PI, Name: exi.N("", target), Value: x.arena.Borrow(text)})
	return nil
}
