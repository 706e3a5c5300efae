package exi

// prod is a production bound to name numbers (EXI 1.0 §8.1).
type prod struct {
	kind    Kind
	match   Match
	role    role
	untyped bool
	name    int32 // Exact
	uri     int32 // AnyIn
	next    *state
	elem    *state // SE(qname): first state of the declared element
	dt      *dtype // AT, CH: nil for untyped values
}

// role tells productions apart that change the grammar in force.
type role uint8

const (
	plain   role = iota
	xsiType      // AT(xsi:type)
	xsiNil       // AT(xsi:nil)
)

// node is an entry of the second part of the event codes: a production, or a
// branch into third parts.
type node struct {
	prod
	sub []prod
}

// pos locates a production in the second and third part; i < 0: none there.
type pos struct{ i, j int16 }

// escape is the part of a state behind the last one-part code: codes of two
// and three parts. It is immutable and shared.
type escape struct {
	nodes   []node
	w       uint
	at      [SC + 1]pos // by kind; AT is AT(*)
	xsiType pos
	xsiNil  pos
	untyped int16 // the branch of AT [untyped value], −1 if there is none
}

func newEscape(nodes []node) *escape {
	if len(nodes) == 0 {
		return nil
	}
	e := &escape{nodes: nodes, w: bitsFor(len(nodes)), untyped: -1}
	none := pos{-1, -1}
	e.xsiType, e.xsiNil = none, none
	for k := range e.at {
		e.at[k] = none
	}
	for i := range nodes {
		n := &nodes[i]
		if n.sub == nil {
			e.place(&n.prod, pos{int16(i), -1})
			continue
		}
		if n.sub[0].kind == AT {
			e.untyped = int16(i)
			continue
		}
		for j := range n.sub {
			e.place(&n.sub[j], pos{int16(i), int16(j)})
		}
	}
	return e
}

func (e *escape) place(p *prod, at pos) {
	switch p.role {
	case xsiType:
		e.xsiType = at
	case xsiNil:
		e.xsiNil = at
	default:
		e.at[p.kind] = at
	}
}

func (e *escape) prod(at pos) *prod {
	n := &e.nodes[at.i]
	if at.j >= 0 {
		return &n.sub[at.j]
	}
	return &n.prod
}

// learning is what a state does with productions used for the first time.
type learning uint8

const (
	fixedGrammar     learning = iota
	learningElement           // §8.4.3
	learningFragment          // §8.4.2
)

// state is one grammar in force: the productions of a non-terminal. One-part
// codes number the learned productions, latest first, then the fixed ones.
type state struct {
	fixed   []prod
	learned []prod
	esc     *escape
	content *state
	find    *prodIndex // of fixed; nil when that is short
	pending uint32     // 1: without productions yet, see bound.ready; atomic
	learns  learning
	start   bool             // built-in StartTagContent, or schema state where attributes may come
	hasCH   bool             // learned CH
	hasEE   bool             // learned EE
	counted bool             // productions were learned (EXI Profile)
	empty   *state           // where xsi:nil="true" leads
	look    map[uint32]int32 // positions in learned when there are many
	plan    *plan            // for the binder alone: what makes the productions
}

// prodIndex finds productions by name. States that share productions share it:
// theirs are the last of those it knows.
type prodIndex struct {
	keys []uint32         // prodKey of each production that names one, else noKey
	at   map[uint32]int32 // positions in keys when there are very many
}

// noKey is the key of no production: names are numbered from 0 and few.
const noKey = ^uint32(0)

// fewProds is up to where the productions themselves are searched.
const fewProds = 8

// veryMany is where a search by map beats one through keys that lie close
// together.
const veryMany = 64

// newProdIndex returns nil when there are few productions.
func newProdIndex(prods []prod) *prodIndex {
	if len(prods) <= fewProds {
		return nil
	}
	x := &prodIndex{keys: make([]uint32, len(prods))}
	if len(prods) > veryMany {
		x.at = make(map[uint32]int32, len(prods))
	}
	for i := range prods {
		x.keys[i] = noKey
		if p := &prods[i]; p.match == Exact && (p.kind == SE || p.kind == AT) {
			x.keys[i] = prodKey(p.kind, p.name)
			if x.at != nil {
				x.at[x.keys[i]] = int32(i)
			}
		}
	}
	return x
}

// position returns where in the last n productions that of a key is, or a
// negative number.
func (x *prodIndex) position(key uint32, n int) int {
	first := len(x.keys) - n
	if x.at != nil {
		if i, ok := x.at[key]; ok {
			return int(i) - first
		}
		return -1
	}
	for i, have := range x.keys[first:] {
		if have == key {
			return i
		}
	}
	return -1
}

// manyProds is where a search by map beats one by eye.
const manyProds = 10

func prodKey(k Kind, name int32) uint32 { return uint32(name)<<1 | uint32(k>>2&1) }

// width is the number of bits of the first part of the event code.
func (s *state) width() (n int, w uint) {
	n = len(s.learned) + len(s.fixed)
	m := n
	if s.esc != nil {
		m++
	}
	return n, bitsFor(m)
}

