package xsd

import (
	"slices"
	"sort"
	"strings"

	"postern/exi"
)

// typeDef is a type definition.
type typeDef struct {
	name exi.Name // zero for anonymous types
	node *node    // nil for built-in types
	self *global  // of named types
	base *typeDef

	state    resolution
	complex  bool
	subtypes bool // has named sub-types

	// simple holds the representation of a simple type or of simple content;
	// simple.data is nil where there is neither.
	simple simpleInfo

	// Of complex types:
	mixed   bool
	content *particle // nil for empty content
	attrs   []attrUse
	wild    *wildcard

	out *exi.Type
}

type resolution uint8

const (
	unresolved resolution = iota
	resolving
	resolved
)

// maxDerivation bounds chains of base types and other nested references.
const maxDerivation = 500

// typeRef resolves a reference to a type. within is the type whose definition
// holds the reference, or nil: in a redefinition its own name means the type
// that is redefined.
func (c *compiler) typeRef(n *node, value string, within *typeDef) *typeDef {
	name := c.qname(n, value)
	if within != nil && within.self != nil && within.self.old != nil && within.name == name {
		return c.globalType(within.self.old)
	}
	if g := c.types[name]; g != nil {
		return c.globalType(g)
	}
	if t := c.builtin[name]; t != nil {
		return t
	}
	c.undeclared(n, "type", name)
	return c.anySimple
}

func (c *compiler) globalType(g *global) *typeDef {
	t := c.typeOf[g]
	if t == nil {
		t = &typeDef{name: c.declaredName(g.node), node: g.node, self: g}
		c.typeOf[g] = t
	}
	return c.resolve(t)
}

func (c *compiler) anonymousType(n *node) *typeDef {
	t := c.anonymous[n]
	if t == nil {
		t = &typeDef{node: n}
		c.anonymous[n] = t
	}
	return c.resolve(t)
}

// resolve fills in the properties of a type. Element declarations in its
// content are left unresolved, so that content may be recursive.
func (c *compiler) resolve(t *typeDef) *typeDef {
	switch {
	case t.state == resolved:
		return t
	case t.state == resolving:
		c.fail(t.node, "is derived from itself")
		return c.anySimple
	case c.depth >= maxDerivation:
		c.fail(t.node, "more than %d types derived from each other", maxDerivation)
		return c.anySimple
	}
	t.state = resolving
	c.depth++
	if t.node.kind == "complexType" {
		t.complex = true
		c.complexType(t)
	} else {
		c.simpleType(t)
	}
	c.depth--
	t.state = resolved
	if t.name != (exi.Name{}) && t.base != nil {
		t.base.subtypes = true
	}
	return t
}

// elemDef is an element declaration.
type elemDef struct {
	name     exi.Name
	node     *node
	nillable bool
	typ      *typeDef
	head     exi.Name // substitution group affiliation
	busy     bool
	out      *exi.ElementDecl
	terms    []term // of a particle that refers to this declaration
}

// declared returns the declaration made by an element element with a name.
func (c *compiler) declared(n *node) *elemDef {
	e := c.elemOf[n]
	if e != nil {
		return e
	}
	local, _ := n.attr("name")
	space := ""
	if c.isTop(n) || c.qualified(n, n.doc.qualElems) {
		space = n.doc.target
	}
	e = &elemDef{name: exi.N(space, local), node: n, nillable: n.isTrue("nillable")}
	c.elemOf[n] = e
	if v, ok := n.attr("substitutionGroup"); ok && c.isTop(n) {
		e.head = c.qname(n, v)
	}
	return e
}

// isTop reports whether n is a top-level component.
func (c *compiler) isTop(n *node) bool {
	name, _ := n.attr("name")
	q := exi.N(n.doc.target, name)
	var g *global
	switch n.kind {
	case "element":
		g = c.elements[q]
	case "attribute":
		g = c.attributes[q]
	}
	return g != nil && g.node == n
}

func (c *compiler) qualified(n *node, byDefault bool) bool {
	switch v, ok := n.attr("form"); {
	case !ok:
		return byDefault
	case v == "qualified":
		return true
	case v != "unqualified":
		c.fail(n, "form is neither qualified nor unqualified")
	}
	return false
}

