package exi

import (
	"cmp"
	"fmt"
	"slices"
)

// bound is a Schema (or none) bound to those options that shape grammars: the
// undeclared productions of EXI 1.0 §8.5.4.4 are added, names are numbers,
// datatypes are representations. It is immutable and shared.
type bound struct {
	names    *initialNames
	hasTypes bool // schema-informed
	strict   bool

	doc      *state // DocContent
	docEnd   *state
	fragment *state // FragmentContent, for schema-informed streams

	globals []*state // global elements by name number
	types   []*state // xsi:type targets by name number
	attrs   []*dtype // global attributes by name number
	hasAttr []bool
	boolean *dtype // of xsi:nil

	// Parts of the built-in grammars (§8.4).
	endElement      []prod
	startTagContent *escape
	elementContent  *escape
	fragmentFixed   []prod
	fragmentEsc     *escape

	xsiType, xsiNil int32
	anyType         int32 // xsd:anyType, −1 without a schema
}

// boundKey are the options that a bound depends on.
type boundKey struct {
	strict, fragment, selfContained bool
	preserve                        Preserve
}

// bind returns the bound form, from the schema's cache where it is there.
func bind(o *Options) (*bound, error) {
	if o.Schema == nil {
		return newBound(nil, o)
	}
	if len(o.DatatypeRepresentationMap) > 0 {
		return newBound(o.Schema, o) // a peer's header may ask for any number of maps
	}
	key := boundKey{strict: o.Strict, fragment: o.Fragment, selfContained: o.SelfContained, preserve: o.Preserve}
	if b, ok := o.Schema.cache.Load(key); ok {
		return b.(*bound), nil
	}
	b, err := newBound(o.Schema, o)
	if err != nil {
		return nil, err
	}
	if o.Schema.cached.Add(1) > maxBound {
		o.Schema.cached.Add(-1)
		return b, nil
	}
	got, _ := o.Schema.cache.LoadOrStore(key, b)
	return got.(*bound), nil
}

// maxBound is how many bound forms a Schema keeps: those that a peer asks for
// beyond are made for it alone.
const maxBound = 12

func newBound(s *Schema, o *Options) (*bound, error) {
	b := &bound{hasTypes: s != nil, strict: o.Strict && s != nil, anyType: -1}
	b.names = initialTables(s)
	b.xsiType, b.xsiNil = b.names.number[NameXsiType], b.names.number[NameXsiNil]
	b.bindBuiltins(o)
	if s == nil {
		b.doc = &state{fixed: []prod{{kind: SE, match: Any, next: b.docEnd}}}
		b.doc.esc = b.docEscape(o, b.doc)
		return b, nil
	}
	tb, err := newTypeBinder(o)
	if err != nil {
		return nil, err
	}
	w := &binder{b: b, o: o, tb: tb, states: make(map[*State]*state), copies: make(map[*State]*state), variants: make(map[variantKey]*state), shared: make(map[escapeKey]*escape)}
	return b, w.bindSchema(s)
}

