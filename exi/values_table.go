package exi

import (
	"hash/maphash"
	"strings"
)

// encodeValues are the value partitions of an encoder (EXI 1.0 §7.3.3). Each
// string is in the global partition and in the one of the name it was first
// seen with. Buckets of an earlier generation count as empty.
type encodeValues struct {
	seed     maphash.Seed
	gen      uint32
	heads    []valueHead
	ents     []valueEntry
	next     int // globalID
	named    nameSet
	locals   []int32 // compact identifiers given out, by position in named
	capacity int     // Unbounded or entries
	maxLen   int     // Unbounded or characters
	noLocals bool
	arena    stringArena
	octets   int
}

type valueHead struct {
	gen uint32
	idx int32
}

type valueEntry struct {
	s     string
	hash  uint32
	chain int32 // next entry of the bucket, −1 at its end
	name  int32
	local int32
}

func (t *encodeValues) setup(o *Options) {
	t.seed = maphash.MakeSeed()
	t.gen = 1
	t.capacity, t.maxLen = o.ValuePartitionCapacity, o.ValueMaxLength
	t.noLocals = o.Profile != nil && !o.Profile.LocalValuePartitions
	t.heads = make([]valueHead, 64)
}

func (t *encodeValues) reset() {
	t.gen++
	if t.gen == 0 {
		clear(t.heads)
		t.gen = 1
	}
	t.named.reset()
	clear(t.ents)
	t.ents = t.ents[:0]
	t.next = 0
	t.octets = 0
	t.arena.reset()
}

// find looks s up; h goes to add when there is none.
func (t *encodeValues) find(s string) (e *valueEntry, global int, h uint32) {
	h = uint32(maphash.String(t.seed, s))
	head := t.heads[h&uint32(len(t.heads)-1)]
	if head.gen != t.gen {
		return nil, 0, h
	}
	for i := head.idx; i >= 0; {
		e := &t.ents[i]
		if e.hash == h && e.s == s {
			return e, int(i), h
		}
		i = e.chain
	}
	return nil, 0, h
}

// count is the number of entries of the global partition.
func (t *encodeValues) count() int { return len(t.ents) }

func (t *encodeValues) localCount(name int32) int {
	if i, ok := t.named.find(name); ok {
		return int(t.locals[i])
	}
	return 0
}

// takes reports whether a value of n characters goes into the tables.
func (t *encodeValues) takes(n int) bool {
	return n > 0 && t.capacity != 0 && (t.maxLen == Unbounded || n <= t.maxLen)
}

// add puts s, which must not be in the table, under name. The string is kept
// as it is when stable is set, else copied. The entry it replaces is returned
// for undoing.
func (t *encodeValues) add(s string, h uint32, name int32, stable bool) (old valueEntry, replaced bool) {
	if !stable {
		s = t.arena.copy(s)
	}
	g := t.next
	if g < len(t.ents) {
		old, replaced = t.ents[g], true
		t.unlink(int32(g))
		t.octets -= len(old.s)
	} else {
		t.ents = append(t.ents, valueEntry{})
	}
	local := int32(-1)
	if !t.noLocals {
		i, ok := t.named.find(name)
		if !ok {
			i = t.named.add(name)
			t.locals = append(t.locals[:i], 0)
		}
		local = t.locals[i]
		t.locals[i]++
	}
	t.ents[g] = valueEntry{s: s, hash: h, name: name, local: local}
	t.octets += len(s)
	if len(t.ents) > len(t.heads) {
		t.rehash()
	} else {
		t.link(int32(g))
	}
	t.next++
	if t.next == t.capacity {
		t.next = 0
	}
	return old, replaced
}

func (t *encodeValues) link(i int32) {
	e := &t.ents[i]
	head := &t.heads[e.hash&uint32(len(t.heads)-1)]
	e.chain = -1
	if head.gen == t.gen {
		e.chain = head.idx
	}
	*head = valueHead{gen: t.gen, idx: i}
}

func (t *encodeValues) unlink(i int32) {
	e := &t.ents[i]
	head := &t.heads[e.hash&uint32(len(t.heads)-1)]
	if head.idx == i {
		head.idx = e.chain
		return
	}
	for j := head.idx; j >= 0; j = t.ents[j].chain {
		if t.ents[j].chain == i {
			t.ents[j].chain = e.chain
			return
		}
	}
}

func (t *encodeValues) rehash() {
	t.heads = make([]valueHead, len(t.heads)*4)
	for i := range t.ents {
		t.link(int32(i))
	}
}

// undoAdd takes back the latest add.
func (t *encodeValues) undoAdd(old valueEntry, replaced bool) {
	t.next--
	if t.next < 0 {
		t.next = t.capacity - 1
	}
	g := int32(t.next)
	e := &t.ents[g]
	t.octets -= len(e.s)
	if e.local >= 0 {
		if i, ok := t.named.find(e.name); ok {
			t.locals[i]--
		}
	}
	t.unlink(g)
	if !replaced {
		t.ents[g] = valueEntry{}
		t.ents = t.ents[:g]
		return
	}
	t.ents[g] = old
	t.octets += len(old.s)
	t.link(g)
}

// stringArena carves copies of strings out of larger blocks, so that a table
// entry costs no allocation of its own.
type stringArena struct{ b []byte }

const arenaBlock = 8 << 10

func (a *stringArena) reset() { a.b = a.b[:0] }

func (a *stringArena) copy(s string) string {
	if len(s) > arenaBlock/4 {
		return strings.Clone(s)
	}
	if cap(a.b)-len(a.b) < len(s) {
		a.b = make([]byte, 0, arenaBlock)
	}
	n := len(a.b)
	a.b = append(a.b, s...)
	return view(a.b[n:])
}
