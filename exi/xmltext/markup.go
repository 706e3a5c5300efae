package xmltext

import (
	"errors"
	"strings"
)

// Comments and instructions are read into s.aside, because s.text may hold
// character data that goes on behind them.

// commentText reads a comment behind "<!" (XML 1.0 §2.5).
func (s *scanner) commentText() ([]byte, error) {
	if err := s.expect("--", errMarkup); err != nil {
		return nil, err
	}
	if err := s.until("--"); err != nil {
		return nil, err
	}
	return s.aside, s.expect(">", errors.New("'--' within a comment"))
}

// instructionText reads a processing instruction behind "<?" (XML 1.0 §2.6).
func (s *scanner) instructionText() (target string, text []byte, err error) {
	raw, colon, err := s.name()
	if err != nil {
		return "", nil, err
	}
	target = string(raw)
	if strings.EqualFold(target, "xml") || colon > 0 {
		return "", nil, s.notWell(errName)
	}
	gap, err := s.space()
	if err != nil {
		return "", nil, err
	}
	if !gap {
		s.aside = s.aside[:0]
		return target, nil, s.expect("?>", errMarkup)
	}
	if err := s.until("?>"); err != nil {
		return "", nil, err
	}
	return target, s.aside, nil
}

// until reads into s.aside up to and including the two octets of stop, which
// are not kept.
func (s *scanner) until(stop string) error {
	// special appends to s.text; swapping lets it serve both.
	s.text, s.aside = s.aside[:0], s.text
	defer func() { s.text, s.aside = s.aside, s.text }()
	var last byte
	for {
		c, err := s.peek()
		switch {
		case err != nil:
			return err
		case c == stop[1] && last == stop[0]:
			s.pos++
			s.text = s.text[:len(s.text)-1]
			return nil
		case c == '\r' || c >= 0x80:
			if err := s.special(c, false); err != nil {
				return err
			}
			c = 0
		case c < 0x20 && c != '\n' && c != '\t':
			return s.notWell(errChar)
		default:
			s.pos++
			s.text = append(s.text, c)
		}
		last = c
	}
}
