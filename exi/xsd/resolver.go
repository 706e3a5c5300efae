package xsd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"
)

// Resolver finds schema documents. Compile asks it for one document at a time
// and never twice for the same name and target namespace.
type Resolver interface {
	// Schema returns the text of a document and the name it goes by, which
	// errors show and which is the base of the locations in it.
	//
	// from is the name of the document that refers to it, empty for the
	// documents given to Compile. location is the schemaLocation attribute as
	// written, empty when an import has none; namespace is the namespace that
	// an import asks for. ErrNotFound stands for "no such document".
	Schema(from, location, namespace string) (name string, text []byte, err error)
}

// FS resolves locations as paths in fsys, relative to the document that names
// them: os.DirFS for a folder, embed.FS for schemas built into a program,
// Files for schemas in memory. A location that is a URL, or that leaves fsys,
// is looked up by its last path element beside the referring document.
func FS(fsys fs.FS) Resolver { return fsResolver{fsys} }

type fsResolver struct{ fsys fs.FS }

func (r fsResolver) Schema(from, location, _ string) (string, []byte, error) {
	if location == "" {
		return "", nil, ErrNotFound
	}
	for _, name := range candidates(from, location) {
		text, err := readBounded(r.fsys, name)
		if err == nil {
			return name, text, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			return "", nil, err
		}
	}
	return "", nil, fmt.Errorf("%w: %q, wanted by %q", ErrNotFound, location, from)
}

// candidates lists the paths to try for a location.
func candidates(from, location string) []string {
	dir := path.Dir(from)
	loc, _, _ := strings.Cut(strings.TrimPrefix(location, "file:"), "#")
	if plain, err := url.PathUnescape(loc); err == nil {
		loc = plain
	}
	var names []string
	if !strings.Contains(loc, "://") {
		name := path.Join(dir, loc)
		if path.IsAbs(loc) {
			name = strings.TrimLeft(path.Clean(loc), "/")
		}
		names = append(names, name)
	}
	return append(names, path.Join(dir, path.Base(loc)))
}

func readBounded(fsys fs.FS, name string) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxOctets {
		return nil, fmt.Errorf("xsd: %s has %d octets; the limit is %d", name, st.Size(), maxOctets)
	}
	return fs.ReadFile(fsys, name)
}

// Files is a Resolver for documents held in memory, by path. Locations are
// resolved as FS does.
type Files map[string][]byte

// Schema implements Resolver.
func (f Files) Schema(from, location, _ string) (string, []byte, error) {
	for _, name := range candidates(from, location) {
		if text, ok := f[name]; ok && location != "" {
			return name, text, nil
		}
	}
	return "", nil, fmt.Errorf("%w: %q, wanted by %q", ErrNotFound, location, from)
}
