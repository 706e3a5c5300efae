package history

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A block is what one commit brings: all series, side by side. Series that
// were measured at the same instants share one column of times.
//
//	octet     version
//	zig-zag   first instant, ms since 1970
//	uvarint   ms from the first to the last instant
//	uvarint   samples in the block
//	uvarint   number of time columns, then for each: samples, octets
//	uvarint   number of series, then for each by rising number:
//	          number − that before, time column, octets
//	          the time columns, then the series' values
//
// The directory in front lets a reader of one series skip the others.
const (
	blockVersion = 1
	// headMost is the length of the part before the directory, at most.
	headMost = 1 + 3*binary.MaxVarintLen64
	// chunkMost is how many samples of one series a block may hold.
	chunkMost = 1 << 16
)

// chunk is the part of one series in a block that is being written.
type chunk struct {
	series uint32
	times  []int64 // ms since 1970, rising
	body   []byte
}

// appendBlock appends a block to dst. The chunks are sorted by series, none is
// empty.
func appendBlock(dst []byte, chunks []chunk) []byte {
	first, last, total := chunks[0].times[0], chunks[0].times[0], 0
	for i := range chunks {
		t := chunks[i].times
		first, last = min(first, t[0]), max(last, t[len(t)-1])
		total += len(t)
	}
	var columns [][]byte
	var counts []int
	which := make([]int, len(chunks))
	known := make(map[string]int)
	var rel []int64
	for i := range chunks {
		rel = rel[:0]
		for _, t := range chunks[i].times {
			rel = append(rel, t-first)
		}
		col := appendColumn(nil, rel)
		key := string(binary.AppendUvarint(col, uint64(len(rel))))
		n, ok := known[key]
		if !ok {
			n = len(columns)
			known[key] = n
			columns, counts = append(columns, col), append(counts, len(rel))
		}
		which[i] = n
	}
	dst = append(dst, blockVersion)
	dst = binary.AppendUvarint(dst, zigzag(first))
	dst = binary.AppendUvarint(dst, uint64(last-first))
	dst = binary.AppendUvarint(dst, uint64(total))
	dst = binary.AppendUvarint(dst, uint64(len(columns)))
	for i := range columns {
		dst = binary.AppendUvarint(dst, uint64(counts[i]))
		dst = binary.AppendUvarint(dst, uint64(len(columns[i])))
	}
	dst = binary.AppendUvarint(dst, uint64(len(chunks)))
	before := uint32(0)
	for i := range chunks {
		dst = binary.AppendUvarint(dst, uint64(chunks[i].series-before))
		dst = binary.AppendUvarint(dst, uint64(which[i]))
		dst = binary.AppendUvarint(dst, uint64(len(chunks[i].body)))
		before = chunks[i].series
	}
	dst = append(dst, slices.Concat(columns...)...)
	for i := range chunks {
		dst = append(dst, chunks[i].body...)
	}
	return dst
}

// head is what stands in front of a block's directory.
type head struct {
	first, last int64 // ms
	samples     int
}

// readHead reads the head; the rest begins at the directory.
func readHead(b []byte) (h head, rest []byte, err error) {
	if len(b) == 0 || b[0] != blockVersion {
		return h, nil, fmt.Errorf("%w: unknown version", errDamaged)
	}
	var v [3]uint64
	rest = b[1:]
	for i := range v {
		if v[i], rest, err = uvarint(rest); err != nil {
			return h, nil, err
		}
	}
	h = head{first: unzigzag(v[0]), samples: int(min(v[2], 1<<31))}
	h.last = h.first + int64(min(v[1], 1<<62))
	return h, rest, nil
}

// part is one series of a block that is being read.
type part struct {
	series uint32
	col    int
	body   []byte
}

// block is a block that was taken apart. Its memory is used again, and it
// points into the octets that it was read from.
type block struct {
	head
	counts  []int
	columns [][]byte
	parts   []part
}

// directoryMost bounds the entries of a directory.
const directoryMost = 1 << 20

// read takes a block apart. It leaves out the parts of series for which keep
// reports false; nil keeps all.
func (b *block) read(src []byte, keep func(series uint32) bool) error {
	h, rest, err := readHead(src)
	if err != nil {
		return err
	}
	b.head = h
	b.counts, b.columns, b.parts = b.counts[:0], b.columns[:0], b.parts[:0]
	var n, count, size, delta, col uint64
	if n, rest, err = uvarint(rest); err != nil || n > uint64(len(rest)) || n > directoryMost {
		return errDamaged
	}
	sizes := make([]int, n)
	for i := range sizes {
		if count, rest, err = uvarint(rest); err != nil || count == 0 || count > chunkMost {
			return errDamaged
		}
		if size, rest, err = uvarint(rest); err != nil || size > uint64(len(src)) {
			return errDamaged
		}
		b.counts, sizes[i] = append(b.counts, int(count)), int(size)
	}
	if n, rest, err = uvarint(rest); err != nil || n > uint64(len(rest)) || n > directoryMost {
		return errDamaged
	}
	// Where the bodies begin is known at the end of the directory only, so the
	// first pass keeps offsets in a second slice.
	type place struct{ from, to int }
	var places []place
	series, at := uint64(0), 0
	for range n {
		if delta, rest, err = uvarint(rest); err != nil {
			return err
		}
		if col, rest, err = uvarint(rest); err != nil || col >= uint64(len(sizes)) {
			return errDamaged
		}
		if size, rest, err = uvarint(rest); err != nil || size > uint64(len(src)) {
			return errDamaged
		}
		if series += delta; series > 1<<32-1 {
			return errDamaged
		}
		if keep == nil || keep(uint32(series)) {
			b.parts = append(b.parts, part{series: uint32(series), col: int(col)})
			places = append(places, place{at, at + int(size)})
		}
		at += int(size)
	}
	for _, size := range sizes {
		if size > len(rest) {
			return errDamaged
		}
		b.columns = append(b.columns, rest[:size])
		rest = rest[size:]
	}
	for i, p := range places {
		if p.to > len(rest) {
			return errDamaged
		}
		b.parts[i].body = rest[p.from:p.to]
	}
	return nil
}

// times appends the instants of a part to dst, in ms since 1970.
func (b *block) times(dst []int64, p *part) ([]int64, error) {
	from := len(dst)
	dst, err := readColumn(dst, b.columns[p.col], b.counts[p.col])
	for i := from; i < len(dst); i++ {
		dst[i] += b.first
	}
	return dst, err
}
