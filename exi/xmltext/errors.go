package xmltext

import (
	"errors"
	"fmt"
)

// The stream error conditions that reading can end in (RFC 6120 §4.9.3).
const (
	CondRestricted  = "restricted-xml"       // comment, PI, document type, entity
	CondNotWell     = "not-well-formed"      // breaks XML 1.0 or Namespaces in XML
	CondPolicy      = "policy-violation"     // a limit was exceeded
	CondEncoding    = "unsupported-encoding" // not UTF-8
	CondBadPrefix   = "bad-namespace-prefix" // stream element without its prefix's namespace
	CondInvalid     = "invalid-xml"          // well-formed, but not possible at this place
	CondUnsupported = "unsupported-version"  // XML version other than 1.0
)

// Error says what is wrong with the text that was read. After an Error a
// reader is of no more use.
type Error struct {
	Condition string // one of the stream error conditions above
	Offset    int64  // octets from the start of the stream or document
	Err       error  // what exactly
}

// Error returns the condition, the place and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("xmltext: %s at octet %d: %v", e.Condition, e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// ErrEnd is returned by ReadElement at the end tag of the stream's root.
var ErrEnd = errors.New("xmltext: end of the stream's root element")

// Reasons that more than one place gives.
var (
	errChar      = errors.New("a character that XML 1.0 does not allow")
	errUTF8      = errors.New("octets that are not UTF-8")
	errName      = errors.New("not a name")
	errColon     = errors.New("not a qualified name")
	errUnbound   = errors.New("a namespace prefix that is not declared")
	errDuplicate = errors.New("an attribute occurs twice")
	errReserved  = errors.New("a reserved namespace name or prefix is declared")
	errEmptyNS   = errors.New("a prefix is bound to the empty namespace name")
	errTag       = errors.New("a malformed tag")
	errValue     = errors.New("an attribute value without quotes")
	errLess      = errors.New("'<' in an attribute value")
	errCDEnd     = errors.New("']]>' in character data")
	errRef       = errors.New("a malformed or unknown reference")
	errMismatch  = errors.New("an end tag that does not match its start tag")
	errMarkup    = errors.New("unknown markup")
	errText      = errors.New("text outside of an element")
	errDepth     = errors.New("elements are nested too deeply")
	errAttrs     = errors.New("too many attributes")
	errNSCount   = errors.New("too many namespace declarations in scope")
	errNameLen   = errors.New("a name is too long")
	errOctets    = errors.New("an element is too long")
	errComment   = errors.New("a comment is not allowed in a stream")
	errPI        = errors.New("a processing instruction is not allowed in a stream")
	errDoctype   = errors.New("a document type is not allowed in a stream")
	errEntity    = errors.New("an entity other than the five of XML is not allowed in a stream")
	errDecl      = errors.New("a malformed XML declaration")
)

// Limits bound what a reader accepts. Zero fields take the default given
// here.
type Limits struct {
	Depth      int   // nested elements, the stream's root not counted; 64
	Attributes int   // of one element, namespace declarations included; 128
	Namespaces int   // declarations in scope at one place; 256
	NameLen    int   // octets of one name, prefix included; 256
	Octets     int64 // of one first-level element (streams), of one token (documents); 64 KiB, documents 64 MiB

	// KeepPrefixes records prefixes and namespace declarations (NS events).
	// Content that holds qualified names (xsi:type) needs it.
	KeepPrefixes bool
}

func (l Limits) withDefaults() Limits {
	def := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	def(&l.Depth, 64)
	def(&l.Attributes, 128)
	def(&l.Namespaces, 256)
	def(&l.NameLen, 256)
	if l.Octets == 0 {
		l.Octets = 64 << 10
	}
	return l
}
