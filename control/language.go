package control

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/node"
	"postern/xmpp"
)

// langOf returns the language that a request asks for: xml:lang of what it
// holds, as the printed examples have it (D1), else of the stanza.
func langOf(st *xmpp.Stanza) string {
	for c := range st.Elem.Children() {
		if v, ok := c.Attr(attrLang); ok {
			return v.String()
		}
	}
	return st.Lang
}

// translated makes a handler refuse in the language that it was asked in.
func translated(h xmpp.HandlerFunc) xmpp.HandlerFunc {
	return func(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		p, err := h(ctx, st)
		return p, inLanguage(langOf(st), err)
	}
}

// The languages of the catalogue.
const (
	english = "en"
	german  = "de"
)

// inLanguage returns a stanza error with its texts in a language where all of
// them exist in it, else in English, and with xml:lang (0325-R34; RFC 6120
// §8.3.2). The error that came in stays as it is, for the record. Errors of
// other kinds are returned as they are.
func inLanguage(lang string, err error) error {
	var e *xmpp.Error
	if !errors.As(err, &e) || e.Text == "" || e.Lang != "" {
		return err
	}
	out := *e
	out.Lang = english
	if !speaksGerman(lang) {
		return &out
	}
	r, ok := e.App.(*refusal)
	if !ok { // a text with nothing filled in, of this package or of who decides
		if text, ok := lookUp(e.Text); ok {
			out.Text, out.Lang = text, german
		}
		return &out
	}
	text, ok := inGerman(r.text)
	if !ok {
		return &out
	}
	said := &refusal{text: node.Verbatim(text)}
	for _, f := range r.params {
		text, ok := inGerman(f.text)
		if !ok {
			return &out
		}
		said.params = append(said.params, paramFault{f.name, node.Verbatim(text)})
	}
	out.Text, out.Lang, out.App = text, german, said
	return &out
}

// saidIn says a phrase in a language, or in English where a part of it has no
// translation.
func saidIn(lang string, p *node.Phrase) string {
	if speaksGerman(lang) {
		if text, ok := inGerman(p); ok {
			return text
		}
	}
	return p.Text
}

// inGerman translates a phrase; ok is false where a part of it is not in the
// catalogue. Names, values and somebody's own words stay as they are.
func inGerman(p *node.Phrase) (text string, ok bool) {
	if p.Format == "" {
		if text, ok := lookUp(p.Text); ok {
			return text, true
		}
		return p.Text, true
	}
	format, ok := lookUp(p.Format)
	if !ok {
		return "", false
	}
	args := make([]any, len(p.Args))
	for i, a := range p.Args {
		part, is := a.(*node.Phrase)
		if !is {
			args[i] = a
			continue
		}
		if args[i], ok = inGerman(part); !ok {
			return "", false
		}
	}
	return fmt.Sprintf(format, args...), true
}

func speaksGerman(lang string) bool {
	return node.PickLanguage(lang, func(tag string) bool { return tag == german || tag == english }) == german
}

// lookUp finds the German for a format or a whole text.
func lookUp(text string) (string, bool) {
	for i := range catalogue {
		if catalogue[i][0] == text {
			return catalogue[i][1], true
		}
	}
	return "", false
}
