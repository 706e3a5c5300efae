package xsd

import (
	"encoding/binary"
	"slices"
	"sort"

	"postern/exi"
)

// automaton determinises a content model (EXI 1.0 §8.5.4.2.2): a state stands
// for a set of expressions, one of which describes what remains.
type automaton struct {
	*model
	mixed  bool
	single map[exprID]*exi.State
	multi  map[string]*exi.State
	todo   []pending

	arcs []arc // scratch: the productions of the state at hand
	find map[arcKey]int
}

type pending struct {
	set   []exprID
	state *exi.State
}

type arcKey struct {
	match exi.Match
	name  exi.Name
}

// arc gathers the steps with the same terminal. Its place among the
// productions is that of the first leaf that has the terminal.
type arc struct {
	arcKey
	leaf, index int32
	elem        *elemDef
	next        []exprID
}

// contentGrammar builds the grammar Content_i of a content model (§8.5.4.1.3.2)
// in normalised form and returns its first state.
func (g *grammars) contentGrammar(p *particle, mixed bool) *exi.State {
	m := newModel(g)
	a := &automaton{
		model: m, mixed: mixed,
		single: map[exprID]*exi.State{}, multi: map[string]*exi.State{}, find: map[arcKey]int{},
	}
	start := a.state([]exprID{m.from(p)})
	for len(a.todo) > 0 && !g.c.exhausted {
		p := a.todo[len(a.todo)-1]
		a.todo = a.todo[:len(a.todo)-1]
		a.expand(p)
	}
	return start
}

// state returns the state for a set, which is sorted and without duplicates.
func (a *automaton) state(set []exprID) *exi.State {
	if len(set) == 1 {
		s := a.single[set[0]]
		if s == nil {
			s = a.g.newState()
			a.single[set[0]] = s
			a.todo = append(a.todo, pending{[]exprID{set[0]}, s})
		}
		return s
	}
	key := make([]byte, 0, 4*len(set))
	for _, e := range set {
		key = binary.BigEndian.AppendUint32(key, uint32(e))
	}
	s := a.multi[string(key)]
	if s == nil {
		s = a.g.newState()
		a.multi[string(key)] = s
		a.todo = append(a.todo, pending{slices.Clone(set), s})
		a.g.work += len(set)
	}
	return s
}

// expand gives a state its productions in event-code order.
func (a *automaton) expand(p pending) {
	clear(a.find)
	a.arcs = a.arcs[:0]
	accepts := false
	for _, e := range p.set {
		accepts = accepts || a.exprs[e].nullable
		for _, s := range a.steps(e) {
			for i := range a.leaves[s.leaf].terms {
				a.addArc(s, &a.leaves[s.leaf].terms[i], int32(i))
			}
		}
	}
	sort.SliceStable(a.arcs, func(i, j int) bool { return compareArcs(a.arcs[i], a.arcs[j]) < 0 })
	n := len(a.arcs)
	if accepts {
		n++
	}
	if a.mixed {
		n++
	}
	prods := a.g.newProds(n)
	for i := range a.arcs {
		r := &a.arcs[i]
		slices.Sort(r.next)
		set := slices.Compact(r.next)
		pr := exi.Prod{Kind: exi.SE, Match: r.match, Name: r.name, Next: a.state(set)}
		if r.elem != nil {
			pr.Elem = a.g.elemOut(r.elem)
		}
		prods = append(prods, pr)
	}
	if accepts {
		prods = append(prods, exi.Prod{Kind: exi.EE})
	}
	if a.mixed {
		prods = append(prods, exi.Prod{Kind: exi.CH, Next: p.state})
	}
	p.state.Prods = prods
}

func (a *automaton) addArc(s step, t *term, index int32) {
	key := arcKey{t.match, t.name}
	i, ok := a.find[key]
	if !ok {
		i = len(a.arcs)
		a.find[key] = i
		if i < cap(a.arcs) {
			a.arcs = a.arcs[:i+1]
			a.arcs[i].next = a.arcs[i].next[:0]
		} else {
			a.arcs = append(a.arcs, arc{})
		}
		r := &a.arcs[i]
		r.arcKey, r.leaf, r.index, r.elem = key, s.leaf, index, t.elem
	}
	r := &a.arcs[i]
	if s.leaf < r.leaf {
		r.leaf, r.index, r.elem = s.leaf, index, t.elem
	}
	r.next = append(r.next, s.next)
	a.g.work++
}

// compareArcs orders SE(qname), SE(uri:*), SE(*), each in schema order
// (§8.5.4.3).
func compareArcs(a, b arc) int {
	rank := func(m exi.Match) int {
		switch m {
		case exi.Exact:
			return 0
		case exi.AnyIn:
			return 1
		}
		return 2
	}
	if n := rank(a.match) - rank(b.match); n != 0 {
		return n
	}
	if a.leaf != b.leaf {
		return int(a.leaf - b.leaf)
	}
	return int(a.index - b.index)
}