// findExact returns the code of the production of a kind (SE or AT) for a name.
func (s *state) findExact(k Kind, name int32) (code int, p *prod) {
	n := len(s.learned)
	if n > manyProds && s.look != nil {
		if i, ok := s.look[prodKey(k, name)]; ok {
			return n - 1 - int(i), &s.learned[i]
		}
	} else {
		for i := n - 1; i >= 0; i-- {
			if p := &s.learned[i]; p.name == name && p.kind == k {
				return n - 1 - i, p
			}
		}
	}
	if s.find != nil {
		if i := s.find.position(prodKey(k, name), len(s.fixed)); i >= 0 {
			return n + i, &s.fixed[i]
		}
		return -1, nil
	}
	for i := range s.fixed {
		if p := &s.fixed[i]; p.name == name && p.kind == k && p.match == Exact {
			return n + i, p
		}
	}
	return -1, nil // of built-in grammars, only learned productions name anything
}

// findWild returns the code of SE(uri:*), SE(*), AT(uri:*) or AT(*) among the
// one-part codes.
func (s *state) findWild(k Kind, uri int32) (code int, p *prod) {
	for i := len(s.fixed) - 1; i >= 0; i-- {
		p := &s.fixed[i]
		if p.kind == k && p.match == AnyIn && p.uri == uri {
			return len(s.learned) + i, p
		}
	}
	for i := len(s.fixed) - 1; i >= 0; i-- {
		p := &s.fixed[i]
		if p.kind == k && p.match == Any {
			return len(s.learned) + i, p
		}
	}
	return -1, nil
}

// findKind returns the code of EE, CH or ED among the one-part codes.
func (s *state) findKind(k Kind) (code int, p *prod) {
	n := len(s.learned)
	if k == EE && s.hasEE || k == CH && s.hasCH {
		for i := n - 1; i >= 0; i-- {
			if s.learned[i].kind == k {
				return n - 1 - i, &s.learned[i]
			}
		}
	}
	for i := len(s.fixed) - 1; i >= 0; i-- {
		if p := &s.fixed[i]; p.kind == k {
			return n + i, p
		}
	}
	return -1, nil
}

// learn adds a production with event code 0. It reports whether it did.
func (s *state) learn(k Kind, name int32, r role) bool {
	switch k {
	case CH:
		if s.hasCH {
			return false
		}
		s.hasCH = true
	case EE:
		if s.hasEE {
			return false
		}
		s.hasEE = true
	}
	s.learned = append(s.learned, prod{kind: k, name: name, role: r})
	if k == SE || k == AT {
		if s.look != nil {
			s.look[prodKey(k, name)] = int32(len(s.learned) - 1)
		} else if len(s.learned) > manyProds {
			s.indexLearned()
		}
	}
	return true
}

func (s *state) indexLearned() {
	s.look = make(map[uint32]int32, 4*manyProds)
	for i := range s.learned {
		if p := &s.learned[i]; p.kind == SE || p.kind == AT {
			s.look[prodKey(p.kind, p.name)] = int32(i)
		}
	}
}

// unlearn takes the latest production back.
func (s *state) unlearn() {
	last := s.learned[len(s.learned)-1]
	s.learned = s.learned[:len(s.learned)-1]
	switch last.kind {
	case CH:
		s.hasCH = false
	case EE:
		s.hasEE = false
	default:
		s.look = nil
	}
}

func (s *state) forget() {
	s.learned = s.learned[:0]
	s.hasCH, s.hasEE, s.counted = false, false, false
	if s.look != nil {
		clear(s.look)
		s.look = nil
	}
}

// follow returns the right-hand side of a production of s. Learned and shared
// productions name none: attributes and declarations stay in s, content goes
// on in its content state.
func (s *state) follow(p *prod) *state {
	switch {
	case p.next != nil:
		return p.next
	case p.kind == AT, p.kind == NS:
		return s
	}
	return s.content
}

// builtins are the built-in element grammars that a body has created, by name
// number. Their memory is kept for the next body.
type builtins struct {
	b      *bound
	named  nameSet
	states []*state // StartTagContent, by position in named
	spare  []*state
}

func (g *builtins) get(name int32) *state {
	if i, ok := g.named.find(name); ok {
		return g.states[i]
	}
	return nil
}

func (g *builtins) create(name int32) *state {
	var s *state
	if n := len(g.spare); n > 0 {
		s = g.spare[n-1]
		g.spare = g.spare[:n-1]
	} else {
		c := &state{learns: learningElement, fixed: g.b.endElement, esc: g.b.elementContent}
		c.content = c
		s = &state{learns: learningElement, start: true, esc: g.b.startTagContent, content: c}
	}
	g.named.add(name)
	g.states = append(g.states, s)
	return s
}

// dropLast takes back the latest create.
func (g *builtins) dropLast() {
	last := len(g.states) - 1
	g.spare = append(g.spare, g.states[last])
	g.states = g.states[:last]
	g.named.names = g.named.names[:last]
}

func (g *builtins) reset() {
	for _, s := range g.states {
		s.forget()
		s.content.forget()
	}
	g.spare = append(g.spare, g.states...)
	g.states = g.states[:0]
	g.named.reset()
}
