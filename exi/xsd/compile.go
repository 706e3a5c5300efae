package xsd

import (
	"postern/exi"
)

// Compile compiles the schema documents with the given names, and what they
// include, import and redefine, to one set of grammars. The error, or each of
// the errors it joins, is an *Error.
//
// The result depends on the documents alone, not on their order. Its ID is
// empty; the caller sets it before sharing the Schema.
func Compile(r Resolver, names ...string) (*exi.Schema, error) {
	c := newCompiler(r)
	c.load(names)
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.compile()
}

// TypesOnly returns the grammars of the empty schemaId (EXI 1.0 §5.4): the
// built-in types of XML Schema and no declarations.
func TypesOnly() *exi.Schema {
	s, err := newCompiler(Files{}).compile()
	if err != nil {
		panic("xsd: the built-in types do not compile: " + err.Error())
	}
	return s
}

// compiler holds one compilation.
type compiler struct {
	resolver Resolver
	errs     []*Error
	docs     map[docKey]*document
	byName   map[string]*document
	order    []*document
	missing  map[string]string // namespaces of imports without a document
	octets   int
	nodes    int

	types, elements, attributes, groups, attrGroups table

	builtin   map[exi.Name]*typeDef
	builtins  []*typeDef // in the order of declaration
	anyType   *typeDef
	anySimple *typeDef
	typeOf    map[*global]*typeDef // top-level types
	anonymous map[*node]*typeDef
	elemOf    map[*node]*elemDef
	attrOf    map[*node]*attrDef
	attrSets  map[*global]*attrSet
	groupOf   map[*global]*particle
	depth     int        // of nested references between components
	allElems  []*elemDef // all that belong to the schema, global and local
	allAttrs  []*attrDef
	substitut map[exi.Name][]*elemDef // by head: the direct members

	g         grammars
	exhausted bool
}

func newCompiler(r Resolver) *compiler {
	c := &compiler{
		resolver: r,
		docs:     map[docKey]*document{}, byName: map[string]*document{}, missing: map[string]string{},
		types: table{}, elements: table{}, attributes: table{}, groups: table{}, attrGroups: table{},
		builtin: map[exi.Name]*typeDef{}, typeOf: map[*global]*typeDef{}, anonymous: map[*node]*typeDef{},
		elemOf: map[*node]*elemDef{}, attrOf: map[*node]*attrDef{}, attrSets: map[*global]*attrSet{}, groupOf: map[*global]*particle{},
		substitut: map[exi.Name][]*elemDef{},
	}
	c.g.c = c
	c.declareBuiltins()
	return c
}

// compile builds the Schema from the loaded documents.
func (c *compiler) compile() (*exi.Schema, error) {
	c.declareAll()
	if err := c.err(); err != nil {
		return nil, err
	}
	s := &exi.Schema{
		Elements:   make(map[exi.Name]*exi.ElementDecl, len(c.elements)),
		Attributes: make(map[exi.Name]*exi.Datatype, len(c.attributes)),
		Types:      make(map[exi.Name]*exi.Type, len(c.builtin)+len(c.types)),
	}
	for _, t := range c.builtins {
		s.Types[t.name] = c.g.typeOut(t)
	}
	for _, name := range sortedNames(c.types) {
		s.Types[name] = c.g.typeOut(c.globalType(c.types[name]))
	}
	for _, name := range sortedNames(c.elements) {
		d := c.g.elemOut(c.declared(c.elements[name].node))
		s.Elements[name] = d
		s.DocumentElements = append(s.DocumentElements, d)
	}
	for name, a := range c.attributes {
		s.Attributes[name] = c.attribute(a.node).data()
	}
	c.fragments(s)
	c.g.finish()
	c.stringTables(s)
	if err := c.err(); err != nil {
		return nil, err
	}
	return s, nil
}
