package history

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func roundTrip(t *testing.T, vals []int64) int {
	t.Helper()
	b := appendColumn(nil, vals)
	got, err := readColumn(nil, b, len(vals))
	if err != nil {
		t.Fatalf("%v: %v (% x)", vals, err, b)
	}
	if !slices.Equal(got, vals) {
		t.Fatalf("%v came back as %v", vals, got)
	}
	return len(b)
}

func TestColumnKeepsEveryNumber(t *testing.T) {
	for _, vals := range [][]int64{
		{0}, {math.MinInt64}, {1, 2}, {0, 0, 0}, {5, 7, 9, 11}, {math.MinInt64, math.MaxInt64},
		{math.MaxInt64, math.MinInt64, 0, -1, 1}, {0, 1 << 40, 3, 2, 1}, {0, 0, 0, 0, 0, 0, 0, 1, 1},
	} {
		roundTrip(t, vals)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		vals := make([]int64, 1+r.IntN(40))
		width := r.UintN(64)
		for i := range vals {
			vals[i] = int64(r.Uint64()) >> width
			if i > 0 && r.IntN(3) > 0 {
				vals[i] = vals[i-1] + vals[i]>>32
			}
		}
		roundTrip(t, vals)
	}
}

func TestColumnSizes(t *testing.T) {
	grid, same, walk := make([]int64, 360), make([]int64, 360), make([]int64, 360)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range grid {
		grid[i], same[i] = int64(10_000*i), 1
		if i > 0 {
			walk[i] = walk[i-1] + r.Int64N(3) - 1
		}
	}
	for _, c := range []struct {
		name string
		vals []int64
		most int
	}{{"grid", grid, 6}, {"same", same, 2}, {"walk of ±1", walk, 360*2/8 + 8}} {
		if n := roundTrip(t, c.vals); n > c.most {
			t.Errorf("%s takes %d octets, want %d at most", c.name, n, c.most)
		}
	}
}

func FuzzColumn(f *testing.F) {
	f.Add([]byte{0, 2, 1, 0xff}, uint16(9))
	f.Add(appendColumn(nil, []int64{1, 5, 1 << 50, 3}), uint16(4))
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		vals, err := readColumn(nil, b, int(n))
		if err == nil && len(vals) != int(n) {
			t.Fatalf("%d numbers, want %d", len(vals), n)
		}
		if err == nil && n > 0 {
			roundTrip(t, vals)
		}
	})
}
