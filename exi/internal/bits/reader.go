package bits

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
)

// Errors that a Reader can stop with, besides those of its source.
var (
	ErrTooLong  = errors.New("input is longer than the limit")
	ErrOverflow = errors.New("unsigned integer is too large")
)

// maxBigOctets bounds an unsigned integer of arbitrary magnitude.
const maxBigOctets = 4096

// Reader takes bits from a byte slice or from the buffer of a bufio.Reader,
// most significant bit first. It never takes more octets out of the
// bufio.Reader than Finish accounts for. Not safe for concurrent use.
//
// The register holds n valid bits at its top. Bits below them are either zero
// or already the right ones of the following octets, so that a refill can OR
// eight octets over them.
type Reader struct {
	buf     []byte
	off     int
	reg     uint64
	n       uint
	aligned bool
	err     error
	src     *bufio.Reader
	base    int64 // octets in front of buf[0]
	limit   int64 // octets allowed in all; 0 = no limit
	errPos  int64
}

// Reset makes r read from p.
func (r *Reader) Reset(p []byte) {
	*r = Reader{buf: p, aligned: r.aligned}
}

// ResetSource makes r read from src, at most limit octets (0 = no limit).
func (r *Reader) ResetSource(src *bufio.Reader, limit int64) {
	*r = Reader{src: src, limit: limit, aligned: r.aligned}
}

// SetAligned chooses between n-bit integers of n bits and of whole octets
// (EXI 1.0 §7.1.9).
func (r *Reader) SetAligned(on bool) { r.aligned = on }

// Err returns the first error; the values read since then are zeros.
func (r *Reader) Err() error { return r.err }

// Fail makes err the reader's error unless it already has one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.errPos = r.Pos()
		r.err = err
	}
}

// Pos returns the position of the next bit from where the reader started; for
// a reader with an error, the position of the error.
func (r *Reader) Pos() int64 {
	if r.err != nil {
		return r.errPos
	}
	return (r.base+int64(r.off))*8 - int64(r.n)
}

// Finish returns the octets in the register and takes what was read out of the
// source. A partly read octet counts as read.
func (r *Reader) Finish() {
	if r.err != nil {
		return
	}
	r.off -= int(r.n >> 3)
	r.reg, r.n = 0, 0
	if r.src != nil {
		// The octets are buffered, Discard cannot fail.
		_, _ = r.src.Discard(r.off)
		r.base += int64(r.off)
		r.buf, r.off = nil, 0
	}
}

// Rest returns the octets of a byte slice source that Finish left unread.
func (r *Reader) Rest() []byte { return r.buf[r.off:] }

func (r *Reader) fill(k uint) {
	if len(r.buf)-r.off >= 8 && r.err == nil {
		r.reg |= binary.BigEndian.Uint64(r.buf[r.off:]) >> r.n
		r.off += int((63 - r.n) >> 3)
		r.n |= 56
		return
	}
	r.fillSlow(k)
}

func (r *Reader) fillSlow(k uint) {
	for r.n < k {
		if r.err != nil {
			r.reg, r.n = 0, 64
			return
		}
		if r.off < len(r.buf) {
			r.reg |= uint64(r.buf[r.off]) << (56 - r.n)
			r.off++
			r.n += 8
			continue
		}
		if err := r.more(); err != nil {
			r.Fail(err)
		}
	}
}

// more moves the window forward so that it holds at least one octet more. It
// never asks the source for octets beyond that: they may not exist yet.
func (r *Reader) more() error {
	if r.src == nil {
		return io.ErrUnexpectedEOF
	}
	r.off -= int(r.n >> 3)
	r.n &= 7
	r.reg &= ^(^uint64(0) >> r.n)
	left := len(r.buf) - r.off
	_, _ = r.src.Discard(r.off)
	r.base += int64(r.off)
	r.off = 0
	r.buf = nil
	p, err := r.src.Peek(left + 1)
	if len(p) <= left {
		if err == io.EOF || err == nil {
			err = io.ErrUnexpectedEOF
		}
		r.buf = p
		return err
	}
	if n := r.src.Buffered(); n > len(p) {
		p, _ = r.src.Peek(n)
	}
	if r.limit > 0 && r.base+int64(len(p)) > r.limit {
		p = p[:max(r.limit-r.base, 0)]
		if len(p) <= left {
			r.buf = p
			return ErrTooLong
		}
	}
	r.buf = p
	return nil
}

// Bits reads k bits, 0 ≤ k ≤ 56.
func (r *Reader) Bits(k uint) uint64 {
	if r.n < k {
		r.fill(k)
	}
	v := r.reg >> (64 - k)
	r.reg <<= k
	r.n -= k
	return v
}

