package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// A damaged file is read without bbolt, page by page, so that what cannot be
// read costs that page only, and none leads in a circle. The format is bbolt's
// version 2 (its internal/common: page.go, meta.go, bucket.go), in the order of
// octets of the machine that wrote it; all that the gateway runs on have the
// lesser octet first.
//
//	page     id u64 · kind u16 · elements u16 · pages that follow u32, then
//	meta     magic, version, page size, flags u32 · root, sequence u64 ·
//	         free list, pages, transaction u64 · FNV-1a u64 of all before
//	branch   elements: offset, length of key u32 · page u64
//	leaf     elements: flags, offset, length of key, length of value u32
//
// Offsets count from their element to its key; a value follows its key. That of
// a bucket is root, sequence u64, and with root 0 a leaf page.
const (
	pageHead    = 16
	elementLen  = 16
	kindBranch  = 1
	kindLeaf    = 2
	kindFree    = 16
	bucketFlag  = 1
	bucketHead  = 16
	metaLen     = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	// pageMost bounds a page with those that follow it, in octets.
	pageMost = 64 << 20
)

// pages reads the pages of a file.
type pages struct {
	meta
	r    io.ReaderAt
	seen map[uint64]bool
	bad  []error // what could not be read; the first few
	lost int     // how many that were

	roots  map[uint64]bool // of the buckets
	astray map[uint64]int  // pages that did not fit where they were met, and how often
	late   []func() error  // what reads those
}

// meta is a meta page.
type meta struct {
	size           uint64 // of a page
	root, freelist uint64
	n              uint64 // pages that the file has by its own account
	tx             uint64
}

// parseMeta reads the octets of a meta page.
func parseMeta(b []byte) (m meta, ok bool) {
	b = b[pageHead:]
	h := fnv.New64a()
	_, _ = h.Write(b[:metaLen-8]) // a hash takes everything
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	m = meta{size: uint64(u32(b[8:])), root: u64(b[16:]), freelist: u64(b[32:]), n: u64(b[40:]), tx: u64(b[48:])}
	return m, u32(b) == metaMagic && u32(b[4:]) == metaVersion && u64(b[56:]) == h.Sum64() && m.size >= 512 && m.size <= 1<<16
}

// newest returns the sound meta page of the last commit; size is that of a
// page.
func newest(r io.ReaderAt, size uint64) (m meta, ok bool) {
	var buf [pageHead + metaLen]byte
	for _, at := range [2]uint64{0, size} {
		if _, err := r.ReadAt(buf[:], int64(at)); err != nil {
			continue
		}
		if x, sound := parseMeta(buf[:]); sound && (at == 0 || x.size == at) && (!ok || x.tx > m.tx) {
			m, ok = x, true
		}
	}
	return m, ok
}

