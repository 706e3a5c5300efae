package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
	"postern/xmpp/disco"
)

// Querier sends an iq and waits for its answer; *xmpp.Session is one.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Client sets things over XMPP. It is safe for concurrent use.
type Client struct {
	q     Querier
	known disco.Cache // what capabilities stand for
}

// NewClient returns a Client.
func NewClient(q Querier) *Client { return &Client{q: q} }

// Serves reports whether the thing at a full address can be controlled. caps is
// what its presence announced; where that is known already nobody is asked, and
// without it service discovery is (XEP-0325 §2; R02).
func (c *Client) Serves(ctx context.Context, full jid.JID, caps disco.Caps) (bool, error) {
	info, err := c.known.Info(ctx, c.q, full, caps)
	return info.Has(NS), err
}

// Tokens are what a client shows where trust is delegated (XEP-0324).
type Tokens struct{ Service, Device, User string }

// SetRequest is what Set asks of a thing: every assignment on every node, in
// order.
type SetRequest struct {
	Nodes       []node.Ref // none for the thing itself
	Assignments []Assignment
	Lang        string // xml:lang of texts that come back; empty for none
	Tokens      Tokens
}

// SetResult is what a thing did. Empty lists: exactly what was asked.
type SetResult struct {
	Nodes      []node.Ref
	Parameters []string
}

// ParamError is what a thing said about one parameter.
type ParamError struct{ Name, Text string }

// SetError is a refusal with what was said about parameters.
type SetError struct {
	Refusal *xmpp.Error
	Params  []ParamError
}

// Error lists the parameters behind the condition.
func (e *SetError) Error() string {
	var b strings.Builder
	b.WriteString(e.Refusal.Error())
	for _, p := range e.Params {
		// The text about the whole often is that about its first parameter.
		if p.Text == "" || !strings.Contains(e.Refusal.Text, p.Text) {
			fmt.Fprintf(&b, "; %s: %s", p.Name, p.Text)
		}
	}
	return b.String()
}

// Unwrap returns the stanza error.
func (e *SetError) Unwrap() error { return e.Refusal }

// Set sets parameters and waits until the thing says that it did. A refusal is
// a *SetError, which wraps the *xmpp.Error.
func (c *Client) Set(ctx context.Context, to jid.JID, r SetRequest) (SetResult, error) {
	var res SetResult
	if len(r.Assignments) == 0 {
		return res, errors.New("control: nothing to set")
	}
	err := c.q.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, To: to, Lang: r.Lang, Payload: &r}, func(st *xmpp.Stanza) error {
		var err error
		res, err = parseResponse(st.Child())
		return err
	})
	return res, setError(err)
}

// AppendEvents writes the set element.
func (r *SetRequest) AppendEvents(d *exi.Doc) {
	d.Start(nameSet)
	appendTokens(d, r.Tokens)
	appendNodes(d, r.Nodes)
	for _, a := range r.Assignments {
		d.Start(elementFor(a.Value.Kind()))
		d.Attr(attrName, exi.Str(a.Name))
		d.Attr(attrValue, typedValue(a.Value))
		d.End()
	}
	d.End()
}

func appendTokens(d *exi.Doc, t Tokens) {
	for _, a := range [...]struct {
		name  exi.Name
		value string
	}{{attrServiceToken, t.Service}, {attrDeviceToken, t.Device}, {attrUserToken, t.User}} {
		if a.value != "" {
			d.Attr(a.name, exi.Str(a.value))
		}
	}
}

func appendNodes(d *exi.Doc, nodes []node.Ref) {
	for _, n := range nodes {
		d.Start(nameNode)
		appendRef(d, n)
		d.End()
	}
}

// typedValue keeps numbers and instants typed for EXI.
func typedValue(v drivers.Value) exi.Value {
	switch v.Kind() {
	case drivers.KindBool:
		b, _ := v.Bool()
		return exi.BoolValue(b)
	case drivers.KindInt, drivers.KindLong:
		i, _ := v.Int()
		return exi.IntValue(i)
	case drivers.KindNumber:
		n, _ := v.Number()
		return exi.FloatValue(n.Mant, int(n.Exp))
	case drivers.KindTime:
		t, _ := v.Time()
		return exi.TimeValue(t, -1)
	}
	return exi.Str(v.String())
}

// parseResponse reads setResponse. The responseCode of version 0.2 is honoured;
// an empty result counts as done.
func parseResponse(c exi.Cursor) (SetResult, error) {
	var r SetResult
	if code, ok := c.Attr(attrResponseCode); ok && !code.Is("OK") {
		return r, legacyRefusal(c, code.String())
	}
	for k := range c.Children() {
		switch k.Name() {
		case nameNode:
			id, _ := k.Attr(attrNodeID)
			source, _ := k.Attr(attrSourceID)
			cache, _ := k.Attr(attrCacheType)
			r.Nodes = append(r.Nodes, node.Ref{ID: id.String(), Source: source.String(), Cache: cache.String()})
		case nameParameter:
			name, _ := k.Attr(attrName)
			r.Parameters = append(r.Parameters, name.String())
		}
	}
	return r, nil
}

