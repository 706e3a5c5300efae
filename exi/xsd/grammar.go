package xsd

import (
	"postern/exi"
)

// grammars builds the states of all type grammars of one Schema.
type grammars struct {
	c      *compiler
	states int
	prods  int
	work   int
	at     *node // the type being built, for errors
	queue  []*typeDef

	stateSlab []exi.State
	prodSlab  []exi.Prod
	end       *exi.State // the content state that takes EE and nothing else
	wildURIs  map[string]bool
}

func (g *grammars) newState() *exi.State {
	if g.states >= maxStates {
		g.c.overBudget(g.at, "the grammars need more than %d states; a smaller maxOccurs, or unbounded, helps", maxStates)
	}
	if len(g.stateSlab) == 0 {
		g.stateSlab = make([]exi.State, 64)
	}
	s := &g.stateSlab[0]
	g.stateSlab = g.stateSlab[1:]
	g.states++
	return s
}

// newProds returns an empty slice with room for n productions.
func (g *grammars) newProds(n int) []exi.Prod {
	g.count(n)
	if n > len(g.prodSlab) {
		if n > 64 || g.c.exhausted {
			return make([]exi.Prod, 0, n)
		}
		g.prodSlab = make([]exi.Prod, 256)
	}
	p := g.prodSlab[:0:n]
	g.prodSlab = g.prodSlab[n:]
	return p
}

// count adds to the productions of all states, shared ones once for each:
// codecs add productions of their own to each.
func (g *grammars) count(n int) {
	if g.prods += n; g.prods > maxProds {
		g.c.overBudget(g.at, "the grammars need more than %d productions", maxProds)
	}
}

// endState accepts the end of the element.
func (g *grammars) endState() *exi.State {
	if g.end == nil {
		g.end = g.newState()
		g.end.Prods = []exi.Prod{{Kind: exi.EE}}
	}
	return g.end
}

// typeOut returns the Type of a definition; its grammars are built by finish.
func (g *grammars) typeOut(t *typeDef) *exi.Type {
	if t.out == nil {
		t.out = &exi.Type{
			Name:        t.name,
			HasSubtypes: t.subtypes || !t.complex && t.simple.variety == unionVariety,
			Simple:      t.simple.data,
		}
		g.queue = append(g.queue, t)
	}
	return t.out
}

func (g *grammars) elemOut(e *elemDef) *exi.ElementDecl {
	if e.out == nil {
		e.out = &exi.ElementDecl{Name: e.name, Nillable: e.nillable}
		e.out.Type = g.typeOut(g.c.elementType(e))
	}
	return e.out
}

// finish builds the grammars of all types that were asked for, and of those
// that their elements bring in.
func (g *grammars) finish() {
	for len(g.queue) > 0 && !g.c.exhausted {
		t := g.queue[0]
		g.queue = g.queue[1:]
		g.at = t.node
		g.build(t)
	}
}

// build makes Type_i and TypeEmpty_i (§8.5.4.1.3).
func (g *grammars) build(t *typeDef) {
	content := g.endState()
	switch {
	case t.simple.data != nil:
		content = g.newState()
		content.Prods = append(g.newProds(1), exi.Prod{Kind: exi.CH, Datatype: t.simple.data, Next: g.endState()})
	case t.content != nil:
		content = g.contentGrammar(t.content, t.mixed)
	}
	t.out.Start = g.startTag(t, content)
	t.out.Empty = g.startTag(t, g.endState())
}

// elementTerms lists the terminals of an element term (§8.5.4.1.6).
func (g *grammars) elementTerms(e *elemDef) []term {
	if e.terms == nil {
		for _, s := range g.c.substitutes(e) {
			e.terms = append(e.terms, term{name: s.name, elem: s})
		}
	}
	return e.terms
}

// wildcardTerms lists the terminals of a wildcard term (§8.5.4.1.7).
func (g *grammars) wildcardTerms(w *wildcard) []term {
	if w.kind != wildSet {
		return []term{{match: exi.Any}}
	}
	terms := make([]term, len(w.uris))
	for i, uri := range w.uris {
		g.noteURI(uri)
		terms[i] = term{match: exi.AnyIn, name: exi.N(uri, "")}
	}
	return terms
}

