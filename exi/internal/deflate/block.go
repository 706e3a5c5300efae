package deflate

import (
	"math/bits"
)

// Codes of RFC 1951 §3.2.
const (
	endOfBlock    = 256
	literalCodes  = 286
	distanceCodes = 30
	lengthCodes   = 19

	stored, fixed, dynamic = 0, 1, 2
)

// lengthOrder is the order in which the lengths of the code length code are
// sent (RFC 1951 §3.2.7).
var lengthOrder = [lengthCodes]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func trailingOctets(x uint64) int { return bits.TrailingZeros64(x) >> 3 }

// lengthCode returns the literal/length code of a match of n+3 octets.
func lengthCode(n int) int {
	switch {
	case n < 8:
		return 257 + n
	case n == 255:
		return 285
	}
	k := bits.Len(uint(n)) - 3 // extra bits
	return 257 + 4*(k+1) + n>>k - 4
}

// lengthExtra returns the number of extra bits of a length code and the
// length − 3 at which it begins.
func lengthExtra(code int) (n uint, from int) {
	c := code - 257
	switch {
	case c < 8:
		return 0, c
	case c == 28:
		return 0, 255
	}
	k := c/4 - 1
	return uint(k), (4 + c%4) << k
}

// distanceCode returns the code of a distance of d+1.
func distanceCode(d int) int {
	if d < 4 {
		return d
	}
	k := bits.Len(uint(d)) - 2
	return 2*(k+1) + d>>k - 2
}

func distanceExtra(code int) (n uint, from int) {
	if code < 4 {
		return 0, code
	}
	k := code/2 - 1
	return uint(k), (2 + code%2) << k
}

// fixedLength is the length of a literal/length code in the fixed table.
func fixedLength(code int) uint8 {
	switch {
	case code < 144:
		return 8
	case code < 256:
		return 9
	case code < 280:
		return 7
	}
	return 8
}

// flush writes the symbols gathered as one block, in whichever of the three
// forms is shortest. data is what they stand for.
func (e *Encoder) flush(data []byte, last bool) {
	e.lit.build(15)
	e.dist.build(15)
	e.countLengths(&e.lit)
	e.countLengths(&e.dist)
	e.lens.build(7)
	n := lengthCodes
	for n > 4 && e.lens.size[lengthOrder[n-1]] == 0 {
		n--
	}
	dyn := 14 + 3*n + e.lens.cost(func(c int) (uint, uint8) { return repeatExtra(c), 0 }, false)
	fix := 0
	litExtra := func(c int) (uint, uint8) {
		var x uint
		if c > endOfBlock {
			x, _ = lengthExtra(c)
		}
		return x, fixedLength(c)
	}
	distExtra := func(c int) (uint, uint8) {
		x, _ := distanceExtra(c)
		return x, 5
	}
	dyn += e.lit.cost(litExtra, false) + e.dist.cost(distExtra, false)
	fix += e.lit.cost(litExtra, true) + e.dist.cost(distExtra, true)
	dynOctets, fixOctets := (dyn+3+7)>>3, (fix+3+7)>>3
	best := min(dynOctets, fixOctets)
	kind := uint64(0)
	if last {
		kind = 1
	}
	switch {
	case len(data)+4 <= best && len(data) <= 0xffff:
		e.put(kind|stored<<1, 3)
		e.align()
		e.out = append(e.out, byte(len(data)), byte(len(data)>>8), ^byte(len(data)), ^byte(len(data)>>8))
		e.out = append(e.out, data...)
	case fixOctets == best:
		e.put(kind|fixed<<1, 3)
		for c := range e.lit.size {
			e.lit.size[c] = fixedLength(c)
		}
		for c := range e.dist.size {
			e.dist.size[c] = 5
		}
		// The fixed table has two codes more than are used; they take part in
		// numbering the others.
		e.lit.number(2)
		e.dist.number(0)
		e.symbols()
	default:
		e.put(kind|dynamic<<1, 3)
		e.sendTrees(n)
		e.symbols()
	}
	e.startBlock()
}

