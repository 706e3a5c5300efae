package exi

import (
	"slices"
	"sync"
)

// nsEXI is the namespace of the options document and of the identifiers of the
// datatype representations.
const nsEXI = "http://www.w3.org/2009/exi"

// optionsSchema is the schema of the options document (EXI 1.0 appendix C) in
// normalised form, written down by hand: it is needed before any schema can be
// compiled.
var optionsSchema = sync.OnceValue(buildOptionsSchema)

// grammarBuilder builds the few forms of content that the schema has.
type grammarBuilder struct{}

func (g *grammarBuilder) state(prods ...Prod) *State { return &State{Prods: prods} }

func (g *grammarBuilder) end() *State { return g.state(Prod{Kind: EE}) }

func (g *grammarBuilder) simple(d *Datatype) *Type {
	return &Type{Start: g.state(Prod{Kind: CH, Datatype: d, Next: g.end()}), Empty: g.end(), Simple: d}
}

// part is an optional particle of a sequence: an element or any element.
type part struct {
	e      *ElementDecl
	repeat bool
}

// sequence builds states for a sequence of optional parts.
func (g *grammarBuilder) sequence(parts ...part) *Type {
	states := make([]*State, len(parts)+1)
	for i := range states {
		states[i] = g.state()
	}
	for i, s := range states {
		var wild []Prod
		for j := i; j < len(parts); j++ {
			next := states[j+1]
			if parts[j].repeat {
				next = states[j]
			}
			if parts[j].e == nil {
				wild = append(wild, Prod{Kind: SE, Match: Any, Next: next})
				continue
			}
			s.Prods = append(s.Prods, Prod{Kind: SE, Name: parts[j].e.Name, Elem: parts[j].e, Next: next})
		}
		s.Prods = append(append(s.Prods, wild...), Prod{Kind: EE})
	}
	return &Type{Start: states[0], Empty: g.end()}
}

func buildOptionsSchema() *Schema {
	g := &grammarBuilder{}
	el := func(local string, t *Type) *ElementDecl { return &ElementDecl{Name: N(nsEXI, local), Type: t} }
	empty := func(local string) *ElementDecl {
		return el(local, &Type{Start: g.end(), Empty: g.end()})
	}
	opt := func(e *ElementDecl) part { return part{e: e} }
	unsigned := &Datatype{Codec: CodecUnsigned, WhiteSpace: WSCollapse}
	number := func(local string) part { return opt(el(local, g.simple(unsigned))) }

	closed, bytes, pre := g.end(), empty("byte"), empty("pre-compress")
	alignment := el("alignment", &Type{Empty: closed, Start: g.state(
		Prod{Kind: SE, Name: bytes.Name, Elem: bytes, Next: closed},
		Prod{Kind: SE, Name: pre.Name, Elem: pre, Next: closed})})
	representation := g.state(Prod{Kind: SE, Match: Any, Next: closed})
	mapping := el("datatypeRepresentationMap", &Type{Empty: closed,
		Start: g.state(Prod{Kind: SE, Match: Any, Next: representation})})

	uncommon := el("uncommon", g.sequence(part{repeat: true}, opt(alignment), opt(empty("selfContained")),
		number("valueMaxLength"), number("valuePartitionCapacity"), part{e: mapping, repeat: true}))
	preserve := el("preserve", g.sequence(opt(empty("dtd")), opt(empty("prefixes")), opt(empty("lexicalValues")),
		opt(empty("comments")), opt(empty("pis"))))
	lesscommon := el("lesscommon", g.sequence(opt(uncommon), opt(preserve), number("blockSize")))
	schemaID := el("schemaId", g.simple(&Datatype{Codec: CodecString}))
	schemaID.Nillable = true
	common := el("common", g.sequence(opt(empty("compression")), opt(empty("fragment")), opt(schemaID)))
	header := el("header", g.sequence(opt(lesscommon), opt(common), opt(empty("strict"))))

	s := &Schema{
		Elements:         map[Name]*ElementDecl{header.Name: header},
		DocumentElements: []*ElementDecl{header},
		Types:            make(map[Name]*Type),
	}
	xsdNames := g.builtinTypes(s)
	s.URIs = []URIPartition{
		{URI: "", Prefixes: []string{""}},
		{URI: NSXML, Prefixes: []string{"xml"}, Locals: []string{"base", "id", "lang", "space"}},
		{URI: NSXSI, Prefixes: []string{"xsi"}, Locals: []string{"nil", "type"}},
		{URI: NSXSD, Locals: xsdNames},
		{URI: nsEXI, Locals: optionsNames()},
	}
	return s
}

