package control

import (
	"context"
	"errors"
	"strings"

	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// refusal is what a stanza error of this package says, for people: text about
// the whole, and what is wrong with which parameter. As a payload it is the
// paramError elements (XEP-0325 §3).
type refusal struct {
	text   *node.Phrase
	params paramErrors
}

// paramFault is what is wrong with one parameter.
type paramFault struct {
	name string
	text *node.Phrase
}

type paramErrors []paramFault

// AppendEvents writes the elements. They have no xml:lang, which their schema
// does not know and a strict EXI stream could not carry: that of the stanza
// counts for them.
func (r *refusal) AppendEvents(d *exi.Doc) {
	for _, f := range r.params {
		d.Start(nameParamError)
		d.Attr(attrVar, exi.Str(f.name))
		if f.text.Text != "" {
			d.Text(exi.Str(f.text.Text))
		}
		d.End()
	}
}

func newRefusal(c xmpp.Condition, text *node.Phrase, params paramErrors) *xmpp.Error {
	return &xmpp.Error{Condition: c, Text: text.Text, App: &refusal{text, params}}
}

// refusef is xmpp.NewError for a text with something filled in.
func refusef(c xmpp.Condition, format string, args ...any) *xmpp.Error {
	return newRefusal(c, node.Phrasef(format, args...), nil)
}

// refuse returns the error for faulty parameters.
func refuse(c xmpp.Condition, faults paramErrors) *xmpp.Error {
	text := node.Phrasef("%s %s", faults[0].name, faults[0].text)
	if len(faults) > 1 {
		text = node.Phrasef("%s, and %d more", text, len(faults)-1)
	}
	return newRefusal(c, text, faults)
}

// refuseOf returns the error for a parameter of one of several nodes.
func refuseOf(n *node.Node, parameter string, c xmpp.Condition, text *node.Phrase) *xmpp.Error {
	return refuse(c, paramErrors{{parameter, node.Phrasef("of %s: %s", n.Title(), text)}})
}

// refuse returns the error for a write that may succeed later.
func (w *write) refuse(c xmpp.Condition, text *node.Phrase) *xmpp.Error {
	return refuseOf(w.node, w.param.Name, c, text).WithType(xmpp.Wait)
}

// deviceSays puts the end of an error of a driver into words that can be
// translated; what comes before is names and addresses.
func deviceSays(err error) *node.Phrase {
	if errors.Is(err, context.DeadlineExceeded) {
		err = drivers.ErrTimeout
	}
	for _, known := range [...]error{drivers.ErrTimeout, drivers.ErrGone, drivers.ErrClosed, drivers.ErrProtocol, drivers.ErrValue, drivers.ErrChannel} {
		if before, ok := strings.CutSuffix(err.Error(), known.Error()); ok {
			return node.Phrasef("%s%s", before, node.Verbatim(known.Error()))
		}
	}
	return node.Verbatim(err.Error())
}
