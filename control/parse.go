package control

import (
	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// request is a parsed set or getForm.
type request struct {
	nodes  []node.Ref
	wants  []want
	form   bool // the wants come from a submitted form
	cancel bool // a form was given up: nothing to do (D23)
	// hidden are the values of the form's hidden fields: one of them may name
	// its session, whatever the field is called (D15).
	hidden []string
	lang   string // xml:lang of texts; empty for none

	serviceToken, deviceToken, userToken string
}

// want is one value somebody wants a parameter to have, not yet compared with
// the parameter.
type want struct {
	name string
	kind drivers.Kind // of the typed element; none for a form field, which is text
	text string       // the value as text
	// missing says that a form field came without a value (D30).
	missing bool
}

// parser reads requests and keeps the first fault.
type parser struct {
	r     request
	names int
	xs    int
	// anyType takes forms of every type (a cancelled one comes back whole).
	anyType bool
	err     *xmpp.Error
}

// parseRequest reads a set or getForm element. More than names nodes and
// parameters are refused.
func parseRequest(c exi.Cursor, names int) (*request, *xmpp.Error) {
	p := parser{names: names}
	for name, v := range c.Attrs() {
		switch name {
		case attrServiceToken:
			p.r.serviceToken = v.String()
		case attrDeviceToken:
			p.r.deviceToken = v.String()
		case attrUserToken:
			p.r.userToken = v.String()
		}
	}
	set := c.Name() == nameSet
	for k := range c.Children() {
		switch kind, typed := typedElements[k.Name()]; {
		case k.Name() == nameNode:
			p.node(k)
		case !set:
		case typed:
			p.typed(k, kind)
		case k.Name() == nameX:
			p.x(k)
		case k.Name().Value().Space == NS:
			p.fail("%s is no type of parameter", k.Name().Value().Local)
		}
	}
	if set && p.xs == 0 && len(p.r.wants) == 0 {
		p.fail("nothing to set") // D9
	}
	return &p.r, p.err
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = refusef(xmpp.BadRequest, format, args...)
	}
}

func (p *parser) count() {
	if p.names--; p.names < 0 {
		p.fail("more nodes and parameters are named than this gateway takes in one request")
	}
}

func (p *parser) node(c exi.Cursor) {
	p.count()
	id, ok := c.Attr(attrNodeID)
	if !ok {
		p.fail("a node has no nodeId")
		return
	}
	source, _ := c.Attr(attrSourceID)
	cache, _ := c.Attr(attrCacheType)
	p.r.nodes = append(p.r.nodes, node.Ref{ID: id.String(), Source: source.String(), Cache: cache.String()})
}

func (p *parser) typed(c exi.Cursor, kind drivers.Kind) {
	p.count()
	name, ok := c.Attr(attrName)
	if !ok || name.IsZero() {
		p.fail("a parameter has no name")
		return
	}
	v, ok := c.Attr(attrValue)
	if !ok {
		p.fail("parameter %s has no value", name)
		p.blame(name.String(), "the value is missing")
		return
	}
	if p.xs > 0 {
		p.fail("typed parameters and a form in one request have no order") // D7
	}
	p.r.wants = append(p.r.wants, want{name: name.String(), kind: kind, text: v.String()})
}

// blame adds a paramError to the first fault, if that has none.
func (p *parser) blame(name, text string) {
	if r, ok := p.err.App.(*refusal); ok && r.params == nil {
		r.params = paramErrors{{name, node.Verbatim(text)}}
	}
}

// x reads a form (D7, D8, D23, 0004 §3).
func (p *parser) x(c exi.Cursor) {
	p.xs++
	switch {
	case p.xs > 1:
		p.fail("more than one form")
		return
	case len(p.r.wants) > 0:
		p.fail("typed parameters and a form in one request have no order")
		return
	}
	p.r.form = true
	switch v, _ := c.Attr(attrType); {
	case v.Is("cancel"):
		p.r.cancel = true
	case !v.Is("submit") && !p.anyType:
		p.fail("a form to set something has the type submit")
		return
	}
	seen := make(map[string]bool)
	for f := range c.Children() {
		if f.Name() == nameField {
			p.field(f, seen)
		}
	}
}

func (p *parser) field(c exi.Cursor, seen map[string]bool) {
	p.count()
	typ, _ := c.Attr(attrType)
	if typ.Is("fixed") {
		return
	}
	name, ok := c.Attr(attrVar)
	if !ok {
		p.fail("a field has no var")
		return
	}
	if seen[name.String()] {
		p.fail("field %s is there twice", name)
		p.blame(name.String(), "is there twice")
		return
	}
	seen[name.String()] = true
	if typ.Is("hidden") || name.Is(sessionVar) { // never counts as a parameter (D24)
		if v := c.Child(nameValue); v.Valid() {
			p.r.hidden = append(p.r.hidden, v.Text().String())
		}
		return
	}
	w := want{name: name.String(), missing: true}
	for v := range c.Children() {
		if v.Name() != nameValue {
			continue
		}
		if !w.missing { // R55: no parameter takes a list
			p.fail("field %s has several values", name)
			p.blame(name.String(), "has several values")
			return
		}
		w.text, w.missing = v.Text().String(), false
	}
	p.r.wants = append(p.r.wants, w)
}
