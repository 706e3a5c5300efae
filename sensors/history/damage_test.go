package history

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/store"
)

// Whatever page of the store is damaged while it is open, measuring goes on: the
// readings from then on are in the history, under their name, also after the
// next start.
func TestEveryPageDamagedWhileMeasuring(t *testing.T) {
	c := &clock{begin}
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	h := open(t, db, c, nil)
	n := 0
	measure := func(h *History, k int) {
		for range k {
			c.t = begin.Add(time.Duration(n) * 10 * time.Second)
			h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(int32(n))))
			n++
		}
	}
	for range 50 {
		measure(h, 30)
		if err := h.commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(h.roll(c.t), db.Close()); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	repaired, worst := 0, n
	for page := range len(sound) / 4096 {
		repairs, left := damagedWhileOpen(t, sound, page, r, measure, &n)
		repaired, worst = repaired+int(repairs), min(worst, left)
	}
	t.Logf("%d pages, repaired while open %d times; at worst %d of 1500 readings from before are left", len(sound)/4096, repaired, worst)
	if repaired == 0 {
		t.Error("no damage was met")
	}
}

func damagedWhileOpen(t *testing.T, sound []byte, page int, r *rand.Rand, measure func(*History, int), n *int) (repairs uint64, left int) {
	const before = 1500
	*n = before
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), path, store.Options{Check: store.ChildCheck(os.Args[0], checkArgument)})
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{begin.Add(before * 10 * time.Second)}
	h := open(t, db, c, nil)
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(r.IntN(256))
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(noise, int64(page)*4096)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	// Readers meet it, and commits; both may fail once.
	for i := range 8 {
		measure(h, 45)
		c.t = begin.Add(time.Duration(*n) * 10 * time.Second)
		_, _ = h.read(t)
		if err := errors.Join(h.commit(), h.roll(c.t)); err != nil && (i > 5 || !errors.Is(err, store.ErrDamaged)) {
			t.Fatalf("page %d: %v", page, err)
		}
	}
	repairs = db.Repairs()
	check := func(h *History) (left int) {
		ns, err := h.read(t)
		if err != nil {
			t.Fatalf("page %d: %v", page, err)
		}
		have := map[int64]int{}
		for _, v := range ns {
			if have[v]++; have[v] > 1 {
				t.Fatalf("page %d: reading %d is there twice", page, v)
			}
			if v < before {
				left++
			}
		}
		for v := int64(before); v < int64(*n); v++ {
			if have[v] == 0 {
				t.Fatalf("page %d: reading %d, measured after the damage, is missing", page, v)
			}
		}
		return left
	}
	left = check(h)
	if err := db.Close(); err != nil && !errors.Is(err, store.ErrDamaged) {
		t.Fatal(err)
	}
	db, err = store.Open(t.Context(), path, store.Options{Check: store.ChildCheck(os.Args[0], checkArgument)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	check(open(t, db, c, nil))
	return repairs, left
}

// read returns the readings of the one field that there is.
func (h *History) read(t *testing.T) (ns []int64, err error) {
	t.Helper()
	c := h.Raw(ref(1), "x", time.Time{}, time.Time{})
	var page []Point
	for more := !c.done; more; {
		if page, more, err = c.Next(page[:0]); err != nil {
			return ns, err
		}
		for i := range page {
			v, _ := page[i].Value.Int()
			ns = append(ns, v)
		}
	}
	return ns, nil
}
