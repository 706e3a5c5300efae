package exi

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Name numbers. Every entry of a local-name partition stands for one qualified
// name, so names are numbered across partitions: first those of the initial
// tables, shared through binding, then those that a body adds.

// bitsFor returns ⌈log2 m⌉, the width of an n-bit integer with m values.
func bitsFor(m int) uint {
	if m <= 1 {
		return 0
	}
	return uint(bits.Len(uint(m - 1)))
}

// nameInfo is one numbered name.
type nameInfo struct {
	name  Name
	local string
	uri   int32
	id    int32 // compact identifier in the local-name partition of uri
}

// uriEntry is an entry of the uri partition with the partitions that hang on it
// (EXI 1.0 §7.3.1).
type uriEntry struct {
	uri      string
	first    int32 // number of the first initial local name; the others follow
	nlocals  int32 // initial local names
	extra    []int32
	prefixes []string
	nbase    int // initial prefixes
}

func (u *uriEntry) locals() int { return int(u.nlocals) + len(u.extra) }

func (u *uriEntry) nameAt(id int) int32 {
	if id < int(u.nlocals) {
		return u.first + int32(id)
	}
	return u.extra[id-int(u.nlocals)]
}

func (u *uriEntry) prefixID(prefix string) int {
	for i, p := range u.prefixes {
		if p == prefix {
			return i
		}
	}
	return -1
}

// initialNames are the string tables of EXI 1.0 appendix D, immutable.
type initialNames struct {
	uris   []uriEntry
	names  []nameInfo
	number map[Name]int32
	uriID  map[string]int32
	// inOrder counts the names at the start that have no namespace and are
	// numbered in the order of compareNames.
	inOrder int32
}

// nameTables are the uri, prefix and local-name partitions of one direction of
// one stream.
type nameTables struct {
	init   *initialNames
	uris   []uriEntry
	own    []nameInfo // names numbered from len(init.names)
	dirty  []int32    // initial uris that were given local names or prefixes
	octets int        // of all strings added
}

func (t *nameTables) setup(init *initialNames) {
	t.init = init
	t.uris = append(t.uris[:0], init.uris...)
	for i := range t.uris {
		u := &t.uris[i]
		u.prefixes = append([]string(nil), u.prefixes...)
	}
	t.own = t.own[:0]
}

// reset brings the tables back to their initial content.
func (t *nameTables) reset() {
	for i := len(t.init.uris); i < len(t.uris); i++ {
		u := &t.uris[i]
		u.extra = u.extra[:0]
		u.prefixes = u.prefixes[:0]
	}
	t.uris = t.uris[:len(t.init.uris)]
	for _, i := range t.dirty {
		u := &t.uris[i]
		u.extra = u.extra[:0]
		u.prefixes = u.prefixes[:u.nbase]
	}
	t.dirty = t.dirty[:0]
	t.own = t.own[:0]
	t.octets = 0
}

func (t *nameTables) name(id int32) *nameInfo {
	if n := len(t.init.names); int(id) >= n {
		return &t.own[int(id)-n]
	}
	return &t.init.names[id]
}

func (t *nameTables) touch(uri int32) {
	if int(uri) < len(t.init.uris) {
		u := &t.uris[uri]
		if len(u.extra) == 0 && len(u.prefixes) == u.nbase {
			t.dirty = append(t.dirty, uri)
		}
	}
}

func (t *nameTables) addURI(uri string) int32 {
	n := len(t.uris)
	if n < cap(t.uris) {
		t.uris = t.uris[:n+1] // keeps the slices of an earlier body
		u := &t.uris[n]
		u.uri, u.nlocals, u.nbase = uri, 0, 0
		u.extra, u.prefixes = u.extra[:0], u.prefixes[:0]
	} else {
		t.uris = append(t.uris, uriEntry{uri: uri})
	}
	t.octets += len(uri)
	return int32(n)
}

func (t *nameTables) addLocal(uri int32, name Name, local string) int32 {
	t.touch(uri)
	id := int32(len(t.init.names) + len(t.own))
	u := &t.uris[uri]
	t.own = append(t.own, nameInfo{name: name, local: local, uri: uri, id: int32(u.locals())})
	u.extra = append(u.extra, id)
	t.octets += len(local)
	return id
}

