package compress

import (
	"bytes"
	"cmp"
	"container/list"
	"crypto/md5" //nolint:gosec // the protocol names files by MD5; size and namespace are part of the key
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"postern/exi"
	"postern/exi/schemas"
	"postern/exi/xsd"
)

// Library holds the schema files one end knows: those it was made with, and
// uploads up to a bound, of which the least recently used go first. It also
// keeps the grammars of the sets in use. Safe for concurrent use.
type Library struct {
	mu        sync.Mutex
	preset    map[Ref][]byte
	uploads   map[Ref]*list.Element // of upload
	recent    *list.List            // uploads, the most recently used first
	octets    int
	maxOctets int
	maxFile   int
	grammars  map[[32]byte]*grammarSet
	order     [][32]byte // of grammars, oldest first
}

type upload struct {
	ref  Ref
	text []byte
}

type grammarSet struct {
	once   sync.Once
	schema *exi.Schema
	err    error

	mu      sync.Mutex
	engines map[Params]*engine
}

// engine returns the shared engine of a configuration with these grammars.
func (g *grammarSet) engine(p Params, lim exi.Limits) (*engine, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.engines[p]; e != nil {
		return e, nil
	}
	e, err := newEngine(p, g.schema, lim)
	if err != nil {
		return nil, err
	}
	if g.engines == nil || len(g.engines) >= maxGrammars {
		g.engines = make(map[Params]*engine) // options are the client's choice
	}
	g.engines[p] = e
	return e, nil
}

// Bounds of a Library.
const (
	// MaxUploads is the octets of uploaded schemas that are kept.
	MaxUploads = 4 << 20
	// MaxSchema is the size of one uploaded schema.
	MaxSchema   = 256 << 10
	maxGrammars = 16 // compiled sets kept
)

// NewLibrary returns a library of our own schema files and the given further
// ones, for example those an operator put into a folder.
func NewLibrary(more ...[]byte) (*Library, error) {
	l := &Library{
		preset: make(map[Ref][]byte), uploads: make(map[Ref]*list.Element), recent: list.New(),
		maxOctets: MaxUploads, maxFile: MaxSchema, grammars: make(map[[32]byte]*grammarSet),
	}
	for _, f := range schemas.Files() {
		l.preset[RefOf(f)] = f.Text
	}
	for i, text := range more {
		ns, err := targetNamespace(text)
		if err != nil {
			return nil, fmt.Errorf("compress: schema file %d: %w", i+1, err)
		}
		l.preset[refOf(ns, text)] = text
	}
	return l, nil
}

func refOf(ns string, text []byte) Ref {
	sum := md5.Sum(text)
	return Ref{NS: ns, Bytes: int64(len(text)), MD5: hex.EncodeToString(sum[:])}
}

// Has reports whether the library has exactly this file.
func (l *Library) Has(r Ref) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text(r) != nil
}

// preinstalled lists what the library was made with, by namespace.
func (l *Library) preinstalled() []Ref {
	refs := make([]Ref, 0, len(l.preset))
	for r := range l.preset {
		refs = append(refs, r)
	}
	slices.SortFunc(refs, byNamespace)
	return refs
}

func byNamespace(a, b Ref) int {
	return cmp.Or(strings.Compare(a.NS, b.NS), strings.Compare(a.MD5, b.MD5))
}

func (l *Library) text(r Ref) []byte {
	if t, ok := l.preset[r]; ok {
		return t
	}
	if e, ok := l.uploads[r]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(upload).text
	}
	return nil
}

