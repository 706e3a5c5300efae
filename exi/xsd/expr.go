package xsd

import (
	"postern/exi"
)

// Content models as regular expressions over leaves. Nodes are interned, so
// that equal expressions are the same number.
//
// The proto-grammars of EXI 1.0 §8.5.4.1 with the eliminations of §8.5.4.2 give
// a deterministic automaton whose states list exactly the terminals that may
// follow. Two constructions of that automaton may differ in the number of
// states but not in those lists, and the lists are all that event codes depend
// on. So the automaton is built from derivatives instead of copied and joined
// grammars: a particle that may occur 999 times costs 999 states but not 999
// copies of what they share, and counting never recurses.
type exprID int32

type expr struct {
	op       exprOp
	a, b     exprID // opLeaf: a is the index of the leaf
	min, max int32  // opRepeat; max may be unbounded
}

type exprOp uint8

const (
	opEmpty exprOp = iota
	opLeaf
	opSeq // a then b; a is never an opSeq itself
	opAlt
	opRepeat
)

// leaf is one element or wildcard particle; its index is its place in schema
// order (§8.5.4.3).
type leaf struct {
	terms []term
}

// term is a terminal symbol SE(qname), SE(uri:*) or SE(*).
type term struct {
	match exi.Match
	name  exi.Name
	elem  *elemDef
}

// step says: after the terminal of a leaf, what remains is next.
type step struct {
	leaf int32
	next exprID
}

// model builds the automaton of one content model.
type model struct {
	g      *grammars
	leaves []leaf
	exprs  []exprInfo
	ids    map[expr]exprID
	joins  map[[2]exprID]exprID
}

type exprInfo struct {
	expr
	nullable bool
	known    bool // steps is filled in
	steps    []step
}

func newModel(g *grammars) *model {
	m := &model{g: g, ids: map[expr]exprID{}, joins: map[[2]exprID]exprID{}}
	m.intern(expr{op: opEmpty}, true)
	return m
}

const empty exprID = 0

func (m *model) intern(e expr, nullable bool) exprID {
	if id, ok := m.ids[e]; ok {
		return id
	}
	id := exprID(len(m.exprs))
	m.ids[e] = id
	m.exprs = append(m.exprs, exprInfo{expr: e, nullable: nullable})
	return id
}

// from turns a particle into an expression.
func (m *model) from(p *particle) exprID {
	if p == nil || m.g.c.exhausted {
		return empty
	}
	return m.repeat(m.term(p), p.min, p.max)
}

func (m *model) term(p *particle) exprID {
	switch p.kind {
	case elementParticle:
		return m.leaf(p, m.g.elementTerms(p.elem))
	case anyParticle:
		return m.leaf(p, m.g.wildcardTerms(p.wild))
	case sequenceParticle:
		all := make([]exprID, len(p.kids)) // in schema order, for the leaves' sake
		for i, k := range p.kids {
			all[i] = m.from(k)
		}
		e := empty
		for i := len(all) - 1; i >= 0; i-- {
			e = m.seq(all[i], e)
		}
		return e
	}
	e := empty
	for i, k := range p.kids {
		if x := m.from(k); i == 0 {
			e = x
		} else {
			e = m.alt(e, x)
		}
	}
	if p.kind == allParticle {
		// §8.5.4.1.8.3: any sequence of the particles in any order.
		return m.repeat(e, 0, unbounded)
	}
	return e
}

func (m *model) leaf(p *particle, terms []term) exprID {
	if len(m.leaves) >= maxLeaves {
		m.g.c.overBudget(p.node, "content model with more than %d particles after expansion of its groups", maxLeaves)
		return empty
	}
	m.leaves = append(m.leaves, leaf{terms})
	return m.intern(expr{op: opLeaf, a: exprID(len(m.leaves) - 1)}, false)
}

// seq concatenates. The result leans to the right, which keeps the number of
// different remainders of a sequence linear.
func (m *model) seq(a, b exprID) exprID {
	if a == empty {
		return b
	}
	if b == empty {
		return a
	}
	// Walk down the spine of a without recursion, then build upwards.
	var spine []exprID
	var done exprID
	for {
		if id, ok := m.joins[[2]exprID{a, b}]; ok {
			done = id
			break
		}
		x := m.exprs[a]
		spine = append(spine, a)
		if x.op != opSeq {
			done = m.intern(expr{op: opSeq, a: a, b: b}, x.nullable && m.exprs[b].nullable)
			m.joins[[2]exprID{a, b}] = done
			spine = spine[:len(spine)-1]
			break
		}
		a = x.b
	}
	for i := len(spine) - 1; i >= 0; i-- {
		x := m.exprs[spine[i]]
		done = m.intern(expr{op: opSeq, a: x.a, b: done}, m.exprs[x.a].nullable && m.exprs[done].nullable)
		m.joins[[2]exprID{spine[i], b}] = done
	}
	return done
}

func (m *model) alt(a, b exprID) exprID {
	if a == b {
		return a
	}
	return m.intern(expr{op: opAlt, a: a, b: b}, m.exprs[a].nullable || m.exprs[b].nullable)
}

func (m *model) repeat(a exprID, least, most int) exprID {
	x := m.exprs[a]
	switch {
	case most == 0 || a == empty:
		return empty
	case least == 1 && most == 1:
		return a
	case x.nullable:
		least = 0
		if most == 1 {
			return a
		}
	}
	// (x{0,∞}){…} and (x{1,∞})* are x{0,∞}; so is (x?)*.
	if x.op == opRepeat {
		if x.max == unbounded && (x.min == 0 || x.min == 1 && least == 0) {
			return m.intern(expr{op: opRepeat, a: x.a, max: unbounded}, true)
		}
		if x.min == 0 && x.max == 1 {
			a = x.a
		}
	}
	return m.intern(expr{op: opRepeat, a: a, min: int32(least), max: int32(most)}, least == 0)
}

// steps lists what may come first in e and what remains then.
func (m *model) steps(e exprID) []step {
	if m.exprs[e].known {
		return m.exprs[e].steps
	}
	x := m.exprs[e].expr
	var out []step
	switch x.op {
	case opLeaf:
		out = []step{{int32(x.a), empty}}
	case opSeq:
		first := m.steps(x.a)
		out = make([]step, 0, len(first))
		for _, s := range first {
			out = append(out, step{s.leaf, m.seq(s.next, x.b)})
		}
		if m.exprs[x.a].nullable {
			out = append(out, m.steps(x.b)...)
		}
	case opAlt:
		a, b := m.steps(x.a), m.steps(x.b)
		out = append(append(make([]step, 0, len(a)+len(b)), a...), b...)
	case opRepeat:
		rest := m.repeat(x.a, max(int(x.min)-1, 0), less(int(x.max)))
		for _, s := range m.steps(x.a) {
			out = append(out, step{s.leaf, m.seq(s.next, rest)})
		}
	}
	if m.g.work += len(out) + 1; m.g.work > maxWork {
		m.g.c.overBudget(m.g.at, "content models need more than %d steps to work out", maxWork)
		out = nil
	}
	m.exprs[e].steps, m.exprs[e].known = out, true
	return out
}

// less is one occurrence less.
func less(most int) int {
	if most == unbounded {
		return unbounded
	}
	return most - 1
}
