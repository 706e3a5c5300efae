package xmltext

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"postern/exi"
)

// WriterOptions say how a Writer lays out a document.
type WriterOptions struct {
	Declaration bool // begin with an XML declaration
	Fragment    bool // allow any number of root elements, and text around them
}

// Writer writes the events of one document as XML text (it is an exi.Writer).
// Recorded prefixes and NS events are used where there are any; namespaces
// without one become the default namespace of elements, and get made-up
// prefixes for attributes. The document is flushed at ED. After an error a
// Writer is of no more use. Not safe for concurrent use.
type Writer struct {
	w      *bufio.Writer
	opt    WriterOptions
	buf    []byte
	open   []outer
	scope  []outBinding
	tag    pendingTag
	inTag  bool
	roots  int
	closed bool
}

// outer is an open element: its name as written, and the bindings outside.
type outer struct {
	raw   string
	scope int
}

type outBinding struct{ prefix, space string }

// pendingTag gathers a start tag until its last attribute is known.
type pendingTag struct {
	name   exi.Event
	attrs  []exi.Event
	values []string
}

var (
	errEnded   = errors.New("events behind the end of the document")
	errRoots   = errors.New("a document has exactly one root element")
	errOrder   = errors.New("an event at a place where XML has no room for it")
	errContent = errors.New("content that would end it early")
)

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer, o WriterOptions) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, 32<<10), opt: o}
}

// Event writes one event.
func (x *Writer) Event(e exi.Event) error {
	err := x.event(e)
	if err == nil && len(x.buf) > 0 {
		_, err = x.w.Write(x.buf)
		x.buf = x.buf[:0]
	}
	if err == nil && x.closed {
		err = x.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("xmltext: writing %v: %w", e.Kind, err)
	}
	return nil
}

