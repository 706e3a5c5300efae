package exi

// decodeValues are the value partitions of a decoder: found by compact
// identifier.
type decodeValues struct {
	gen      uint32
	ents     []decodedValue
	next     int // globalID
	locals   []localList
	capacity int
	maxLen   int
	arena    stringArena
	octets   int
}

type decodedValue struct {
	s     string
	name  int32
	local int32
}

// localList holds the global identifiers of one local partition. Bounded
// tables forget values in the order they came, so those that are unassigned
// are always the first: first counts them and they take no room.
type localList struct {
	gen   uint32
	first int32
	ids   []int32
}

func (t *decodeValues) setup(o *Options) {
	t.gen = 1
	t.capacity, t.maxLen = o.ValuePartitionCapacity, o.ValueMaxLength
}

// reset empties the partitions. Values read before stay valid: the arena is
// given up, not reused.
func (t *decodeValues) reset() {
	t.gen++
	if t.gen == 0 {
		clear(t.locals)
		t.gen = 1
	}
	clear(t.ents)
	t.ents = t.ents[:0]
	t.next, t.octets = 0, 0
	t.arena = stringArena{}
}

func (t *decodeValues) list(name int32) *localList {
	for int(name) >= len(t.locals) {
		t.locals = append(t.locals, localList{})
	}
	l := &t.locals[name]
	if l.gen != t.gen {
		l.gen, l.first, l.ids = t.gen, 0, l.ids[:0]
	}
	return l
}

func (t *decodeValues) localCount(name int32) int {
	if int(name) >= len(t.locals) || t.locals[name].gen != t.gen {
		return 0
	}
	l := &t.locals[name]
	return int(l.first) + len(l.ids)
}

func (t *decodeValues) local(name int32, id int) (string, bool) {
	l := t.list(name)
	id -= int(l.first)
	if id < 0 || id >= len(l.ids) {
		return "", false
	}
	return t.ents[l.ids[id]].s, true
}

func (t *decodeValues) takes(chars int) bool {
	return chars > 0 && t.capacity != 0 && (t.maxLen == Unbounded || chars <= t.maxLen)
}

func (t *decodeValues) add(s string, name int32, stable bool) {
	if !stable {
		s = t.arena.copy(s)
	}
	g := t.next
	if g < len(t.ents) {
		old := &t.ents[g]
		t.octets -= len(old.s)
		l := t.list(old.name)
		l.first++
		l.ids = l.ids[1:]
	} else {
		t.ents = append(t.ents, decodedValue{})
	}
	l := t.list(name)
	t.ents[g] = decodedValue{s: s, name: name, local: l.first + int32(len(l.ids))}
	l.ids = append(l.ids, int32(g))
	t.octets += len(s)
	t.next++
	if t.next == t.capacity {
		t.next = 0
	}
}
