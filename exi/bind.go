package exi

import (
	"cmp"
	"slices"
)

// bound is a Schema (or none) bound to those options that shape grammars: the
// undeclared productions of EXI 1.0 §8.5.4.4 are added, names are numbers,
// datatypes are representations. It is shared, and immutable but for the
// grammars of types, which are made when the first element of each is met.
type bound struct {
	names    *initialNames
	hasTypes bool // schema-informed
	strict   bool

	doc      *state // DocContent
	docEnd   *state
	fragment *state // FragmentContent, for schema-informed streams

	globals []*state         // global elements by name number
	types   []*state         // xsi:type targets by name number
	attrs   map[int32]*dtype // global attributes by name number; untyped ones are absent
	boolean *dtype           // of xsi:nil

	// Parts of the built-in grammars (§8.4).
	endElement      []prod
	startTagContent *escape
	elementContent  *escape
	fragmentFixed   []prod
	fragmentEsc     *escape

	xsiType, xsiNil int32
	anyType         int32 // xsd:anyType, −1 without a schema

	binder *binder // of grammars not made yet
}

// global returns the grammar of a global element, nil if there is none.
func (b *bound) global(name int32) *state {
	if int(name) < len(b.globals) {
		return b.ready(b.globals[name])
	}
	return nil
}

// typ returns the grammar of a type by the number of its name, nil if there is
// none.
func (b *bound) typ(name int32) *state {
	if int(name) < len(b.types) {
		return b.ready(b.types[name])
	}
	return nil
}

// typeNamed returns the grammar of a type, nil if there is none.
func (b *bound) typeNamed(n Name) *state {
	if id, ok := b.names.number[n]; ok {
		return b.typ(id)
	}
	return nil
}

// shape is what a bound depends on: the options that shape grammars.
type shape struct {
	strict, fragment, selfContained bool
	preserve                        Preserve
}

// bind returns the bound form, from the schema's cache where it is there.
func bind(o *Options) (*bound, error) {
	key := shape{strict: o.Strict, fragment: o.Fragment, selfContained: o.SelfContained, preserve: o.Preserve}
	if o.Schema == nil {
		return newBound(nil, key, nil)
	}
	if len(o.DatatypeRepresentationMap) > 0 {
		return newBound(o.Schema, key, o.DatatypeRepresentationMap) // a peer's header may ask for any number of maps
	}
	if b, ok := o.Schema.cache.Load(key); ok {
		return b.(*bound), nil
	}
	b, err := newBound(o.Schema, key, nil)
	if err != nil {
		return nil, err
	}
	if o.Schema.cached.Add(1) > maxBound {
		o.Schema.cached.Add(-1)
		return b, nil
	}
	got, loaded := o.Schema.cache.LoadOrStore(key, b)
	if loaded {
		o.Schema.cached.Add(-1) // another stream was first
	}
	return got.(*bound), nil
}

// maxBound is how many bound forms a Schema keeps: those that a peer asks for
// beyond are made for it alone.
const maxBound = 12

func newBound(s *Schema, o shape, m []DatatypeMapping) (*bound, error) {
	b := &bound{hasTypes: s != nil, strict: o.strict && s != nil, anyType: -1}
	b.names = initialTables(s)
	b.xsiType, b.xsiNil = b.names.number[NameXsiType], b.names.number[NameXsiNil]
	b.bindBuiltins(o)
	if s == nil {
		b.doc = &state{fixed: []prod{{kind: SE, match: Any, next: b.docEnd}}}
		b.doc.esc = b.docEscape(o, b.doc)
		return b, nil
	}
	b.binder = newBinder(b, s, o, newTypeBinder(o.preserve.LexicalValues, m))
	return b, b.binder.bindSchema()
}