func (x *Writer) event(e exi.Event) error {
	if x.closed {
		return errEnded
	}
	switch e.Kind {
	case exi.SD:
		if x.opt.Declaration {
			x.buf = append(x.buf, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"...)
		}
		return nil
	case exi.AT, exi.NS:
		if !x.inTag {
			return errOrder
		}
		// The value is only valid during this call.
		x.tag.attrs = append(x.tag.attrs, e)
		x.tag.values = append(x.tag.values, e.Value.String())
		return nil
	case exi.SC:
		return nil
	}
	if x.inTag {
		if err := x.startTag(e.Kind == exi.EE); err != nil || e.Kind == exi.EE {
			return err
		}
	}
	switch e.Kind {
	case exi.SE:
		return x.start(e)
	case exi.EE:
		return x.end()
	case exi.CH:
		return x.chars(e.Value)
	case exi.ED:
		if len(x.open) > 0 || x.roots == 0 && !x.opt.Fragment {
			return errRoots
		}
		x.closed = true
		return nil
	}
	return x.misc(e)
}

func (x *Writer) start(e exi.Event) error {
	if len(x.open) == 0 {
		if x.roots++; x.roots > 1 && !x.opt.Fragment {
			return errRoots
		}
	}
	if !validNCName(e.Name.Value().Local) {
		return fmt.Errorf("%q: %w", e.Name.Value().Local, errName)
	}
	x.tag.name = e
	x.tag.attrs, x.tag.values = x.tag.attrs[:0], x.tag.values[:0]
	x.inTag = true
	return nil
}

func (x *Writer) end() error {
	if len(x.open) == 0 {
		return exi.ErrUnbalanced
	}
	o := x.open[len(x.open)-1]
	x.open = x.open[:len(x.open)-1]
	x.scope = x.scope[:o.scope]
	x.buf = append(x.buf, '<', '/')
	x.buf = append(x.buf, o.raw...)
	x.buf = append(x.buf, '>')
	return nil
}

func (x *Writer) chars(v exi.Value) (err error) {
	if len(x.open) == 0 && !x.opt.Fragment {
		if strings.Trim(v.View(), " \t\r\n") == "" {
			return nil
		}
		return errText
	}
	x.buf, err = appendEscaped(x.buf, v.View(), clEscT)
	return err
}

// startTag writes the gathered start tag.
func (x *Writer) startTag(empty bool) error {
	x.inTag = false
	first := len(x.scope)
	for i := range x.tag.attrs {
		if e := &x.tag.attrs[i]; e.Kind == exi.NS {
			if err := x.declare(first, e.Prefix, e.Name.Value().Space); err != nil {
				return err
			}
		}
	}
	q := x.tag.name.Name.Value()
	prefix, err := x.elementPrefix(first, q.Space)
	if err != nil {
		return err
	}
	raw := q.Local
	if prefix != "" {
		raw = prefix + ":" + raw
	}
	x.buf = append(x.buf, '<')
	x.buf = append(x.buf, raw...)
	from := len(x.buf)
	if err := x.attributes(first); err != nil {
		return err
	}
	// Declarations come first, though some are only known now.
	attrs := string(x.buf[from:])
	x.buf = x.buf[:from]
	for _, b := range x.scope[first:] {
		x.buf = append(x.buf, " xmlns"...)
		if b.prefix != "" {
			x.buf = append(x.buf, ':')
			x.buf = append(x.buf, b.prefix...)
		}
		if err := x.quoted(b.space); err != nil {
			return err
		}
	}
	x.buf = append(x.buf, attrs...)
	if empty {
		x.buf = append(x.buf, "/>"...)
		x.scope = x.scope[:first]
		return nil
	}
	x.buf = append(x.buf, '>')
	x.open = append(x.open, outer{raw, first})
	return nil
}

func (x *Writer) attributes(first int) error {
	for i := range x.tag.attrs {
		e := &x.tag.attrs[i]
		if e.Kind != exi.AT {
			continue
		}
		q := e.Name.Value()
		if !validNCName(q.Local) || q.Space == "" && q.Local == "xmlns" {
			return fmt.Errorf("attribute %q: %w", q.Local, errName)
		}
		for k := range x.tag.attrs[:i] {
			if x.tag.attrs[k].Kind == exi.AT && x.tag.attrs[k].Name == e.Name {
				return fmt.Errorf("attribute %q: %w", q.Local, errDuplicate)
			}
		}
		x.buf = append(x.buf, ' ')
		if q.Space != "" {
			prefix, err := x.attrPrefix(first, e.Prefix, q.Space)
			if err != nil {
				return err
			}
			x.buf = append(x.buf, prefix...)
			x.buf = append(x.buf, ':')
		}
		x.buf = append(x.buf, q.Local...)
		text := x.tag.values[i]
		if e.Value.Kind() == exi.NameRef {
			var err error
			if text, err = x.nameText(first, e.Value); err != nil {
				return err
			}
		}
		if err := x.quoted(text); err != nil {
			return err
		}
	}
	return nil
}

// quoted writes "='…'" with double quotes, which most tools print.
func (x *Writer) quoted(v string) error {
	x.buf = append(x.buf, '=', '"')
	from := len(x.buf)
	var err error
	if x.buf, err = appendEscaped(x.buf, v, clEscA); err != nil {
		return err
	}
	// appendEscaped serves single quotes; double ones are rare.
	if s := string(x.buf[from:]); strings.ContainsAny(s, "\"'&") {
		s = strings.ReplaceAll(s, "\"", "&quot;")
		x.buf = append(x.buf[:from], strings.ReplaceAll(s, "&apos;", "'")...)
	}
	x.buf = append(x.buf, '"')
	return nil
}

// declare binds a prefix in the tag being written.
func (x *Writer) declare(first int, prefix, space string) error {
	switch {
	case prefix == "xml" && space == exi.NSXML:
		return nil
	case prefix == "xml", prefix == "xmlns", space == exi.NSXML, space == exi.NSXMLNS:
		return errReserved
	case prefix != "" && space == "":
		return errEmptyNS
	case prefix != "" && !validNCName(prefix):
		return fmt.Errorf("prefix %q: %w", prefix, errName)
	}
	for _, b := range x.scope[first:] {
		if b.prefix == prefix {
			if b.space == space {
				return nil
			}
			return fmt.Errorf("prefix %q: %w", prefix, errDuplicate)
		}
	}
	x.scope = append(x.scope, outBinding{prefix, space})
	return nil
}

// bound returns what prefix stands for.
func (x *Writer) bound(prefix string) (space string, ok bool) {
	for i := len(x.scope) - 1; i >= 0; i-- {
		if x.scope[i].prefix == prefix {
			return x.scope[i].space, true
		}
	}
	return "", prefix == ""
}

// find returns a prefix in scope for space.
func (x *Writer) find(space string, attr bool) (prefix string, ok bool) {
	for i := len(x.scope) - 1; i >= 0; i-- {
		b := x.scope[i]
		if b.space != space || attr && b.prefix == "" {
			continue
		}
		if now, _ := x.bound(b.prefix); now == space {
			return b.prefix, true
		}
	}
	return "", !attr && space == ""
}

// elementPrefix returns the prefix for the element of the tag and declares
// what is missing.
func (x *Writer) elementPrefix(first int, space string) (string, error) {
	want := x.tag.name.Prefix
	if space == exi.NSXML {
		return "xml", nil
	}
	if now, ok := x.bound(want); ok && now == space {
		return want, nil
	}
	if space == "" {
		// No prefix can stand for no namespace.
		return "", x.declare(first, "", "")
	}
	if want != "" && x.declare(first, want, space) == nil {
		return want, nil
	}
	if prefix, ok := x.find(space, false); ok {
		return prefix, nil
	}
	if x.declare(first, "", space) == nil {
		return "", nil
	}
	return x.invent(first, space)
}

func (x *Writer) attrPrefix(first int, want, space string) (string, error) {
	if space == exi.NSXML {
		return "xml", nil
	}
	if now, ok := x.bound(want); want != "" && ok && now == space {
		return want, nil
	}
	if prefix, ok := x.find(space, true); ok {
		return prefix, nil
	}
	if want != "" && x.declare(first, want, space) == nil {
		return want, nil
	}
	return x.invent(first, space)
}

// invent makes a prefix up that is not in use.
func (x *Writer) invent(first int, space string) (string, error) {
	for i := 0; ; i++ {
		prefix := "ns" + strconv.Itoa(i)
		if _, taken := x.bound(prefix); !taken {
			return prefix, x.declare(first, prefix, space)
		}
	}
}

// misc writes comments, instructions, document types and entity references.
func (x *Writer) misc(e exi.Event) error {
	switch e.Kind {
	case exi.CM:
		s := e.Value.View()
		if strings.Contains(s, "--") || strings.HasSuffix(s, "-") {
			return errContent
		}
		return x.raw("<!--", s, "-->")
	case exi.PI:
		target, s := e.Name.Value().Local, e.Value.View()
		switch {
		case !validNCName(target) || strings.EqualFold(target, "xml"):
			return fmt.Errorf("%q: %w", target, errName)
		case strings.Contains(s, "?>"):
			return errContent
		case s != "":
			s = " " + s
		}
		return x.raw("<?"+target, s, "?>")
	case exi.ER:
		name := e.Name.Value().Local
		if !validNCName(name) {
			return fmt.Errorf("%q: %w", name, errName)
		}
		if len(x.open) == 0 && !x.opt.Fragment {
			return errOrder
		}
		return x.raw("&", name, ";")
	case exi.DT:
		return x.docType(e)
	}
	return errOrder
}

// raw writes text that cannot be escaped.
func (x *Writer) raw(before, text, after string) error {
	for _, r := range text {
		if !isChar(r) {
			return errChar
		}
	}
	if strings.ToValidUTF8(text, "") != text {
		return errUTF8
	}
	x.buf = append(x.buf, before...)
	x.buf = append(x.buf, text...)
	x.buf = append(x.buf, after...)
	return nil
}

func (x *Writer) docType(e exi.Event) error {
	if x.roots > 0 || x.opt.Fragment {
		return errOrder
	}
	public, system, internal := e.Value.DocType()
	name := e.Name.Value().Local
	if !validQName(name) {
		return fmt.Errorf("%q: %w", name, errName)
	}
	text := "<!DOCTYPE " + name
	switch {
	case public != "":
		text += " PUBLIC " + quoteLiteral(public) + " " + quoteLiteral(system)
	case system != "":
		text += " SYSTEM " + quoteLiteral(system)
	}
	if internal != "" {
		text += " [" + internal + "]"
	}
	text += ">"
	// Read back what was put together: a subset made to end early must not
	// turn into markup of the document.
	r := NewReader(strings.NewReader(text+"<"+name+"/>"), Options{DTD: true})
	var back exi.Event
	for back.Kind != exi.DT {
		if err := r.Next(&back); err != nil {
			return err
		}
	}
	if r.Offset() != int64(len(text)) {
		return errContent
	}
	return x.raw("", text, "")
}

// quoteLiteral quotes with what does not occur in s.
func quoteLiteral(s string) string {
	if strings.Contains(s, `"`) {
		return "'" + s + "'"
	}
	return `"` + s + `"`
}

// Copy writes the events of r to w up to and including ED.
func Copy(w exi.Writer, r exi.Reader) error {
	var e exi.Event
	for e.Kind != exi.ED {
		if err := r.Next(&e); err != nil {
			return err
		}
		if err := w.Event(e); err != nil {
			return err
		}
	}
	return nil
}
