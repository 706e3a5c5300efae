// Package schemas holds Postern's own XML Schema files for the namespaces of
// XMPP and compiles them to the grammars that an EXI stream between two ends
// that both have these files is coded with (XEP-0322 §2.2).
//
// The files describe the protocols for coding, not for validation: what is
// typed in a protocol is typed here (numbers, times, flags, closed
// vocabularies, the characters that addresses and identifiers are made of),
// free text is free, and wildcards stand where protocols are extended. What
// they do not foresee can still be coded, at a greater cost, with any stream
// that is not strict.
//
// Octets are part of the contract: the two ends name each file by its
// namespace, size and MD5, so a change of white space is a different schema.
package schemas

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"postern/exi"
	"postern/exi/xsd"
)

//go:embed xsd/*.xsd
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
// schema.
func Files() []File {
	entries, err := fs.ReadDir(files, "xsd")
	if err != nil {
		panic("schemas: " + err.Error()) // embedded: cannot happen
	}
	all := make([]File, 0, len(entries))
	for _, e := range entries {
		text, err := files.ReadFile("xsd/" + e.Name())
		if err != nil {
			panic("schemas: " + err.Error())
		}
		all = append(all, File{Name: e.Name(), Namespace: target(text), Text: text})
	}
	slices.SortFunc(all, func(a, b File) int { return strings.Compare(a.Namespace, b.Namespace) })
	return all
}

// target reads the target namespace off a document. The files are ours, so
// looking for the attribute is enough; a test compares with the real parser.
func target(text []byte) string {
	_, rest, _ := strings.Cut(string(text[:min(len(text), 400)]), `targetNamespace="`)
	ns, _, _ := strings.Cut(rest, `"`)
	return ns
}

// compiled is compiled at most once: a Schema is immutable and can be shared.
var compiled = sync.OnceValues(func() (*exi.Schema, error) { return Compile() })

// Set returns the grammars of all documents of the set. They are compiled at
// the first call, which takes some milliseconds, and shared by all callers.
func Set() (*exi.Schema, error) { return compiled() }

// Compile compiles the whole set anew. Use Set, except to measure.
func Compile() (*exi.Schema, error) {
	sub, err := fs.Sub(files, "xsd")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range Files() {
		names = append(names, f.Name)
	}
	s, err := xsd.Compile(xsd.FS(sub), names...)
	if err != nil {
		return nil, err
	}
	s.ID = ID
	return s, nil
}
