package compress

import (
	"bytes"
	"container/list"
	"crypto/md5" //nolint:gosec // the protocol names files by MD5; size and namespace are part of the key
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
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
	preset    map[Ref][]byte              // wordsRef besides
	uploads   map[uploadKey]*list.Element // of upload
	recent    *list.List                  // uploads, the most recently used first
	octets    int
	maxOctets int
	maxFile   int
	grammars  map[[32]byte]*grammarSet
	order     [][32]byte // of grammars, oldest first
}

// uploadKey names an upload. Those in EXI serve only the account, or the
// stream, that sent them: nobody can check their size and hash (decision D19).
type uploadKey struct {
	scope string // empty for texts, which serve everybody
	Ref
}

type upload struct {
	key  uploadKey
	text []byte
}

type grammarSet struct {
	once   sync.Once
	schema *exi.Schema
	err    error

	mu      sync.Mutex
	engines map[engineKey]*engine
}

type engineKey struct {
	Params
	exi.Limits
}

// engine returns the shared engine of a configuration with these grammars.
func (g *grammarSet) engine(p Params, lim exi.Limits) (*engine, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := engineKey{p, lim}
	if e := g.engines[key]; e != nil {
		return e, nil
	}
	e, err := newEngine(p, g.schema, lim)
	if err != nil {
		return nil, err
	}
	if g.engines == nil || len(g.engines) >= maxGrammars {
		g.engines = make(map[engineKey]*engine) // options are the client's choice
	}
	g.engines[key] = e
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
		preset: make(map[Ref][]byte), uploads: make(map[uploadKey]*list.Element), recent: list.New(),
		maxOctets: MaxUploads, maxFile: MaxSchema, grammars: make(map[[32]byte]*grammarSet),
	}
	for _, f := range schemas.Files() {
		l.preset[RefOf(f)] = f.Text
	}
	_, words := proseRefs()
	l.preset[words] = schemas.Words().Text
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
func (l *Library) Has(r Ref) bool { return l.has(r, "") }

func (l *Library) has(r Ref, scope string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, _ := l.text(r, scope)
	return text != nil
}

// preinstalled lists what the library was made with, by namespace, as it is to
// be proposed: without the variant of words.
func (l *Library) preinstalled() []Ref {
	refs := make([]Ref, 0, len(l.preset))
	_, words := proseRefs()
	for r := range l.preset {
		if r != words {
			refs = append(refs, r)
		}
	}
	sortRefs(refs)
	return refs
}

func sortRefs(refs []Ref) {
	sort.Slice(refs, func(i, j int) bool {
		a, b := &refs[i], &refs[j]
		return a.NS < b.NS || a.NS == b.NS && a.MD5 < b.MD5
	})
}

// text returns a file, and whether it is one of the scope's own.
func (l *Library) text(r Ref, scope string) (text []byte, private bool) {
	if t, ok := l.preset[r]; ok {
		return t, false
	}
	for _, s := range []string{"", scope} {
		if e, ok := l.uploads[uploadKey{s, r}]; ok {
			l.recent.MoveToFront(e)
			return e.Value.(upload).text, s != ""
		}
	}
	return nil, false
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
	l.keep(uploadKey{Ref: r}, bytes.Clone(text))
	return r, nil
}

// keep adds an upload and drops those that were not used for the longest time.
func (l *Library) keep(k uploadKey, text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, _ := l.text(k.Ref, k.scope); have != nil {
		return
	}
	l.uploads[k] = l.recent.PushFront(upload{k, text})
	l.octets += len(text)
	for l.octets > l.maxOctets {
		last := l.recent.Back()
		u := l.recent.Remove(last).(upload)
		delete(l.uploads, u.key)
		l.octets -= len(u.text)
	}
}

