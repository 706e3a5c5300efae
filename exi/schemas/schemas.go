// Package schemas holds Postern's own XML Schema files for the namespaces of
// XMPP and compiles them to the grammars of an EXI stream between two ends
// that both have these files (XEP-0322 §2.2).
//
// The files describe the protocols for coding, not for validation: what a
// protocol types is typed here (numbers, times, flags, closed vocabularies, the
// characters that addresses and identifiers are mostly made of), free text is
// free, and wildcards stand where protocols are extended. Everything else can
// still be coded, at a greater cost, on a stream that is not strict:
// characters outside a restricted set by an escape, values that do not fit
// their type as text, elements and attributes that no file foresees with their
// names.
//
// # How the files keep stanzas small
//
// An event code takes as many bits as the state it is coded in has choices,
// so:
//
//   - Only what may stand at the first level of a stream after login is a
//     global element; payloads are local elements of named groups, which the
//     content of message, presence and iq refers to. A payload costs 4 to 7
//     bits there instead of a qualified name.
//   - Behind the first payload of a stanza few choices remain, so that its end
//     costs 2 bits. What else may follow takes the wildcard.
//   - A required attribute ends the choices in front of it. The id and type of
//     an iq are required by RFC 6120; message requires to as well, since the
//     few messages without it can be coded as a deviation.
//   - The fields of a read-out declare the field types and the quality flags
//     that a gateway sets on most of them. The others (estimates, invoices,
//     power failures) are coded with their names.
//
// Payloads that are too rare for a place in the content of a stanza are listed
// in the type "other" of client.xsd, which no element has: their names are in
// the initial string tables.
//
//   - Where string tables are kept from stanza to stanza, the words of a message's
//     body are strings of their own: one that was seen costs some bits. See Words.
//
// Octets are part of the contract: the two ends name each file by its
// namespace, size and MD5, so a change of white space is a different schema.
package schemas

import (
	"embed"
	"io/fs"
	"sort"
	"strings"
	"sync"

	"postern/exi"
	"postern/exi/xsd"
)

//go:embed xsd/*.xsd negotiation/*.xsd words/*.xsd
var files embed.FS

// File is one schema document.
type File struct {
	Name      string // such as "sensordata.xsd"
	Namespace string // its target namespace
	Text      []byte // must not be modified
}

// ID names the whole set in caches and logs.
const ID = "urn:postern:exi:1"

// Files returns the documents of the set in ascending order of their
// namespaces, the order in which XEP-0322 imports them into the canonical
// schema. They cover what an EXI stream on the ordinary port carries once it
// is compressed.
func Files() []File { return folder("xsd") }

// Negotiation returns further documents for what is exchanged before that:
// STARTTLS, SASL, compression and the setup of EXI itself. They are of use
// where these travel in EXI, too, as they do on a dedicated port, and to
// tools. They refer to documents of Files.
func Negotiation() []File { return folder("negotiation") }

// Words returns the document that takes the place of Files' document with the
// same namespace where the string tables are kept from stanza to stanza
// (sessionWideBuffers). By it the body of a message is a list of words, each of
// which goes into the tables by itself; one that was not seen before takes no
// more than in plain text, because its length stands where a space would.
//
// XML Schema has no white space in a list but to part the words, so only an
// encoder that keeps it (exi.Options.KeepListSpace) may use this document. It is
// not for peers of other making.
func Words() File { return folder("words")[0] }

// SetWithWords is Set with Words. They are compiled at the first call.
func SetWithWords() (*exi.Schema, error) { return compiledWords() }

var compiledWords = sync.OnceValues(func() (*exi.Schema, error) {
	var names []string
	for _, f := range Files() {
		if f.Namespace != Words().Namespace { // client.xsd imports it
			names = append(names, "xsd/"+f.Name)
		}
	}
	s, err := xsd.Compile(withWords{xsd.FS(files)}, names...)
	if err == nil {
		s.ID = ID + ":words"
	}
	return s, err
})

// withWords finds Words for whoever imports its namespace.
type withWords struct{ xsd.Resolver }

// Schema implements xsd.Resolver.
func (w withWords) Schema(from, location, namespace string) (string, []byte, error) {
	if f := Words(); namespace == f.Namespace {
		return "words/" + f.Name, f.Text, nil
	}
	return w.Resolver.Schema(from, location, namespace)
}

func folder(dir string) []File {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		panic("schemas: " + err.Error()) // embedded: cannot happen
	}
	all := make([]File, 0, len(entries))
	for _, e := range entries {
		text, err := files.ReadFile(dir + "/" + e.Name())
		if err != nil {
			panic("schemas: " + err.Error())
		}
		all = append(all, File{Name: e.Name(), Namespace: target(text), Text: text})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Namespace < all[j].Namespace })
	return all
}

// target reads the target namespace off a document. The files are ours, so
// looking for the attribute is enough.
func target(text []byte) string {
	_, rest, _ := strings.Cut(string(text[:min(len(text), 400)]), `targetNamespace="`)
	ns, _, _ := strings.Cut(rest, `"`)
	return ns
}

// compiled is compiled at most once: a Schema is immutable and can be shared.
var compiled = sync.OnceValues(Compile)

// Set returns the grammars of Files. They are compiled at the first call, which
// takes some milliseconds, and shared by all callers.
func Set() (*exi.Schema, error) { return compiled() }

// Compile compiles Files anew. Use Set, except to measure.
func Compile() (*exi.Schema, error) {
	s, err := compile(Files(), nil)
	if err == nil {
		s.ID = ID
	}
	return s, err
}

// CompileWithNegotiation compiles Files and Negotiation together.
func CompileWithNegotiation() (*exi.Schema, error) {
	s, err := compile(Files(), Negotiation())
	if err == nil {
		s.ID = ID + ":negotiation"
	}
	return s, err
}

func compile(stream, negotiation []File) (*exi.Schema, error) {
	var names []string
	for _, f := range stream {
		names = append(names, "xsd/"+f.Name)
	}
	for _, f := range negotiation {
		names = append(names, "negotiation/"+f.Name)
	}
	return xsd.Compile(xsd.FS(files), names...)
}