// symbols writes the block's content with the codes in force.
func (e *Encoder) symbols() {
	for _, s := range e.syms {
		if s.dist == 0 {
			e.put(uint64(e.lit.code[s.lit]), uint(e.lit.size[s.lit]))
			continue
		}
		c := lengthCode(int(s.lit))
		e.put(uint64(e.lit.code[c]), uint(e.lit.size[c]))
		x, from := lengthExtra(c)
		e.put(uint64(int(s.lit)-from), x)
		d := int(s.dist) - 1
		c = distanceCode(d)
		e.put(uint64(e.dist.code[c]), uint(e.dist.size[c]))
		x, from = distanceExtra(c)
		e.put(uint64(d-from), x)
	}
	e.put(uint64(e.lit.code[endOfBlock]), uint(e.lit.size[endOfBlock]))
}

// Codes of the code length alphabet that repeat.
const (
	repeatLast  = 16 // 3–6 times
	repeatZero  = 17 // 3–10 times
	repeatZeros = 18 // 11–138 times
)

func repeatExtra(c int) uint {
	switch c {
	case repeatLast:
		return 2
	case repeatZero:
		return 3
	case repeatZeros:
		return 7
	}
	return 0
}

// runs splits the code lengths of a tree into what the code length alphabet
// can say; n is how often the length or the repetition stands for.
func (t *tree) runs(f func(code int, length uint8, n int)) {
	last := -1
	for i := 0; i <= t.max; {
		length := t.size[i]
		n := 1
		for i+n <= t.max && t.size[i+n] == length {
			n++
		}
		i += n
		for n > 0 {
			most, least := 7, 4 // the length itself once, then repetitions
			switch {
			case length == 0:
				most, least = 138, 3
			case int(length) == last:
				most, least = 6, 3
			}
			k := min(n, most)
			n -= k
			switch {
			case k < least:
				f(int(length), length, k)
			case length != 0:
				if int(length) != last {
					f(int(length), length, 1)
					k--
				}
				f(repeatLast, length, k)
			case k <= 10:
				f(repeatZero, length, k)
			default:
				f(repeatZeros, length, k)
			}
			last = int(length)
		}
	}
}

func (e *Encoder) countLengths(t *tree) {
	t.runs(func(code int, _ uint8, n int) {
		if code < repeatLast {
			e.lens.freq[code] += int32(n)
			return
		}
		e.lens.freq[code]++
	})
}

// sendTrees writes the code lengths of both trees (RFC 1951 §3.2.7).
func (e *Encoder) sendTrees(n int) {
	e.put(uint64(e.lit.max+1-257), 5)
	e.put(uint64(e.dist.max+1-1), 5)
	e.put(uint64(n-4), 4)
	for _, c := range lengthOrder[:n] {
		e.put(uint64(e.lens.size[c]), 3)
	}
	send := func(code int, _ uint8, n int) {
		times := 1
		if code < repeatLast {
			times = n
		}
		for range times {
			e.put(uint64(e.lens.code[code]), uint(e.lens.size[code]))
		}
		switch code {
		case repeatLast:
			e.put(uint64(n-3), 2)
		case repeatZero:
			e.put(uint64(n-3), 3)
		case repeatZeros:
			e.put(uint64(n-11), 7)
		}
	}
	e.lit.runs(send)
	e.dist.runs(send)
}

// put writes n bits, least significant first.
func (e *Encoder) put(v uint64, n uint) {
	e.reg |= v << e.bits
	e.bits += n
	for e.bits >= 32 {
		e.out = append(e.out, byte(e.reg), byte(e.reg>>8), byte(e.reg>>16), byte(e.reg>>24))
		e.reg >>= 32
		e.bits -= 32
	}
}

func (e *Encoder) align() {
	for e.bits > 0 {
		e.out = append(e.out, byte(e.reg))
		e.reg >>= 8
		e.bits -= min(e.bits, 8)
	}
}
