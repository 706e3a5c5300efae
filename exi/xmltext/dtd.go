package xmltext

import (
	"errors"
	"strings"

	"postern/exi"
)

// Reasons for refusing a document type.
var (
	errDTD        = errors.New("a malformed document type declaration")
	errUnbalanced = errors.New("an entity that does not hold whole elements")
	errRecursive  = errors.New("an entity that refers to itself")
	errExpansion  = errors.New("entities expand to too much text")
	errExternal   = errors.New("an external entity in an attribute value")
)

// maxExpansion bounds the text of all entity references of one document
// ("billion laughs"), maxEntityDepth their nesting.
const (
	maxExpansion   = 1 << 20
	maxEntityDepth = 16
)

// doctype reads a document type declaration behind "<!DOCTYPE" (XML 1.0 §2.8)
// and emits it when asked for.
func (s *scanner) doctype() error {
	s.ents.seen = true
	if err := s.needSpace(); err != nil {
		return err
	}
	raw, _, err := s.name()
	if err != nil {
		return err
	}
	name := string(raw)
	if _, err := s.space(); err != nil {
		return err
	}
	public, system, err := s.externalID()
	if err != nil {
		return err
	}
	s.ents.partial = system != ""
	internal, err := s.internalSubset()
	if err != nil {
		return err
	}
	if _, err := s.space(); err != nil {
		return err
	}
	if err := s.expect(">", errDTD); err != nil {
		return err
	}
	if s.ents.keep {
		s.q = append(s.q, exi.Event{Kind: exi.DT, Name: exi.N("", name),
			Value: exi.DocTypeValue(public, system, internal)})
	}
	return nil
}

func (s *scanner) needSpace() error {
	gap, err := s.space()
	if err == nil && !gap {
		return s.notWell(errDTD)
	}
	return err
}

// externalID reads what may follow the document type's name.
func (s *scanner) externalID() (public, system string, err error) {
	c, err := s.peek()
	if err != nil || c == '[' || c == '>' {
		return "", "", err
	}
	if c == 'P' {
		if err = s.expect("PUBLIC", errDTD); err != nil {
			return "", "", err
		}
		if err = s.needSpace(); err != nil {
			return "", "", err
		}
		if public, err = s.literal(); err != nil {
			return "", "", err
		}
	} else if err = s.expect("SYSTEM", errDTD); err != nil {
		return "", "", err
	}
	if err = s.needSpace(); err != nil {
		return "", "", err
	}
	if system, err = s.literal(); err != nil {
		return "", "", err
	}
	_, err = s.space()
	return public, system, err
}

// literal reads a quoted literal as it is.
func (s *scanner) literal() (string, error) {
	quote, err := s.next()
	if err != nil {
		return "", err
	}
	if quote != '"' && quote != '\'' {
		return "", s.notWell(errDTD)
	}
	s.text = s.text[:0]
	for {
		c, err := s.take()
		if err != nil {
			return "", err
		}
		if c == quote {
			v := string(s.text[:len(s.text)-1])
			s.text = s.text[:0]
			return v, nil
		}
	}
}

// take appends the next character to s.text and returns it, 0 for one beyond
// ASCII.
func (s *scanner) take() (byte, error) {
	c, err := s.peek()
	switch {
	case err != nil:
		return 0, err
	case c >= 0x80 || c == '\r':
		return 0, s.special(c, false)
	case c < 0x20 && c != '\n' && c != '\t':
		return 0, s.notWell(errChar)
	}
	s.pos++
	s.text = append(s.text, c)
	return c, nil
}

// internalSubset reads "[ … ]" if it is there, returns the text between the
// brackets and keeps what its declarations say.
func (s *scanner) internalSubset() (string, error) {
	if c, err := s.peek(); err != nil || c != '[' {
		return "", err
	}
	s.pos++
	s.text = s.text[:0]
	defer func() { s.text = s.text[:0] }()
	for {
		c, err := s.take()
		if err != nil {
			return "", err
		}
		start := len(s.text) - 1
		switch c {
		case ']':
			return string(s.text[:start]), nil
		case '<':
			if err := s.declInSubset(start); err != nil {
				return "", err
			}
		case '%':
			// What a parameter entity declares is not known; as for every
			// non-validating processor, declarations behind it do not count.
			if err := s.takeUntil(";"); err != nil {
				return "", err
			}
			s.ents.partial, s.ents.ignore = true, true
		case ' ', '\t', '\n':
		default:
			if c != 0 || s.text[len(s.text)-1] != '\n' {
				return "", s.notWell(errDTD)
			}
		}
	}
}

