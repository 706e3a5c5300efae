package exi

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// binder makes the states of a bound from those of its schema, type by type,
// when the first element of a type is met: of all that a schema declares, a
// stream uses little, and what is not there costs neither memory nor time.
//
// A state that an element or xsi:type leads to is pending until then: it has no
// productions, and only bound.ready may hand it out. All other states are
// reached within a type alone, and are made together with its first one.
type binder struct {
	mu       sync.Mutex // of all that follows, and of state.plan
	b        *bound
	schema   *Schema
	o        shape
	tb       *typeBinder
	states   map[*State]*state
	copies   map[*State]*state // content2 where the schema has no state of its own for it
	variants map[variantKey]*state
	shared   map[escapeKey]*escape

	// Work of the present drain.
	due    []*state // pending states that were demanded
	queue  []filling
	later  []varying        // made when the states that they vary are filled
	longer map[*Prod]*state // states filled, by the last production of the schema's
}

// plan says what a pending state will be.
type plan struct {
	variantKey
	of *state // the first state of the type, for a variant of it; nil for that one
}

// variantKey is a type and what a strict grammar adds for an element of it:
// xsi:type, xsi:nil.
type variantKey struct {
	t        *Type
	typ, nil bool
}

// filling is a state that waits for the productions that another has in the
// schema.
type filling struct {
	st    *state
	from  *State
	t     *Type
	start bool
}

// varying is a variant that waits for its productions.
type varying struct {
	v *state
	*plan
}

// escapeKey tells the undeclared productions of states apart that declare no
// attributes.
type escapeKey struct{ start, first, hasEE bool }

func newBinder(b *bound, s *Schema, o shape, tb *typeBinder) *binder {
	return &binder{
		b: b, schema: s, o: o, tb: tb,
		states: make(map[*State]*state, len(s.Types)), copies: make(map[*State]*state),
		variants: make(map[variantKey]*state), shared: make(map[escapeKey]*escape),
	}
}

// ready returns s, which may be nil, with its productions and those of all
// states that they lead to within its type. Safe for concurrent use.
func (b *bound) ready(s *state) *state {
	if s != nil && atomic.LoadUint32(&s.pending) != 0 {
		b.binder.complete(s)
	}
	return s
}

func (w *binder) complete(s *state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longer = make(map[*Prod]*state)
	w.demand(s) // nothing, if somebody else was first
	w.drain()
}

// demand sees to it that the present drain makes s.
func (w *binder) demand(s *state) {
	p := s.plan
	if p == nil {
		return
	}
	s.plan = nil
	w.due = append(w.due, s)
	if p.of == nil {
		w.enqueue(s, p.t.Start, p.t)
		return
	}
	w.demand(p.of)
	w.later = append(w.later, varying{s, p})
}

// drain makes what was demanded and publishes it.
func (w *binder) drain() {
	for len(w.queue)+len(w.later) > 0 {
		if n := len(w.queue); n > 0 {
			f := w.queue[n-1]
			w.queue = w.queue[:n-1]
			w.fill(f)
			continue
		}
		v := w.later[len(w.later)-1]
		w.later = w.later[:len(w.later)-1]
		w.variant(v)
	}
	for _, s := range w.due {
		atomic.StoreUint32(&s.pending, 0)
	}
	w.due, w.queue, w.later, w.longer = nil, nil, nil, nil
}

// bindSchema finds the states of global elements and named types, all pending,
// and makes those that hold whole documents.
func (w *binder) bindSchema() error {
	b, s := w.b, w.schema
	n := len(b.names.names)
	b.globals, b.types, b.attrs = make([]*state, n), make([]*state, n), make(map[int32]*dtype)
	b.boolean = w.tb.bind(&Datatype{Codec: CodecBoolean})
	if id, ok := b.names.number[N(NSXSD, "anyType")]; ok {
		b.anyType = id
	}
	for name, t := range s.Types {
		id, err := w.declared(name)
		if err != nil {
			return err
		}
		b.types[id] = w.typ(t)
	}
	for name, e := range s.Elements {
		id, err := w.declared(name)
		if err != nil {
			return err
		}
		b.globals[id] = w.element(e)
	}
	for name, d := range s.Attributes {
		id, err := w.declared(name)
		if err != nil {
			return err
		}
		if d != nil {
			b.attrs[id] = w.tb.bind(d)
		}
	}
	return w.bindDocument()
}

// declared returns the number of a name that must have one.
func (w *binder) declared(name Name) (int32, error) {
	id := w.number(name)
	if id < 0 {
		return 0, fmt.Errorf("exi: schema: name %v is not in its URIs: %w", name.Value(), ErrOptions)
	}
	return id, nil
}

// number returns the number of a name, −1 if it has none.
func (w *binder) number(name Name) int32 {
	if id, ok := w.b.names.number[name]; ok {
		return id
	}
	return -1
}

// bindDocument makes the document and fragment grammars (§8.5.1, §8.5.2).
func (w *binder) bindDocument() error {
	b := w.b
	b.doc = &state{}
	for _, e := range w.schema.DocumentElements {
		id, err := w.declared(e.Name)
		if err != nil {
			return err
		}
		b.doc.fixed = append(b.doc.fixed, prod{kind: SE, name: id, next: b.docEnd, elem: b.globals[id]})
	}
	b.doc.fixed = append(b.doc.fixed, prod{kind: SE, match: Any, next: b.docEnd})
	b.doc.esc = b.docEscape(w.o, b.doc)
	b.doc.find = newProdIndex(b.doc.fixed)
	if !w.o.fragment && !w.o.selfContained {
		return nil
	}
	f := &state{}
	b.fragment = f
	for _, e := range w.schema.FragmentElements {
		id, err := w.declared(e.Name)
		if err != nil {
			return err
		}
		f.fixed = append(f.fixed, prod{kind: SE, name: id, next: f, elem: w.element(e)})
	}
	f.fixed = append(f.fixed, prod{kind: SE, match: Any, next: f}, prod{kind: ED})
	f.content = f
	f.esc = newEscape(misc(w.o, f))
	f.find = newProdIndex(f.fixed)
	return nil
}