// bindBuiltins makes the fixed parts of the built-in grammars (§8.4), pruned
// by the fidelity options (§8.3).
func (b *bound) bindBuiltins(o *Options) {
	b.endElement = []prod{{kind: EE}}
	child := b.childContent(o)
	start := []node{{prod: prod{kind: EE}}, {prod: prod{kind: AT, match: Any}}}
	if o.Preserve.Prefixes {
		start = append(start, node{prod: prod{kind: NS}})
	}
	if o.SelfContained {
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
func misc(o *Options, next *state) []node {
	var n []node
	if o.Preserve.Comments {
		n = append(n, node{prod: prod{kind: CM, next: next}})
	}
	if o.Preserve.PIs {
		n = append(n, node{prod: prod{kind: PI, next: next}})
	}
	return n
}

// childContent is ChildContentItems (§8.4.3).
func (b *bound) childContent(o *Options) []node {
	n := []node{
		{prod: prod{kind: SE, match: Any}},
		{prod: prod{kind: CH, untyped: true}},
	}
	if o.Preserve.DTD {
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

func (b *bound) docEscape(o *Options, self *state) *escape {
	var n []node
	if o.Preserve.DTD {
		n = append(n, node{prod: prod{kind: DT, next: self}})
	}
	return newEscape(appendBranch(n, misc(o, self)))
}

// binder walks the states of a schema.
type binder struct {
	b        *bound
	o        *Options
	tb       *typeBinder
	states   map[*State]*state
	copies   map[*State]*state // content2 where the schema has no state of its own for it
	variants map[variantKey]*state
	shared   map[escapeKey]*escape
	queue    []func()
	later    []func() // copies of states, made when the originals are filled
}

// escapeKey tells the undeclared productions of states apart that declare no
// attributes.
type escapeKey struct{ start, first, hasEE bool }

type variantKey struct {
	t        *Type
	typ, nil bool
}

func (w *binder) bindSchema(s *Schema) error {
	b := w.b
	n := len(b.names.names)
	b.globals, b.types = make([]*state, n), make([]*state, n)
	b.attrs, b.hasAttr = make([]*dtype, n), make([]bool, n)
	b.boolean = w.tb.bind(&Datatype{Codec: CodecBoolean})
	if id, ok := b.names.number[N(NSXSD, "anyType")]; ok {
		b.anyType = id
	}
	number := func(name Name) (int32, error) {
		id, ok := b.names.number[name]
		if !ok {
			return 0, fmt.Errorf("exi: schema: name %v is not in its URIs: %w", name.Value(), ErrOptions)
		}
		return id, nil
	}
	for name, t := range s.Types {
		id, err := number(name)
		if err != nil {
			return err
		}
		b.types[id] = w.typ(t)
	}
	for name, e := range s.Elements {
		id, err := number(name)
		if err != nil {
			return err
		}
		b.globals[id] = w.element(s, e)
	}
	for name, d := range s.Attributes {
		id, err := number(name)
		if err != nil {
			return err
		}
		b.attrs[id], b.hasAttr[id] = w.tb.bind(d), true
	}
	w.drain()
	if err := w.bindDocument(s, number); err != nil {
		return err
	}
	w.drain()
	for _, st := range w.states {
		w.b.finish(st)
	}
	for _, st := range w.variants {
		w.b.finish(st)
	}
	return nil
}

func (b *bound) finish(st *state) {
	if st.keys != nil {
		return
	}
	st.keys = make([]uint32, len(st.fixed))
	for i := range st.fixed {
		st.keys[i] = noKey
		if p := &st.fixed[i]; p.match == Exact && (p.kind == SE || p.kind == AT) {
			st.keys[i] = prodKey(p.kind, p.name)
		}
	}
	if len(st.fixed) <= veryMany {
		return
	}
	st.index = make(map[uint32]int32, len(st.fixed))
	for i, key := range st.keys {
		if key != noKey {
			st.index[key] = int32(i)
		}
	}
}

func (w *binder) drain() {
	for len(w.queue)+len(w.later) > 0 {
		from := &w.queue
		if len(w.queue) == 0 {
			from = &w.later
		}
		f := (*from)[len(*from)-1]
		*from = (*from)[:len(*from)-1]
		f()
	}
}

// bindDocument makes the document and fragment grammars (§8.5.1, §8.5.2).
func (w *binder) bindDocument(s *Schema, number func(Name) (int32, error)) error {
	b := w.b
	b.doc = &state{}
	for _, e := range s.DocumentElements {
		id, err := number(e.Name)
		if err != nil {
			return err
		}
		b.doc.fixed = append(b.doc.fixed, prod{kind: SE, name: id, next: b.docEnd, elem: b.globals[id]})
	}
	b.doc.fixed = append(b.doc.fixed, prod{kind: SE, match: Any, next: b.docEnd})
	b.doc.esc = b.docEscape(w.o, b.doc)
	b.finish(b.doc)
	if !w.o.Fragment && !w.o.SelfContained {
		return nil
	}
	f := &state{}
	b.fragment = f
	for _, e := range s.FragmentElements {
		id, err := number(e.Name)
		if err != nil {
			return err
		}
		f.fixed = append(f.fixed, prod{kind: SE, name: id, next: f, elem: w.element(s, e)})
	}
	f.fixed = append(f.fixed, prod{kind: SE, match: Any, next: f}, prod{kind: ED})
	f.content = f
	f.esc = newEscape(misc(w.o, f))
	b.finish(f)
	return nil
}

// typ returns the first state of a type grammar.
func (w *binder) typ(t *Type) *state { return w.state(t.Start, t) }

// element returns the first state of an element grammar. Without strict it is
// that of the type; with strict it may also take xsi:type and xsi:nil
// (§8.5.4.4.2).
func (w *binder) element(s *Schema, e *ElementDecl) *state {
	t, typ, nillable := e.Type, false, e.Nillable
	if t == nil {
		t, typ, nillable = s.ElementFragment, true, true
	} else {
		typ = t.HasSubtypes
	}
	st := w.typ(t)
	if !w.b.strict || !typ && !nillable {
		return st
	}
	key := variantKey{t, typ, nillable}
	if v := w.variants[key]; v != nil {
		return v
	}
	v := &state{start: true}
	w.variants[key] = v
	w.later = append(w.later, func() {
		v.fixed = slices.Clone(st.fixed)
		for i := range v.fixed {
			if v.fixed[i].next == st {
				v.fixed[i].next = v
			}
		}
		v.content, v.empty = st.content, w.state(t.Empty, t)
		var n []node
		if typ {
			n = append(n, node{prod: prod{kind: AT, role: xsiType, name: w.b.xsiType, next: v}})
		}
		if nillable {
			n = append(n, node{prod: prod{kind: AT, role: xsiNil, name: w.b.xsiNil, next: v}})
		}
		v.esc = newEscape(n)
	})
	return v
}

func (w *binder) state(s *State, t *Type) *state {
	if s == nil {
		return nil
	}
	if st := w.states[s]; st != nil {
		return st
	}
	st := &state{}
	w.states[s] = st
	w.queue = append(w.queue, func() { w.fill(st, s, t, s.ContentStart != nil) })
	return st
}

// content2 returns the state Element_i,content2 that undeclared content of the
// start-tag state s leads to (§8.5.4.4.1).
func (w *binder) content2(s *State, t *Type) *state {
	c := s.ContentStart
	if c.ContentStart == nil {
		return w.state(c, t)
	}
	if st := w.copies[c]; st != nil {
		return st
	}
	st := &state{}
	w.copies[c] = st
	w.queue = append(w.queue, func() {
		w.fill(st, c, t, false)
		w.b.finish(st)
	})
	return st
}

func (w *binder) fill(st *state, s *State, t *Type, start bool) {
	hasEE := false
	var attrs []prod
	for i := range s.Prods {
		p := &s.Prods[i]
		q := prod{kind: p.Kind, match: p.Match, next: w.state(p.Next, t), dt: w.tb.bind(p.Datatype)}
		switch {
		case p.Match == Exact && (p.Kind == SE || p.Kind == AT):
			q.name = w.number(p.Name)
		case p.Match == AnyIn:
			q.uri = w.b.names.uriID[p.Name.Value().Space]
		}
		switch p.Kind {
		case SE:
			if p.Elem != nil {
				q.elem = w.element(w.o.Schema, p.Elem)
			}
		case AT:
			if p.Match == Exact {
				u := q
				u.untyped, u.dt = true, nil
				attrs = append(attrs, u)
			}
		case CH:
			q.untyped = p.Datatype == nil
		case EE:
			hasEE = true
		}
		st.fixed = append(st.fixed, q)
	}
	st.start = start
	st.content = st
	st.empty = w.state(t.Empty, t)
	if w.b.strict {
		return
	}
	if start {
		st.content = w.content2(s, t)
	}
	st.esc = w.undeclared(escapeKey{start, start && s.FirstStartTag, hasEE}, attrs)
}

func (w *binder) number(name Name) int32 {
	id, ok := w.b.names.number[name]
	if !ok {
		return -1
	}
	return id
}

// undeclared makes the productions that §8.5.4.4.1 adds, in the order of their
// event codes. They name no right-hand side, so that states can share them; see
// state.follow.
func (w *binder) undeclared(key escapeKey, attrs []prod) *escape {
	if len(attrs) == 0 {
		if e := w.shared[key]; e != nil {
			return e
		}
	}
	var n []node
	if !key.hasEE {
		n = append(n, node{prod: prod{kind: EE}})
	}
	if key.first {
		n = append(n,
			node{prod: prod{kind: AT, role: xsiType, name: w.b.xsiType}},
			node{prod: prod{kind: AT, role: xsiNil, name: w.b.xsiNil}})
	}
	if key.start {
		n = append(n, node{prod: prod{kind: AT, match: Any}},
			node{sub: append(attrs, prod{kind: AT, match: Any, untyped: true})})
	}
	if key.first && w.o.Preserve.Prefixes {
		n = append(n, node{prod: prod{kind: NS}})
	}
	if key.first && w.o.SelfContained {
		n = append(n, node{prod: prod{kind: SC}})
	}
	e := newEscape(append(n, w.b.childContent(w.o)...))
	if len(attrs) == 0 {
		w.shared[key] = e
	}
	return e
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
	t := &initialNames{number: make(map[Name]int32), uriID: make(map[string]int32)}
	for i, p := range parts {
		u := uriEntry{uri: p.URI, prefixes: slices.Clone(p.Prefixes), nbase: len(p.Prefixes)}
		for j, l := range p.Locals {
			id := int32(len(t.names))
			name := N(p.URI, l)
			t.names = append(t.names, nameInfo{name: name, local: l, uri: int32(i), id: int32(j)})
			t.number[name] = id
			u.base = append(u.base, id)
		}
		t.uriID[p.URI] = int32(i)
		t.uris = append(t.uris, u)
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
