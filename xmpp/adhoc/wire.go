package adhoc

import (
	"postern/exi"
	"postern/xmpp"
)

const nsData = "jabber:x:data"

func at(local string) exi.Name { return exi.N("", local) }

// Names, interned once.
var (
	nameCommand = exi.N(NS, "command")
	nameActions = exi.N(NS, "actions")
	nameNote    = exi.N(NS, "note")

	nameMalformed  = exi.N(NS, "malformed-action")
	nameBadAction  = exi.N(NS, "bad-action")
	nameBadPayload = exi.N(NS, "bad-payload")
	nameBadSession = exi.N(NS, "bad-sessionid")
	nameExpired    = exi.N(NS, "session-expired")

	attrNode    = at("node")
	attrAction  = at("action")
	attrSession = at("sessionid")
	attrStatus  = at("status")
	attrExecute = at("execute")
	attrType    = at("type")
	attrVar     = at("var")
	attrLabel   = at("label")

	nameX            = exi.N(nsData, "x")
	nameTitle        = exi.N(nsData, "title")
	nameInstructions = exi.N(nsData, "instructions")
	nameField        = exi.N(nsData, "field")
	nameValue        = exi.N(nsData, "value")
	nameOption       = exi.N(nsData, "option")
	nameDesc         = exi.N(nsData, "desc")
	nameRequired     = exi.N(nsData, "required")
	nameReported     = exi.N(nsData, "reported")
	nameItem         = exi.N(nsData, "item")
)

// reply is the command element of an answer.
type reply struct {
	ses     *session // its id and command do not change
	status  string
	preset  string   // the default action; empty where none is offered
	actions []string // prev, next, complete
	form    *Form
	typ     string // of the form
	shown   Values // filled in before
	note    string
	kind    string
}

// AppendEvents writes the element: actions, form, notes.
func (r *reply) AppendEvents(d *exi.Doc) {
	d.Start(nameCommand)
	d.Attr(attrNode, exi.Str(r.ses.cmd.Node))
	d.Attr(attrSession, exi.Str(r.ses.id))
	d.Attr(attrStatus, exi.Str(r.status))
	if r.preset != "" { // always among the children (0050-R09)
		d.Start(nameActions)
		d.Attr(attrExecute, exi.Str(r.preset))
		for _, a := range r.actions {
			d.Start(exi.N(NS, a))
			d.End()
		}
		d.End()
	}
	if r.form != nil {
		r.form.append(d, r.typ, r.shown)
	}
	if r.note != "" {
		kind := r.kind
		if kind == "" {
			kind = "info"
		}
		d.Start(nameNote)
		d.Attr(attrType, exi.Str(kind))
		d.Text(exi.Str(r.note))
		d.End()
	}
	d.End()
}

// fault is a stanza error with a condition of XEP-0050 in it (§4.3).
func fault(c xmpp.Condition, typ string, app exi.Name, text string) *xmpp.Error {
	return &xmpp.Error{Condition: c, Type: typ, Text: text, App: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(app)
		d.End()
	})}
}

func badPayload(text string) *xmpp.Error {
	return fault(xmpp.BadRequest, xmpp.Modify, nameBadPayload, text)
}
