package xmltext

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// entities holds what a document's internal subset declared.
type entities struct {
	keep    bool // report references instead of replacing them
	seen    bool // there was a document type
	partial bool // some declarations were not read
	ignore  bool // declarations from here on do not count

	general  map[string]entityDecl
	defaults map[string][]attDef // by raw element name
	stack    []source
	expanded int
}

// entityDecl is a general entity.
type entityDecl struct {
	text               string
	external, unparsed bool
}

// attDef is a declared attribute.
type attDef struct {
	name       string // raw
	tokens     bool   // of another type than CDATA
	hasDefault bool
	def        string
}

// source is an input that waits for an entity to end.
type source struct {
	name string
	in   []byte
	pos  int
	open int
}

// declare takes the text of one markup declaration without "<!" and ">".
func (en *entities) declare(text string) error {
	p := declParser{s: text}
	switch kind := p.name(); kind {
	case "ENTITY":
		return en.declareEntity(&p)
	case "ATTLIST":
		return en.declareAttributes(&p)
	case "ELEMENT", "NOTATION":
		if !p.space() || !validQName(p.name()) {
			return errDTD
		}
		return nil
	}
	return errDTD
}

func (en *entities) declareEntity(p *declParser) error {
	if !p.space() {
		return errDTD
	}
	if p.eat("%") {
		return nil // of no use where parameter entities are not expanded
	}
	name := p.name()
	if !validNCName(name) || !p.space() {
		return errDTD
	}
	var e entityDecl
	switch {
	case p.eat("SYSTEM"), p.eat("PUBLIC"):
		e.external = true
		e.unparsed = strings.Contains(p.s[p.i:], "NDATA")
	default:
		lit, ok := p.literal()
		if !ok || strings.Contains(lit, "%") {
			return errDTD
		}
		var err error
		if e.text, err = entityText(lit); err != nil {
			return err
		}
		p.space()
		if p.i != len(p.s) {
			return errDTD
		}
	}
	if en.general == nil {
		en.general = make(map[string]entityDecl)
	}
	if _, dup := en.general[name]; !dup { // the first one counts (XML 1.0 §4.2)
		en.general[name] = e
	}
	return nil
}

// entityText replaces the character references of an entity's literal
// (XML 1.0 §4.5).
func entityText(lit string) (string, error) {
	var b []byte
	for {
		i := strings.IndexByte(lit, '&')
		if i < 0 {
			return string(append(b, lit...)), nil
		}
		b = append(b, lit[:i]...)
		name, rest, ok := strings.Cut(lit[i+1:], ";")
		switch {
		case !ok:
			return "", errRef
		case name != "" && name[0] == '#':
			r, ok := parseCharRef(name[1:])
			if !ok {
				return "", errRef
			}
			b = utf8.AppendRune(b, r)
		case !validNCName(name):
			return "", errRef
		default:
			b = append(b, lit[i:i+len(name)+2]...)
		}
		lit = rest
	}
}

// parseCharRef reads what is between "&#" and ";".
func parseCharRef(s string) (r rune, ok bool) {
	base := rune(10)
	if strings.HasPrefix(s, "x") {
		base, s = 16, s[1:]
	}
	for i := 0; i < len(s); i++ {
		v := hexDigit(s[i])
		if v < 0 || v >= base || r > utf8.MaxRune {
			return 0, false
		}
		r = r*base + v
	}
	return r, s != "" && isChar(r)
}

// expand appends the replacement text of an entity that holds no markup, with
// the references in it replaced.
func (en *entities) expand(dst []byte, text string, inAttr bool, depth int) ([]byte, error) {
	if en.expanded += len(text); en.expanded > maxExpansion || depth > maxEntityDepth {
		return dst, errExpansion
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '<':
			return dst, errLess
		case inAttr && (c == '\t' || c == '\n' || c == '\r'):
			dst = append(dst, ' ')
		case c == '&':
			name, _, ok := strings.Cut(text[i+1:], ";")
			if !ok {
				return dst, errRef
			}
			var err error
			if dst, err = en.expandRef(dst, name, inAttr, depth); err != nil {
				return dst, err
			}
			i += len(name) + 1
		default:
			dst = append(dst, c)
		}
	}
	return dst, nil
}

