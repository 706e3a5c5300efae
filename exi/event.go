package exi

import "unique"

// QName is an expanded XML name. Space is the namespace URI, empty for no
// namespace.
type QName struct {
	Space, Local string
}

// Name is an interned QName. Comparing two Names compares two pointers.
// The zero Name stands for "no name" (events that have none).
type Name = unique.Handle[QName]

// N interns the expanded name {space}local.
//
//go:noinline
func N(space, local string) Name {
	return unique.Make(QName{Space: space, Local: local})
}

// Namespaces that XML, XML Namespaces and XML Schema bind by definition.
const (
	NSXML   = "http://www.w3.org/XML/1998/namespace"
	NSXMLNS = "http://www.w3.org/2000/xmlns/"
	NSXSI   = "http://www.w3.org/2001/XMLSchema-instance"
	NSXSD   = "http://www.w3.org/2001/XMLSchema"
)

// Kind is the type of an event (EXI 1.0 §4, table 4-1).
type Kind uint8

// The event types of EXI 1.0.
const (
	KindNone Kind = iota
	SD            // start document
	ED            // end document
	SE            // start element: Name, Prefix
	EE            // end element
	AT            // attribute: Name, Prefix, Value
	NS            // namespace declaration: Name.Space is the URI, Prefix the prefix, LocalNS the flag
	CH            // characters: Value
	CM            // comment: Value
	PI            // processing instruction: Name.Local is the target, Value the text
	DT            // document type: Name.Local is the name, Value the identifiers (see DocTypeValue)
	ER            // entity reference: Name.Local is the entity's name
	SC            // start of a self-contained element
)

// Names that the grammars know (EXI 1.0 §8.5.4.4). The value of NameXsiType is a
// NameRef wherever its prefix could be resolved.
var (
	NameXsiType = N(NSXSI, "type")
	NameXsiNil  = N(NSXSI, "nil")
)

var kindNames = [...]string{"none", "SD", "ED", "SE", "EE", "AT", "NS", "CH", "CM", "PI", "DT", "ER", "SC"}

// String returns the event type's abbreviation as the specification prints it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "Kind?"
}

// Event is one item of a document. Which fields are used depends on Kind.
// Prefix is empty unless prefixes are preserved: names are compared by
// namespace and local name only.
type Event struct {
	Kind   Kind
	Name   Name
	Prefix string
	Value  Value
	// LocalNS is the local-element-ns flag of an NS event: the declaration
	// gives the prefix of the element it stands in (EXI 1.0 §4).
	LocalNS bool
}

// Reader yields the events of one document in order, SD first and ED last.
// Next overwrites *Event; strings and Values in it stay valid only until the
// following call unless Value.Clone is used. After ED it returns io.EOF.
type Reader interface {
	Next(*Event) error
}

// Writer takes the events of one document in order. A Writer that returned an
// error must not be used further.
type Writer interface {
	Event(Event) error
}