// bindBuiltins makes the fixed parts of the built-in grammars (§8.4), pruned
// by the fidelity options (§8.3).
func (b *bound) bindBuiltins(o shape) {
	b.endElement = []prod{{kind: EE}}
	child := b.childContent(o)
	start := []node{{prod: prod{kind: EE}}, {prod: prod{kind: AT, match: Any}}}
	if o.preserve.Prefixes {
		start = append(start, node{prod: prod{kind: NS}})
	}
	if o.selfContained {
		start = append(start, node{prod: prod{kind: SC}})
	}
	b.startTagContent = newEscape(append(start, child...))
	b.elementContent = newEscape(child)

	b.docEnd = &state{fixed: []prod{{kind: ED}}}
	b.docEnd.esc = newEscape(misc(o, b.docEnd))
	b.fragmentFixed = []prod{{kind: SE, match: Any}, {kind: ED}}
	b.fragmentEsc = newEscape(misc(o, nil))
}

// misc are the productions of comments and instructions.
func misc(o shape, next *state) []node {
	var n []node
	if o.preserve.Comments {
		n = append(n, node{prod: prod{kind: CM, next: next}})
	}
	if o.preserve.PIs {
		n = append(n, node{prod: prod{kind: PI, next: next}})
	}
	return n
}

// childContent is ChildContentItems (§8.4.3).
func (b *bound) childContent(o shape) []node {
	n := []node{
		{prod: prod{kind: SE, match: Any}},
		{prod: prod{kind: CH, untyped: true}},
	}
	if o.preserve.DTD {
		n = append(n, node{prod: prod{kind: ER}})
	}
	return appendBranch(n, misc(o, nil))
}

func appendBranch(n, sub []node) []node {
	if len(sub) == 0 {
		return n
	}
	branch := node{}
	for i := range sub {
		branch.sub = append(branch.sub, sub[i].prod)
	}
	return append(n, branch)
}

func (b *bound) docEscape(o shape, self *state) *escape {
	var n []node
	if o.preserve.DTD {
		n = append(n, node{prod: prod{kind: DT, next: self}})
	}
	return newEscape(appendBranch(n, misc(o, self)))
}

// initialTables makes the initial string tables (appendix D).
func initialTables(s *Schema) *initialNames {
	parts := []URIPartition{
		{URI: "", Prefixes: []string{""}},
		{URI: NSXML, Prefixes: []string{"xml"}, Locals: []string{"base", "id", "lang", "space"}},
		{URI: NSXSI, Prefixes: []string{"xsi"}, Locals: []string{"nil", "type"}},
	}
	if s != nil {
		parts = s.URIs
	}
	n := 0
	for i := range parts {
		n += len(parts[i].Locals)
	}
	t := &initialNames{
		uris: make([]uriEntry, 0, len(parts)), uriID: make(map[string]int32, len(parts)),
		names: make([]nameInfo, 0, n), number: make(map[Name]int32, n),
	}
	for i, p := range parts {
		t.uriID[p.URI] = int32(i)
		t.uris = append(t.uris, uriEntry{
			uri: p.URI, first: int32(len(t.names)), nlocals: int32(len(p.Locals)),
			prefixes: slices.Clone(p.Prefixes), nbase: len(p.Prefixes),
		})
		for j, l := range p.Locals {
			id := int32(len(t.names))
			name := N(p.URI, l)
			t.names = append(t.names, nameInfo{name: name, local: l, uri: int32(i), id: int32(j)})
			t.number[name] = id
		}
	}
	for i := range t.names {
		if n := &t.names[i]; n.uri != 0 || parts[0].URI != "" || i > 0 && n.local <= t.names[i-1].local {
			break
		}
		t.inOrder++
	}
	return t
}

// compareNames orders names by local name, then by namespace, the order of
// attributes in schema-informed grammars (EXI 1.0 §6).
func compareNames(a, b Name) int {
	x, y := a.Value(), b.Value()
	if c := cmp.Compare(x.Local, y.Local); c != 0 {
		return c
	}
	return cmp.Compare(x.Space, y.Space)
}