// typ returns the first state of a type grammar, which may be pending.
func (w *binder) typ(t *Type) *state {
	if st := w.states[t.Start]; st != nil {
		return st
	}
	st := &state{pending: 1, plan: &plan{variantKey: variantKey{t: t}}}
	w.states[t.Start] = st
	return st
}

// element returns the first state of an element grammar, which may be pending.
// Without strict it is that of the type; with strict it may also take xsi:type
// and xsi:nil (§8.5.4.4.2).
func (w *binder) element(e *ElementDecl) *state {
	key := variantKey{t: w.schema.ElementFragment, typ: true, nil: true}
	if e.Type != nil {
		key = variantKey{e.Type, e.Type.HasSubtypes, e.Nillable}
	}
	st := w.typ(key.t)
	if !w.b.strict || !key.typ && !key.nil {
		return st
	}
	v := w.variants[key]
	if v == nil {
		v = &state{pending: 1, plan: &plan{key, st}}
		w.variants[key] = v
	}
	return v
}

// variant makes the productions of a variant: those of the state that it is one
// of, and what strict adds for its element.
func (w *binder) variant(p varying) {
	v := p.v
	v.start = true
	v.fixed = slices.Clone(p.of.fixed)
	for i := range v.fixed {
		if v.fixed[i].next == p.of {
			v.fixed[i].next = v
		}
	}
	v.find = p.of.find
	v.content, v.empty = p.of.content, w.state(p.t.Empty, p.t)
	var n []node
	if p.typ {
		n = append(n, node{prod: prod{kind: AT, role: xsiType, name: w.b.xsiType, next: v}})
	}
	if p.nil {
		n = append(n, node{prod: prod{kind: AT, role: xsiNil, name: w.b.xsiNil, next: v}})
	}
	v.esc = newEscape(n)
}

// state returns a state that is reached within a type and made with it.
func (w *binder) state(s *State, t *Type) *state {
	if s == nil {
		return nil
	}
	st := w.states[s]
	if st == nil {
		st = &state{}
		w.states[s] = st
		w.enqueue(st, s, t)
	}
	w.demand(st)
	return st
}

func (w *binder) enqueue(st *state, from *State, t *Type) {
	w.queue = append(w.queue, filling{st, from, t, from.ContentStart != nil})
}

// content2 returns the state Element_i,content2 that undeclared content of the
// start-tag state s leads to (§8.5.4.4.1).
func (w *binder) content2(s *State, t *Type) *state {
	c := s.ContentStart
	if c.ContentStart == nil {
		return w.state(c, t)
	}
	st := w.copies[c]
	if st == nil {
		st = &state{}
		w.copies[c] = st
		w.queue = append(w.queue, filling{st, c, t, false})
	}
	return st
}

// fill makes the productions of a state.
func (w *binder) fill(f filling) {
	st, s := f.st, f.from
	w.declare(st, s, f.t)
	st.start = f.start
	st.content = st
	st.empty = w.state(f.t.Empty, f.t)
	if w.b.strict {
		return
	}
	if f.start {
		st.content = w.content2(s, f.t)
	}
	hasEE := false
	var attrs []prod
	for _, p := range st.fixed {
		switch {
		case p.kind == EE:
			hasEE = true
		case p.kind == AT && p.match == Exact:
			p.untyped, p.dt = true, nil
			attrs = append(attrs, p)
		}
	}
	st.esc = w.undeclared(escapeKey{f.start, f.start && s.FirstStartTag, hasEE}, attrs)
}

// declare gives st the productions that s has in the schema. Where those are the
// last of another state's, so are these.
func (w *binder) declare(st *state, s *State, t *Type) {
	n := len(s.Prods)
	if n == 0 {
		return
	}
	last := &s.Prods[n-1]
	if l := w.longer[last]; l != nil && len(l.fixed) >= n {
		st.fixed, st.find = l.fixed[len(l.fixed)-n:], l.find
		return
	}
	w.longer[last] = st
	st.fixed = make([]prod, n)
	for i := range s.Prods {
		p, q := &s.Prods[i], &st.fixed[i]
		*q = prod{kind: p.Kind, match: p.Match, next: w.state(p.Next, t), dt: w.tb.bind(p.Datatype)}
		switch {
		case p.Match == AnyIn:
			q.uri = w.b.names.uriID[p.Name.Value().Space]
		case p.Match == Exact && (p.Kind == SE || p.Kind == AT):
			q.name = w.number(p.Name)
		}
		if p.Elem != nil {
			q.elem = w.element(p.Elem)
		}
		q.untyped = p.Kind == CH && p.Datatype == nil
	}
	st.find = newProdIndex(st.fixed)
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
	if key.first && w.o.preserve.Prefixes {
		n = append(n, node{prod: prod{kind: NS}})
	}
	if key.first && w.o.selfContained {
		n = append(n, node{prod: prod{kind: SC}})
	}
	e := newEscape(append(n, w.b.childContent(w.o)...))
	if len(attrs) == 0 {
		w.shared[key] = e
	}
	return e
}
