package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// bbolt follows what its pages say. A child that leads back up lets it walk until
// the memory is full, and how many pages follow one is how many it frees; that
// would end the process, which no fence keeps. So the pages of a way are looked
// at before bbolt takes it: each is where it says it is, as long as what it
// holds, and below its parent in the order of the keys.

// tree are the pages of a transaction, in the file's map.
type tree struct {
	data unsafe.Pointer
	size uint64 // of a page
	n    uint64 // pages in use
	kind uint32 // of the elements in leaves: values, or buckets
}

// treeOf holds until the transaction ends; one that writes moves the map when
// it commits and not before.
func treeOf(tx *bolt.Tx) tree {
	info := tx.DB().Info()
	size := uint64(info.PageSize)
	return tree{*(*unsafe.Pointer)(unsafe.Pointer(&info.Data)), size, uint64(tx.Size()) / size, 0}
}

// top is the tree that has the buckets.
func top(tx *bolt.Tx) (t tree, root uint64) {
	t = treeOf(tx)
	t.kind = bucketFlag
	return t, uint64(tx.Cursor().Bucket().Root())
}

// treePage is a branch or leaf page with those that follow it.
type treePage []byte

func (p treePage) branch() bool { return binary.LittleEndian.Uint16(p[8:]) == kindBranch }
func (p treePage) count() int   { return int(binary.LittleEndian.Uint16(p[10:])) }

// element returns where the key of an element begins and how long key and value
// are; they may lie beyond the page.
func (p treePage) element(i int) (from, key, value uint64) {
	at := pageHead + i*elementLen
	u32 := func(n int) uint64 { return uint64(binary.LittleEndian.Uint32(p[at+n:])) }
	if p.branch() {
		return uint64(at) + u32(0), u32(4), 0
	}
	return uint64(at) + u32(4), u32(8), u32(12)
}

// whole tells whether a page is as long as what it holds: the last element has
// the last octets.
func (p treePage) whole(size uint64) bool {
	n := p.count()
	if n == 0 {
		return !p.branch() && uint64(len(p)) == size
	}
	if pageHead+n*elementLen > len(p) {
		return false
	}
	from, key, value := p.element(n - 1)
	return uint64(len(p)) == (from+key+value+size-1)/size*size
}

// holds tells whether the first elements of a leaf, n at most, are of a kind.
func (p treePage) holds(kind uint32, n int) bool {
	for i := range min(n, p.count()) {
		if !p.branch() && binary.LittleEndian.Uint32(p[pageHead+i*elementLen:]) != kind {
			return false
		}
	}
	return true
}

// keyOf returns the key of an element; ok is false when it lies beyond the page.
func (p treePage) keyOf(i int) (key []byte, ok bool) {
	if pageHead+(i+1)*elementLen > len(p) {
		return nil, false
	}
	from, n, _ := p.element(i)
	if from+n > uint64(len(p)) {
		return nil, false
	}
	return p[from : from+n], true
}

// within tells whether the keys of a page lie between two: low is the least it
// may have, high, nil for none, is more than the greatest.
func (p treePage) within(low, high []byte) bool {
	if p.count() == 0 {
		return true
	}
	first, ok := p.keyOf(0)
	last, ok2 := p.keyOf(p.count() - 1)
	return ok && ok2 && bytes.Compare(first, low) >= 0 && (high == nil || bytes.Compare(last, high) < 0)
}

func (p treePage) child(i int) uint64 {
	return binary.LittleEndian.Uint64(p[pageHead+i*elementLen+8:])
}

// spoiled ends the transaction: fenced makes a fault of it.
func spoiled(id uint64, what string) { panic(&fault{fmt.Sprintf("page %d %s", id, what)}) }

// page returns a page that makes sense.
func (t *tree) page(id uint64) treePage {
	if id < 2 || id >= t.n {
		spoiled(id, "is no page of the file")
	}
	at := unsafe.Add(t.data, id*t.size)
	self, kind, more := parseHead(unsafe.Slice((*byte)(at), pageHead))
	if self != id || kind != kindBranch && kind != kindLeaf || id+more >= t.n {
		spoiled(id, "does not make sense")
	}
	p := treePage(unsafe.Slice((*byte)(at), (more+1)*t.size))
	if !p.whole(t.size) {
		spoiled(id, "is not as long as what it holds")
	}
	if !p.holds(t.kind, 1) {
		spoiled(id, "belongs elsewhere")
	}
	return p
}

func (t *tree) key(p treePage, i int) []byte {
	key, ok := p.keyOf(i)
	if !ok {
		spoiled(binary.LittleEndian.Uint64(p), "has a key that does not make sense")
	}
	return key
}

