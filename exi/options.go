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

	// Schema is nil for schema-less streams. XSDTypesOnly stands for the
	// empty schemaId (built-in XML Schema types only).
	Schema *Schema
	// SchemaID is written to and checked against the options document.
	SchemaID string

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

	// SelfContainedElements are the elements that an encoder writes
	// self-contained. Not on the wire.
	SelfContainedElements []Name
	// KeepFloatDigits keeps trailing zeros of floats: 2340E-2 stays as it is
	// instead of being reduced to 234E-1. Not on the wire.
	KeepFloatDigits bool
	// Canonical asks the encoder for the choices of Canonical EXI. Not on the wire.
	Canonical bool

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
// value of DefaultLimits.
type Limits struct {
	Depth       int   // nested elements
	StringLen   int   // characters of one string
	TableOctets int   // octets held by all string tables
	TableSize   int   // entries of all string tables
	Grammars    int   // productions learned by built-in grammars
	Octets      int64 // octets of one body, compressed
	Inflated    int64 // octets after DEFLATE
	Events      int64 // events of one body
}

// DefaultOptions are the defaults of EXI 1.0 table 5-1.
func DefaultOptions() Options {
	return Options{
		BlockSize:              1_000_000,
		ValueMaxLength:         Unbounded,
		ValuePartitionCapacity: Unbounded,
	}
}
