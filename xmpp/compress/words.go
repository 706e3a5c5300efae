package compress

import (
	"slices"
	"sync"

	"postern/exi/schemas"
)

// The body of a message can be plain text or a list of words: two schema files
// of one namespace. Words are proposed where string tables are kept from stanza
// to stanza, so that a word that was seen costs some bits.
//
// In XML Schema the white space of a list means nothing, so a codec of other
// making would turn two spaces into one. Ours does not (exi.Options.
// KeepListSpace), unless the grammar is strict and leaves it no choice. So words
// are proposed on streams that are not strict, and never uploaded: a server that
// has not got the file already gets the plain one.

// proseRefs names the two files.
var proseRefs = sync.OnceValues(func() (plain, words Ref) {
	words = RefOf(schemas.Words())
	for _, f := range schemas.Files() {
		if f.Namespace == words.NS {
			plain = RefOf(f)
		}
	}
	return plain, words
})

// wordsFit reports whether words are of use, and harmless, on a stream. A kept
// window finds words by itself, and does better with the text as it is.
func wordsFit(p Params) bool {
	return p.SessionWide && !p.Window && !p.Compression && !p.Strict && !p.Preserve.LexicalValues
}

// Proposal returns the schemas that a client with this library proposes for a
// stream with these options.
func (l *Library) Proposal(p Params) []Ref { return withProse(l.preinstalled(), wordsFit(p)) }

// withProse returns refs with the file of plain text or of words.
func withProse(refs []Ref, asWords bool) []Ref {
	plain, words := proseRefs()
	from, to := words, plain
	if asWords {
		from, to = plain, words
	}
	refs = slices.Clone(refs)
	if i := slices.Index(refs, from); i >= 0 {
		refs[i] = to
	}
	return refs
}

func isWords(r Ref) bool {
	_, words := proseRefs()
	return r == words
}