func (en *entities) expandRef(dst []byte, name string, inAttr bool, depth int) ([]byte, error) {
	switch name {
	case "amp":
		return append(dst, '&'), nil
	case "lt":
		return append(dst, '<'), nil
	case "gt":
		return append(dst, '>'), nil
	case "quot":
		return append(dst, '"'), nil
	case "apos":
		return append(dst, '\''), nil
	}
	if strings.HasPrefix(name, "#") {
		r, ok := parseCharRef(name[1:])
		if !ok {
			return dst, errRef
		}
		return utf8.AppendRune(dst, r), nil
	}
	e, ok := en.general[name]
	if !ok || e.external || e.unparsed {
		return dst, errRef
	}
	return en.expand(dst, e.text, inAttr, depth+1)
}

func (en *entities) declareAttributes(p *declParser) error {
	if !p.space() {
		return errDTD
	}
	element := p.name()
	if !validQName(element) {
		return errDTD
	}
	for {
		gap := p.space()
		if p.i == len(p.s) {
			return nil
		}
		a := attDef{name: p.name()}
		if !gap || !validQName(a.name) || !p.space() {
			return errDTD
		}
		if err := en.attributeType(p, &a); err != nil {
			return err
		}
		if en.defaults == nil {
			en.defaults = make(map[string][]attDef)
		}
		dup := false
		for _, b := range en.defaults[element] {
			dup = dup || b.name == a.name
		}
		if !dup && (a.hasDefault || a.tokens) {
			en.defaults[element] = append(en.defaults[element], a)
		}
	}
}

// attributeType reads the type and the default of an attribute.
func (en *entities) attributeType(p *declParser, a *attDef) error {
	typ := ""
	if !p.starts("(") {
		typ = p.name()
	}
	a.tokens = typ != "CDATA"
	if typ == "" || typ == "NOTATION" {
		p.space()
		end := strings.IndexByte(p.s[p.i:], ')')
		if !p.starts("(") || end < 0 {
			return errDTD
		}
		p.i += end + 1
	}
	if !p.space() {
		return errDTD
	}
	if p.eat("#REQUIRED") || p.eat("#IMPLIED") {
		return nil
	}
	if p.eat("#FIXED") && !p.space() {
		return errDTD
	}
	lit, ok := p.literal()
	if !ok {
		return errDTD
	}
	v, err := en.expand(nil, lit, true, 1)
	if err != nil {
		return errors.Join(errDTD, err)
	}
	a.hasDefault, a.def = true, string(v)
	if a.tokens {
		a.def = strings.Join(strings.Fields(a.def), " ")
	}
	return nil
}

func validQName(s string) bool {
	prefix, local, ok := strings.Cut(s, ":")
	return validNCName(prefix) && (!ok || validNCName(local))
}

// declParser takes a markup declaration apart.
type declParser struct {
	s string
	i int
}

func (p *declParser) space() bool {
	from := p.i
	for p.i < len(p.s) && classes[p.s[p.i]]&clSpace != 0 {
		p.i++
	}
	return p.i > from
}

func (p *declParser) name() string {
	from := p.i
	for p.i < len(p.s) && classes[p.s[p.i]]&clName != 0 {
		p.i++
	}
	return p.s[from:p.i]
}

func (p *declParser) starts(text string) bool { return strings.HasPrefix(p.s[p.i:], text) }

func (p *declParser) eat(text string) bool {
	if !p.starts(text) {
		return false
	}
	p.i += len(text)
	return true
}

func (p *declParser) literal() (string, bool) {
	if p.i == len(p.s) || p.s[p.i] != '"' && p.s[p.i] != '\'' {
		return "", false
	}
	end := strings.IndexByte(p.s[p.i+1:], p.s[p.i])
	if end < 0 {
		return "", false
	}
	lit := p.s[p.i+1 : p.i+1+end]
	p.i += end + 2
	return lit, true
}

// applyDefaults adds the defaults of attributes that the tag lacks and
// normalises those of tokenised types (XML 1.0 §3.3.2, §3.3.3).
func (s *scanner) applyDefaults(element string) {
	for _, def := range s.ents.defaults[element] {
		var found *attr
		for i := range s.attrs {
			if a := &s.attrs[i]; string(s.tag[a.off:a.end]) == def.name {
				found = a
			}
		}
		switch {
		case found != nil && def.tokens:
			found.value = s.d.Borrow([]byte(strings.Join(strings.Fields(found.value.View()), " ")))
		case found == nil && def.hasDefault:
			a := attr{off: len(s.tag), colon: max(strings.IndexByte(def.name, ':'), 0)}
			s.tag = append(s.tag, def.name...)
			a.end = len(s.tag)
			a.value = s.d.Borrow([]byte(def.def))
			s.attrs = append(s.attrs, a)
		}
	}
}