// optionsNames are the elements and types declared in appendix C.
func optionsNames() []string {
	names := []string{
		"header", "lesscommon", "uncommon", "alignment", "byte", "pre-compress", "selfContained",
		"valueMaxLength", "valuePartitionCapacity", "datatypeRepresentationMap", "preserve", "dtd",
		"prefixes", "lexicalValues", "comments", "pis", "blockSize", "common", "compression",
		"fragment", "schemaId", "strict", "ieeeBinary32", "ieeeBinary64",
	}
	for local := range representations {
		names = append(names, local)
	}
	slices.Sort(names)
	return names
}

// builtinTypes adds the built-in types that user-defined data in an options
// document may be given by xsi:type, and returns the names of table D-5.
func (g *grammarBuilder) builtinTypes(s *Schema) []string {
	codecs := map[string]Codec{
		"boolean": CodecBoolean, "decimal": CodecDecimal, "double": CodecFloat, "float": CodecFloat,
		"dateTime": CodecDateTime, "date": CodecDate, "time": CodecTime, "gYear": CodecGYear,
		"gYearMonth": CodecGYearMonth, "gMonth": CodecGMonth, "gMonthDay": CodecGMonthDay, "gDay": CodecGDay,
		"base64Binary": CodecBase64, "hexBinary": CodecHex, "integer": CodecInteger, "long": CodecInteger,
		"int": CodecInteger, "short": CodecInteger, "nonPositiveInteger": CodecInteger,
		"negativeInteger": CodecInteger, "nonNegativeInteger": CodecUnsigned, "positiveInteger": CodecUnsigned,
		"unsignedLong": CodecUnsigned, "unsignedInt": CodecUnsigned, "unsignedShort": CodecUnsigned,
	}
	lists := map[string]bool{"NMTOKENS": true, "IDREFS": true, "ENTITIES": true}
	names := []string{
		"ENTITIES", "ENTITY", "ID", "IDREF", "IDREFS", "NCName", "NMTOKEN", "NMTOKENS", "NOTATION", "Name",
		"QName", "anySimpleType", "anyType", "anyURI", "base64Binary", "boolean", "byte", "date", "dateTime",
		"decimal", "double", "duration", "float", "gDay", "gMonth", "gMonthDay", "gYear", "gYearMonth",
		"hexBinary", "int", "integer", "language", "long", "negativeInteger", "nonNegativeInteger",
		"nonPositiveInteger", "normalizedString", "positiveInteger", "short", "string", "time", "token",
		"unsignedByte", "unsignedInt", "unsignedLong", "unsignedShort",
	}
	for _, local := range names {
		d := &Datatype{Codec: codecs[local]}
		switch {
		case lists[local]:
			d = &Datatype{Codec: CodecList, Item: &Datatype{Codec: CodecString}}
		case local == "byte":
			d = &Datatype{Codec: CodecNBit, Min: -128, Max: 127, Bits: 8}
		case local == "unsignedByte":
			d = &Datatype{Codec: CodecNBit, Min: 0, Max: 255, Bits: 8}
		}
		t := g.simple(d)
		if local == "anyType" {
			t = g.anyType()
		}
		t.Name = N(NSXSD, local)
		s.Types[t.Name] = t
	}
	return names
}

// anyType is the ur-type: any attributes, any content.
func (g *grammarBuilder) anyType() *Type {
	content := g.state()
	content.Prods = []Prod{
		{Kind: SE, Match: Any, Next: content}, {Kind: EE}, {Kind: CH, Next: content},
	}
	start := g.state()
	start.Prods = append([]Prod{{Kind: AT, Match: Any, Next: start}}, content.Prods...)
	start.StartTag, start.FirstStartTag = true, true
	empty := g.state()
	empty.Prods = []Prod{{Kind: AT, Match: Any, Next: empty}, {Kind: EE}}
	return &Type{Start: start, Empty: empty}
}
