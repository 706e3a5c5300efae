package thing

import (
	"context"
	"errors"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// Parameter is a value to set.
type Parameter struct {
	Name  string
	Kind  string // element: boolean, int, long, double, string, …
	Value string // in the form of the kind's XML Schema type
}

// Applied says what a thing did. Empty lists mean: as asked (0325-R06).
type Applied struct {
	Nodes      []node.Ref
	Parameters []string
}

// Narrowed reports whether the thing did less than it was asked.
func (a Applied) Narrowed() bool { return len(a.Nodes)+len(a.Parameters) > 0 }

// Refused is a refusal with what the thing said about each parameter.
type Refused struct {
	Err        *xmpp.Error
	Parameters []ParameterFault
}

// ParameterFault is what is wrong with one parameter.
type ParameterFault struct{ Name, Text string }

// Error makes *Refused an error.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap returns the stanza error.
func (r *Refused) Unwrap() error { return r.Err }

// Set sets parameters of the thing at to, a full JID, in the given order, on
// the given nodes or on the thing itself, and waits for the answer. A refusal
// is a *Refused.
func (c *Client) Set(ctx context.Context, to jid.JID, nodes []node.Ref, params []Parameter) (Applied, error) {
	var done Applied
	var refused *Refused
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, To: to, Payload: setPayload(nodes, params)}
	err := c.s.Query(ctx, st, func(st *xmpp.Stanza) error {
		done, refused = parseResponse(st.Child())
		return nil
	})
	var e *xmpp.Error
	if errors.As(err, &e) {
		return Applied{}, &Refused{e, parameterFaults(e.Elem)}
	}
	if err == nil && refused != nil {
		err = refused
	}
	return done, err
}

func setPayload(nodes []node.Ref, params []Parameter) xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(exi.N(NSControl, "set"))
		appendNodes(d, NSControl, nodes)
		for _, p := range params {
			d.Start(exi.N(NSControl, p.Kind))
			d.Attr(exi.N("", "name"), exi.Str(p.Name))
			d.Attr(exi.N("", "value"), exi.Str(p.Value))
			d.End()
		}
		d.End()
	})
}

// parseResponse reads a setResponse. Things of before version 0.3 put their
// refusal into a response code.
func parseResponse(el exi.Cursor) (Applied, *Refused) {
	var a Applied
	if code := attr(el, "responseCode"); code != "" && code != "OK" {
		cond := xmpp.UndefinedCondition
		if code == "NotFound" {
			cond = xmpp.ItemNotFound
		}
		return a, &Refused{Err: xmpp.NewError(cond, "the thing answered "+code)}
	}
	for c := range el.Children() {
		switch _, name := local(c); name {
		case "node":
			a.Nodes = append(a.Nodes, ref(c))
		case "parameter":
			a.Parameters = append(a.Parameters, attr(c, "name"))
		}
	}
	return a, nil
}

func parameterFaults(el exi.Cursor) []ParameterFault {
	var all []ParameterFault
	for c := range el.Children() {
		if space, name := local(c); space == NSControl && name == "paramError" {
			all = append(all, ParameterFault{attr(c, "var"), c.Text().String()})
		}
	}
	return all
}
