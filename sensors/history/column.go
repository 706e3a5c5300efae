package history

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A column is a list of whole numbers whose count the reader knows:
//
//	octet     order (2 bits) | same (1 bit) | spare (5 bits)
//	zig-zag   the first number, and with order 2 the first difference
//	octet     k, unless same
//	bits      the residuals in Rice code of parameter k, unless same
//
// The residuals are, with order 0, the differences from the first number, with
// order 1 those of neighbours, with order 2 those of these differences; same
// says that all of them are zero. The writer takes what comes out shortest.
// Differences wrap around, so every int64 survives.
const (
	columnSame = 1 << 5
	orderShift = 6
	longest    = 20 // ones in front of a residual before it is written in full
)

// errDamaged: octets of a block do not mean anything.
var errDamaged = fmt.Errorf("a block of the history does not make sense")

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendColumn appends the column of vals, which must not be empty, to dst.
func appendColumn(dst []byte, vals []int64) []byte {
	order, k, same := plan(vals)
	head := byte(order) << orderShift
	if same {
		head |= columnSame
	}
	dst = append(dst, head)
	dst = binary.AppendUvarint(dst, zigzag(vals[0]))
	skip := 1
	if order == 2 {
		dst = binary.AppendUvarint(dst, zigzag(vals[1]-vals[0]))
		skip = 2
	}
	if same {
		return dst
	}
	w := bitWriter{dst: append(dst, byte(k))}
	for i := skip; i < len(vals); i++ {
		u := zigzag(residual(vals, i, order))
		if q := u >> k; q < longest {
			w.put(1<<(q+1)-2, uint(q)+1)
			w.put64(u, k)
		} else {
			w.put(1<<longest-1, longest)
			w.put64(u, 64)
		}
	}
	return w.end()
}

func residual(vals []int64, i, order int) int64 {
	switch order {
	case 0:
		return vals[i] - vals[0]
	case 1:
		return vals[i] - vals[i-1]
	}
	return vals[i] - 2*vals[i-1] + vals[i-2]
}

// plan chooses order and parameter.
func plan(vals []int64) (order int, k uint, same bool) {
	best := ^uint64(0)
	for o := 0; o <= 2 && o < len(vals); o++ {
		skip := 1
		if o == 2 {
			skip = 2
		}
		var sum uint64
		zero := true
		for i := skip; i < len(vals); i++ {
			u := zigzag(residual(vals, i, o))
			zero = zero && u == 0
			if sum += u; sum < u {
				sum = ^uint64(0) >> 1
			}
		}
		if zero {
			return o, 0, true
		}
		for _, p := range near(sum, len(vals)-skip) {
			if c := cost(vals, o, skip, p); c < best {
				best, order, k = c, o, p
			}
		}
	}
	return order, k, false
}

// near returns the parameters worth a try for a mean residual.
func near(sum uint64, n int) [3]uint {
	mid := uint(bits.Len64(sum / uint64(n)))
	mid = min(max(mid, 1), 62)
	return [3]uint{mid - 1, mid, mid + 1}
}

// cost is the number of bits that the residuals take.
func cost(vals []int64, order, skip int, k uint) (n uint64) {
	for i := skip; i < len(vals); i++ {
		if q := zigzag(residual(vals, i, order)) >> k; q < longest {
			n += q + 1 + uint64(k)
		} else {
			n += longest + 64
		}
	}
	return n
}

// readColumn appends the n numbers of a column to dst.
func readColumn(dst []int64, src []byte, n int) ([]int64, error) {
	if n == 0 || len(src) == 0 {
		return dst, errDamaged
	}
	head := src[0]
	order := int(head >> orderShift)
	first, src, err := uvarint(src[1:])
	if err != nil || order > 2 || order > n-1 {
		return dst, errDamaged
	}
	v := unzigzag(first)
	dst = append(dst, v)
	base, diff, left := v, int64(0), n-1
	if order == 2 {
		if first, src, err = uvarint(src); err != nil {
			return dst, err
		}
		diff = unzigzag(first)
		v += diff
		dst = append(dst, v)
		left--
	}
	if head&columnSame != 0 {
		for range left {
			v += diff
			dst = append(dst, v)
		}
		return dst, nil
	}
	if len(src) == 0 || src[0] > 63 {
		return dst, errDamaged
	}
	// Every residual takes a bit at least: no small input grows large.
	if left > 8*len(src) {
		return dst, errDamaged
	}
	r, k := bitReader{src: src[1:]}, uint(src[0])
	for range left {
		d := unzigzag(r.rice(k))
		switch order {
		case 0:
			v = base + d
		case 1:
			v += d
		case 2:
			diff += d
			v += diff
		}
		dst = append(dst, v)
	}
	if r.over {
		return dst, errDamaged
	}
	return dst, nil
}

// rice reads one residual.
func (r *bitReader) rice(k uint) uint64 {
	if r.have < longest+1 {
		r.fill()
	}
	q := uint(bits.LeadingZeros64(^(r.acc << (64 - r.have))))
	if q >= longest {
		r.get(longest)
		return r.get64(64)
	}
	r.get(q + 1)
	return uint64(q)<<k | r.get64(k)
}

// uvarint reads a number of at most 64 bits.
func uvarint(src []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(src)
	if n <= 0 {
		return 0, src, errDamaged
	}
	return v, src[n:], nil
}
