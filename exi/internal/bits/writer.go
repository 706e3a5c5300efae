package bits

import (
	"encoding/binary"
	"math/big"
)

// Writer appends bits to a byte slice, most significant bit first. Fewer than
// 32 bits wait in its register. Not safe for concurrent use.
type Writer struct {
	buf     []byte
	reg     uint64
	n       uint
	aligned bool
	base    int64
}

// Reset makes w append to dst.
func (w *Writer) Reset(dst []byte) {
	w.buf, w.reg, w.n, w.base = dst, 0, 0, -int64(len(dst))
}

// SetAligned chooses between n-bit integers of n bits and of whole octets.
func (w *Writer) SetAligned(on bool) { w.aligned = on }

// Pos returns the number of bits written since Reset.
func (w *Writer) Pos() int64 { return (w.base+int64(len(w.buf)))*8 + int64(w.n) }

// Bits writes the k low bits of v, 0 ≤ k ≤ 32; the others must be zero.
func (w *Writer) Bits(v uint64, k uint) {
	w.reg = w.reg<<k | v
	w.n += k
	if w.n >= 32 {
		w.n -= 32
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(w.reg>>w.n))
	}
}

// NBit writes an n-bit unsigned integer (EXI 1.0 §7.1.9), n ≤ 32.
func (w *Writer) NBit(v uint64, n uint) {
	if !w.aligned {
		w.Bits(v, n)
		return
	}
	for s := uint(0); s < n; s += 8 {
		w.Bits(v>>s&0xff, 8)
	}
}

// Bool writes a Boolean (EXI 1.0 §7.1.2).
func (w *Writer) Bool(b bool) {
	var v uint64
	if b {
		v = 1
	}
	w.NBit(v, 1)
}

// Uint writes an unsigned integer (EXI 1.0 §7.1.6).
func (w *Writer) Uint(v uint64) {
	for v >= 0x80 {
		w.Bits(v&0x7f|0x80, 8)
		v >>= 7
	}
	w.Bits(v, 8)
}

// UintBig writes a non-negative integer of any size.
func (w *Writer) UintBig(b *big.Int) {
	b = new(big.Int).Set(b)
	mask := big.NewInt(0x7f)
	for b.BitLen() > 63 {
		w.Bits(new(big.Int).And(b, mask).Uint64()|0x80, 8)
		b.Rsh(b, 7)
	}
	w.Uint(b.Uint64())
}

// Align pads with zeros to the next octet boundary.
func (w *Writer) Align() {
	if k := w.n & 7; k != 0 {
		w.Bits(0, 8-k)
	}
}

// ASCII writes the longest prefix of s whose characters are below 0x80, one
// octet each, and returns its length.
func (w *Writer) ASCII(s string) int {
	i := 0
	for ; i+4 <= len(s); i += 4 {
		v := uint32(s[i])<<24 | uint32(s[i+1])<<16 | uint32(s[i+2])<<8 | uint32(s[i+3])
		if v&0x80808080 != 0 {
			break
		}
		w.reg = w.reg<<32 | uint64(v)
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(w.reg>>w.n))
	}
	for ; i < len(s) && s[i] < 0x80; i++ {
		w.Bits(uint64(s[i]), 8)
	}
	return i
}

// Set writes the longest prefix of s whose characters have a position in a set,
// as k bits each, 1 ≤ k ≤ 8, and returns its length. positions has them by
// character, one more than they are. An aligned writer takes none.
func (w *Writer) Set(s string, k uint, positions *[128]uint8) int {
	if w.aligned {
		return 0
	}
	reg, n := w.reg, w.n
	i := 0
	for ; i < len(s) && s[i] < 128; i++ {
		p := positions[s[i]]
		if p == 0 {
			break
		}
		reg = reg<<k | uint64(p-1)
		if n += k; n >= 32 {
			n -= 32
			w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(reg>>n))
		}
	}
	w.reg, w.n = reg, n
	return i
}

// Octets writes s as it is.
func (w *Writer) Octets(s string) {
	if w.n == 0 {
		w.buf = append(w.buf, s...)
		return
	}
	for i := range len(s) {
		w.Bits(uint64(s[i]), 8)
	}
}

// Bytes pads to an octet boundary and returns everything written so far,
// behind what Reset was given.
func (w *Writer) Bytes() []byte {
	w.Align()
	w.spill()
	return w.buf
}

// Take returns the whole octets written and empties the buffer; bits of an
// octet begun stay in the register. The slice is valid until the next write.
func (w *Writer) Take() []byte {
	w.spill()
	p := w.buf
	w.base += int64(len(p))
	w.buf = w.buf[:0]
	return p
}

// Len returns the number of octets in the buffer.
func (w *Writer) Len() int { return len(w.buf) }

func (w *Writer) spill() {
	for w.n >= 8 {
		w.n -= 8
		w.buf = append(w.buf, byte(w.reg>>w.n))
	}
}
