package xmltext

import (
	"bytes"

	"postern/exi"
)

// add records an event.
func (s *scanner) add(e exi.Event) error {
	if s.docs {
		s.q = append(s.q, e)
		return nil
	}
	return s.d.Add(e)
}

// startTag reads a start tag behind its '<' and records it. For an empty
// element the end is recorded, too.
func (s *scanner) startTag() error {
	if len(s.open) > s.lim.Depth {
		return s.fail(CondPolicy, errDepth)
	}
	raw, colon, err := s.name()
	if err != nil {
		return err
	}
	f := frame{raw: len(s.raws), scope: len(s.scope), prefix: len(s.prefix), def: s.def}
	s.raws = append(s.raws, raw...)
	raw = s.raws[f.raw:]
	empty, err := s.attributes()
	if err != nil {
		return err
	}
	if s.ents != nil && s.ents.defaults != nil {
		s.applyDefaults(string(raw))
	}
	if err := s.declare(); err != nil {
		return err
	}
	ns := s.def
	if colon > 0 {
		var ok bool
		if ns, ok = s.resolve(raw[:colon]); !ok {
			return s.notWell(errUnbound)
		}
		f.name = s.names.name(ns, raw[colon+1:])
	} else {
		f.name = s.names.name(ns, raw)
	}
	e := exi.Event{Kind: exi.SE, Name: f.name}
	if s.lim.KeepPrefixes && colon > 0 {
		e.Prefix = string(raw[:colon])
	}
	if err := s.add(e); err != nil {
		return err
	}
	s.open = append(s.open, f)
	if s.lim.KeepPrefixes {
		if err := s.addDeclarations(&f, e.Prefix); err != nil {
			return err
		}
	}
	if err := s.addAttributes(); err != nil {
		return err
	}
	if empty {
		return s.close()
	}
	return nil
}

// attributes reads a tag from behind its name to its end and leaves its
// attributes in s.attrs.
func (s *scanner) attributes() (empty bool, err error) {
	s.attrs, s.tag = s.attrs[:0], s.tag[:0]
	for {
		gap := s.pos < len(s.in) && s.in[s.pos] == ' '
		if gap {
			s.pos++
		}
		if s.pos == len(s.in) || classes[s.in[s.pos]]&clStart == 0 {
			more, err := s.space()
			if err != nil {
				return false, err
			}
			gap = gap || more
		}
		switch c := s.in[s.pos]; {
		case c == '>':
			s.pos++
			return false, nil
		case c == '/':
			s.pos++
			return true, s.expect(">", errTag)
		case !gap:
			return false, s.notWell(errTag)
		}
		if err := s.attribute(); err != nil {
			return false, err
		}
	}
}

func (s *scanner) attribute() error {
	if len(s.attrs) >= s.lim.Attributes {
		return s.fail(CondPolicy, errAttrs)
	}
	raw, colon, err := s.name()
	if err != nil {
		return err
	}
	a := attr{off: len(s.tag), colon: colon}
	s.tag = append(s.tag, raw...)
	a.end = len(s.tag)
	if s.pos < len(s.in) && s.in[s.pos] == '=' {
		s.pos++
	} else {
		if _, err := s.space(); err != nil {
			return err
		}
		if err := s.expect("=", errTag); err != nil {
			return err
		}
	}
	if s.pos == len(s.in) || s.in[s.pos] != '\'' && s.in[s.pos] != '"' {
		if _, err := s.space(); err != nil {
			return err
		}
	}
	v, err := s.value()
	if err != nil {
		return err
	}
	s.text = s.text[:0]
	if len(v) > 0 {
		a.value = s.d.Borrow(v)
	}
	s.attrs = append(s.attrs, a)
	return nil
}

// isXmlns reports whether the attribute declares a namespace, and for which
// prefix.
func (s *scanner) isXmlns(a *attr) (prefix []byte, ok bool) {
	raw := s.tag[a.off:a.end]
	if len(raw) < 5 || string(raw[:5]) != "xmlns" {
		return nil, false
	}
	if a.colon == 5 {
		return raw[6:], true
	}
	return nil, len(raw) == 5
}

// declare puts the tag's namespace declarations into scope.
func (s *scanner) declare() error {
	first := len(s.scope)
	sawDefault := false
	for i := range s.attrs {
		a := &s.attrs[i]
		prefix, ok := s.isXmlns(a)
		if !ok {
			continue
		}
		ns := s.names.space(a.value.View())
		switch {
		case ns.space == exi.NSXMLNS,
			ns.id == nsXML && string(prefix) != "xml",
			string(prefix) == "xml" && ns.id != nsXML,
			string(prefix) == "xmlns":
			return s.notWell(errReserved)
		case prefix == nil && sawDefault:
			return s.notWell(errDuplicate)
		case prefix == nil:
			s.def, sawDefault = ns, true
			continue
		case ns.space == "":
			return s.notWell(errEmptyNS)
		}
		for _, b := range s.scope[first:] {
			if bytes.Equal(s.prefix[b.off:b.end], prefix) {
				return s.notWell(errDuplicate)
			}
		}
		if len(s.scope) >= s.lim.Namespaces {
			return s.fail(CondPolicy, errNSCount)
		}
		off := len(s.prefix)
		s.prefix = append(s.prefix, prefix...)
		s.scope = append(s.scope, binding{off, len(s.prefix), ns})
	}
	return nil
}

// resolve returns the namespace of a prefix.
func (s *scanner) resolve(prefix []byte) (nsRef, bool) {
	for i := len(s.scope) - 1; i >= 0; i-- {
		b := &s.scope[i]
		if bytes.Equal(s.prefix[b.off:b.end], prefix) {
			return b.ns, true
		}
	}
	return nsRef{nsXML, exi.NSXML}, string(prefix) == "xml"
}

