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
type binder struct {
	mu       sync.Mutex // of what follows
	b        *bound
	o        Options
	tb       *typeBinder
	states   map[*State]*state
	copies   map[*State]*state // content2 where the schema has no state of its own for it
	variants map[variantKey]*state
	shared   map[escapeKey]*escape
	pending  map[*state]func() // puts what fills the state into queue or later
	fresh    []*state          // made or demanded since the last drain
	queue    []func()
	later    []func() // copies of states, made when the originals are filled
}

func newBinder(b *bound, o Options, tb *typeBinder) *binder {
	return &binder{
		b: b, o: o, tb: tb,
		states: make(map[*State]*state), copies: make(map[*State]*state),
		variants: make(map[variantKey]*state), shared: make(map[escapeKey]*escape),
		pending: make(map[*state]func()),
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
	w.demand(s) // nothing, if somebody else was first
	w.drain()
}

// demand sees to it that the next drain fills s.
func (w *binder) demand(s *state) {
	if fill := w.pending[s]; fill != nil {
		delete(w.pending, s)
		w.fresh = append(w.fresh, s)
		fill()
	}
}

// postpone returns a state that fill, which must put what it does into queue or
// later, is called for when it is demanded.
func (w *binder) postpone(fill func(*state)) *state {
	s := &state{pending: 1}
	w.pending[s] = func() { fill(s) }
	return s
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
	return w.bindDocument(s, number)
}

// finish makes the indexes of a state that has its productions.
func (b *bound) finish(st *state) {
	if st.keys != nil || len(st.fixed) <= fewProds {
		return
	}
	st.indexed = true
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

// drain fills what was demanded and publishes it.
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
	for _, s := range w.fresh {
		w.b.finish(s)
	}
	for _, s := range w.fresh {
		atomic.StoreUint32(&s.pending, 0)
	}
	w.fresh = nil
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
	b.doc.esc = b.docEscape(&w.o, b.doc)
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
	f.esc = newEscape(misc(&w.o, f))
	b.finish(f)
	return nil
}

// typ returns the first state of a type grammar, which may be pending.
func (w *binder) typ(t *Type) *state {
	if st := w.states[t.Start]; st != nil {
		return st
	}
	st := w.postpone(func(st *state) { w.enqueue(st, t.Start, t) })
	w.states[t.Start] = st
	return st
}

// element returns the first state of an element grammar. Without strict it is
// that of the type; with strict it may also take xsi:type and xsi:nil
// (§8.5.4.4.2). It may be pending.
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
	v := w.postpone(func(v *state) {
		w.demand(st)
		w.later = append(w.later, func() { w.variant(v, st, t, typ, nillable) })
	})
	w.variants[key] = v
	return v
}

// variant fills v with what st, the first state of t, has, and what strict adds
// for its element.
func (w *binder) variant(v, st *state, t *Type, typ, nillable bool) {
	v.start = true
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
}

// state returns a state that is reached within a type and filled with it.
func (w *binder) state(s *State, t *Type) *state {
	if s == nil {
		return nil
	}
	if st := w.states[s]; st != nil {
		w.demand(st)
		return st
	}
	st := &state{}
	w.states[s] = st
	w.fresh = append(w.fresh, st)
	w.enqueue(st, s, t)
	return st
}

func (w *binder) enqueue(st *state, s *State, t *Type) {
	w.queue = append(w.queue, func() { w.fill(st, s, t, s.ContentStart != nil) })
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
	w.fresh = append(w.fresh, st)
	w.queue = append(w.queue, func() { w.fill(st, c, t, false) })
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
	e := newEscape(append(n, w.b.childContent(&w.o)...))
	if len(attrs) == 0 {
		w.shared[key] = e
	}
	return e
}