func (t *nameTables) addPrefix(uri int32, prefix string) {
	t.touch(uri)
	u := &t.uris[uri]
	u.prefixes = append(u.prefixes, prefix)
	t.octets += len(prefix)
}

// size is the number of entries added.
func (t *nameTables) size() int { return len(t.own) + len(t.uris) - len(t.init.uris) }

// nameSet numbers the names that a body uses from 0, in the order of their
// use: what is kept per name then takes room for those only. Emptying it costs
// nothing, since an entry of at counts only while names confirms it.
type nameSet struct {
	at    []int32
	names []int32
}

func (s *nameSet) find(name int32) (int, bool) {
	if int(name) >= len(s.at) {
		return 0, false
	}
	i := int(s.at[name])
	return i, i < len(s.names) && s.names[i] == name
}

func (s *nameSet) add(name int32) int {
	if n := int(name) + 1; n > len(s.at) {
		s.at = append(s.at, make([]int32, n-len(s.at))...)
	}
	i := len(s.names)
	s.at[name] = int32(i)
	s.names = append(s.names, name)
	return i
}

func (s *nameSet) reset() { s.names = s.names[:0] }

// nameMap finds the number of a Name by the address behind its handle. Entries
// of an earlier generation count as absent, so that emptying it costs nothing.
type nameMap struct {
	slots []nameSlot
	n     int
	gen   uint32
}

type nameSlot struct {
	name Name
	id   int32
	gen  uint32
}

const (
	lasting = ^uint32(0)  // generation of the initial names
	removed = lasting - 1 // generation of names taken back
)

func nameHash(n Name) uint32 {
	p := *(*uintptr)(unsafe.Pointer(&n)) // a handle is one pointer; objects do not move
	return uint32((uint64(p) >> 4 * 0x9E3779B97F4A7C15) >> 32)
}

func (m *nameMap) reset() {
	m.gen++
	if m.gen == removed {
		m.slots, m.n, m.gen = nil, 0, 1
	}
}

func (m *nameMap) get(name Name) (int32, bool) {
	if len(m.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(m.slots) - 1)
	for i := nameHash(name) & mask; ; i = (i + 1) & mask {
		s := &m.slots[i]
		if s.gen == 0 {
			return 0, false
		}
		if s.name == name && (s.gen == m.gen || s.gen == lasting) {
			return s.id, true
		}
	}
}

func (m *nameMap) put(name Name, id int32, gen uint32) {
	if (m.n+1)*4 > len(m.slots) {
		m.grow()
	}
	mask := uint32(len(m.slots) - 1)
	for i := nameHash(name) & mask; ; i = (i + 1) & mask {
		s := &m.slots[i]
		// A stale slot of the same name is taken over in place: a later slot
		// of that name cannot exist then.
		if s.gen == 0 || s.name == name {
			if s.gen == 0 {
				m.n++
			}
			*s = nameSlot{name: name, id: id, gen: gen}
			return
		}
	}
}

// remove makes name absent.
func (m *nameMap) remove(name Name) {
	mask := uint32(len(m.slots) - 1)
	for i := nameHash(name) & mask; len(m.slots) > 0; i = (i + 1) & mask {
		s := &m.slots[i]
		if s.gen == 0 {
			return
		}
		if s.name == name {
			s.gen = removed
			return
		}
	}
}

// grow drops what is stale and leaves room for as much again as is live.
func (m *nameMap) grow() {
	live := func(s *nameSlot) bool { return s.gen != 0 && (s.gen == m.gen || s.gen == lasting) }
	old, n := m.slots, 0
	for i := range old {
		if live(&old[i]) {
			n++
		}
	}
	size := 64
	for size < n*8 {
		size *= 2
	}
	m.slots, m.n = make([]nameSlot, size), 0
	for i := range old {
		if live(&old[i]) {
			m.put(old[i].name, old[i].id, old[i].gen)
		}
	}
}

