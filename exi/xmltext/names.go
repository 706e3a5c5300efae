package xmltext

import (
	"unsafe"

	"postern/exi"
)

// nsRef is a namespace name together with a number that stands for it in the
// name table. Numbers are never reused while a reader lives.
type nsRef struct {
	id    uint64
	space string
}

const (
	ways     = 4
	nameSets = 64
	nsSets   = 8
)

// nameTable maps (namespace, local name) to interned names, and namespace
// names to nsRefs. Both are caches of a fixed size, sets of four entries of
// which the oldest gives way, so that no input can make them grow.
type nameTable struct {
	names  [nameSets]nameSet
	spaces [nsSets]nsSet
	lastID uint64
}

type nameSet struct {
	e    [ways]nameEntry
	next uint8
}

type nameEntry struct {
	ns    uint64
	local string
	name  exi.Name
}

type nsSet struct {
	e    [ways]nsRef
	next uint8
}

// Numbers of the namespaces that every reader knows.
const (
	nsNone uint64 = iota
	nsXML
	nsFirstFree
)

// hash mixes the ends of a text, which is enough to tell names apart. Texts
// made to collide cost their sender a lookup in the table of package unique,
// no more.
func hash(b string, seed uint64) uint64 {
	var lo, hi uint64
	if n := len(b); n >= 8 {
		lo = le64(b)
		hi = le64(b[n-8:])
	} else {
		for i := 0; i < n; i++ {
			lo |= uint64(b[i]) << (8 * i)
		}
	}
	h := (lo ^ uint64(len(b))<<56) * 0x9e3779b97f4a7c15
	h ^= (hi + seed) * 0xc2b2ae3d27d4eb4f
	h ^= h >> 32
	return h * 0x9e3779b97f4a7c15
}

// le64 is one load on machines that allow it.
func le64(b string) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// name interns the name {ns}local. local is not kept.
func (t *nameTable) name(ns nsRef, local []byte) exi.Name {
	text := unsafe.String(unsafe.SliceData(local), len(local))
	set := &t.names[hash(text, ns.id)>>58%nameSets]
	for i := range set.e {
		if e := &set.e[i]; e.ns == ns.id && e.local == text {
			return e.name
		}
	}
	n := exi.N(ns.space, text) // package unique clones what it keeps
	set.e[set.next%ways] = nameEntry{ns.id, n.Value().Local, n}
	set.next++
	return n
}

// space interns a namespace name. uri is not kept.
func (t *nameTable) space(uri string) nsRef {
	switch uri {
	case "":
		return nsRef{}
	case exi.NSXML:
		return nsRef{nsXML, exi.NSXML}
	}
	set := &t.spaces[hash(uri, 0)>>61%nsSets]
	for i := range set.e {
		if e := &set.e[i]; e.space == uri {
			return *e
		}
	}
	t.lastID++
	ref := nsRef{nsFirstFree + t.lastID, exi.N(uri, "").Value().Space}
	set.e[set.next%ways] = ref
	set.next++
	return ref
}
