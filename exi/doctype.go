package exi

import "strings"

// DocTypeValue packs the identifiers and the internal subset of a document
// type declaration into the Value of a DT event (EXI 1.0 §4). None of them may
// hold U+0000, which XML does not have.
func DocTypeValue(public, system, internal string) Value {
	return Str(public + "\x00" + system + "\x00" + internal)
}

// DocType returns what DocTypeValue packed.
func (v Value) DocType() (public, system, internal string) {
	public, rest, _ := strings.Cut(v.str, "\x00")
	system, internal, _ = strings.Cut(rest, "\x00")
	return public, system, internal
}