// noteURI has a wildcard's namespace put into the string table (§7.3.1).
func (g *grammars) noteURI(uri string) {
	if g.wildURIs == nil {
		g.wildURIs = map[string]bool{}
	}
	g.wildURIs[uri] = true
}

// startTag joins the grammars of a type's attribute uses and wildcard to a
// content grammar (§8.5.4.1.3.2) and returns state 0.
//
// State i means that attribute i is the next that may come. With a wildcard
// there is one more position behind the last attribute, at which only the
// wildcard and the content remain.
func (g *grammars) startTag(t *typeDef, content *exi.State) *exi.State {
	last := len(t.attrs)
	if t.wild != nil {
		g.noteWildcard(t.wild)
		last++
	}
	s := startTag{g: g, t: t, content: content, at: make([]*exi.State, last+1)}
	first := g.newState()
	first.StartTag, first.FirstStartTag, first.ContentStart = true, true, content
	for i := s.fill(first, 0); i < len(s.at) && s.at[i] != nil; {
		i = s.fill(s.at[i], i)
	}
	return first
}

func (g *grammars) noteWildcard(w *wildcard) {
	for _, uri := range w.uris {
		g.noteURI(uri)
	}
}

// startTag is the state of that construction.
type startTag struct {
	g       *grammars
	t       *typeDef
	content *exi.State
	at      []*exi.State // the states other than state 0, by position
}

// state returns the state at position i, reached after attributes.
func (s *startTag) state(i int) *exi.State {
	if s.at[i] == nil {
		st := s.g.newState()
		st.StartTag, st.ContentStart = true, s.content
		s.at[i] = st
	}
	return s.at[i]
}

// fill gives the state at position i its productions, and returns the next
// position that still needs some: the attributes from i to the first required
// one, the wildcard, and the content if nothing required is left.
func (s *startTag) fill(st *exi.State, i int) (next int) {
	uses, end := s.t.attrs, len(s.at)-1
	stop := i // behind the last position that may come next
	for stop < end {
		stop++
		if stop <= len(uses) && uses[stop-1].required {
			break
		}
	}
	toContent := stop == end && (stop == i || stop > len(uses) || !uses[stop-1].required)
	n := stop - i
	if s.t.wild != nil {
		n += max(len(s.t.wild.uris), 1)
	}
	if toContent {
		n += len(s.content.Prods)
	}
	st.Prods = s.g.newProds(n)
	if s.g.c.exhausted {
		return end + 1
	}
	for k := i; k < min(stop, len(uses)); k++ {
		d := uses[k].decl
		st.Prods = append(st.Prods, exi.Prod{Kind: exi.AT, Name: d.name, Datatype: d.data(), Next: s.state(k + 1)})
	}
	if s.t.wild != nil && i < end {
		s.addWildcard(st)
	}
	if toContent {
		st.Prods = append(st.Prods, s.content.Prods...)
	}
	if s.t.wild != nil {
		return i + 1 // the wildcard's production is another one there
	}
	if toContent {
		stop++
	}
	// States behind attributes that may be left out have the rest of these
	// productions.
	for next = i + 1; next < stop; next++ {
		s.at[next].Prods = st.Prods[next-i:]
		s.g.count(n - (next - i))
	}
	return next
}

// addWildcard adds the productions of the attribute wildcard. Every position
// that can be passed over from position i has them too, and they lead back to
// each of these positions; the union that §8.5.4.2.2 makes of the targets has
// the productions of position i, so it is that state, state 0 included.
func (s *startTag) addWildcard(st *exi.State) {
	if s.t.wild.kind != wildSet {
		st.Prods = append(st.Prods, exi.Prod{Kind: exi.AT, Match: exi.Any, Next: st})
		return
	}
	for _, uri := range s.t.wild.uris {
		st.Prods = append(st.Prods, exi.Prod{Kind: exi.AT, Match: exi.AnyIn, Name: exi.N(uri, ""), Next: st})
	}
}