// below returns a child of a page. Its keys lie between that of its element
// and the next one; high is the bound of the page itself, nil for none.
func (t *tree) below(p treePage, i int, high []byte) (c treePage, next []byte) {
	c, next = t.page(p.child(i)), high
	if i+1 < p.count() {
		next = t.key(p, i+1)
	}
	if !c.within(t.key(p, i), next) {
		spoiled(p.child(i), "has keys that belong elsewhere")
	}
	return c, next
}

// How way goes.
const (
	beside = 1 << iota // look at the neighbours, too: bbolt may put a page together with one
	toEnd              // to the last leaf, whatever the key
)

// way looks at the pages that bbolt goes by to find a key below a page, and
// returns the first key of the leaf behind; nil where there is none.
func (t *tree) way(root uint64, key []byte, how int) (behind []byte) {
	if root == 0 {
		return nil // it lies within a page of its parent, or is new
	}
	p := t.page(root)
	for depth := 0; p.branch(); depth++ {
		if depth > depthMost {
			spoiled(root, "leads in a circle")
		}
		i, n := 0, p.count()
		for to := n; i < to; { // the first key that is greater
			if mid := (i + to) / 2; how&toEnd != 0 || bytes.Compare(t.key(p, mid), key) <= 0 {
				i = mid + 1
			} else {
				to = mid
			}
		}
		i = max(0, i-1)
		if how&beside != 0 && i > 0 {
			t.below(p, i-1, behind)
		}
		if how&beside != 0 && i+1 < n {
			t.below(p, i+1, behind)
		}
		p, behind = t.below(p, i, behind)
	}
	return behind
}

// all looks at all pages below a page.
func (t *tree) all(root uint64) {
	if root != 0 {
		t.each(t.page(root), nil, 0)
	}
}

func (t *tree) each(p treePage, high []byte, depth int) {
	if depth > depthMost {
		spoiled(binary.LittleEndian.Uint64(p), "leads in a circle")
	}
	if !p.holds(t.kind, p.count()) {
		spoiled(binary.LittleEndian.Uint64(p), "has an element that belongs elsewhere")
	}
	for i := 0; p.branch() && i < p.count(); i++ {
		c, next := t.below(p, i, high)
		t.each(c, next, depth+1)
	}
}

// steps keeps a cursor's way looked at, a leaf ahead of it.
type steps struct {
	tree
	root         uint64
	behind, next []byte // the first keys of the leaf behind the cursor's, and of the one behind that
}

func stepsFrom(tx *bolt.Tx, root uint64, key []byte) (s steps) {
	if root == 0 {
		return s
	}
	s.tree, s.root = treeOf(tx), root
	if s.behind = s.way(root, key, 0); s.behind != nil {
		s.next = s.way(root, s.behind, 0)
	}
	return s
}

// leave is called before the cursor moves on from a key.
func (s *steps) leave(key []byte) {
	for s.behind != nil && bytes.Compare(key, s.behind) >= 0 {
		if s.behind = s.next; s.next != nil {
			s.next = s.way(s.root, s.next, 0)
		}
	}
}

// bucket returns a bucket, nil for none.
func (tx *Tx) bucket(name string) *bolt.Bucket {
	t, root := top(tx.tx)
	t.way(root, []byte(name), 0)
	return tx.tx.Bucket([]byte(name))
}

// made returns a bucket, and makes it where there is none.
func (tx *Tx) made(name string) (*bolt.Bucket, error) {
	if bb := tx.bucket(name); bb != nil {
		return bb, nil
	}
	return tx.tx.CreateBucketIfNotExists([]byte(name))
}

// look looks at the way to a key of a bucket.
func (tx *Tx) look(bb *bolt.Bucket, key []byte, how int) {
	t := treeOf(tx.tx)
	t.way(uint64(bb.Root()), key, how)
}

// lookAtBucket looks at what bbolt does when a bucket is deleted.
func (tx *Tx) lookAtBucket(name string) {
	if bb := tx.bucket(name); bb != nil {
		t, root := top(tx.tx)
		t.way(root, []byte(name), beside)
		t.kind = 0
		t.all(uint64(bb.Root()))
	}
}

// lookAtAll looks at the pages of all buckets.
func lookAtAll(tx *bolt.Tx) error {
	t, root := top(tx)
	t.all(root)
	t.kind = 0
	return tx.ForEach(func(_ []byte, bb *bolt.Bucket) error {
		t.all(uint64(bb.Root()))
		return nil
	})
}
