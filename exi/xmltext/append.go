package xmltext

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"postern/exi"
)

// Scope says which namespaces are declared where an element is written.
type Scope struct {
	Default string // default namespace: the content namespace of the stream
	// Prefix is a prefix in scope for PrefixNS: "stream" on XMPP streams.
	Prefix, PrefixNS string
}

// Errors of writing.
var (
	errIncomplete = errors.New("the Doc is not one whole element")
	errStreamKind = errors.New("comments, instructions and document types cannot be sent in a stream")
)

// AppendElement appends the one element that d holds as XML text. Elements
// take the default namespace, which is declared where it changes, so stanzas
// come out without prefixes (RFC 6120 §4.8.5). It writes nothing that
// RFC 6120 §11 forbids, and refuses names and characters that XML cannot
// carry: dst is returned unchanged then.
//
// Recorded prefixes are declared again where NS events ask for it, for the
// sake of qualified names in content.
func AppendElement(dst []byte, d *exi.Doc, scope Scope) ([]byte, error) {
	if !d.Complete() {
		return dst, fmt.Errorf("xmltext: %w", errIncomplete)
	}
	w := appender{dst: dst, scope: scope, def: scope.Default}
	for i, n := 0, d.Len(); i < n; i++ {
		if err := w.event(d, i); err != nil {
			return dst, fmt.Errorf("xmltext: %w", err)
		}
	}
	return w.dst, nil
}

// appender writes one element.
type appender struct {
	dst   []byte
	scope Scope
	def   string // default namespace in scope
	inTag bool   // a start tag waits for its end
	fresh int    // number of prefixes made up in the open start tag
	depth int
	first [24]level // the outer open elements
	deep  []level   // those beyond
}

// level is an open element.
type level struct {
	def      string // default namespace outside of it
	prefixed bool
}

func (w *appender) push(l level) {
	if w.depth < len(w.first) {
		w.first[w.depth] = l
	} else {
		w.deep = append(w.deep, l)
	}
	w.depth++
}

func (w *appender) pop() (l level) {
	w.depth--
	if w.depth < len(w.first) {
		return w.first[w.depth]
	}
	l = w.deep[len(w.deep)-1]
	w.deep = w.deep[:len(w.deep)-1]
	return l
}

func (w *appender) event(d *exi.Doc, i int) error {
	e := d.Event(i)
	switch e.Kind {
	case exi.SE:
		return w.start(e.Name.Value())
	case exi.EE:
		return w.end(e.Name.Value().Local)
	case exi.AT:
		return w.attr(e)
	case exi.NS:
		return w.namespace(e)
	case exi.CH:
		return w.text(e.Value)
	case exi.SC:
		return nil
	}
	return errStreamKind
}

func (w *appender) start(q exi.QName) error {
	if !validNCName(q.Local) {
		return fmt.Errorf("%q: %w", q.Local, errName)
	}
	w.closeTag()
	l := level{def: w.def}
	w.dst = append(w.dst, '<')
	switch {
	case q.Space == w.def:
		w.dst = append(w.dst, q.Local...)
	case q.Space == w.scope.PrefixNS && w.scope.Prefix != "":
		l.prefixed = true
		w.dst = append(w.dst, w.scope.Prefix...)
		w.dst = append(w.dst, ':')
		w.dst = append(w.dst, q.Local...)
	case q.Space == exi.NSXML || q.Space == exi.NSXMLNS:
		return errReserved
	default:
		w.dst = append(w.dst, q.Local...)
		w.dst = append(w.dst, " xmlns='"...)
		if err := w.escapeAttr(q.Space); err != nil {
			return err
		}
		w.dst = append(w.dst, '\'')
		w.def = q.Space
	}
	w.push(l)
	w.inTag, w.fresh = true, 0
	return nil
}

func (w *appender) closeTag() {
	if w.inTag {
		w.dst = append(w.dst, '>')
		w.inTag = false
	}
}

func (w *appender) end(local string) error {
	l := w.pop()
	w.def = l.def
	if w.inTag {
		w.dst = append(w.dst, '/', '>')
		w.inTag = false
		return nil
	}
	w.dst = append(w.dst, '<', '/')
	if l.prefixed {
		w.dst = append(w.dst, w.scope.Prefix...)
		w.dst = append(w.dst, ':')
	}
	w.dst = append(w.dst, local...)
	w.dst = append(w.dst, '>')
	return nil
}

func (w *appender) attr(e *exi.Event) error {
	q := e.Name.Value()
	if !validNCName(q.Local) || q.Space == "" && q.Local == "xmlns" {
		return fmt.Errorf("attribute %q: %w", q.Local, errName)
	}
	switch q.Space {
	case "":
		w.dst = append(w.dst, ' ')
	case exi.NSXML:
		w.dst = append(w.dst, " xml:"...)
	case exi.NSXMLNS:
		return errReserved
	case w.scope.PrefixNS:
		w.dst = append(w.dst, ' ')
		w.dst = append(w.dst, w.scope.Prefix...)
		w.dst = append(w.dst, ':')
	default:
		// Prefixes in use are cheap to repeat, so each attribute brings its own.
		w.dst = append(w.dst, " xmlns:_"...)
		w.dst = append(w.dst, w.serial()...)
		w.dst = append(w.dst, "='"...)
		if err := w.escapeAttr(q.Space); err != nil {
			return err
		}
		w.dst = append(w.dst, "' _"...)
		w.dst = append(w.dst, w.serial()...)
		w.dst = append(w.dst, ':')
		w.fresh++
	}
	from := len(w.dst) - 1
	for w.dst[from] != ' ' {
		from--
	}
	w.dst = append(w.dst, q.Local...)
	w.dst = append(w.dst, '=', '\'')
	if space, _, local, ok := e.Value.Name(); ok {
		return w.nameAttr(from, space, local, e.Value)
	}
	if err := w.value(e.Value, true); err != nil {
		return err
	}
	w.dst = append(w.dst, '\'')
	return nil
}