// uploadEXI adds a schema that came in EXI for the account alone, under the
// size and hash that its sender gives for the text it was made from.
func (l *Library) uploadEXI(data []byte, document bool, size int64, md5, scope string) error {
	if len(data) > l.maxFile {
		return fmt.Errorf("compress: an uploaded schema of %d octets; the limit is %d", len(data), l.maxFile)
	}
	if size <= 0 || size > int64(2*l.maxFile) || len(md5) != 32 || scope == "" {
		return errors.New("compress: an uploaded EXI schema without size and hash of its text")
	}
	text, err := fromEXI(data, document)
	if err != nil {
		return err
	}
	ns, err := targetNamespace(text)
	if err != nil {
		return err
	}
	l.keep(uploadKey{scope, Ref{NS: ns, Bytes: size, MD5: md5}}, text)
	return nil
}

// Grammars returns the grammars of a set of schemas that the library has. The
// order of refs does not matter. Sets are compiled once and shared.
func (l *Library) Grammars(refs []Ref) (*exi.Schema, error) {
	set, err := l.set(refs, "")
	if err != nil {
		return nil, err
	}
	return set.schema, nil
}

func (l *Library) set(refs []Ref, scope string) (*grammarSet, error) {
	refs = slices.Clone(refs)
	// Ascending by namespace: the order of the canonical schema (0322-R50).
	sortRefs(refs)
	l.mu.Lock()
	files := make(canonical, len(refs))
	private := ""
	for _, r := range refs {
		text, mine := l.text(r, scope)
		if text == nil {
			l.mu.Unlock()
			return nil, fmt.Errorf("compress: schema %s (%s) is not here any more", r.NS, r.MD5)
		}
		if mine {
			private = scope // the grammars are the account's, too
		}
		files[r.NS] = text
	}
	key := setKey("", private, refs)
	set := l.grammar(key)
	l.mu.Unlock()
	set.once.Do(func() { set.schema, set.err = files.compile(key) })
	return set, set.err
}

// grammar returns the set of that key, a new one if there is none.
func (l *Library) grammar(key [32]byte) *grammarSet {
	set := l.grammars[key]
	if set == nil {
		set = &grammarSet{}
		l.grammars[key] = set
		if l.order = append(l.order, key); len(l.order) > maxGrammars {
			delete(l.grammars, l.order[0])
			l.order = l.order[1:]
		}
	}
	return set
}

func setKey(kind, scope string, refs []Ref) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", kind, scope)
	for _, r := range refs {
		fmt.Fprintf(h, "%s\x00%d\x00%s\x00", r.NS, r.Bytes, r.MD5)
	}
	return [32]byte(h.Sum(nil))
}

// canonical resolves imports within a negotiated set, by namespace alone: what
// is not in the set does not exist (XEP-0322 §2.5).
type canonical map[string][]byte

// NSCanonical is the target namespace of canonical schemas (0322-R51).
const NSCanonical = "urn:xmpp:exi:cs"

var errOutside = errors.New("the import is not among the negotiated schemas")

// Schema implements xsd.Resolver.
func (c canonical) Schema(from, location, namespace string) (string, []byte, error) {
	if from == "" {
		return location, canonicalText(slices.Collect(maps.Keys(c))), nil
	}
	if text, ok := c[namespace]; ok {
		return namespace, text, nil
	}
	return "", nil, fmt.Errorf("%w: %s: %w", xsd.ErrNotFound, namespace, errOutside)
}

// canonicalText is the schema that imports the negotiated ones, in ascending
// order of their namespaces (0322-R50).
func canonicalText(namespaces []string) []byte {
	slices.Sort(namespaces)
	b := []byte(`<xs:schema xmlns:xs="` + exi.NSXSD + `" targetNamespace="` + NSCanonical + `">` + "\n")
	for _, ns := range namespaces {
		b = append(b, `<xs:import`...)
		if ns != "" {
			b = append(b, ` namespace="`...)
			b = append(b, xmlEscaper.Replace(ns)...)
			b = append(b, '"')
		}
		b = append(b, "/>\n"...)
	}
	return append(b, "</xs:schema>\n"...)
}

var xmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;")

func (c canonical) compile(key [32]byte) (*exi.Schema, error) {
	s, err := xsd.Compile(c, NSCanonical)
	if err != nil {
		return nil, fmt.Errorf("compress: the negotiated schemas do not compile: %w", err)
	}
	s.ID = NSCanonical + "#" + hex.EncodeToString(key[:8])
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