// NBit reads an n-bit unsigned integer (EXI 1.0 §7.1.9), n ≤ 32.
func (r *Reader) NBit(n uint) uint64 {
	if !r.aligned {
		return r.Bits(n)
	}
	if n <= 8 {
		if n == 0 {
			return 0
		}
		return r.Bits(8)
	}
	var v uint64
	for s := uint(0); s < n; s += 8 {
		v |= r.Bits(8) << s
	}
	return v
}

// Bool reads a Boolean (EXI 1.0 §7.1.2).
func (r *Reader) Bool() bool { return r.NBit(1) != 0 }

// Align skips to the next octet boundary.
func (r *Reader) Align() {
	k := r.n & 7
	r.reg <<= k
	r.n -= k
}

// Uint reads an unsigned integer (EXI 1.0 §7.1.6) below 2^63; a greater one
// makes the reader fail with ErrOverflow.
func (r *Reader) Uint() uint64 {
	b := r.Bits(8)
	if b < 0x80 {
		return b
	}
	return r.uintTail(b & 0x7f)
}

func (r *Reader) uintTail(v uint64) uint64 {
	for s := uint(7); ; s += 7 {
		b := r.Bits(8)
		if s >= 63 && b&0x7f != 0 || s > 8*7*8 {
			r.Fail(ErrOverflow)
			return 0
		}
		if s < 63 {
			v |= b & 0x7f << s
		}
		if b < 0x80 {
			return v
		}
	}
}

// UintBig reads an unsigned integer of any size up to 4096 octets: v, or b when
// it does not fit 63 bits.
func (r *Reader) UintBig() (v uint64, b *big.Int) {
	var groups []byte
	for i := 0; ; i++ {
		o := r.Bits(8)
		if i < 9 {
			v |= o & 0x7f << (7 * uint(i))
		} else {
			if i == 9 {
				groups = make([]byte, 0, 32)
				for k := range uint(9) {
					groups = append(groups, byte(v>>(7*k)&0x7f))
				}
			}
			groups = append(groups, byte(o&0x7f))
		}
		if o < 0x80 {
			break
		}
		if i > maxBigOctets {
			r.Fail(ErrOverflow)
			return 0, nil
		}
	}
	if groups == nil {
		return v, nil
	}
	b = new(big.Int)
	for i := len(groups) - 1; i >= 0; i-- {
		b.Lsh(b, 7)
		b.Or(b, big.NewInt(int64(groups[i])))
	}
	if b.BitLen() <= 63 {
		return b.Uint64(), nil
	}
	return 0, b
}

const highBits = 0x8080808080808080

// ASCII appends at most n characters that are encoded as single octets below
// 0x80, eight at a time, and returns how many there were. It stops short of n
// at the first eight with another character among them and near the end of the
// buffered input.
func (r *Reader) ASCII(dst []byte, n int) ([]byte, int) {
	if r.err != nil {
		return dst, 0
	}
	s := r.off - int((r.n+7)>>3)
	shift := (8 - r.n&7) & 7
	got := 0
	for got < n && s+9 <= len(r.buf) {
		w := binary.BigEndian.Uint64(r.buf[s:])<<shift | uint64(r.buf[s+8])>>(8-shift)
		k := min(n-got, 8)
		if w&(highBits<<(8*uint(8-k))) != 0 {
			break
		}
		dst = binary.BigEndian.AppendUint64(dst, w)
		dst = dst[:len(dst)-8+k]
		s += k
		got += k
	}
	if got > 0 {
		r.off, r.n, r.reg = s, 0, 0
		if shift > 0 {
			r.reg = uint64(r.buf[s]) << (56 + shift)
			r.n = 8 - shift
			r.off++
		}
	}
	return dst, got
}

// Set appends at most n characters that are encoded as their positions in set,
// of k bits each, and returns how many there were. It stops short of n at a
// position behind the set and near the end of the buffered input. An aligned
// reader has none.
func (r *Reader) Set(dst []byte, n int, k uint, set []byte) ([]byte, int) {
	if r.err != nil || r.aligned {
		return dst, 0
	}
	for got := 0; ; {
		reg, left := r.reg, r.n
		for ; left >= k && got < n; got++ {
			i := reg >> (64 - k)
			if i >= uint64(len(set)) {
				break
			}
			dst = append(dst, set[i])
			reg <<= k
			left -= k
		}
		r.reg, r.n = reg, left
		if left >= k || got == n || len(r.buf)-r.off < 8 {
			return dst, got
		}
		r.fill(k)
	}
}

// Octets appends n octets.
func (r *Reader) Octets(dst []byte, n int) []byte {
	for ; n > 0 && r.err == nil; n-- {
		if r.n == 0 && r.off < len(r.buf) {
			k := min(n, len(r.buf)-r.off)
			dst = append(dst, r.buf[r.off:r.off+k]...)
			r.off += k
			r.reg = 0
			n -= k - 1
			continue
		}
		dst = append(dst, byte(r.Bits(8)))
	}
	return dst
}
