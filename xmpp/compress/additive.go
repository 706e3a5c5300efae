package compress

import (
	"fmt"
	"slices"
	"sync"

	"postern/exi"
	"postern/exi/schemas"
	"postern/exi/xsd"
)

// additive resolves the schemas of a dedicated port: the default ones, those
// that were named, and whatever these import of what the library has (decision
// D5). The default ones cannot be replaced.
type additive struct {
	files xsd.Files         // the default documents, by path
	byNS  map[string]string // their paths; the first of a namespace
	named map[string][]byte // by namespace
	known func(ns string) []byte
}

// portFiles are the documents of the default schema of a dedicated port, by
// path.
func portFiles() (files xsd.Files, byNS map[string]string, refs []Ref) {
	files, byNS = xsd.Files{}, map[string]string{}
	add := func(dir string, fs []schemas.File) {
		for _, f := range fs {
			path := dir + "/" + f.Name
			files[path] = f.Text
			refs = append(refs, RefOf(f))
			if byNS[f.Namespace] == "" {
				byNS[f.Namespace] = path
			}
		}
	}
	add("xsd", schemas.Files())
	add("negotiation", schemas.Negotiation())
	return files, byNS, refs
}

// portRefs lists the default schemas by namespace.
var portRefs = sync.OnceValue(func() map[string][]Ref {
	m := make(map[string][]Ref)
	_, _, refs := portFiles()
	for _, r := range refs {
		m[r.NS] = append(m[r.NS], r)
	}
	return m
})

// Schema implements xsd.Resolver.
func (a *additive) Schema(from, location, namespace string) (string, []byte, error) {
	if from == "" && location == NSCanonical {
		return location, a.wrapper(), nil
	}
	if from == "" {
		return location, a.files[location], nil
	}
	if _, own := a.files[from]; own {
		if name, text, err := a.files.Schema(from, location, namespace); err == nil {
			return name, text, nil
		}
	}
	if path, ok := a.byNS[namespace]; ok {
		return path, a.files[path], nil
	}
	if text, ok := a.named[namespace]; ok {
		return "named/" + namespace, text, nil
	}
	if text := a.known(namespace); text != nil {
		a.named[namespace] = text
		return "named/" + namespace, text, nil
	}
	return "", nil, fmt.Errorf("%w: %s: %w", xsd.ErrNotFound, namespace, errOutside)
}

func (a *additive) wrapper() []byte {
	var all []string
	for ns := range a.byNS {
		all = append(all, ns)
	}
	for ns := range a.named {
		if a.byNS[ns] == "" {
			all = append(all, ns)
		}
	}
	return canonicalText(all)
}

// compile returns the grammars: the documents that the wrapper does not reach
// by a namespace of their own come beside it.
func (a *additive) compile() (*exi.Schema, error) {
	roots := []string{NSCanonical}
	for path := range a.files {
		if !slices.Contains(roots, path) {
			roots = append(roots, path)
		}
	}
	slices.Sort(roots)
	return xsd.Compile(a, roots...)
}

// portSet returns the grammars of a dedicated port with further schemas.
func (l *Library) portSet(refs []Ref, scope string) (*grammarSet, error) {
	refs = slices.Clone(refs)
	sortRefs(refs)
	files, byNS, own := portFiles()
	l.mu.Lock()
	a := &additive{files: files, byNS: byNS, named: map[string][]byte{}, known: l.knownNamespace}
	private := ""
	for _, r := range refs {
		if slices.Contains(own, r) {
			continue
		}
		text, mine := l.text(r, scope)
		if text == nil || byNS[r.NS] != "" {
			l.mu.Unlock()
			return nil, fmt.Errorf("compress: schema %s (%s) is not here any more", r.NS, r.MD5)
		}
		if mine {
			private = scope
		}
		a.named[r.NS] = text
	}
	set := l.grammar(setKey("port", private, refs))
	l.mu.Unlock()
	set.once.Do(func() {
		if set.schema, set.err = a.compile(); set.err != nil {
			set.err = fmt.Errorf("compress: the negotiated schemas do not compile: %w", set.err)
			return
		}
		set.schema.ID = DefaultSchemaID
	})
	return set, set.err
}

// knownNamespace returns a schema of the library by its namespace alone, for
// the imports of others.
func (l *Library) knownNamespace(ns string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var best Ref
	for r := range l.preset {
		if r.NS == ns && (best.MD5 == "" || r.MD5 < best.MD5) {
			best = r
		}
	}
	return l.preset[best]
}