// Upload adds a schema by its text and returns its name. Namespace, size and
// hash are those of the octets, whatever the sender says (0322-R17). A file
// that is too large, or no schema, is refused.
func (l *Library) Upload(text []byte) (Ref, error) {
	if len(text) > l.maxFile {
		return Ref{}, fmt.Errorf("compress: an uploaded schema of %d octets; the limit is %d", len(text), l.maxFile)
	}
	ns, err := targetNamespace(text)
	if err != nil {
		return Ref{}, fmt.Errorf("compress: uploaded schema: %w", err)
	}
	r := refOf(ns, text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text(r) != nil {
		return r, nil
	}
	l.uploads[r] = l.recent.PushFront(upload{r, bytes.Clone(text)})
	l.octets += len(text)
	for l.octets > l.maxOctets {
		last := l.recent.Back()
		u := l.recent.Remove(last).(upload)
		delete(l.uploads, u.ref)
		l.octets -= len(u.text)
	}
	return r, nil
}

// Grammars returns the grammars of a set of schemas that the library has. The
// order of refs does not matter. Sets are compiled once and shared.
func (l *Library) Grammars(refs []Ref) (*exi.Schema, error) {
	set, err := l.set(refs)
	if err != nil {
		return nil, err
	}
	return set.schema, nil
}

func (l *Library) set(refs []Ref) (*grammarSet, error) {
	refs = slices.Clone(refs)
	// Ascending by namespace: the order of the canonical schema (0322-R50).
	slices.SortFunc(refs, byNamespace)
	key := setKey(refs)
	l.mu.Lock()
	set := l.grammars[key]
	files := make(canonical, len(refs))
	for _, r := range refs {
		text := l.text(r)
		if text == nil && set == nil {
			l.mu.Unlock()
			return nil, fmt.Errorf("compress: schema %s (%s) is not here any more", r.NS, r.MD5)
		}
		files[r.NS] = text
	}
	if set == nil {
		set = &grammarSet{}
		l.grammars[key] = set
		if l.order = append(l.order, key); len(l.order) > maxGrammars {
			delete(l.grammars, l.order[0])
			l.order = l.order[1:]
		}
	}
	l.mu.Unlock()
	set.once.Do(func() { set.schema, set.err = files.compile(key) })
	return set, set.err
}

func setKey(refs []Ref) [32]byte {
	h := sha256.New()
	for _, r := range refs {
		fmt.Fprintf(h, "%s\x00%d\x00%s\x00", r.NS, r.Bytes, r.MD5)
	}
	return [32]byte(h.Sum(nil))
}

// canonical resolves imports within a negotiated set, by namespace alone: what
// is not in the set does not exist (XEP-0322 §2.5).
type canonical map[string][]byte

var errOutside = errors.New("the import is not among the negotiated schemas")

// Schema implements xsd.Resolver.
func (c canonical) Schema(from, location, namespace string) (string, []byte, error) {
	if from == "" {
		namespace = location
	}
	if text, ok := c[namespace]; ok {
		return namespace, text, nil
	}
	return "", nil, fmt.Errorf("%w: %s: %w", xsd.ErrNotFound, namespace, errOutside)
}

func (c canonical) compile(key [32]byte) (*exi.Schema, error) {
	names := make([]string, 0, len(c))
	for ns := range c {
		names = append(names, ns)
	}
	slices.Sort(names)
	s, err := xsd.Compile(c, names...)
	if err != nil {
		return nil, fmt.Errorf("compress: the negotiated schemas do not compile: %w", err)
	}
	s.ID = "urn:xmpp:exi:cs#" + hex.EncodeToString(key[:8])
	return s, nil
}

// targetNamespace reads the target namespace off a schema document, and
// refuses what is none.
func targetNamespace(text []byte) (string, error) {
	dec := xml.NewDecoder(io.LimitReader(bytes.NewReader(text), 64<<10))
	for {
		tok, err := dec.Token()
		if err != nil {
			return "", fmt.Errorf("no XML Schema document: %w", err)
		}
		root, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if root.Name.Space != exi.NSXSD || root.Name.Local != "schema" {
			return "", fmt.Errorf("no XML Schema document: its root is %s in %q", root.Name.Local, root.Name.Space)
		}
		for _, a := range root.Attr {
			if a.Name.Space == "" && a.Name.Local == "targetNamespace" {
				return a.Value, nil
			}
		}
		return "", nil
	}
}
