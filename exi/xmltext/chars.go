package xmltext

import (
	"unicode/utf8"
)

// Classes of octets, so that the inner loops look each one up once.
const (
	clName  uint8 = 1 << iota // may be part of a name (all octets from 0x80 up count)
	clStart                   // may start a name
	clSpace                   // white space
	clText                    // needs a look in character data
	clAttr                    // needs a look in an attribute value
	clEscT                    // must be escaped or checked when written as text
	clEscA                    // must be escaped or checked when written in an attribute
)

// classes is constant: nothing writes to it after the program started.
var classes = func() (t [256]uint8) {
	for c := 0; c < 256; c++ {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
		if letter {
			t[c] |= clStart | clName
		}
		if c >= '0' && c <= '9' || c == '-' || c == '.' || c == ':' {
			t[c] |= clName
		}
		switch c {
		case ' ':
			t[c] |= clSpace
		case '\t', '\n':
			t[c] |= clSpace | clAttr | clEscA
		case '\r':
			t[c] |= clSpace | clAttr | clText | clEscA | clEscT
		case '<', '&':
			t[c] |= clText | clAttr | clEscT | clEscA
		case '>':
			t[c] |= clEscT
		case ']':
			t[c] |= clText
		case '"':
			t[c] |= clAttr
		case '\'':
			t[c] |= clAttr | clEscA
		default:
			if c < 0x20 || c >= 0x80 {
				t[c] |= clText | clAttr | clEscT | clEscA
			}
		}
	}
	return t
}()

// isChar reports whether r may occur in a document (XML 1.0 §2.2 production 2).
func isChar(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r <= 0xd7ff:
		return true
	case r < 0xe000:
		return false
	case r <= 0xfffd:
		return true
	}
	return r >= 0x10000 && r <= utf8.MaxRune
}

// isNameStart is XML 1.0 §2.3 production 4 without the colon.
func isNameStart(r rune) bool {
	switch {
	case r < 0x80:
		return classes[byte(r)]&clStart != 0
	case r < 0x300:
		return r >= 0xc0 && r != 0xd7 && r != 0xf7
	case r < 0x2000:
		return r >= 0x370 && r != 0x37e
	case r < 0x3001:
		return r == 0x200c || r == 0x200d || r >= 0x2070 && r <= 0x218f || r >= 0x2c00 && r <= 0x2fef
	case r <= 0xd7ff:
		return true
	}
	return r >= 0xf900 && r <= 0xfdcf || r >= 0xfdf0 && r <= 0xfffd || r >= 0x10000 && r <= 0xeffff
}

// isNameChar is XML 1.0 §2.3 production 4a without the colon.
func isNameChar(r rune) bool {
	if isNameStart(r) {
		return true
	}
	switch {
	case r < 0x80:
		return r >= '0' && r <= '9' || r == '-' || r == '.'
	case r == 0xb7:
		return true
	}
	return r >= 0x300 && r <= 0x36f || r == 0x203f || r == 0x2040
}

// validNCName reports whether s is a name without a colon.
func validNCName[T ~string | ~[]byte](s T) bool {
	if len(s) == 0 || classes[s[0]]&clStart == 0 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 {
			return validWideName(string(s))
		}
		if classes[c]&clName == 0 || c == ':' {
			return false
		}
	}
	return true
}

func validWideName(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if i == 0 && !isNameStart(r) || !isNameChar(r) {
			return false
		}
	}
	return s != ""
}
