package xmltext

import (
	"strings"
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
	nameSlots = 1024
	nsSlots   = 64
)

// nameTable maps (namespace, local name) to interned names, and namespace
// names to nsRefs. Both are direct-mapped: a newcomer takes the slot over, so
// that no input can make them grow.
type nameTable struct {
	names [nameSlots]struct {
		ns    uint64
		local string
		name  exi.Name
	}
	spaces [nsSlots]nsRef
	lastID uint64
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
	e := &t.names[hash(text, ns.id)>>54%nameSlots]
	if e.ns == ns.id && e.local == text && text != "" {
		return e.name
	}
	n := exi.N(ns.space, strings.Clone(text))
	e.ns, e.local, e.name = ns.id, n.Value().Local, n
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
	e := &t.spaces[hash(uri, 0)>>58%nsSlots]
	if e.space != uri {
		t.lastID++
		*e = nsRef{nsFirstFree + t.lastID, strings.Clone(uri)}
	}
	return *e
}
