package xmltext

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"postern/exi"
)

// StreamReader reads the XML of an XMPP stream element by element
// (RFC 6120 §11). It keeps the namespaces that the stream's root declares, so
// one StreamReader belongs to one direction of one stream; ReadOpen starts it
// anew. It reads no octet behind the element that was asked for. Not safe for
// concurrent use.
type StreamReader struct{ s scanner }

// NewStreamReader returns a reader with the given limits.
func NewStreamReader(lim Limits) *StreamReader {
	return &StreamReader{s: scanner{lim: lim.withDefaults()}}
}

// SetLimits changes the limits for what is read from now on: a server accepts
// longer elements once it knows the client.
func (x *StreamReader) SetLimits(lim Limits) { x.s.lim = lim.withDefaults() }

// Offset is the number of octets consumed since the stream's start.
func (x *StreamReader) Offset() int64 { return x.s.base }

// DefaultSpace is the default namespace that the root declared: the content
// namespace of the stream.
func (x *StreamReader) DefaultSpace() string { return x.s.def.space }

// ReadOpen resets d and reads an optional XML declaration and the start tag of
// the root into it, as one closed element with its attributes and with its
// namespace declarations as NS events.
func (x *StreamReader) ReadOpen(r *bufio.Reader, d *exi.Doc) error {
	d.Reset()
	s := &x.s
	s.base = 0
	s.open, s.raws, s.scope, s.prefix = s.open[:0], s.raws[:0], s.scope[:0], s.prefix[:0]
	s.def, s.text = nsRef{}, s.text[:0]
	s.begin(r, d)
	defer s.end()
	return s.root()
}

func (s *scanner) root() error {
	if err := s.declaration(); err != nil {
		return err
	}
	keep := s.lim.KeepPrefixes
	s.lim.KeepPrefixes = true
	err := s.startTag()
	s.lim.KeepPrefixes = keep
	if err != nil {
		return err
	}
	if s.d.Depth() == 0 {
		return s.fail(CondInvalid, errors.New("the stream's root has no content"))
	}
	s.d.End()
	return nil
}

// declaration reads up to the '<' of the root's start tag.
func (s *scanner) declaration() error {
	c, err := s.first()
	if err != nil {
		return err
	}
	switch c {
	case 0xef:
		if err := s.expect("\xef\xbb\xbf", errUTF8); err != nil {
			return err
		}
	case 0xfe, 0xff, 0:
		return s.fail(CondEncoding, errors.New("the stream is not in UTF-8"))
	}
	found, err := s.space()
	if err != nil {
		return err
	}
	if err := s.expect("<", errText); err != nil {
		return err
	}
	if c, err = s.peek(); err != nil || c != '?' {
		if c == '!' {
			return s.markup()
		}
		return err
	}
	s.pos++
	if err := s.xmlDecl(found); err != nil {
		return err
	}
	if _, err := s.space(); err != nil {
		return err
	}
	if err := s.expect("<", errText); err != nil {
		return err
	}
	if c, err = s.peek(); err != nil {
		return err
	}
	switch c {
	case '!':
		return s.markup()
	case '?':
		return s.fail(CondRestricted, errPI)
	}
	return nil
}

// first returns the first octet of the input; the end of input is a clean one.
func (s *scanner) first() (byte, error) {
	if s.pos == len(s.in) {
		if err := s.more(0); err != nil {
			return 0, err
		}
	}
	return s.in[s.pos], nil
}

