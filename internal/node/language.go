package node

import (
	"errors"
	"fmt"
	"strings"
)

// maxTag bounds language tags, in octets: RFC 5646 §4.4.1 asks for 35, and they
// come from anybody.
const maxTag = 64

// PickLanguage returns the first tag that has allows: lang itself in lower
// case, as xml:lang has it, else a shorter one (de for de-AT, RFC 4647 §3.4);
// empty for none.
func PickLanguage(lang string, has func(tag string) bool) string {
	if len(lang) > maxTag {
		return ""
	}
	for tag := strings.ToLower(lang); tag != ""; {
		if has(tag) {
			return tag
		}
		tag = tag[:max(0, strings.LastIndexByte(tag, '-'))]
	}
	return ""
}

// LabelIn returns the label in a language and the tag that PickLanguage picked
// for it, else Label and no tag.
func (p *Parameter) LabelIn(lang string) (label, tag string) {
	if tag = PickLanguage(lang, func(tag string) bool { return p.Labels[tag] != "" }); tag != "" {
		return p.Labels[tag], tag
	}
	return p.Label, ""
}

// Phrase is an English text for people with what it was made of, so that it
// can be said in another language. It is an error as well.
type Phrase struct {
	Text   string
	Format string // of fmt.Sprintf; empty: Text was said by somebody else
	Args   []any
}

// Phrasef makes a phrase as fmt.Sprintf makes a text. Arguments are not changed
// afterwards; a *Phrase among them is a part with a translation of its own.
func Phrasef(format string, args ...any) *Phrase {
	return &Phrase{Text: fmt.Sprintf(format, args...), Format: format, Args: args}
}

// Verbatim makes a phrase of a text that is a name, a value, or somebody's own
// words.
func Verbatim(text string) *Phrase { return &Phrase{Text: text} }

// PhraseOf returns err as a phrase.
func PhraseOf(err error) *Phrase {
	var p *Phrase
	if errors.As(err, &p) && p.Text == err.Error() {
		return p
	}
	return Verbatim(err.Error())
}

// Error returns the English text.
func (p *Phrase) Error() string { return p.Text }
