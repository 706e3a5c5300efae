package compress

import (
	"bufio"
	"errors"
	"fmt"
)

// inflater unpacks raw DEFLATE (RFC 1951) from a stream that goes on behind
// the present body. The inflater of the standard library cannot be used here:
// it wants to see the marker of a flush whole, and gives nothing out before.
//
// It reads no octet before it needs a bit of it, and keeps 32 KiB of what it
// gave out.
type inflater struct {
	r      *bufio.Reader
	acc    uint32 // bits that were read and not used
	bits   uint
	octets int // read since begin

	out   []byte // the last octets given out, then the body
	start int    // of the body within out
	limit int    // octets of a body, before and after

	lit, dist codes
}

const windowSize = 32 << 10

var errWindow = errors.New("compress: the kept window is broken")

// reset forgets the window.
func (f *inflater) reset() { f.out, f.start = f.out[:0], 0 }

// begin starts with the next body, at an octet boundary of r.
func (f *inflater) begin(r *bufio.Reader) {
	if n := len(f.out) - windowSize; n > windowSize {
		f.out = append(f.out[:0], f.out[n:]...)
	}
	f.r, f.acc, f.bits, f.octets, f.start = r, 0, 0, 0, len(f.out)
}

func (f *inflater) octet() (byte, error) {
	if f.octets++; f.octets > f.limit {
		return 0, fmt.Errorf("%w: a body of more than %d octets", errWindow, f.limit)
	}
	return f.r.ReadByte()
}

// take returns the next n bits, at most 16, the first one lowest.
func (f *inflater) take(n uint) (int, error) {
	for f.bits < n {
		b, err := f.octet()
		if err != nil {
			return 0, err
		}
		f.acc |= uint32(b) << f.bits
		f.bits += 8
	}
	v := f.acc & (1<<n - 1)
	f.acc >>= n
	f.bits -= n
	return int(v), nil
}

// upToStored unpacks until the header of a stored block was read. The rest of
// its octet is dropped.
func (f *inflater) upToStored() error {
	for {
		head, err := f.take(3)
		if err != nil {
			return err
		}
		switch head {
		case 0:
			f.acc, f.bits = 0, 0
			return nil
		case 1 << 1:
			err = f.fixed()
		case 2 << 1:
			err = f.dynamic()
		default:
			return fmt.Errorf("%w: the stream is ended within", errWindow)
		}
		if err == nil {
			err = f.block()
		}
		if err != nil {
			return err
		}
	}
}

