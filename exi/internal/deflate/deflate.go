// Package deflate compresses to RFC 1951 with the choices that zlib makes at
// its default level: the same matches, block ends and code lengths. Encoders of
// compressed EXI (EXI 1.0 §9.3) that go through zlib then give the same octets,
// which lets vectors be compared octet for octet.
package deflate

import "encoding/binary"

// Parameters of zlib's default level with its default memory.
const (
	windowSize = 1 << 15
	hashBits   = 15
	minMatch   = 3
	maxMatch   = 258
	// A match must leave room for the look-ahead in the window.
	lookahead = maxMatch + minMatch + 1
	maxDist   = windowSize - lookahead

	goodLength = 8       // halve the search twice behind a match this long
	maxLazy    = 16      // do not look for a better one behind a match this long
	niceLength = 128     // stop searching
	maxChain   = 128     // candidates looked at
	tooFar     = 1 << 12 // matches of three octets are not worth more distance

	maxSymbols = 1<<14 - 1 // of one block
)

// Encoder compresses buffers one at a time. The zero value is ready to use;
// its memory, about 300 KiB, is kept between calls. Not safe for concurrent
// use.
type Encoder struct {
	head []int32 // latest position + 1 by hash; all zero between calls
	prev []int32 // position + 1 before, by position modulo the window

	syms []symbol
	lit  tree
	dist tree
	lens tree

	out  []byte
	reg  uint64
	bits uint
}

// symbol is a literal (dist 0) or a match.
type symbol struct {
	dist uint16
	lit  uint8 // the literal, or length − minMatch
}

// Append compresses src to one DEFLATE stream and appends it to dst.
func (e *Encoder) Append(dst, src []byte) []byte {
	e.prepare()
	e.out, e.reg, e.bits = dst, 0, 0
	e.run(src)
	e.forget(src)
	e.align()
	return e.out
}

func (e *Encoder) prepare() {
	if e.head == nil {
		e.head = make([]int32, 1<<hashBits)
		e.prev = make([]int32, windowSize)
		e.syms = make([]symbol, 0, maxSymbols)
		e.lit.init(literalCodes)
		e.dist.init(distanceCodes)
		e.lens.init(lengthCodes)
	}
	e.startBlock()
}

// forget empties the hash table.
func (e *Encoder) forget(src []byte) {
	if len(src) > len(e.head)/8 {
		clear(e.head)
		return
	}
	for i := 0; i+minMatch <= len(src); i++ {
		e.head[hash(src, i)] = 0
	}
}

func hash(src []byte, i int) uint32 {
	return (uint32(src[i])<<10 ^ uint32(src[i+1])<<5 ^ uint32(src[i+2])) & (1<<hashBits - 1)
}

func (e *Encoder) startBlock() {
	e.syms = e.syms[:0]
	clear(e.lit.freq)
	clear(e.dist.freq)
	clear(e.lens.freq)
	e.lit.freq[endOfBlock] = 1
}

// insert notes the position i in the hash chains and returns the latest one
// with the same hash, −1 for none.
func (e *Encoder) insert(src []byte, i int) int {
	h := hash(src, i)
	last := e.head[h]
	e.prev[i&(windowSize-1)] = last
	e.head[h] = int32(i + 1)
	return int(last) - 1
}

// run finds matches lazily: one is only taken when the next position has none
// that is longer.
func (e *Encoder) run(src []byte) {
	blockStart, base := 0, 0
	length, start := minMatch-1, 0
	pending := false // the octet before i is not coded yet
	i := 0
	for i < len(src) {
		left := len(src) - i
		// The window slides by half when the look-ahead runs out of it.
		if i-base > 2*windowSize-lookahead {
			base += windowSize
		}
		latest := -1
		if left >= minMatch {
			latest = e.insert(src, i)
		}
		prevLength, prevStart := length, start
		length = minMatch - 1
		// The first position of the window cannot be told from none.
		if latest > base && prevLength < maxLazy && i-latest <= maxDist {
			length, start = e.longest(src, i, latest, base, prevLength, start)
			if length == minMatch && i-start > tooFar {
				length = minMatch - 1
			}
		}
		switch {
		case prevLength >= minMatch && length <= prevLength:
			full := e.match(i-1-prevStart, prevLength)
			last := len(src) - minMatch
			for n := prevLength - 2; n > 0; n-- {
				i++
				if i <= last {
					e.insert(src, i)
				}
			}
			i++
			pending, length = false, minMatch-1
			if full {
				e.flush(src[blockStart:i], false)
				blockStart = i
			}
		case pending:
			if e.literal(src[i-1]) {
				e.flush(src[blockStart:i], false)
				blockStart = i
			}
			i++
		default:
			pending = true
			i++
		}
	}
	if pending {
		e.literal(src[i-1])
	}
	e.flush(src[blockStart:], true)
}

// longest looks through the chain that starts at cur for a match at i that is
// longer than best.
func (e *Encoder) longest(src []byte, i, cur, base, best, start int) (length, at int) {
	left := len(src) - i
	if best >= left {
		return left, start
	}
	chain := maxChain
	if best >= goodLength {
		chain >>= 2
	}
	nice := min(niceLength, left)
	limit := base
	if i-base > maxDist {
		limit = i - maxDist
	}
	most := min(maxMatch, left)
	scan := src[i : i+most]
	prev := (*[windowSize]int32)(e.prev)
	front := binary.LittleEndian.Uint16(scan)
	back := binary.LittleEndian.Uint16(scan[best-1:])
	for {
		// Most candidates fail at the octet that would make them longer.
		if binary.LittleEndian.Uint16(src[cur+best-1:]) == back && binary.LittleEndian.Uint16(src[cur:]) == front {
			if n := common(src[cur:cur+most], scan); n > best {
				best, start = n, cur
				if n >= nice || n == most {
					break
				}
				back = binary.LittleEndian.Uint16(scan[best-1:])
			}
		}
		cur = int(prev[cur&(windowSize-1)]) - 1
		chain--
		if cur <= limit || chain == 0 {
			break
		}
	}
	return best, start
}

// common returns the length of the common prefix of two slices of one length.
func common(a, b []byte) int {
	n := 0
	for n+8 <= len(a) {
		x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:])
		if x != 0 {
			return n + trailingOctets(x)
		}
		n += 8
	}
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}

// literal and match count a symbol; they report whether the block is full.
func (e *Encoder) literal(b byte) bool {
	e.syms = append(e.syms, symbol{0, b})
	e.lit.freq[b]++
	return len(e.syms) == maxSymbols
}

func (e *Encoder) match(dist, length int) bool {
	e.syms = append(e.syms, symbol{uint16(dist), uint8(length - minMatch)})
	e.lit.freq[lengthCode(length-minMatch)]++
	e.dist.freq[distanceCode(dist-1)]++
	return len(e.syms) == maxSymbols
}
