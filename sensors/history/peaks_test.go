package history

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
)

// Peaks are those of today, with the time of the first of equal ones, from
// hours that are rolled up, hours that are not, and memory.
func TestPeaks(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := &clock{begin.Add(22 * time.Hour)}
		h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
		if _, _, ok, err := h.Peaks(ref(1), "x"); ok || err != nil {
			t.Fatal("peaks of nothing")
		}
		var low, high Point
		have := false
		end := begin.Add(24*time.Hour + time.Duration(1+r.IntN(20*3600))*time.Second)
		for n := 0; c.t.Before(end); n++ {
			c.t = c.t.Add(time.Duration(10+r.IntN(60)) * time.Second)
			v := drivers.Decimal(drivers.Number{Mant: r.Int64N(300), Exp: -1})
			rd := reading(c.t, v)
			if r.IntN(50) == 0 {
				rd.Quality = live.Missing
			}
			h.Add(ref(1), "x", live.Reading{}, rd)
			if n%20 == 0 {
				if err := h.commit(); err != nil {
					t.Fatal(err)
				}
				if seed%2 == 0 {
					if err := h.roll(c.t); err != nil {
						t.Fatal(err)
					}
				}
			}
			if c.t.Before(begin.Add(day)) || rd.Quality != live.AutomaticReadout {
				continue
			}
			if !have || less(v, low.Value) {
				low = Point{Time: c.t, Value: v}
			}
			if !have || less(high.Value, v) {
				high = Point{Time: c.t, Value: v}
			}
			have = true
		}
		gotLow, gotHigh, ok, err := h.Peaks(ref(1), "x")
		if err != nil || ok != have || gotLow.Value != low.Value || gotHigh.Value != high.Value ||
			!gotLow.Time.Equal(low.Time) || !gotHigh.Time.Equal(high.Time) {
			t.Errorf("seed %d: %v %v %v, want %v %v", seed, gotLow, gotHigh, err, low, high)
		}
	}
}
