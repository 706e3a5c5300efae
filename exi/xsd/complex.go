package xsd

import (
	"strconv"

	"postern/exi"
)

// particle is a content model: a tree with elements and wildcards as leaves.
// Named groups are expanded, so a subtree may be shared.
type particle struct {
	kind     particleKind
	min, max int
	elem     *elemDef
	wild     *wildcard
	kids     []*particle
	node     *node
}

type particleKind uint8

const (
	elementParticle particleKind = iota
	anyParticle
	sequenceParticle
	choiceParticle
	allParticle
)

// unbounded is the maximum of a particle that has none.
const unbounded = -1

// complexType fills in a type that a complexType element defines.
func (c *compiler) complexType(t *typeDef) {
	n := t.node
	t.base = c.anyType
	t.mixed = n.isTrue("mixed")
	body := n.child("simpleContent", "complexContent")
	if body == nil {
		t.content = c.ownContent(n, t.mixed)
		t.inherit(c.attributeSet(n, nil), true)
		return
	}
	d := body.child("restriction", "extension")
	if d == nil {
		c.fail(body, "needs a restriction or an extension")
		return
	}
	base, _ := d.attr("base")
	t.base = c.typeRef(d, base, t)
	if body.kind == "simpleContent" {
		c.simpleContent(t, d)
	} else {
		if body.has("mixed") {
			t.mixed = body.isTrue("mixed")
		}
		c.complexContent(t, d)
	}
	t.inherit(c.attributeSet(d, nil), d.kind == "restriction")
}

func (c *compiler) simpleContent(t *typeDef, d *node) {
	t.mixed = false
	t.simple = t.base.simple
	if t.simple.data == nil { // mixed content restricted to simple content
		t.simple = c.anySimple.simple
		if d.child("simpleType") == nil {
			c.fail(d, "the base has no simple content")
		}
	}
	if d.kind == "extension" {
		return
	}
	if k := d.child("simpleType"); k != nil {
		t.simple = c.anonymousType(k).simple
	}
	for _, k := range d.kids {
		if isFacet(k.kind) {
			t.simple = c.restrict(exi.Name{}, &t.simple, d)
			return
		}
	}
}

func isFacet(kind string) bool {
	switch kind {
	case "minInclusive", "minExclusive", "maxInclusive", "maxExclusive", "totalDigits", "fractionDigits",
		"length", "minLength", "maxLength", "enumeration", "whiteSpace", "pattern":
		return true
	}
	return false
}

func (c *compiler) complexContent(t *typeDef, d *node) {
	if !t.base.complex {
		c.fail(d, "the base of complex content must be a complex type")
		t.base = c.anyType
		return
	}
	own := c.ownContent(d, t.mixed)
	if d.kind == "restriction" {
		t.content = own
		return
	}
	switch base := t.base; {
	case base.simple.data != nil:
		t.simple, t.mixed = base.simple, false
		if own != nil {
			c.fail(d, "the base has simple content, which elements cannot be added to")
		}
	case own == nil:
		t.content, t.mixed = base.content, base.mixed
	case base.content == nil:
		t.content = own
	default:
		t.mixed = t.mixed || base.mixed
		t.content = &particle{kind: sequenceParticle, min: 1, max: 1, kids: []*particle{base.content, own}, node: d}
	}
}

// ownContent is the effective content that the children of n describe (XML
// Schema part 1 §3.4.2): nil when it is empty. Empty mixed content is an empty
// sequence.
func (c *compiler) ownContent(n *node, mixed bool) *particle {
	var p *particle
	if k := n.child("sequence", "choice", "all", "group"); k != nil {
		p = c.particle(k, nil)
	}
	if p != nil && len(p.kids) == 0 && (p.kind != choiceParticle || p.min == 0) {
		p = nil
	}
	if p == nil && mixed {
		return &particle{kind: sequenceParticle, min: 1, max: 1, node: n}
	}
	return p
}

// particle builds the particle that an element of a content model stands for;
// nil when it can occur not at all. within is the named group that it is part
// of, if any.
func (c *compiler) particle(n *node, within *global) *particle {
	p := &particle{node: n}
	p.min, p.max = c.occurs(n)
	if p.max == 0 {
		return nil
	}
	switch n.kind {
	case "element":
		p.elem = c.elementRef(n)
		if p.elem == nil {
			return nil
		}
	case "any":
		p.kind, p.wild = anyParticle, c.wildcardOf(n)
	case "group":
		return c.groupRef(p, within)
	case "sequence", "choice", "all":
		p.kind = map[string]particleKind{"sequence": sequenceParticle, "choice": choiceParticle, "all": allParticle}[n.kind]
		for _, k := range n.kids {
			switch k.kind {
			case "element", "any", "group", "sequence", "choice", "all":
				if q := c.particle(k, within); q != nil {
					p.kids = append(p.kids, q)
				}
			default:
				c.fail(k, "not allowed in a content model")
			}
		}
	}
	return p
}

// elementRef is the declaration that an element of a content model makes or
// refers to.
func (c *compiler) elementRef(n *node) *elemDef {
	v, ok := n.attr("ref")
	if !ok {
		if !n.has("name") {
			return nil // reported by declareAll
		}
		return c.declared(n)
	}
	name := c.qname(n, v)
	g := c.elements[name]
	if g == nil {
		c.undeclared(n, "element", name)
		return nil
	}
	return c.declared(g.node)
}

// groupRef expands a reference to a named group.
func (c *compiler) groupRef(p *particle, within *global) *particle {
	v, _ := p.node.attr("ref")
	name := c.qname(p.node, v)
	g := c.groups[name]
	if within != nil && within.old != nil && g == within {
		g = within.old
	}
	switch {
	case g == nil:
		c.undeclared(p.node, "group", name)
		return nil
	case g.busy || c.depth >= maxDerivation:
		c.fail(p.node, "the group contains itself, or nests deeper than %d", maxDerivation)
		return nil
	}
	k := g.node.child("sequence", "choice", "all")
	if k == nil {
		c.fail(g.node, "needs a sequence, choice or all")
		return nil
	}
	body := c.groupOf[g]
	if body == nil {
		g.busy = true
		c.depth++
		body = c.particle(k, g)
		c.depth--
		g.busy = false
		if body == nil {
			return nil
		}
		c.groupOf[g] = body
	}
	q := *body
	q.min, q.max, q.node = p.min, p.max, p.node
	return &q
}

// occurs reads minOccurs and maxOccurs.
func (c *compiler) occurs(n *node) (least, most int) {
	least, most = 1, 1
	if v, ok := n.attr("minOccurs"); ok {
		least = c.count(n, v)
	}
	v, ok := n.attr("maxOccurs")
	switch {
	case !ok:
		most = max(1, least)
		if n.has("minOccurs") && least > 1 {
			c.fail(n, "minOccurs %d is greater than maxOccurs 1", least)
		}
	case v == "unbounded":
		most = unbounded
	default:
		if most = c.count(n, v); most < least {
			c.fail(n, "minOccurs %d is greater than maxOccurs %d", least, most)
		}
	}
	if most > exactOccurs {
		most = unbounded
	}
	return least, most
}

// count reads a number of occurrences; what does not fit is as good as the
// greatest number that does.
func (c *compiler) count(n *node, v string) int {
	if v == "" || len(v) > 40 {
		c.fail(n, "%q is not a number of occurrences", v)
		return 1
	}
	for _, r := range v {
		if r < '0' || r > '9' {
			c.fail(n, "%q is not a number of occurrences", v)
			return 1
		}
	}
	k, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		return 1<<31 - 1
	}
	return int(k)
}