// legacyRefusal turns a response code of version 0.2 into today's condition.
func legacyRefusal(c exi.Cursor, code string) error {
	cond := xmpp.UndefinedCondition
	switch code {
	case "NotFound":
		cond = xmpp.ItemNotFound
	case "InsufficientPrivileges":
		cond = xmpp.Forbidden
	case "Locked":
		cond = xmpp.Conflict
	case "NotImplemented":
		cond = xmpp.FeatureNotImplemented
	case "FormError":
		cond = xmpp.BadRequest
	}
	e := &SetError{Refusal: xmpp.NewError(cond, code)}
	for k := range c.Children() {
		if k.Name() == n("error") {
			v, _ := k.Attr(attrVar)
			e.Params = append(e.Params, ParamError{v.String(), k.Text().String()})
		}
	}
	return e
}

// setError adds what the error says about parameters.
func setError(err error) error {
	var e *xmpp.Error
	if !errors.As(err, &e) {
		return err
	}
	var have *SetError
	if errors.As(err, &have) {
		return err
	}
	out := &SetError{Refusal: e}
	for k := range e.Elem.Children() {
		if k.Name() == nameParamError {
			v, _ := k.Attr(attrVar)
			out.Params = append(out.Params, ParamError{v.String(), k.Text().String()})
		}
	}
	// Old devices put their answer beside the error.
	if next := e.Elem.Next(); next.Name() == nameSetResponse {
		if code, ok := next.Attr(attrResponseCode); ok {
			return legacyRefusal(next, code.String())
		}
	}
	return out
}

// Field is one field of a control form as a client sees it.
type Field struct {
	Var, Label, Doc string
	Kind            drivers.Kind // by the form's data type; none for hidden fields
	Value           string       // the present one
	Known           bool         // the form says what the present value is
	Values          []string     // all values, for hidden fields
	Hidden          bool
	Writable        bool
	Min, Max        string // empty for no bound
	Regex           string
	Options         []node.Option
	Open            bool // other values than the options are allowed
	Page, Group     string
	Section         string // labels of the sections it is in, outermost first
	NotSame         bool   // the value shown may be another one elsewhere
	PostBack        bool   // the thing wants to see the form when this one was edited
	Error           string // what is wrong with the value, in a dynamic form
}

// Form is a control form.
type Form struct {
	Title        string
	Instructions []string
	Fields       []Field
}

// GetForm asks a thing what can be set (XEP-0325 §3.2.5).
func (c *Client) GetForm(ctx context.Context, to jid.JID, nodes []node.Ref, lang string, t Tokens) (*Form, error) {
	var f *Form
	ask := xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameGetForm)
		appendTokens(d, t)
		appendNodes(d, nodes)
		d.End()
	})
	err := c.q.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: to, Lang: lang, Payload: ask}, func(st *xmpp.Stanza) error {
		var err error
		f, err = formIn(st)
		return err
	})
	return f, setError(err)
}

// formIn is the form that an answer carries.
func formIn(st *xmpp.Stanza) (*Form, error) {
	if st.Child().Name() != nameX {
		return nil, errors.New("control: the thing answered with something that is no form")
	}
	return parseForm(st.Child()), nil
}

// Submit sends values of a form back (R17–R19): only those given, hidden
// fields always, in the order of the form (R23).
func (c *Client) Submit(ctx context.Context, to jid.JID, nodes []node.Ref, f *Form, values map[string]string, lang string, t Tokens) (SetResult, error) {
	var res SetResult
	set := xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameSet)
		appendTokens(d, t)
		appendNodes(d, nodes)
		d.Start(nameX)
		d.Attr(attrType, exi.Str("submit"))
		for i := range f.Fields {
			f.Fields[i].appendSubmit(d, values)
		}
		d.End()
		d.End()
	})
	err := c.q.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, To: to, Lang: lang, Payload: set}, func(st *xmpp.Stanza) error {
		var err error
		res, err = parseResponse(st.Child())
		return err
	})
	return res, setError(err)
}

func (f *Field) appendSubmit(d *exi.Doc, values map[string]string) {
	vs := f.Values
	if !f.Hidden {
		v, edited := values[f.Var]
		if !edited {
			return
		}
		vs = []string{v}
	}
	d.Start(nameField)
	d.Attr(attrVar, exi.Str(f.Var))
	if f.Hidden {
		d.Attr(attrType, exi.Str("hidden"))
	}
	for _, v := range vs {
		d.Element(nameValue, exi.Str(v))
	}
	d.End()
}
