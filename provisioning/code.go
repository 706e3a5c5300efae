package provisioning

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
)

// Code is what a claim code says: the tags a thing registered, in order, and
// in the URI form the registry that knows it.
type Code struct {
	Tags     []Tag
	Registry jid.JID // zero where the code does not say
}

// NewKey returns a secret of 160 bits for the KEY tag (0347-R65), in letters and
// digits that are not taken for one another.
func NewKey() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return base32.StdEncoding.EncodeToString(b[:])
}

const codePrefix = "IoTDisco"

// String writes the form of XEP-0347 §3.3, for QR codes (0347-R58). The
// registry is not part of it.
func (c Code) String() string {
	var b strings.Builder
	b.WriteString(codePrefix)
	for _, t := range c.Tags {
		b.WriteByte(';')
		if t.Numeric {
			b.WriteByte('#')
		}
		b.WriteString(t.Name)
		b.WriteByte(':')
		for i := range len(t.Value) {
			if t.Value[i] == ';' || t.Value[i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(t.Value[i])
		}
	}
	return b.String()
}

const (
	uriScheme   = "iotdisco:"
	uriRegistry = "R"
)

// URI writes the iotdisco: form: name=value pairs with percent-encoding, the
// registry in R (0347-D9).
func (c Code) URI() string {
	var b strings.Builder
	b.WriteString(uriScheme)
	pair := func(name, value string) {
		if b.Len() > len(uriScheme) {
			b.WriteByte(';')
		}
		b.WriteString(name + "=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
	}
	for _, t := range c.Tags {
		name := strings.ReplaceAll(url.QueryEscape(t.Name), "+", "%20")
		if t.Numeric {
			name = "#" + name
		}
		pair(name, t.Value)
	}
	if r := c.Registry.String(); r != "" {
		pair(uriRegistry, r)
	}
	return b.String()
}

// ErrCode says that a text is no claim code.
var ErrCode = errors.New("not a claim code, which begins with IoTDisco; or iotdisco")

// maxCode bounds a code: 64 tags of the greatest length, escaped.
const maxCode = 64 << 10

// ParseCode reads either form. In the URI form a tag named R is the registry.
func ParseCode(s string) (Code, error) {
	s = strings.TrimRight(s, "\r\n") // of the file or scanner it came from
	if len(s) > maxCode {
		return Code{}, fmt.Errorf("%w: too long", ErrCode)
	}
	if len(s) > len(uriScheme) && strings.EqualFold(s[:len(uriScheme)], uriScheme) {
		return parseURI(s[len(uriScheme):])
	}
	rest, ok := strings.CutPrefix(s, codePrefix+";")
	if !ok {
		return Code{}, ErrCode
	}
	var c Code
	parts, err := splitEscaped(rest)
	if err != nil {
		return Code{}, err
	}
	for _, part := range parts {
		name, value, ok := strings.Cut(part, ":") // 0347-D15
		if !ok {
			return Code{}, fmt.Errorf("%w: %q has no colon", ErrCode, part)
		}
		c.add(name, value)
	}
	return c, c.check()
}

// splitEscaped splits at semicolons that no backslash stands before, and takes
// the backslashes out. Names hold neither, so the whole part may be unescaped.
func splitEscaped(s string) ([]string, error) {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return nil, fmt.Errorf("%w: it ends in the middle of an escape", ErrCode)
			}
			b.WriteByte(s[i])
		case ';':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	return append(parts, b.String()), nil
}

func parseURI(s string) (Code, error) {
	var c Code
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ';' || r == '&' }) {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return Code{}, fmt.Errorf("%w: %q has no equals sign", ErrCode, part)
		}
		// A plus is a plus here, no space.
		n, err := url.PathUnescape(name)
		if err != nil {
			return Code{}, fmt.Errorf("%w: %w", ErrCode, err)
		}
		v, err := url.PathUnescape(value)
		if err != nil {
			return Code{}, fmt.Errorf("%w: %w", ErrCode, err)
		}
		if FoldTag(n) == uriRegistry {
			if c.Registry, err = xmpp.ParseJID(v); err != nil {
				return Code{}, fmt.Errorf("%w: registry: %w", ErrCode, err)
			}
			continue
		}
		c.add(n, v)
	}
	return c, c.check()
}

func (c *Code) add(name, value string) {
	name, numeric := strings.CutPrefix(name, "#")
	c.Tags = append(c.Tags, Tag{Name: name, Numeric: numeric, Value: value})
}

func (c *Code) check() error {
	if len(c.Tags) == 0 {
		return fmt.Errorf("%w: it holds no tags", ErrCode)
	}
	if err := CheckTags(c.Tags); err != nil {
		return fmt.Errorf("%w: %w", ErrCode, err)
	}
	return nil
}

// KeyBits estimates from above how much chance is in the KEY of tags: the
// number of characters times the bits that the classes of characters in use
// allow. It is 0 without a KEY. A registry refuses claims below a bound, so
// that nobody finds a thing by trying (0347-D17).
func KeyBits(tags []Tag) float64 {
	t, ok := FindTag(tags, KeyTag)
	if !ok || t.Numeric {
		return 0
	}
	var digits, lower, upper, other, n int
	distinct := make(map[rune]bool)
	for _, r := range t.Value {
		n++
		distinct[r] = true
		switch {
		case r >= '0' && r <= '9':
			digits = 10
		case r >= 'a' && r <= 'z':
			lower = 26
		case r >= 'A' && r <= 'Z':
			upper = 26
		default:
			other = 33
		}
	}
	if len(distinct) < 2 {
		return 0
	}
	return float64(n) * math.Log2(float64(digits+lower+upper+other))
}
