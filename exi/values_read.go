package exi

// decodeValues are the value partitions of a decoder: found by compact
// identifier.
type decodeValues struct {
	ents     []decodedValue
	next     int // globalID
	named    nameSet
	lists    []localList // by position in named
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
	first int32
	ids   []int32
}

func (t *decodeValues) setup(o *Options) {
	t.capacity, t.maxLen = o.ValuePartitionCapacity, o.ValueMaxLength
}

// reset empties the partitions. Values read before stay valid: the arena is
// given up, not reused.
func (t *decodeValues) reset() {
	t.named.reset()
	clear(t.ents)
	t.ents = t.ents[:0]
	t.next, t.octets = 0, 0
	t.arena = stringArena{}
}

func (t *decodeValues) list(name int32) *localList {
	i, ok := t.named.find(name)
	if !ok {
		i = t.named.add(name)
		if i == len(t.lists) {
			t.lists = append(t.lists, localList{})
		}
		l := &t.lists[i]
		l.first, l.ids = 0, l.ids[:0]
	}
	return &t.lists[i]
}

func (t *decodeValues) localCount(name int32) int {
	i, ok := t.named.find(name)
	if !ok {
		return 0
	}
	l := &t.lists[i]
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
