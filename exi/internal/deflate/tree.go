package deflate

import "math/bits"

// tree is a Huffman code in the making.
type tree struct {
	freq  []int32 // by symbol
	w     []int32 // weights by node: symbols, then inner nodes
	depth []uint8
	dad   []int32
	size  []uint8  // code length by symbol
	code  []uint16 // by symbol, bits reversed
	max   int      // greatest symbol with a code
	n     int
	inner []uint8 // code length by node
	heap  []int32
	order []int32 // nodes, rarest first
}

func (t *tree) init(n int) {
	t.n = n
	t.freq = make([]int32, n)
	t.size = make([]uint8, n)
	t.code = make([]uint16, n)
	t.depth = make([]uint8, 2*n+1)
	t.dad = make([]int32, 2*n+1)
	t.inner = make([]uint8, 2*n+1)
}

// less orders nodes by frequency, then by the height of what hangs on them.
func (t *tree) less(w []int32, a, b int32) bool {
	return w[a] < w[b] || w[a] == w[b] && t.depth[a] <= t.depth[b]
}

// sink restores the heap order below place k. The heap is numbered from 1.
func (t *tree) sink(w []int32, k int) {
	v := t.heap[k]
	for j := 2 * k; j < len(t.heap); j *= 2 {
		if j+1 < len(t.heap) && t.less(w, t.heap[j+1], t.heap[j]) {
			j++
		}
		if t.less(w, v, t.heap[j]) {
			break
		}
		t.heap[k] = t.heap[j]
		k = j
	}
	t.heap[k] = v
}

// build computes code lengths of at most limit bits, and the codes. A code has
// at least two symbols: others are added when fewer are used.
func (t *tree) build(limit uint8) {
	w := append(t.w[:0], t.freq...)
	t.heap = append(t.heap[:0], 0)
	t.max = -1
	for i, f := range t.freq {
		t.size[i] = 0
		if f > 0 {
			t.heap = append(t.heap, int32(i))
			t.max = i
			t.depth[i] = 0
		}
	}
	for len(t.heap) < 3 {
		add := 0
		if t.max < 2 {
			t.max++
			add = t.max
		}
		t.heap = append(t.heap, int32(add))
		w[add] = 1
		t.depth[add] = 0
	}
	for k := (len(t.heap) - 1) / 2; k >= 1; k-- {
		t.sink(w, k)
	}
	t.order = t.order[:0]
	for len(t.heap) > 2 {
		a := t.heap[1]
		t.heap[1] = t.heap[len(t.heap)-1]
		t.heap = t.heap[:len(t.heap)-1]
		t.sink(w, 1)
		b := t.heap[1]
		t.order = append(t.order, a, b)
		node := int32(len(w))
		w = append(w, w[a]+w[b])
		t.depth[node] = max(t.depth[a], t.depth[b]) + 1
		t.dad[a], t.dad[b] = node, node
		t.heap[1] = node
		t.sink(w, 1)
	}
	t.order = append(t.order, t.heap[1])
	t.w = w
	t.lengths(limit)
	t.number(0)
}

// lengths walks from the root down and then shortens what is too long.
func (t *tree) lengths(limit uint8) {
	var count [16]int
	over := 0
	root := len(t.order) - 1
	t.inner[t.order[root]] = 0
	for i := root - 1; i >= 0; i-- {
		n := t.order[i]
		b := t.inner[t.dad[n]] + 1
		if b > limit {
			b = limit
			over++
		}
		t.inner[n] = b
		if int(n) < t.n {
			t.size[n] = b
			count[b]++
		}
	}
	if over == 0 {
		return
	}
	for ; over > 0; over -= 2 {
		b := limit - 1
		for count[b] == 0 {
			b--
		}
		count[b]-- // a leaf moves down and takes one that was too long beside it
		count[b+1] += 2
		count[limit]--
	}
	i := 0
	for b := limit; b > 0; b-- {
		for n := count[b]; n > 0; i++ {
			if s := t.order[i]; int(s) < t.n {
				t.size[s] = b
				n--
			}
		}
	}
}

// number gives out the canonical codes (RFC 1951 §3.2.2). more counts symbols
// of eight bits behind the last one that have no use.
func (t *tree) number(more int) {
	var count, next [17]uint16
	for _, s := range t.size {
		count[s]++
	}
	count[0] = 0
	count[8] += uint16(more)
	for b := 1; b < len(next); b++ {
		next[b] = (next[b-1] + count[b-1]) << 1
	}
	for i, s := range t.size {
		if s > 0 {
			t.code[i] = bits.Reverse16(next[s]) >> (16 - s)
			next[s]++
		}
	}
}

// cost returns how many bits the counted symbols take, with the tree's own code
// lengths or with fixed ones.
func (t *tree) cost(extra func(code int) (x uint, fixed uint8), useFixed bool) int {
	sum := 0
	for c, f := range t.freq {
		if f == 0 {
			continue
		}
		x, size := extra(c)
		if !useFixed {
			size = t.size[c]
		}
		sum += int(f) * (int(x) + int(size))
	}
	return sum
}
