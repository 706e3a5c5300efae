package computed

import (
	"strings"

	"postern/internal/node"
)

// stored is the key in the store: the four parts, separated by an octet that
// no name holds.
func (k key) stored() string {
	return strings.Join([]string{k.ref.ID, k.ref.Source, k.ref.Cache, k.name}, "\x00")
}

func parseKey(s string) (k key, ok bool) {
	p := strings.Split(s, "\x00")
	if len(p) != 4 {
		return k, false
	}
	return key{node.Ref{ID: p[0], Source: p[1], Cache: p[2]}, p[3]}, true
}