// encodeNames are the name tables of an encoder: they are searched by content.
type encodeNames struct {
	nameTables
	numbers nameMap
	ownURIs map[string]int32
}

func (t *encodeNames) setup(init *initialNames) {
	t.nameTables.setup(init)
	t.numbers = nameMap{gen: 1}
	t.ownURIs = make(map[string]int32)
}

func (t *encodeNames) reset() {
	t.nameTables.reset()
	t.numbers.reset()
	if len(t.ownURIs) > 0 {
		clear(t.ownURIs)
	}
}

// known returns the number of name if its local name is in its partition,
// else −1.
func (t *encodeNames) known(name Name) int32 {
	if id, ok := t.numbers.get(name); ok {
		return id
	}
	if id, ok := t.init.number[name]; ok {
		t.numbers.put(name, id, lasting)
		return id
	}
	return -1
}

func (t *encodeNames) findURI(uri string) (int32, bool) {
	if id, ok := t.init.uriID[uri]; ok {
		return id, true
	}
	id, ok := t.ownURIs[uri]
	return id, ok
}

func (t *encodeNames) addURI(uri string) int32 {
	id := t.nameTables.addURI(uri)
	t.ownURIs[uri] = id
	return id
}

func (t *encodeNames) addName(uri int32, name Name) int32 {
	id := t.addLocal(uri, name, name.Value().Local)
	t.numbers.put(name, id, t.numbers.gen)
	return id
}

// Taking back the latest addition, for encoders that failed.

func (t *encodeNames) dropURI() {
	u := &t.uris[len(t.uris)-1]
	t.octets -= len(u.uri)
	delete(t.ownURIs, u.uri)
	t.uris = t.uris[:len(t.uris)-1]
}

func (t *encodeNames) dropName() {
	n := &t.own[len(t.own)-1]
	t.octets -= len(n.local)
	u := &t.uris[n.uri]
	u.extra = u.extra[:len(u.extra)-1]
	t.numbers.remove(n.name)
	t.own = t.own[:len(t.own)-1]
}

func (t *encodeNames) dropPrefix(uri int32) {
	u := &t.uris[uri]
	t.octets -= len(u.prefixes[len(u.prefixes)-1])
	u.prefixes = u.prefixes[:len(u.prefixes)-1]
}

// nameCache gives decoders interned names without interning anew: it outlives
// bodies. A name that another one displaced is interned again.
type nameCache struct {
	sets *[nameSets][nameWays]cachedName
	uris map[string]string
}

type cachedName struct {
	name  Name
	space string
	local string
}

const (
	nameSets   = 64 // a power of two
	nameWays   = 4
	cachedURIs = 256
)

// uri returns s as a string that lasts.
func (c *nameCache) uri(s []byte) string {
	if u, ok := c.uris[string(s)]; ok {
		return u
	}
	u := string(s)
	if len(u) > 1024 {
		return u
	}
	if c.uris == nil || len(c.uris) >= cachedURIs {
		c.uris = make(map[string]string)
	}
	c.uris[u] = u
	return u
}

func (c *nameCache) intern(space string, local []byte) (Name, string) {
	if c.sets == nil {
		c.sets = new([nameSets][nameWays]cachedName)
	}
	h := uint64(len(local))
	p := local
	for ; len(p) >= 8; p = p[8:] {
		h = (h ^ binary.LittleEndian.Uint64(p)) * 0x9E3779B97F4A7C15
		h ^= h >> 32
	}
	for _, b := range p {
		h = (h ^ uint64(b)) * 0x9E3779B97F4A7C15
	}
	h ^= uint64(uintptr(unsafe.Pointer(unsafe.StringData(space)))) >> 4
	set := &c.sets[(h*0x9E3779B97F4A7C15)>>58]
	for i := range set {
		e := &set[i]
		if e.local == string(local) && e.space == space && e.name != (Name{}) {
			return e.name, e.local
		}
	}
	l := string(local)
	copy(set[1:], set[:nameWays-1]) // the oldest gives way
	e := &set[0]
	*e = cachedName{name: N(space, l), space: space, local: l}
	return e.name, l
}
