package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// exert does everything that makes bbolt walk: it reads, counts, deletes until
// leaves are put together, writes and clears.
func exert(db *DB) error {
	blobs := Blobs{Name: "blobs"}
	return errors.Join(
		db.View(func(tx *Tx) error {
			blobs.Last(tx)
			for c := blobs.Cursor(tx, nil); c.Valid(); c.Next() {
				if _, err := c.Value(); err != nil {
					return err
				}
			}
			_, _, err := first.Get(tx, "key0350")
			return err
		}),
		db.Update(func(tx *Tx) error { return second.DeletePrefix(tx, "key02") }),
		db.Update(func(tx *Tx) error {
			for i := range 40 {
				if err := blobs.Delete(tx, fmt.Appendf(nil, "blob%05d", 300+i)); err != nil {
					return err
				}
			}
			_, err := first.Sequence(tx)
			return err
		}),
		db.Update(func(tx *Tx) error { return blobs.Clear(tx) }),
		db.Update(func(tx *Tx) error {
			for i := range 300 {
				if err := second.Put(tx, fmt.Sprint("new", i), fmt.Sprint("new", i)); err != nil {
					return err
				}
			}
			return nil
		}),
	)
}

// grown makes a store whose trees have three levels and returns its octets.
func grown(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	// One bucket after the other: bbolt writes those of a transaction in the
	// order of a map, and the roots would be in other pages each time.
	for range 2 {
		err := errors.Join(
			db.Update(func(tx *Tx) (err error) {
				for i := 0; i < 700 && err == nil; i++ {
					key := fmt.Sprintf("key%05d", i)
					err = second.Put(tx, key, key)
				}
				return err
			}),
			db.Update(func(tx *Tx) (err error) {
				for i := 0; i < 700 && err == nil; i++ {
					err = first.Put(tx, fmt.Sprintf("key%05d", i), record{strings.Repeat("x", 100), i})
				}
				return err
			}))
		if err != nil {
			t.Fatal(err)
		}
	}
	err := db.Update(func(tx *Tx) error {
		for i := range 900 { // long keys: few children in a page
			k := fmt.Appendf(nil, "blob%05d%s", i, bytes.Repeat([]byte{'x'}, 300))
			if i%50 == 7 {
				k = k[:9]
			}
			v := bytes.Repeat([]byte{byte(i)}, 200)
			if i%100 == 3 {
				v = bytes.Repeat(v, 60) // several pages
			}
			if err := (Blobs{Name: "blobs"}).Put(tx, k, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// inUse lists the pages below the root, by kind.
func inUse(t *testing.T, whole []byte) (branches, leaves []uint64) {
	t.Helper()
	p, err := readPages(readerAt(whole))
	if err != nil {
		t.Fatal(err)
	}
	all, _ := p.buckets()
	for _, b := range all {
		_ = p.each(b, func(_, _ []byte) error { return nil })
	}
	for id := range p.seen {
		if treePage(whole[id*p.size:]).branch() {
			branches = append(branches, id)
		} else {
			leaves = append(leaves, id)
		}
	}
	slices.Sort(branches)
	slices.Sort(leaves)
	return branches, leaves
}

// survives changes octets of a sound file while it is open and sees that the
// store goes on, without filling the memory.
func survives(t *testing.T, whole []byte, what string, at uint64, change []byte, plausible bool) (met bool, left int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, path, Options{})
	scribble(t, path, int64(at), change)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := exert(db); err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatalf("%s: %v", what, err)
	}
	left = goesOn(t, what, db)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 256<<20 {
		t.Errorf("%s: it took %d MiB", what, took>>20)
	}
	met = db.Repairs() > 0
	if err := db.Close(); err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatalf("%s: %v", what, err)
	}
	if err := Check(path); err != nil && !plausible {
		t.Errorf("%s: what is left is not sound: %v", what, err)
	}
	return met, left
}

func keyAt(p treePage, i int) string {
	from, n, _ := p.element(i)
	return string(p[from : from+n])
}

// Pages that lead in a circle, up or across, while the store is open.
func TestCirclesWhileOpen(t *testing.T) {
	whole := grown(t)
	branches, leaves := inUse(t, whole)
	if len(branches) < 8 {
		t.Fatalf("%d branch pages", len(branches))
	}
	tried, met := 0, 0
	for _, id := range branches {
		p := treePage(whole[id*4096 : id*4096+4096])
		for _, i := range []int{0, p.count() / 2, p.count() - 1} {
			for _, to := range []uint64{id, branches[0], branches[len(branches)-1], leaves[0], leaves[len(leaves)-1]} {
				if p.child(i) == to {
					continue
				}
				tried++
				what := fmt.Sprintf("page %d, child %d: page %d", id, i, to)
				// A leaf of another bucket with the keys that belong here looks
				// right; only the next start sees that two lead to it.
				var next []byte
				if i+1 < p.count() {
					next = []byte(keyAt(p, i+1))
				}
				alike := slices.Contains(leaves, to) && treePage(whole[to*4096:to*4096+4096]).within([]byte(keyAt(p, i)), next)
				m, _ := survives(t, whole, what, id*4096+uint64(pageHead+i*elementLen+8), binary.LittleEndian.AppendUint64(nil, to), alike)
				if m {
					met++
				} else if !alike {
					t.Errorf("%s: not found", what)
				}
			}
		}
		if testing.Short() && tried > 15 {
			break
		}
	}
	if met < tried*9/10 {
		t.Errorf("%d of %d found", met, tried)
	}
	t.Logf("%d branch and %d leaf pages, %d changes, %d found", len(branches), len(leaves), tried, met)
}

// A child that is the root of another bucket with the same keys costs what was
// below that child and nothing else, whether it is met while the store is open
// or before; a key above a child that is damaged costs nothing.
func TestPagesOfAnotherBucket(t *testing.T) {
	whole := grown(t)
	p, err := readPages(readerAt(whole))
	if err != nil {
		t.Fatal(err)
	}
	all, err := p.buckets()
	if err != nil {
		t.Fatal(err)
	}
	salvaged := func(what string, at uint64, change []byte) (n [2]int) {
		t.Helper()
		b := slices.Clone(whole)
		copy(b[at:], change)
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db := open(t, path, Options{})
		err := db.View(func(tx *Tx) error {
			for e := range first.All(tx, "") {
				if e.Err != nil {
					return e.Err
				}
				n[0]++
			}
			for e := range second.All(tx, "") {
				if e.Err != nil || e.Value != e.Key {
					return fmt.Errorf("%q holds %q: %w", e.Key, e.Value, e.Err)
				}
				n[1]++
			}
			return nil
		})
		aside, _ := filepath.Glob(path + ".damaged-*")
		if err := errors.Join(err, db.Close(), Check(path)); err != nil || len(aside) != 1 {
			t.Errorf("%s: put aside %v: %v", what, aside, err)
		}
		return n
	}
	for from, names := range [][2]string{{"first", "second"}, {"second", "first"}} {
		id, to := all[names[0]].root, binary.LittleEndian.AppendUint64(nil, all[names[1]].root)
		q := treePage(whole[id*4096 : id*4096+4096])
		most := 700 / (q.count() / 2) // values below a child
		if !q.branch() || q.count() < 6 {
			t.Fatalf("%s has %d children", names[0], q.count())
		}
		for _, i := range []int{0, 1, q.count() / 2, q.count() - 1} {
			what, at := fmt.Sprintf("%s, child %d", names[0], i), id*4096+uint64(pageHead+i*elementLen)
			if met, left := survives(t, whole, what, at+8, to, false); !met || left < 700-most {
				t.Errorf("%s: found: %v, %d of 700 values left", what, met, left)
			}
			if n := salvaged(what, at+8, to); n[from] < 700-most || n[1-from] != 700 {
				t.Errorf("%s: %d of 700 values left", what, n)
			}
			k, _, _ := q.element(i)
			if n := salvaged(what+", key", id*4096+k+4, []byte("7")); n != [2]int{700, 700} {
				t.Errorf("%s, its key: %d of 700 values left", what, n)
			}
		}
	}
}

// One bit of how many pages follow a page, while the store is open: nothing but
// what that page holds may be lost.
func TestLengthOfAPageWhileOpen(t *testing.T) {
	whole := grown(t)
	p, err := readPages(readerAt(whole))
	if err != nil {
		t.Fatal(err)
	}
	branches, leaves := inUse(t, whole)
	tried, met, worst := 0, 0, 700
	step := 7
	if testing.Short() {
		step = 60
	}
	pages := slices.Concat([]uint64{p.freelist}, branches, leaves)
	for n := 0; n < len(pages); n += step {
		id := pages[n]
		for _, bit := range []int{0, 1, 7, 19, 31} {
			more := binary.LittleEndian.Uint32(whole[id*4096+12:]) ^ 1<<bit
			tried++
			m, left := survives(t, whole, fmt.Sprintf("page %d, bit %d", id, bit), id*4096+12, binary.LittleEndian.AppendUint32(nil, more), false)
			if m {
				met++
			}
			worst = min(worst, left)
		}
	}
	t.Logf("%d changes, %d found, at worst %d of 700 values left", tried, met, worst)
	if met < tried*9/10 || worst < 600 {
		t.Errorf("%d of %d found, %d of 700 values left", met, tried, worst)
	}
	// The start finds each, with a child process and without.
	for _, id := range []uint64{p.freelist, branches[0], leaves[0]} {
		b := slices.Clone(whole)
		binary.LittleEndian.PutUint32(b[id*4096+12:], 1<<31)
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkHere(path, 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("page %d: got %v", id, err)
		}
		if err := Check(path); !errors.Is(err, ErrDamaged) {
			t.Errorf("page %d: got %v", id, err)
		}
	}
}

// What bbolt makes itself is never taken for damage, whatever is put and
// deleted.
func TestSoundPagesAreTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	r := rand.New(rand.NewPCG(3, 4))
	rounds := 400
	if testing.Short() {
		rounds = 120
	}
	blobs := Blobs{Name: "b"}
	have := map[string]int{}
	for round := range rounds {
		err := db.Update(func(tx *Tx) error {
			if round%97 == 96 {
				clear(have)
				return blobs.Clear(tx)
			}
			if r.IntN(4) == 0 { // a range goes
				from := r.IntN(4000)
				for c := blobs.Cursor(tx, fmt.Appendf(nil, "%05d", from)); c.Valid() && len(have) > 0; c.Next() {
					if string(c.Key()) > fmt.Sprintf("%05d", from+r.IntN(900)) {
						break
					}
					delete(have, string(c.Key()))
				}
				var gone [][]byte
				for c := blobs.Cursor(tx, nil); c.Valid(); c.Next() {
					if _, ok := have[string(c.Key())]; !ok {
						gone = append(gone, bytes.Clone(c.Key()))
					}
				}
				for _, k := range gone {
					if err := blobs.Delete(tx, k); err != nil {
						return err
					}
				}
			}
			for range r.IntN(60) {
				k := fmt.Sprintf("%05d", r.IntN(5000))
				if r.IntN(3) == 0 {
					k += string(bytes.Repeat([]byte{'k'}, r.IntN(2000)))
				}
				n := r.IntN(300)
				if r.IntN(20) == 0 {
					n = r.IntN(30_000)
				}
				have[k] = n
				if err := blobs.Put(tx, []byte(k), make([]byte, n)); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = db.View(func(tx *Tx) error {
				n := 0
				for c := blobs.Cursor(tx, nil); c.Valid(); c.Next() {
					if want, ok := have[string(c.Key())]; !ok || c.Len() != want {
						return fmt.Errorf("%q has %d octets, want %d", c.Key(), c.Len(), want)
					}
					n++
				}
				if n != len(have) {
					return fmt.Errorf("%d keys, want %d", n, len(have))
				}
				blobs.Last(tx)
				return lookAtAll(tx.tx)
			})
		}
		if err != nil || db.Repairs() > 0 {
			t.Fatalf("round %d: %v, %d repairs", round, err, db.Repairs())
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); err != nil {
		t.Error(err)
	}
}

func BenchmarkGet(b *testing.B) {
	db, err := Open(b.Context(), filepath.Join(b.TempDir(), "db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *Tx) error {
		for i := range 5000 {
			if err := second.Put(tx, fmt.Sprintf("key%04d", i), "a value of some length"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	_ = db.s.Load().b.View(func(tx *bolt.Tx) error {
		for b.Loop() {
			_, _, _ = second.Get(&Tx{tx}, "key2500")
		}
		return nil
	})
}