// addDeclarations records the declarations of the tag just read as NS events.
func (s *scanner) addDeclarations(f *frame, own string) error {
	for i := range s.attrs {
		a := &s.attrs[i]
		prefix, ok := s.isXmlns(a)
		if !ok {
			continue
		}
		e := exi.Event{Kind: exi.NS, Name: exi.N(a.value.String(), ""), Prefix: string(prefix)}
		e.LocalNS = e.Prefix == own
		if err := s.add(e); err != nil {
			return err
		}
	}
	return nil
}

// addAttributes records the attributes that are no namespace declarations.
func (s *scanner) addAttributes() error {
	n := 0
	for i := range s.attrs {
		a := &s.attrs[i]
		if _, ok := s.isXmlns(a); ok {
			continue
		}
		raw, ns := s.tag[a.off:a.end], nsRef{}
		e := exi.Event{Kind: exi.AT, Value: a.value}
		if a.colon > 0 {
			var ok bool
			if ns, ok = s.resolve(raw[:a.colon]); !ok {
				return s.notWell(errUnbound)
			}
			if s.lim.KeepPrefixes {
				e.Prefix = string(raw[:a.colon])
			}
			raw = raw[a.colon+1:]
		}
		e.Name = s.names.name(ns, raw)
		if e.Name == exi.NameXsiType {
			e.Value = s.typeName(e.Value)
		}
		for k := range s.attrs[:n] {
			if s.attrs[k].name == e.Name {
				return s.notWell(errDuplicate)
			}
		}
		s.attrs[n].name = e.Name // names of what was already passed
		n++
		if err := s.add(e); err != nil {
			return err
		}
	}
	return nil
}

// close leaves the innermost element and records its end.
func (s *scanner) close() error {
	f := &s.open[len(s.open)-1]
	s.raws = s.raws[:f.raw]
	s.scope = s.scope[:f.scope]
	s.prefix = s.prefix[:f.prefix]
	s.def = f.def
	e := exi.Event{Kind: exi.EE, Name: f.name}
	s.open = s.open[:len(s.open)-1]
	return s.add(e)
}

// endTag reads an end tag behind its "</".
func (s *scanner) endTag() error {
	want := s.raws[s.open[len(s.open)-1].raw:]
	if n := len(want); len(s.in)-s.pos > n && string(s.in[s.pos:s.pos+n]) == string(want) && s.in[s.pos+n] == '>' {
		s.pos += n + 1
		return s.close()
	}
	raw, _, err := s.name()
	if err != nil {
		return err
	}
	if !bytes.Equal(raw, want) {
		return s.notWell(errMismatch)
	}
	if _, err := s.space(); err != nil {
		return err
	}
	if err := s.expect(">", errTag); err != nil {
		return err
	}
	return s.close()
}

// chars reads character data up to the next '<' and appends it to s.text,
// unless it is whole within the window and followed by a tag: then it is
// recorded at once.
func (s *scanner) chars() error {
	start := s.pos
	for {
		in, p := s.in, s.pos
		for p < len(in) && classes[in[p]]&clText == 0 {
			p++
		}
		s.pos = p
		if p == len(in) {
			s.text = append(s.text, in[start:]...)
			if err := s.moreText(); err != nil {
				return err
			}
			start = s.pos
			continue
		}
		switch c := in[p]; c {
		case '<':
			if len(s.text) == 0 && p+1 < len(in) && in[p+1] != '!' && in[p+1] != '?' {
				if p == start {
					return nil
				}
				return s.add(exi.Event{Kind: exi.CH, Value: s.d.Borrow(in[start:p])})
			}
			s.text = append(s.text, in[start:p]...)
			return nil
		case ']':
			s.text = append(s.text, in[start:p]...)
			if err := s.brackets(); err != nil {
				return err
			}
			start = s.pos
		default:
			s.text = append(s.text, in[start:p]...)
			if err := s.special(c, false); err != nil {
				return err
			}
			start = s.pos
		}
	}
}

// moreText is more within character data, where an entity may end.
func (s *scanner) moreText() error {
	if s.inEntity() {
		return s.leave()
	}
	if int64(len(s.text)) > s.lim.Octets {
		return s.fail(CondPolicy, errOctets)
	}
	return inside(s.more(0))
}

// brackets takes closing brackets, which must not end in "]]>".
func (s *scanner) brackets() error {
	n := 0
	for {
		c, err := s.peek()
		if err != nil {
			return err
		}
		if c == '>' && n >= 2 {
			return s.notWell(errCDEnd)
		}
		if c != ']' {
			return nil
		}
		s.pos++
		s.text = append(s.text, c)
		n++
	}
}

// flush records the character data gathered in s.text.
func (s *scanner) flush() error {
	if len(s.text) == 0 {
		return nil
	}
	e := exi.Event{Kind: exi.CH, Value: s.d.Borrow(s.text)}
	s.text = s.text[:0]
	return s.add(e)
}

// cdata appends the rest of a CDATA section behind its "<![CDATA[" to s.text.
func (s *scanner) cdata() error {
	n := 0 // closing brackets just before
	for {
		c, err := s.peek()
		switch {
		case err != nil:
			return err
		case c == '>' && n >= 2:
			s.pos++
			s.text = s.text[:len(s.text)-2]
			return nil
		case c == ']':
			n++
			s.pos++
			s.text = append(s.text, c)
			continue
		case c == '&':
			s.pos++
			s.text = append(s.text, c)
		case c < 0x20 || c >= 0x80:
			if err := s.special(c, false); err != nil {
				return err
			}
		default:
			s.pos++
			s.text = append(s.text, c)
		}
		n = 0
	}
}