// stored takes the content of a stored block whose header was read.
func (f *inflater) stored() error {
	n, err := f.take(16)
	if err != nil {
		return err
	}
	inverse, err := f.take(16)
	if err != nil {
		return err
	}
	if n == 0 || n^inverse != 0xffff {
		return fmt.Errorf("%w: a stored block of %d octets, %x", errWindow, n, inverse)
	}
	for range n {
		b, err := f.octet()
		if err == nil {
			err = f.give(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *inflater) give(b byte) error {
	if len(f.out)-f.start >= f.limit {
		return fmt.Errorf("%w: unpacks to more than %d octets", errWindow, f.limit)
	}
	f.out = append(f.out, b)
	return nil
}

// Lengths and distances (RFC 1951 §3.2.5): the least value of each code and
// the number of bits that are added.
var (
	lengthBase = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits = [...]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = [...]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
)

func distBits(sym int) uint { return uint(max(sym/2-1, 0)) }

// block unpacks the symbols of a block up to its end.
func (f *inflater) block() error {
	for {
		sym, err := f.symbol(&f.lit)
		switch {
		case err != nil:
			return err
		case sym < 256:
			if err := f.give(byte(sym)); err != nil {
				return err
			}
			continue
		case sym == 256:
			return nil
		case sym-257 >= len(lengthBase):
			return fmt.Errorf("%w: no such length", errWindow)
		}
		more, err := f.take(uint(lengthBits[sym-257]))
		if err != nil {
			return err
		}
		if err := f.copy(int(lengthBase[sym-257]) + more); err != nil {
			return err
		}
	}
}

// copy reads a distance and repeats what was given out there.
func (f *inflater) copy(length int) error {
	sym, err := f.symbol(&f.dist)
	if err != nil {
		return err
	}
	if sym >= len(distBase) {
		return fmt.Errorf("%w: no such distance", errWindow)
	}
	more, err := f.take(distBits(sym))
	if err != nil {
		return err
	}
	dist := int(distBase[sym]) + more
	if dist > len(f.out) {
		return fmt.Errorf("%w: a distance beyond the start", errWindow)
	}
	for range length {
		if err := f.give(f.out[len(f.out)-dist]); err != nil {
			return err
		}
	}
	return nil
}

// codes is a set of Huffman codes: how many there are of each length, and the
// symbols in the order of their codes (RFC 1951 §3.2.2).
type codes struct {
	count [16]uint16
	syms  [288]uint16
}

// set makes the codes of the given lengths. They must leave no code free,
// except that a single one may stand alone.
func (c *codes) set(lengths []uint8) error {
	*c = codes{}
	for _, n := range lengths {
		c.count[n]++
	}
	used := len(lengths) - int(c.count[0])
	c.count[0] = 0
	free := 1
	var next [17]uint16
	for n := 1; n < 16; n++ {
		if free = free<<1 - int(c.count[n]); free < 0 {
			return fmt.Errorf("%w: too many codes", errWindow)
		}
		next[n+1] = next[n] + c.count[n]
	}
	if free > 0 && used > 1 {
		return fmt.Errorf("%w: too few codes", errWindow)
	}
	for sym, n := range lengths {
		if n > 0 {
			c.syms[next[n]] = uint16(sym)
			next[n]++
		}
	}
	return nil
}

// symbol reads one code.
func (f *inflater) symbol(c *codes) (int, error) {
	code, first, index := 0, 0, 0
	for n := 1; n < 16; n++ {
		bit, err := f.take(1)
		if err != nil {
			return 0, err
		}
		code = code<<1 | bit
		count := int(c.count[n])
		if code-first < count {
			return int(c.syms[index+code-first]), nil
		}
		index += count
		first = (first + count) << 1
	}
	return 0, fmt.Errorf("%w: no such code", errWindow)
}

// fixed sets the codes that are known beforehand (RFC 1951 §3.2.6).
func (f *inflater) fixed() error {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	if err := f.lit.set(lengths[:]); err != nil {
		return err
	}
	for i := range 32 {
		lengths[i] = 5
	}
	return f.dist.set(lengths[:32])
}

// order is the order of the lengths of the codes for lengths (RFC 1951 §3.2.7).
var order = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block.
func (f *inflater) dynamic() error {
	head, err := f.take(14)
	if err != nil {
		return err
	}
	lits, dists, lens := head&31+257, head>>5&31+1, head>>10+4
	if lits > 286 || dists > 30 {
		return fmt.Errorf("%w: %d and %d codes", errWindow, lits, dists)
	}
	var lengths [286 + 30]uint8
	for _, at := range order[:lens] {
		n, err := f.take(3)
		if err != nil {
			return err
		}
		lengths[at] = uint8(n)
	}
	if err := f.lit.set(lengths[:len(order)]); err != nil {
		return err
	}
	clear(lengths[:])
	for i := 0; i < lits+dists; {
		n, times, err := f.lengths(lengths[:i])
		if err != nil {
			return err
		}
		if i+times > lits+dists {
			return fmt.Errorf("%w: too many lengths", errWindow)
		}
		for range times {
			lengths[i] = n
			i++
		}
	}
	if lengths[256] == 0 {
		return fmt.Errorf("%w: a block without an end", errWindow)
	}
	if err := f.lit.set(lengths[:lits]); err != nil {
		return err
	}
	return f.dist.set(lengths[lits : lits+dists])
}

// lengths reads one length of a code and how often it is meant.
func (f *inflater) lengths(before []uint8) (n uint8, times int, err error) {
	sym, err := f.symbol(&f.lit)
	if err != nil || sym < 16 {
		return uint8(sym), 1, err
	}
	bits, least := uint(2), 3
	switch {
	case sym == 16 && len(before) == 0:
		return 0, 0, fmt.Errorf("%w: a repetition of nothing", errWindow)
	case sym == 16:
		n = before[len(before)-1]
	case sym == 17:
		bits = 3
	default:
		bits, least = 7, 11
	}
	more, err := f.take(bits)
	return n, least + more, err
}
