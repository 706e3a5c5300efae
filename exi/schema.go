package exi

import (
	"math/big"
	"sync"
	"sync/atomic"
)

// A Schema is a set of schema-informed grammars (EXI 1.0 §8.5), compiled by
// package exi/xsd. It must not be changed once it is in use, and may be shared by
// any number of encoders and decoders.
//
// A Schema holds the normalised grammars of §8.5.4.1 to §8.5.4.3: states
// without productions of the empty kind, deterministic, productions in
// event-code order. The undeclared productions of §8.5.4.4 depend on the
// options of a stream (strictness, fidelity options), so the codec adds them to
// each type when it first meets it under those options; the Schema keeps the
// result.
type Schema struct {
	// ID identifies the set in options documents and caches.
	ID string

	// URIs are the initial URI and local-name partitions in the order of EXI
	// 1.0 appendix D: "", xml, xsi, xsd, then the schema's target namespaces in
	// lexicographic order of their code points, local names sorted likewise.
	URIs []URIPartition

	// Elements are the global element declarations by name.
	Elements map[Name]*ElementDecl
	// Attributes are the global attribute declarations by name.
	Attributes map[Name]*Datatype
	// Types are the named types by name, built-in ones included; xsi:type
	// selects among them.
	Types map[Name]*Type

	// DocumentElements are the global elements in the order of the document
	// grammar DocContent (§8.5.1).
	DocumentElements []*ElementDecl
	// FragmentElements are the elements of the fragment grammar FragmentContent
	// in its order (§8.5.2), each once by name. An entry whose Type is nil
	// stands for several declarations that differ: such an element is coded
	// with the element fragment grammar (§8.5.3).
	FragmentElements []*ElementDecl
	// ElementFragment is the relaxed element fragment grammar (§8.5.3), in the
	// same normalised form: states [0] for ElementFragment, [1] content, [2]
	// and [3] for the TypeEmpty variant.
	ElementFragment *Type

	cache  sync.Map // shape → *bound
	cached atomic.Int32
}

// URIPartition is one namespace of the initial string tables.
type URIPartition struct {
	URI      string
	Prefixes []string
	Locals   []string
}

// ElementDecl is an element declaration.
type ElementDecl struct {
	Name     Name
	Type     *Type
	Nillable bool
}

// Type is a type definition with its grammars.
type Type struct {
	Name Name // zero for anonymous types

	// Start is the first state of the type grammar Type_i; Empty the first
	// state of TypeEmpty_i, used under xsi:nil (§8.5.4.1.3).
	Start, Empty *State

	// HasSubtypes is set when the type is named and has named sub-types, or is
	// a simple type that is a union: the element then takes xsi:type in strict
	// mode (§8.5.4.4.2).
	HasSubtypes bool

	// Simple is the datatype of a simple type or of simple content, else nil.
	Simple *Datatype
}

// State is one grammar (right-hand sides of one non-terminal). Productions are
// in event-code order: AT(qname) sorted by local name then URI, AT(uri:*)
// AT(*), SE in schema order, SE(uri:*), SE(*), EE, CH (§8.5.4.3). States whose
// productions are the last of another's may share its memory.
type State struct {
	Prods []Prod

	// StartTag and FirstStartTag give the position of the state in §8.5.4.4's
	// terms. StartTag is set for the indices 0 to content, the content index
	// itself included: undeclared attributes are added to all of them, although
	// the state at the content index declares none. FirstStartTag marks index
	// 0, where xsi:type, xsi:nil, NS and SC productions are added.
	//
	// Content productions of a start-tag state lead to states that are not
	// start-tag states; a production for AT(*) may lead back to its own state.
	StartTag      bool // index ≤ content
	FirstStartTag bool // index 0
	// ContentStart is the state Element_i,content2 that undeclared content
	// productions of start-tag states lead to (§8.5.4.4.1); nil in content
	// states, which lead to themselves.
	ContentStart *State
}

// Prod is one production.
type Prod struct {
	// Kind is AT, SE, EE or CH.
	Kind Kind
	// Match tells how Name is to be read.
	Match Match
	Name  Name // Any: zero; AnyIn: only Space counts
	// Next is the right-hand side; for SE it is what follows the element. nil
	// after EE.
	Next *State
	// Elem is the declaration of SE(qname); nil for wildcards.
	Elem *ElementDecl
	// Datatype is the type of an attribute or of CH; nil means untyped (mixed
	// content, wildcards).
	Datatype *Datatype
}

// Match is the way a production names what it accepts.
type Match uint8

// The three forms of EXI 1.0 §8.3: AT(qname), AT(*), AT(uri:*).
const (
	Exact Match = iota
	Any
	AnyIn
)

// Codec names a built-in EXI datatype representation (EXI 1.0 §7.1).
type Codec uint8

// The built-in representations.
const (
	CodecString Codec = iota
	CodecBoolean
	CodecBooleanPattern // xs:boolean with a pattern facet: 2 bits
	CodecDecimal
	CodecFloat
	CodecInteger  // sign and unsigned integer
	CodecUnsigned // no sign
	CodecNBit     // bounded range of at most 4096 values
	CodecDateTime
	CodecDate
	CodecTime
	CodecGYear
	CodecGYearMonth
	CodecGMonth
	CodecGMonthDay
	CodecGDay
	CodecBase64
	CodecHex
	CodecQName
	CodecEnumeration
	CodecList
	CodecRestrictedString
)

// Datatype is a simple type as EXI sees it.
type Datatype struct {
	// Name is the type's own name, zero for anonymous ones. Base is the chain
	// towards the ur-type, nearest first, for datatype representation maps.
	Name Name
	Base *Datatype

	Codec Codec

	// CodecNBit: smallest and greatest value, and width in bits. When they are
	// outside of int64, Offset is the smallest value, Min is 0 and Max the number
	// of values less one.
	Min  int64
	Max  int64
	Bits uint8
	// Offset is nil in all but the rarest cases.
	Offset *big.Int

	// CodecEnumeration: the values in schema order, and the datatype that
	// they are compared in.
	Enum     []string
	EnumType *Datatype

	// CodecList: the item type.
	Item *Datatype

	// Charset is the restricted character set of a string (CodecRestricted-
	// String), or the one that applies under preserved lexical values, sorted;
	// nil for none (§7.1.10.1).
	Charset []rune

	// WhiteSpace is the whiteSpace facet.
	WhiteSpace WhiteSpace
	// Union marks union types, coded as strings.
	Union bool
}

// WhiteSpace is XML Schema's whiteSpace facet.
type WhiteSpace uint8

// The facet's values.
const (
	WSPreserve WhiteSpace = iota
	WSReplace
	WSCollapse
)