// readPages finds the newest sound meta page.
func readPages(r io.ReaderAt) (*pages, error) {
	p := &pages{r: r, seen: map[uint64]bool{}, roots: map[uint64]bool{}, astray: map[uint64]int{}}
	found := false
	for size := uint64(512); size <= 1<<16; size *= 2 { // the first meta page may be lost, and the size with it
		if m, ok := newest(r, size); ok && (!found || m.tx > p.tx) {
			p.meta, found = m, true
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: neither of its first pages makes sense", ErrDamaged)
	}
	return p, nil
}

// miss notes that something cannot be read.
func (p *pages) miss(err error) {
	if p.lost++; len(p.bad) < 10 {
		p.bad = append(p.bad, err)
	}
}

// err tells what could not be read.
func (p *pages) err() error {
	if p.lost == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d places cannot be read: %w", ErrDamaged, p.lost, errors.Join(p.bad...))
}

// bucket is a bucket of a file.
type bucket struct {
	root, sequence uint64
	inline         []byte // its page, with root 0
}

// buckets returns the buckets by name.
func (p *pages) buckets() (map[string]bucket, error) {
	all := map[string]bucket{}
	return all, p.walk(p.root, 0, nil, nil, func(flags uint32, k, v []byte) error {
		if flags != bucketFlag || len(v) < bucketHead {
			p.miss(fmt.Errorf("%q is no bucket", k))
			return nil
		}
		b := bucket{root: binary.LittleEndian.Uint64(v), sequence: binary.LittleEndian.Uint64(v[8:])}
		if b.root == 0 {
			b.inline = append(b.inline, v[bucketHead:]...)
		}
		all[string(k)], p.roots[b.root] = b, true
		return nil
	})
}

// each calls f for what a bucket holds, in order, as far as it can be read.
func (p *pages) each(b bucket, f func(k, v []byte) error) error {
	visit := func(flags uint32, k, v []byte) error {
		if flags != 0 || len(k) == 0 {
			p.miss(fmt.Errorf("%q is no value", k))
			return nil
		}
		return f(k, v)
	}
	if b.root == 0 {
		return p.page(b.inline, 0, nil, visit)
	}
	return p.walk(b.root, 0, nil, nil, visit)
}

// depthMost is how deep a tree may be: with two keys in a page, that many pages
// do not fit a disk.
const depthMost = 40

// astrayMost is how often a page is looked at that does not fit.
const astrayMost = 8

// walk calls visit for the elements of the leaves below a page. Its keys are
// from low to less than high; with low nil they are what they are, with high
// nil they have no end. Pages that do not make sense are left out; an error is
// that of visit.
func (p *pages) walk(id uint64, depth int, low, high []byte, visit func(flags uint32, k, v []byte) error) error {
	child := low != nil
	if child && (p.roots[id] || p.astray[id] >= astrayMost) {
		p.miss(fmt.Errorf("page %d: it belongs elsewhere", id))
		return nil
	}
	b, err := p.read(id)
	if err != nil || depth > depthMost {
		p.miss(fmt.Errorf("page %d: %w", id, errors.Join(err, errPage)))
		return nil
	}
	if child && !treePage(b).within(low, high) {
		p.miss(fmt.Errorf("page %d: its keys belong elsewhere", id))
		delete(p.seen, id)
		p.astray[id]++
		p.late = append(p.late, func() error {
			if p.seen[id] {
				return nil
			}
			return p.walk(id, depth, nil, nil, visit)
		})
		return nil
	}
	return p.page(b, depth, high, visit)
}

// rest reads the pages that did not fit where they were met and that nothing
// else led to: it may be the key in the page above that is damaged. It is called
// once all buckets were read, so that none takes the pages of another.
func (p *pages) rest() error {
	for len(p.late) > 0 {
		f := p.late[0]
		p.late = p.late[1:]
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

var errPage = errors.New("it does not make sense")

// parseHead reads the head of a page: more pages follow it.
func parseHead(b []byte) (id uint64, kind uint16, more uint64) {
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[8:]), uint64(binary.LittleEndian.Uint32(b[12:]))
}

// read reads a page with those that follow it. None is read twice.
func (p *pages) read(id uint64) ([]byte, error) {
	if id < 2 || id >= p.n || p.seen[id] {
		return nil, errPage
	}
	p.seen[id] = true
	head := make([]byte, pageHead)
	if _, err := p.r.ReadAt(head, int64(id*p.size)); err != nil {
		return nil, err
	}
	self, _, more := parseHead(head)
	if self != id {
		return nil, errPage
	}
	long := id+more < p.n && (more+1)*p.size <= pageMost
	if !long {
		more = 0 // what is in the first one counts
	}
	b := make([]byte, (more+1)*p.size)
	if n, err := p.r.ReadAt(b, int64(id*p.size)); err != nil && n < len(b) {
		return nil, err
	}
	if !long || !treePage(b).whole(p.size) {
		p.miss(fmt.Errorf("page %d: it is not as long as what it holds", id))
	}
	return b, nil
}

// page calls visit for the elements below a page whose octets are b; high is as
// with walk.
func (p *pages) page(b []byte, depth int, high []byte, visit func(flags uint32, k, v []byte) error) error {
	if len(b) < pageHead {
		p.miss(errPage)
		return nil
	}
	kind, count := binary.LittleEndian.Uint16(b[8:]), int(binary.LittleEndian.Uint16(b[10:]))
	if pageHead+count*elementLen > len(b) || kind != kindLeaf && kind != kindBranch {
		p.miss(errPage)
		return nil
	}
	for i := range count {
		e := b[pageHead+i*elementLen:]
		u32 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(e[at:])) }
		if kind == kindBranch {
			low, _ := treePage(b).keyOf(i)
			next := high
			if i+1 < count {
				next, _ = treePage(b).keyOf(i + 1)
			}
			if err := p.walk(treePage(b).child(i), depth+1, low, next, visit); err != nil {
				return err
			}
			continue
		}
		from, k, v := u32(4), u32(8), u32(12)
		if from+k+v > uint64(len(e)) {
			p.miss(errPage)
			continue
		}
		if err := visit(uint32(u32(0)), e[from:from+k], e[from+k:from+k+v]); err != nil {
			return err
		}
	}
	return nil
}
