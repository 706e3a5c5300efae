package xmltext

import (
	"strings"

	"postern/exi"
)

// typeName gives the value of xsi:type the namespace that its prefix stands
// for; text with a prefix that is not bound stays text.
func (s *scanner) typeName(v exi.Value) exi.Value {
	text := strings.Trim(v.View(), " \t\r\n")
	prefix, _, found := strings.Cut(text, ":")
	if !found {
		return exi.NameValue(s.def.space, text)
	}
	ns, ok := s.resolve([]byte(prefix))
	if !ok {
		return v
	}
	return exi.NameValue(ns.space, text)
}

// nameText returns the text of a qualified name in content, with a prefix that
// is bound to its namespace.
func (x *Writer) nameText(first int, v exi.Value) (string, error) {
	space, want, local, _ := v.Name()
	if now, ok := x.bound(want); space == "" || ok && now == space {
		return v.String(), nil
	}
	prefix, err := x.attrPrefix(first, want, space)
	return prefix + ":" + local, err
}
