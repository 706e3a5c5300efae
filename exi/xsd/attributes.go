package xsd

import (
	"slices"
	"sort"
	"strings"

	"postern/exi"
)

// attrDef is an attribute declaration.
type attrDef struct {
	name exi.Name
	typ  *typeDef
}

func (a *attrDef) data() *exi.Datatype { return a.typ.simple.data }

// attrUse is an attribute of a complex type.
type attrUse struct {
	decl     *attrDef
	required bool
}

// wildcard is an element or attribute wildcard.
type wildcard struct {
	kind wildKind
	not  string   // wildNot: the excluded namespace, "" for none
	uris []string // wildSet, sorted; "" for no namespace
}

type wildKind uint8

const (
	wildAny wildKind = iota
	wildNot
	wildSet
)

// wildcardOf reads the namespace constraint of an any or anyAttribute element.
func (c *compiler) wildcardOf(n *node) *wildcard {
	v, ok := n.attr("namespace")
	switch {
	case !ok || v == "##any":
		return &wildcard{kind: wildAny}
	case v == "##other":
		return &wildcard{kind: wildNot, not: n.doc.target}
	}
	w := &wildcard{kind: wildSet}
	for _, uri := range strings.Fields(v) {
		switch uri {
		case "##targetNamespace":
			uri = n.doc.target
		case "##local":
			uri = ""
		}
		if strings.HasPrefix(uri, "##") {
			c.fail(n, "%q is not a namespace", uri)
		}
		w.uris = append(w.uris, uri)
	}
	slices.Sort(w.uris)
	w.uris = slices.Compact(w.uris)
	return w
}

// intersect is the wildcard that allows what both allow (XML Schema part 1
// §3.10.6). Either may be nil, which stands for no constraint.
func intersect(a, b *wildcard) *wildcard {
	switch {
	case a == nil || a.kind == wildAny && b != nil:
		return b
	case b == nil || b.kind == wildAny:
		return a
	case a.kind == wildNot && b.kind == wildNot:
		if a.not == "" {
			return b
		}
		return a
	case a.kind == wildNot:
		a, b = b, a
	}
	w := &wildcard{kind: wildSet}
	for _, uri := range a.uris {
		if b.kind == wildSet && slices.Contains(b.uris, uri) || b.kind == wildNot && uri != b.not && uri != "" {
			w.uris = append(w.uris, uri)
		}
	}
	return w
}

// unite is the wildcard that allows what either allows. Either may be nil,
// which stands for nothing.
func unite(a, b *wildcard) *wildcard {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.kind == wildAny || b.kind == wildAny:
		return &wildcard{kind: wildAny}
	case a.kind == wildSet && b.kind == wildSet:
		w := &wildcard{kind: wildSet, uris: slices.Concat(a.uris, b.uris)}
		slices.Sort(w.uris)
		w.uris = slices.Compact(w.uris)
		return w
	case a.kind == wildNot && b.kind == wildNot:
		if a.not == b.not {
			return a
		}
		return &wildcard{kind: wildNot}
	case a.kind == wildSet:
		a, b = b, a
	}
	if slices.Contains(b.uris, a.not) {
		return &wildcard{kind: wildAny} // or all but no namespace: the same to EXI
	}
	return a
}

// attribute returns the declaration made by an attribute element with a name.
func (c *compiler) attribute(n *node) *attrDef {
	a := c.attrOf[n]
	if a != nil {
		return a
	}
	local, _ := n.attr("name")
	space := ""
	if c.isTop(n) || c.qualified(n, n.doc.qualAttrs) {
		space = n.doc.target
	}
	a = &attrDef{name: exi.N(space, local), typ: c.anySimple}
	c.attrOf[n] = a
	if v, ok := n.attr("type"); ok {
		a.typ = c.typeRef(n, v, nil)
	} else if k := n.child("simpleType"); k != nil {
		a.typ = c.anonymousType(k)
	}
	if a.typ.complex {
		c.fail(n, "the type of an attribute must be a simple type")
		a.typ = c.anySimple
	}
	return a
}

// attrSet is what an attribute group or the attributes of a type come to.
type attrSet struct {
	uses       []attrUse
	prohibited []exi.Name
	wild       *wildcard
}

// attributeSet gathers the attribute uses and wildcards among the children of n.
// within is the attribute group that n defines, if it does.
func (c *compiler) attributeSet(n *node, within *global) *attrSet {
	set := &attrSet{}
	for _, k := range n.kids {
		switch k.kind {
		case "attribute":
			c.attributeUse(set, k)
		case "attributeGroup":
			if g := c.attrGroup(k, within); g != nil {
				for _, u := range g.uses {
					set.add(u)
				}
				set.wild = intersect(set.wild, g.wild)
			}
		case "anyAttribute":
			set.wild = intersect(c.wildcardOf(k), set.wild)
		}
		if len(set.uses) > maxLeaves {
			c.overBudget(k, "more than %d attributes", maxLeaves)
			break
		}
	}
	return set
}

func (c *compiler) attributeUse(set *attrSet, k *node) {
	var decl *attrDef
	if v, ok := k.attr("ref"); ok {
		name := c.qname(k, v)
		g := c.attributes[name]
		if g == nil && name.Value().Space == exi.NSXML {
			c.loadXMLNamespace()
			g = c.attributes[name]
		}
		if g == nil {
			c.undeclared(k, "attribute", name)
			return
		}
		decl = c.attribute(g.node)
	} else if k.has("name") {
		decl = c.attribute(k)
	} else {
		c.fail(k, "has neither name nor ref")
		return
	}
	if k.is("use", "prohibited") {
		set.prohibited = append(set.prohibited, decl.name)
		return
	}
	set.add(attrUse{decl, k.is("use", "required")})
}

// add enters a use; a later one of the same name replaces the former.
func (s *attrSet) add(u attrUse) {
	for i := range s.uses {
		if s.uses[i].decl.name == u.decl.name {
			s.uses[i] = u
			return
		}
	}
	s.uses = append(s.uses, u)
}

// attrGroup resolves a reference to an attribute group.
func (c *compiler) attrGroup(ref *node, within *global) *attrSet {
	v, _ := ref.attr("ref")
	name := c.qname(ref, v)
	g := c.attrGroups[name]
	if within != nil && within.old != nil && g == within {
		g = within.old
	}
	switch {
	case g == nil:
		c.undeclared(ref, "attributeGroup", name)
		return nil
	case g.busy || c.depth >= maxDerivation:
		c.fail(ref, "the attribute group contains itself, or nests deeper than %d", maxDerivation)
		return nil
	}
	if s := c.attrSets[g]; s != nil {
		return s
	}
	g.busy = true
	c.depth++
	s := c.attributeSet(g.node, g)
	c.depth--
	g.busy = false
	c.attrSets[g] = s
	return s
}

// inherit completes a type's own attributes with those of its base and sorts
// them by name (EXI 1.0 §8.5.4.1.3.2).
func (t *typeDef) inherit(own *attrSet, restriction bool) {
	t.wild = own.wild
	if base := t.base; base != nil && base.complex {
		for _, u := range base.attrs {
			if slices.Contains(own.prohibited, u.decl.name) {
				continue
			}
			if !slices.ContainsFunc(own.uses, func(o attrUse) bool { return o.decl.name == u.decl.name }) {
				own.uses = append(own.uses, u)
			}
		}
		if !restriction {
			t.wild = unite(own.wild, base.wild)
		}
	}
	sort.Slice(own.uses, func(i, j int) bool { return compareNames(own.uses[i].decl.name, own.uses[j].decl.name) < 0 })
	t.attrs = own.uses
}