// elementType resolves the type of an element declaration: the one it names or
// holds, else that of the head of its substitution group, else anyType.
func (c *compiler) elementType(e *elemDef) *typeDef {
	if e.typ != nil {
		return e.typ
	}
	if e.busy || c.depth >= maxDerivation {
		c.fail(e.node, "substitution group leads back to the element itself, or is a chain of more than %d", maxDerivation)
		e.typ = c.anyType
		return e.typ
	}
	e.busy = true
	c.depth++
	if v, ok := e.node.attr("type"); ok {
		e.typ = c.typeRef(e.node, v, nil)
	} else if k := e.node.child("complexType", "simpleType"); k != nil {
		e.typ = c.anonymousType(k)
	} else if g := c.elements[e.head]; e.head != (exi.Name{}) && g != nil {
		e.typ = c.elementType(c.declared(g.node))
	} else {
		e.typ = c.anyType
	}
	c.depth--
	e.busy = false
	return e.typ
}

// declareAll resolves every component of the loaded documents: all names, the
// type hierarchy and the substitution groups are complete afterwards.
func (c *compiler) declareAll() {
	for i := 0; i < len(c.order); i++ { // resolving may bring in the xml namespace
		c.walk(c.order[i].root, func(n *node) {
			switch n.kind {
			case "element":
				if n.has("name") {
					c.elementType(c.declared(n))
				} else if !n.has("ref") {
					c.fail(n, "has neither name nor ref")
				}
			case "attribute":
				if n.has("name") && !n.is("use", "prohibited") {
					c.attribute(n)
				}
			case "complexType", "simpleType":
				if !n.has("name") {
					c.anonymousType(n)
				}
			}
		})
	}
	for _, name := range sortedNames(c.types) {
		c.globalType(c.types[name])
	}
	for _, name := range sortedNames(c.elements) {
		e := c.declared(c.elements[name].node)
		if e.head == (exi.Name{}) {
			continue
		}
		if c.elements[e.head] == nil {
			c.undeclared(e.node, "the head of the substitution group", e.head)
			continue
		}
		c.substitut[e.head] = append(c.substitut[e.head], e)
	}
	c.reach()
}

// reach lists the declarations that belong to the schema: the global ones and
// those in the types. What stands in a named group that no type refers to
// belongs to nothing; EXI 1.0 §7.3.1 and §8.5.2 do not say so, but the codecs in
// the field leave it out of string tables and fragment grammars.
func (c *compiler) reach() {
	seen := map[any]bool{}
	var todo []*typeDef
	visit := func(t *typeDef) {
		for ; t != nil && !seen[t]; t = t.base {
			seen[t] = true
			todo = append(todo, t)
		}
	}
	elem := func(e *elemDef) {
		if !seen[e] {
			seen[e] = true
			c.allElems = append(c.allElems, e)
			visit(c.elementType(e))
		}
	}
	attr := func(a *attrDef) {
		if !seen[a] {
			seen[a] = true
			c.allAttrs = append(c.allAttrs, a)
		}
	}
	var content func(p *particle)
	content = func(p *particle) {
		if p == nil || seen[p] {
			return
		}
		seen[p] = true
		if p.elem != nil {
			elem(p.elem)
		}
		for _, k := range p.kids {
			content(k)
		}
	}
	for _, name := range sortedNames(c.types) {
		visit(c.globalType(c.types[name]))
	}
	for _, name := range sortedNames(c.elements) {
		elem(c.declared(c.elements[name].node))
	}
	for _, name := range sortedNames(c.attributes) {
		attr(c.attribute(c.attributes[name].node))
	}
	for len(todo) > 0 {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, u := range t.attrs {
			attr(u.decl)
		}
		content(t.content)
	}
}

func (c *compiler) walk(n *node, visit func(*node)) {
	for _, k := range n.kids {
		visit(k)
		c.walk(k, visit)
	}
}

// substitutes lists the declarations that may stand where e is referred to, e
// included, in the order of EXI 1.0 §8.5.4.1.6.
func (c *compiler) substitutes(e *elemDef) []*elemDef {
	set := []*elemDef{e}
	if c.isTop(e.node) {
		seen := map[*elemDef]bool{e: true}
		for i := 0; i < len(set); i++ {
			for _, m := range c.substitut[set[i].name] {
				if !seen[m] {
					seen[m] = true
					set = append(set, m)
				}
			}
		}
	}
	slices.SortFunc(set, func(a, b *elemDef) int { return compareNames(a.name, b.name) })
	return set
}

// compareNames orders names by local name, then namespace, both by code
// points: the order of EXI 1.0 §8.5.1, §8.5.4.1.3.2 and §8.5.4.3.
func compareNames(a, b exi.Name) int {
	x, y := a.Value(), b.Value()
	if n := strings.Compare(x.Local, y.Local); n != 0 {
		return n
	}
	return strings.Compare(x.Space, y.Space)
}

func sortedNames[T any](m map[exi.Name]T) []exi.Name {
	names := make([]exi.Name, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool { return compareNames(names[i], names[j]) < 0 })
	return names
}