// takeUntil appends characters to s.text up to the end of stop.
func (s *scanner) takeUntil(stop string) error {
	from := len(s.text)
	for {
		if _, err := s.take(); err != nil {
			return err
		}
		if n := len(s.text) - len(stop); n >= from && string(s.text[n:]) == stop {
			return nil
		}
	}
}

// declInSubset reads one declaration, comment or instruction, of which the
// '<' at s.text[start] was taken.
func (s *scanner) declInSubset(start int) error {
	c, err := s.take()
	switch {
	case err != nil:
		return err
	case c == '?':
		return s.takeUntil("?>")
	case c != '!':
		return s.notWell(errDTD)
	}
	quote, comment := byte(0), false
	for {
		c, err := s.take()
		if err != nil {
			return err
		}
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case comment && c == '-':
			return s.subsetComment()
		case c == '"' || c == '\'':
			quote = c
		case c == '-' && len(s.text) == start+3:
			comment = true
		case c == '<':
			return s.notWell(errDTD)
		case c == '>':
			if s.ents.ignore {
				return nil
			}
			if err := s.ents.declare(string(s.text[start+2 : len(s.text)-1])); err != nil {
				return s.notWell(err)
			}
			return nil
		}
	}
}

func (s *scanner) subsetComment() error {
	if err := s.takeUntil("--"); err != nil {
		return err
	}
	if c, err := s.take(); err != nil {
		return err
	} else if c != '>' {
		return s.notWell(errDTD)
	}
	return nil
}

// entity takes a reference to a declared entity, behind its name
// (XML 1.0 §4.4).
func (s *scanner) entity(name string, inAttr bool) error {
	if err := s.expect(";", errRef); err != nil {
		return err
	}
	e, ok := s.ents.general[name]
	switch {
	case !ok && !s.ents.partial, e.unparsed:
		return s.notWell(errRef)
	case inAttr && (e.external || !ok):
		return s.notWell(errExternal)
	case !inAttr && (s.ents.keep || e.external || !ok):
		if err := s.flush(); err != nil {
			return err
		}
		s.q = append(s.q, exi.Event{Kind: exi.ER, Name: exi.N("", name)})
		return nil
	case !inAttr && strings.Contains(e.text, "<"):
		return s.enter(name, e.text)
	}
	text, err := s.ents.expand(s.text, e.text, inAttr, 1)
	if err != nil {
		return s.notWell(err)
	}
	s.text = text
	return nil
}

// enter makes the replacement text of an entity the input.
func (s *scanner) enter(name, text string) error {
	en := s.ents
	for _, src := range en.stack {
		if src.name == name {
			return s.notWell(errRecursive)
		}
	}
	if en.expanded += len(text); en.expanded > maxExpansion || len(en.stack) >= maxEntityDepth {
		return s.fail(CondPolicy, errExpansion)
	}
	en.stack = append(en.stack, source{name: name, in: s.in, pos: s.pos, open: len(s.open)})
	s.in, s.pos = []byte(text), 0
	return nil
}

// leave goes back to where the entity was referred to.
func (s *scanner) leave() error {
	en := s.ents
	src := en.stack[len(en.stack)-1]
	if len(s.open) != src.open {
		return s.notWell(errUnbalanced)
	}
	en.stack = en.stack[:len(en.stack)-1]
	s.in, s.pos = src.in, src.pos
	return nil
}

// inEntity reports whether the input is an entity's replacement text.
func (s *scanner) inEntity() bool { return s.ents != nil && len(s.ents.stack) > 0 }

// unbalanced reports whether an end tag would end an element that was started
// outside of the current entity.
func (s *scanner) unbalanced() bool {
	return s.inEntity() && len(s.open) <= s.ents.stack[len(s.ents.stack)-1].open
}
