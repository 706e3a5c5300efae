package exi

// Alignment says how a body is laid out (EXI 1.0 §5.4, alignment option and
// compression).
type Alignment uint8

// The four layouts.
const (
	BitPacked Alignment = iota
	ByteAligned
	PreCompression
	Compression // channels, then DEFLATE
)

// Unbounded is the value of the size options that stands for no limit.
const Unbounded = -1

// Options are the EXI options of EXI 1.0 §5.4, plus what belongs to this
// codec alone. Take DefaultOptions and change what differs.
type Options struct {
	Alignment     Alignment
	Strict        bool
	Fragment      bool
	SelfContained bool
	Preserve      Preserve

	// Schema is nil for schema-less streams. For the empty schemaId, the
	// built-in types of XML Schema and nothing else, it is the Schema that
	// package xsd's TypesOnly makes.
	Schema *Schema
	// SchemaID is what schemaId says in an options document that names the
	// schema (SchemaIDInHeader); a decoder finds there what its peer wrote.
	SchemaID string
	// Schemas finds the schema for a schemaId that is not SchemaID; "" asks for
	// the built-in types only. nil means that none can be found. It is for
	// decoders of documents with headers.
	Schemas func(schemaID string) (*Schema, error)

	BlockSize              int // events per block in (pre)compression; default 1,000,000
	ValueMaxLength         int // characters; Unbounded by default
	ValuePartitionCapacity int // entries; Unbounded by default

	// DatatypeRepresentationMap replaces representations of types by name.
	DatatypeRepresentationMap []DatatypeMapping

	// Profile holds the EXI Profile parameters; nil where they do not apply.
	Profile *Profile

	// Header control, for the encoder.
	Cookie          bool // write "$EXI" first
	OptionsInHeader bool // write the options document
	// SchemaIDInHeader says in the options document which schema is used, none
	// (xsi:nil) included.
	SchemaIDInHeader bool

	// SchemaIDOnly has the options document say the schemaId and nothing of the
	// other options, which both ends know by it: the shortcut of XEP-0322 for its dedicated port. A
	// decoder asks Named for them.
	SchemaIDOnly bool
	// Named, if set, returns all options of the stream whose header has this
	// schemaId, in place of what else the header says; nil when it knows none. It
	// is for decoders of documents with headers.
	Named func(schemaID string) *Options

	// SelfContainedElements are the elements that an encoder writes
	// self-contained. Not on the wire.
	SelfContainedElements []Name
	// KeepFloatDigits keeps trailing zeros of floats, and the sign of a decimal
	// zero: 2340E-2 stays as it is instead of being reduced to 234E-1. Not on the
	// wire.
	KeepFloatDigits bool
	// KeepListSpace keeps the white space of lists: a list is written as one only
	// when its text is its items with one space between them, and as untyped text
	// otherwise, which a strict grammar has no place for. Without it any white
	// space becomes one space, as XML Schema has it. Not on the wire.
	KeepListSpace bool
	// Canonical asks the encoder for the choices of Canonical EXI. Not on the wire.
	Canonical bool
	// StripSpace drops text that is only white space behind an end tag or in
	// front of a start tag, as both reference codecs do, unless lexical values are
	// preserved. Strict grammars drop what they cannot carry in any case. Not on
	// the wire.
	StripSpace bool

	Limits Limits
}

// Preserve are the fidelity options (EXI 1.0 §6.3).
type Preserve struct {
	Comments, PIs, DTD, Prefixes, LexicalValues bool
}

// DatatypeMapping maps a schema datatype to a representation, both by name
// (EXI 1.0 §7.4).
type DatatypeMapping struct{ Type, Representation Name }

// Profile are the parameters of the EXI Profile (W3C, 9 September 2014).
type Profile struct {
	LocalValuePartitions                  bool
	MaximumNumberOfBuiltInElementGrammars int // Unbounded = no limit
	MaximumNumberOfBuiltInProductions     int // Unbounded = no limit
}

// Limits bound what a decoder does for a hostile stream. Zero fields take the
// value of DefaultLimits; Events is not limited by default where events are
// read one by one (DocumentReader).
type Limits struct {
	Depth       int   // nested elements
	StringLen   int   // characters of one string
	TableOctets int   // octets held by all string tables
	TableSize   int   // entries of all string tables
	Grammars    int   // productions learned by built-in grammars
	Octets      int64 // octets of one body, compressed
	Inflated    int64 // octets after DEFLATE
	Events      int64 // events of one body; a Doc holds about 100 octets for each
	Block       int   // events of a compressed block, which are held as well
}

// DefaultLimits are what zero fields of Limits stand for.
func DefaultLimits() Limits {
	return Limits{
		Depth:       5_000,
		StringLen:   16 << 20,
		TableOctets: 64 << 20,
		TableSize:   4 << 20,
		Grammars:    1 << 20,
		Octets:      1 << 40,
		Inflated:    256 << 20,
		Events:      1 << 20,
		Block:       1 << 21,
	}
}

// streamedEvents is what Limits.Events stands for when nothing is held.
const streamedEvents = 1 << 40

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	pick := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	pick(&l.Depth, d.Depth)
	pick(&l.StringLen, d.StringLen)
	pick(&l.TableOctets, d.TableOctets)
	pick(&l.TableSize, d.TableSize)
	pick(&l.Grammars, d.Grammars)
	pick(&l.Block, d.Block)
	if l.Octets <= 0 {
		l.Octets = d.Octets
	}
	if l.Inflated <= 0 {
		l.Inflated = d.Inflated
	}
	return l
}

// DefaultOptions are the defaults of EXI 1.0 table 5-1.
func DefaultOptions() Options {
	return Options{
		BlockSize:              1_000_000,
		ValueMaxLength:         Unbounded,
		ValuePartitionCapacity: Unbounded,
	}
}
