package xsd

import (
	"slices"
	"sort"

	"postern/exi"
)

// fragments fills in the fragment grammar and the element fragment grammar
// (EXI 1.0 §8.5.2, §8.5.3).
func (c *compiler) fragments(s *exi.Schema) {
	for _, group := range groupByName(c.allElems, func(e *elemDef) exi.Name { return e.name }) {
		decl := c.g.elemOut(group[0])
		for _, e := range group[1:] {
			if !sameType(c.elementType(e), c.elementType(group[0])) || e.nillable != group[0].nillable {
				decl = &exi.ElementDecl{Name: e.name}
				break
			}
		}
		s.FragmentElements = append(s.FragmentElements, decl)
	}
	var attrs []exi.Prod
	untyped := c.anySimple.simple.data
	for _, group := range groupByName(c.allAttrs, func(a *attrDef) exi.Name { return a.name }) {
		p := exi.Prod{Kind: exi.AT, Name: group[0].name, Datatype: group[0].data()}
		for _, a := range group[1:] {
			if !sameType(a.typ, group[0].typ) {
				p.Datatype = untyped
				break
			}
		}
		attrs = append(attrs, p)
	}
	s.ElementFragment = c.g.elementFragment(attrs, s.FragmentElements)
}

// sameType compares by the type's name. Anonymous types have none in common.
func sameType(a, b *typeDef) bool { return a == b }

// groupByName sorts declarations by name and returns those of one name
// together, in the order they were declared.
func groupByName[T any](all []T, name func(T) exi.Name) [][]T {
	sorted := slices.Clone(all)
	sort.SliceStable(sorted, func(i, j int) bool { return compareNames(name(sorted[i]), name(sorted[j])) < 0 })
	var groups [][]T
	for i := 0; i < len(sorted); {
		j := i + 1
		for j < len(sorted) && name(sorted[j]) == name(sorted[i]) {
			j++
		}
		groups = append(groups, sorted[i:j])
		i = j
	}
	return groups
}

// elementFragment builds the grammar for elements that are declared several
// times over in different ways (§8.5.3).
func (g *grammars) elementFragment(attrs []exi.Prod, elems []*exi.ElementDecl) *exi.Type {
	inner := g.newState() // ElementFragment 2
	content := make([]exi.Prod, 0, len(elems)+3)
	for _, e := range elems {
		content = append(content, exi.Prod{Kind: exi.SE, Name: e.Name, Elem: e, Next: inner})
	}
	content = append(content,
		exi.Prod{Kind: exi.SE, Match: exi.Any, Next: inner},
		exi.Prod{Kind: exi.EE},
		exi.Prod{Kind: exi.CH, Next: inner})
	inner.Prods = content
	start := func(content *exi.State) *exi.State {
		s := g.newState()
		s.StartTag, s.FirstStartTag, s.ContentStart = true, true, content
		s.Prods = make([]exi.Prod, 0, len(attrs)+1+len(content.Prods))
		for _, p := range attrs {
			p.Next = s
			s.Prods = append(s.Prods, p)
		}
		s.Prods = append(s.Prods, exi.Prod{Kind: exi.AT, Match: exi.Any, Next: s})
		s.Prods = append(s.Prods, content.Prods...)
		return s
	}
	// ElementFragment 1, which stands at the content index, has the
	// productions of ElementFragment 2.
	return &exi.Type{Start: start(inner), Empty: start(g.endState()), HasSubtypes: true}
}

// stringTables fills in the initial partitions of URIs and local names
// (EXI 1.0 §7.3.1, appendix D).
func (c *compiler) stringTables(s *exi.Schema) {
	locals := map[string]map[string]bool{}
	add := func(uri string, names ...string) {
		set := locals[uri]
		if set == nil {
			set = map[string]bool{}
			locals[uri] = set
		}
		for _, n := range names {
			set[n] = true
		}
	}
	add("")
	add(exi.NSXML, "base", "id", "lang", "space")
	add(exi.NSXSI, "nil", "type")
	for _, t := range c.builtins {
		add(exi.NSXSD, t.name.Value().Local)
	}
	for _, d := range c.order {
		add(d.target)
	}
	for uri := range c.g.wildURIs {
		add(uri)
	}
	names := func(n exi.Name) { add(n.Value().Space, n.Value().Local) }
	for n := range c.types {
		names(n)
	}
	for _, e := range c.allElems {
		names(e.name)
	}
	for _, a := range c.allAttrs {
		names(a.name)
	}

	order := []string{"", exi.NSXML, exi.NSXSI, exi.NSXSD}
	var rest []string
	for uri := range locals {
		if !slices.Contains(order, uri) {
			rest = append(rest, uri)
		}
	}
	slices.Sort(rest)
	for _, uri := range append(order, rest...) {
		p := exi.URIPartition{URI: uri, Locals: make([]string, 0, len(locals[uri]))}
		for n := range locals[uri] {
			p.Locals = append(p.Locals, n)
		}
		slices.Sort(p.Locals)
		switch uri {
		case "":
			p.Prefixes = []string{""}
		case exi.NSXML:
			p.Prefixes = []string{"xml"}
		case exi.NSXSI:
			p.Prefixes = []string{"xsi"}
		}
		s.URIs = append(s.URIs, p)
	}
}
