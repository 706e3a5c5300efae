package history

// bitWriter appends bits to octets, the most significant first.
type bitWriter struct {
	dst  []byte
	acc  uint64
	have uint // bits in acc, below 8 between calls
}

// put appends the n low bits of v, n ≤ 56.
func (w *bitWriter) put(v uint64, n uint) {
	w.acc = w.acc<<n | v&(1<<n-1)
	w.have += n
	for w.have >= 8 {
		w.have -= 8
		w.dst = append(w.dst, byte(w.acc>>w.have))
	}
}

// put64 appends the n low bits of v, n ≤ 64.
func (w *bitWriter) put64(v uint64, n uint) {
	if n > 32 {
		w.put(v>>32, n-32)
		n = 32
	}
	w.put(v, n)
}

// end fills the last octet with zeros.
func (w *bitWriter) end() []byte {
	if w.have > 0 {
		w.dst = append(w.dst, byte(w.acc<<(8-w.have)))
		w.have = 0
	}
	return w.dst
}

// bitReader reads what bitWriter wrote. Beyond the end it reads zeros and sets
// over; the check comes once, at the end.
type bitReader struct {
	src  []byte
	acc  uint64
	have uint
	over bool
}

func (r *bitReader) fill() {
	for r.have <= 56 {
		b := byte(0)
		if len(r.src) > 0 {
			b, r.src = r.src[0], r.src[1:]
		} else if r.have == 0 {
			r.over = true
			r.acc, r.have = 0, 64
			return
		} else {
			return
		}
		r.acc = r.acc<<8 | uint64(b)
		r.have += 8
	}
}

// get returns n bits, n ≤ 32.
func (r *bitReader) get(n uint) uint64 {
	if r.have < n {
		r.fill()
		if r.have < n { // the rest of the input is shorter than what is asked for
			r.over = true
			r.acc, r.have = r.acc<<(n-r.have), n
		}
	}
	r.have -= n
	return r.acc >> r.have & (1<<n - 1)
}

// get64 returns n bits, n ≤ 64.
func (r *bitReader) get64(n uint) uint64 {
	if n <= 32 {
		return r.get(n)
	}
	return r.get(n-32)<<32 | r.get(32)
}
