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

// nameAttr finishes an attribute whose value is a qualified name: from is where
// the attribute begins. Unless the default namespace is the one that is meant, a
// prefix is declared in front of it.
func (w *appender) nameAttr(from int, space, local string, v exi.Value) error {
	if space == w.def || space == "" {
		text := local
		if space == "" {
			text = v.String()
		}
		if err := w.escapeAttr(text); err != nil {
			return err
		}
		w.dst = append(w.dst, '\'')
		return nil
	}
	head := string(w.dst[from:])
	prefix := "_" + w.serial()
	w.fresh++
	w.dst = append(append(append(w.dst[:from], " xmlns:"...), prefix...), "='"...)
	if err := w.escapeAttr(space); err != nil {
		return err
	}
	w.dst = append(append(append(w.dst, '\''), head...), prefix...)
	w.dst = append(w.dst, ':')
	if err := w.escapeAttr(local); err != nil {
		return err
	}
	w.dst = append(w.dst, '\'')
	return nil
}