// xmlDecl reads an XML declaration behind "<?" (XML 1.0 §2.8).
func (s *scanner) xmlDecl(late bool) error {
	raw, _, err := s.name()
	if err != nil {
		return err
	}
	if string(raw) != "xml" {
		return s.fail(CondRestricted, errPI)
	}
	if late {
		return s.notWell(errDecl)
	}
	s.attrs, s.tag = s.attrs[:0], s.tag[:0]
	for {
		gap, err := s.space()
		if err != nil {
			return err
		}
		if s.in[s.pos] == '?' {
			s.pos++
			if err := s.expect(">", errDecl); err != nil {
				return err
			}
			return s.checkDecl()
		}
		if !gap || len(s.attrs) >= 3 {
			return s.notWell(errDecl)
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
}

// checkDecl judges the pseudo-attributes of the XML declaration.
func (s *scanner) checkDecl() error {
	last := 0
	for i := range s.attrs {
		a := &s.attrs[i]
		v := a.value.View()
		n := 0
		switch string(s.tag[a.off:a.end]) {
		case "version":
			n = 1
			if v != "1.0" {
				return s.fail(CondUnsupported, errors.New("XML of a version other than 1.0"))
			}
		case "encoding":
			n = 2
			if !strings.EqualFold(v, "UTF-8") && (!s.docs || !strings.EqualFold(v, "US-ASCII")) {
				return s.fail(CondEncoding, errors.New("the XML declaration names another encoding than UTF-8"))
			}
		case "standalone":
			n = 3
			if v != "yes" && v != "no" {
				return s.notWell(errDecl)
			}
		}
		if n <= last || i == 0 && n != 1 {
			return s.notWell(errDecl)
		}
		last = n
	}
	if last == 0 {
		return s.notWell(errDecl)
	}
	return nil
}

// ReadElement resets d and reads one first-level element into it. White space
// before it is skipped (RFC 6120 §4.6.1). At the root's end tag it returns
// ErrEnd; io.EOF when the input ends between elements, io.ErrUnexpectedEOF
// when it ends within one. Faults of the text are of type *Error, everything
// else comes from r.
func (x *StreamReader) ReadElement(r *bufio.Reader, d *exi.Doc) error {
	d.Reset()
	s := &x.s
	s.text = s.text[:0]
	s.begin(r, d)
	defer s.end()
	return s.element()
}

func (s *scanner) element() error {
	if err := s.firstTag(); err != nil {
		return err
	}
	outer := len(s.open)
	if err := s.startTag(); err != nil {
		return err
	}
	for len(s.open) > outer {
		if err := s.content(); err != nil {
			return err
		}
	}
	return nil
}

// firstTag reads up to and including the '<' of a first-level element.
func (s *scanner) firstTag() error {
	for {
		for s.pos < len(s.in) && classes[s.in[s.pos]]&clSpace != 0 {
			s.pos++
		}
		s.from = s.offset()
		if s.pos < len(s.in) {
			break
		}
		if err := s.more(0); err != nil {
			return err
		}
	}
	if err := s.firstLevelText(); err != nil {
		return err
	}
	s.pos++
	c, err := s.peek()
	switch {
	case err != nil:
		return err
	case c == '!' || c == '?':
		return s.markup()
	case c != '/':
		return nil
	case len(s.open) == 0:
		return s.notWell(errMismatch)
	}
	s.pos++
	if err := s.rootEnd(); err != nil {
		return err
	}
	return ErrEnd
}

func (s *scanner) firstLevelText() error {
	switch c := s.in[s.pos]; {
	case c == '<':
		return nil
	case c == '&':
		s.pos++
		if err := s.reference(false); err != nil {
			return err
		}
	case c < 0x20:
		return s.notWell(errChar)
	}
	return s.fail(CondInvalid, errText)
}

// rootEnd reads the root's end tag behind "</".
func (s *scanner) rootEnd() error {
	raw, _, err := s.name()
	if err != nil {
		return err
	}
	if string(raw) != string(s.raws) {
		return s.notWell(errMismatch)
	}
	if _, err := s.space(); err != nil {
		return err
	}
	return s.expect(">", errTag)
}

// content reads character data and the markup behind it.
func (s *scanner) content() error {
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
		return s.endTag()
	case '!', '?':
		return s.markup()
	}
	if err := s.flush(); err != nil {
		return err
	}
	return s.startTag()
}

// markup judges "<!" and "<?" in a stream; a CDATA section is the only one
// allowed.
func (s *scanner) markup() error {
	c, err := s.next()
	if err != nil {
		return err
	}
	if c == '?' {
		return s.fail(CondRestricted, errPI)
	}
	if c, err = s.peek(); err != nil {
		return err
	}
	switch {
	case c == '-':
		return s.fail(CondRestricted, errComment)
	case c == '[' && s.d.Depth() > 0:
		if err := s.expect("[CDATA[", errMarkup); err != nil {
			return err
		}
		return s.cdata()
	case c == 'D':
		return s.fail(CondRestricted, errDoctype)
	}
	return s.notWell(errMarkup)
}

// ParseElement reads the one element that text consists of into d, with no
// namespaces declared from outside. It is for tests and for tools.
func ParseElement(text string, d *exi.Doc) error {
	x := NewStreamReader(Limits{Octets: int64(len(text)) + 1})
	r := bufio.NewReader(strings.NewReader(text))
	if err := x.ReadElement(r, d); err != nil {
		return inside(err)
	}
	var rest exi.Doc
	switch err := x.ReadElement(r, &rest); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return &Error{Condition: CondInvalid, Offset: x.Offset(), Err: errors.New("something follows the element")}
}
