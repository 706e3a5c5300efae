package node

import "strings"

// LabelIn returns the label in a language, as xml:lang has it: exactly that
// one, else that of a shorter tag (de for de-AT, RFC 4647 §3.4), else Label.
func (p *Parameter) LabelIn(lang string) string {
	for tag := strings.ToLower(lang); tag != ""; {
		if l := p.Labels[tag]; l != "" {
			return l
		}
		i := strings.LastIndexByte(tag, '-')
		if i < 0 {
			break
		}
		tag = tag[:i]
	}
	return p.Label
}