// serial names the next made-up prefix of a tag.
func (w *appender) serial() string {
	const names = "0123456789"
	if w.fresh < len(names) {
		return names[w.fresh : w.fresh+1]
	}
	return fmt.Sprint(w.fresh)
}

// namespace declares a recorded prefix again.
func (w *appender) namespace(e *exi.Event) error {
	space := e.Name.Value().Space
	switch {
	case e.Prefix == "" || space == "" || e.Prefix == w.scope.Prefix, e.Prefix == "xml":
		return nil
	case !validNCName(e.Prefix) || e.Prefix == "xmlns":
		return fmt.Errorf("prefix %q: %w", e.Prefix, errName)
	case len(e.Prefix) > 1 && e.Prefix[0] == '_' && e.Prefix[1] <= '9':
		// Could meet a prefix made up above.
		return fmt.Errorf("prefix %q is kept for other use", e.Prefix)
	}
	w.dst = append(w.dst, " xmlns:"...)
	w.dst = append(w.dst, e.Prefix...)
	w.dst = append(w.dst, '=', '\'')
	if err := w.escapeAttr(space); err != nil {
		return err
	}
	w.dst = append(w.dst, '\'')
	return nil
}

func (w *appender) text(v exi.Value) error {
	if w.depth == 0 {
		return errText
	}
	w.closeTag()
	return w.value(v, false)
}

func (w *appender) value(v exi.Value, inAttr bool) error {
	switch {
	case v.Kind() == exi.NameRef:
		s := v.String()
		if inAttr {
			return w.escapeAttr(s)
		}
		return w.escapeText(s)
	case v.Kind() != exi.Lexical:
		// The lexical forms of the types hold nothing to be escaped.
		w.dst = v.AppendText(w.dst)
		return nil
	case inAttr:
		return w.escapeAttr(v.View())
	}
	return w.escapeText(v.View())
}

func (w *appender) escapeText(s string) (err error) {
	w.dst, err = appendEscaped(w.dst, s, clEscT)
	return err
}

func (w *appender) escapeAttr(s string) (err error) {
	w.dst, err = appendEscaped(w.dst, s, clEscA)
	return err
}

// appendEscaped appends s with everything escaped that would not read back
// the same. class is clEscT or clEscA.
func appendEscaped(dst []byte, s string, class uint8) ([]byte, error) {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if classes[c]&class == 0 {
			i++
			continue
		}
		if c >= 0x80 {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				return dst, errUTF8
			}
			if r >= 0xfffe && !isChar(r) {
				return dst, errChar
			}
			i += n
			continue
		}
		var esc string
		switch c {
		case '&':
			esc = "&amp;"
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '\'':
			esc = "&apos;"
		case '\r':
			esc = "&#xD;"
		case '\n':
			esc = "&#xA;"
		case '\t':
			esc = "&#x9;"
		default:
			return dst, errChar
		}
		dst = append(dst, s[start:i]...)
		dst = append(dst, esc...)
		i++
		start = i
	}
	return append(dst, s[start:]...), nil
}

// Attr is an attribute of a stream's root, its name with prefix as written.
type Attr struct{ Name, Value string }

// AppendOpen appends the XML declaration and the start tag of a stream's root
// {scope.PrefixNS}local with the declarations of scope; attributes with empty
// values are left out.
func AppendOpen(dst []byte, local string, scope Scope, attrs ...Attr) ([]byte, error) {
	w := appender{dst: dst}
	w.dst = append(w.dst, "<?xml version='1.0'?><"...)
	if scope.Prefix != "" {
		w.dst = append(w.dst, scope.Prefix...)
		w.dst = append(w.dst, ':')
	}
	w.dst = append(w.dst, local...)
	decl := []Attr{{"xmlns", scope.Default}}
	if scope.Prefix != "" {
		decl = append(decl, Attr{"xmlns:" + scope.Prefix, scope.PrefixNS})
	}
	for _, a := range append(decl, attrs...) {
		if a.Value == "" {
			continue
		}
		w.dst = append(w.dst, ' ')
		w.dst = append(w.dst, a.Name...)
		w.dst = append(w.dst, '=', '\'')
		if err := w.escapeAttr(a.Value); err != nil {
			return dst, fmt.Errorf("xmltext: %s: %w", a.Name, err)
		}
		w.dst = append(w.dst, '\'')
	}
	return append(w.dst, '>'), nil
}

// AppendClose appends the end tag of a stream's root.
func AppendClose(dst []byte, local string, scope Scope) []byte {
	dst = append(dst, '<', '/')
	if scope.Prefix != "" {
		dst = append(dst, scope.Prefix...)
		dst = append(dst, ':')
	}
	dst = append(dst, local...)
	return append(dst, '>')
}
