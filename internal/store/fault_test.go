package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// scribble changes a part of a file that a store has open, and of its map with
// it.
func scribble(t *testing.T, path string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// use reads all, writes and reads what it wrote.
func use(db *DB, key string) (values int, err error) {
	err = db.View(func(tx *Tx) error {
		for e := range first.All(tx, "") {
			if e.Err == nil {
				values++
			}
		}
		for e := range second.All(tx, "") {
			if e.Err == nil && e.Key != e.Value {
				return fmt.Errorf("%q holds %q", e.Key, e.Value)
			}
		}
		return nil
	})
	if err != nil {
		return values, err
	}
	if err := db.Update(func(tx *Tx) error { return second.Put(tx, key, key) }); err != nil {
		return values, err
	}
	return values, db.View(func(tx *Tx) error {
		if v, ok, err := second.Get(tx, key); err != nil || !ok || v != key {
			return fmt.Errorf("%q holds %q: %w", key, v, err)
		}
		return nil
	})
}

// goesOn uses a damaged store until it works again.
func goesOn(t *testing.T, what string, db *DB) (values int) {
	t.Helper()
	var err error
	for range 4 {
		if values, err = use(db, "after"); err == nil {
			return values
		}
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	t.Fatalf("%s: it does not work again: %v", what, err)
	return 0
}

// Whatever page is damaged while the store is open, it goes on, and the next
// start finds what was written after.
func TestEveryPageDamagedWhileOpen(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "sound")
	db := open(t, sound, Options{})
	for range 3 { // some free pages, too
		fill(t, db, 700)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	repaired, worst, path := 0, 700, filepath.Join(t.TempDir(), "db")
	step := int64(1)
	if testing.Short() {
		step = 16
	}
	for page := int64(0); page < int64(len(whole)/4096); page += step {
		for way, data := range [][]byte{make([]byte, 4096), make([]byte, 4096), make([]byte, 16)} {
			if way > 0 {
				for i := range data {
					data[i] = byte(r.IntN(256))
				}
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			db := open(t, path, Options{})
			scribble(t, path, page*4096, data)
			what := fmt.Sprintf("page %d, way %d", page, way)
			worst = min(worst, goesOn(t, what, db))
			if db.Repaired().Aside != "" {
				repaired++
			}
			if err := db.Close(); err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: %v", what, err)
			}
			db = open(t, path, Options{Check: ChildCheck(os.Args[0], "-child")})
			if _, err := use(db, "next"); err != nil {
				t.Fatalf("%s: after the next start: %v", what, err)
			}
			err := db.View(func(tx *Tx) error {
				if _, ok, err := second.Get(tx, "after"); !ok || err != nil {
					t.Errorf("%s: what was written after it is gone: %v", what, err)
				}
				return nil
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d pages in three ways each: repaired while open %d times; at worst %d of 700 values of a bucket are left", len(whole)/4096, repaired, worst)
	if repaired == 0 {
		t.Error("no damage was met")
	}
}

// A part of the file that cannot be read is a bus error to who reads the map.
func TestPagesThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 2000)
	if err := db.Update(func(tx *Tx) error {
		return errors.Join(first.DeletePrefix(tx, "key00"), second.DeletePrefix(tx, "key00"))
	}); err != nil {
		t.Fatal(err)
	}
	// The roots move into pages that were freed, until they are in front.
	cut := int64(0)
	for i := 0; cut == 0; i++ {
		err := db.Update(func(tx *Tx) error {
			key := fmt.Sprint("more", i%10)
			return errors.Join(first.Put(tx, key, record{key, i}), second.Put(tx, key, key))
		})
		if err != nil || i > 1000 {
			t.Fatal(i, err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := readPages(f)
		if err != nil {
			t.Fatal(err)
		}
		all, _ := p.buckets()
		if end := p.n * 9 / 10; max(p.root, all["first"].root, all["second"].root) < end {
			cut = int64(end * p.size)
		}
		_ = f.Close()
	}
	if err := os.Truncate(path, cut); err != nil {
		t.Fatal(err)
	}
	if _, err := use(db, "x"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
	if n := goesOn(t, "a part of the file", db); n == 0 || n >= 1900 {
		t.Errorf("%d of 2000 values are left", n)
	}
	if r := db.Repaired(); db.Repairs() != 1 || r.Saved == 0 || r.Aside == "" || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

// The meta page of the last commit is lost: the one before it must not be gone
// on with as if nothing were.
func TestLastCommitLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 10)
	fill(t, db, 20)
	newest := int64(0)
	if err := db.View(func(tx *Tx) error { newest = int64(tx.tx.ID() % 2); return nil }); err != nil {
		t.Fatal(err)
	}
	scribble(t, path, newest*4096+40, []byte{1, 2, 3})
	if _, err := use(db, "x"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
	if n := goesOn(t, "the newest meta page", db); n != 10 {
		t.Errorf("%d values, want those of the commit before", n)
	}
}

// Nobody hangs when the damage is met with many at work, also when not even a
// transaction can begin.
func TestDamageMetByMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 700)
	var wg sync.WaitGroup
	damaged := make(chan struct{})
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				_, err := use(db, fmt.Sprint("worker", i))
				if err != nil && !errors.Is(err, ErrDamaged) {
					t.Errorf("worker %d: %v", i, err)
				}
				select {
				case <-damaged:
					if err == nil {
						return
					}
					if n > 1000 {
						t.Errorf("worker %d: %v", i, err)
						return
					}
				default:
				}
			}
		})
	}
	// A commit that is under way makes one of the pages sound again.
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // the name will be that of the new file
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for begin := time.Now(); db.Repairs() == 0 && time.Since(begin) < 10*time.Second; time.Sleep(time.Millisecond) {
		if _, err := f.WriteAt(make([]byte, 8192), 0); err != nil {
			t.Fatal(err)
		}
	}
	close(damaged)
	wg.Wait()
	if r := db.Repairs(); r != 1 {
		t.Errorf("repaired %d times", r)
	}
	if _, err := use(db, "after"); err != nil {
		t.Error(err)
	}
}

// A card that goes on losing pages is not filled with copies.
func TestNoTwoRepairsInARow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	for range 2 {
		fill(t, db, 700)
		scribble(t, path, 0, make([]byte, 8192))
		if _, err := use(db, "x"); !errors.Is(err, ErrDamaged) {
			t.Fatalf("got %v", err)
		}
	}
	if n := db.Repairs(); n != 1 {
		t.Errorf("%d repairs", n)
	}
	db.mu.Lock()
	db.repaired.At = db.repaired.At.Add(-repairPause)
	db.mu.Unlock()
	goesOn(t, "after the pause", db)
	aside, err := filepath.Glob(path + ".damaged-*")
	if err != nil || len(aside) != 2 {
		t.Errorf("put aside: %v %v", aside, err)
	}
}

// What is wrong in the caller's own code is no damage, and leaves no lock
// behind.
func TestPanicOfTheCallerGoesOn(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"), Options{})
	var none *record
	for name, f := range map[string]func(*Tx) error{
		"panic":   func(*Tx) error { panic("mine") },
		"nil":     func(*Tx) error { none.N++; return nil },
		"index":   func(*Tx) error { _ = []int{}[len(name(db))]; return nil },
		"runtime": func(*Tx) error { _ = any(db).(error).Error(); return nil },
	} {
		for way, do := range []func(func(*Tx) error) error{db.View, db.Update} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s, way %d: it did not get through", name, way)
					}
				}()
				_ = do(f)
			}()
		}
	}
	if _, err := use(db, "after"); err != nil || db.Repairs() != 0 {
		t.Errorf("%v, %d repairs", err, db.Repairs())
	}
}

func name(db *DB) string { return db.path }

// A page that leads in a circle is found without following it, and costs what
// is below it.
func TestPagesInACircle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 700)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	circles := 0
	for page := 2; page < len(b)/4096; page++ {
		p := b[page*4096:]
		if binary.LittleEndian.Uint64(p) == uint64(page) && binary.LittleEndian.Uint16(p[8:]) == kindBranch {
			binary.LittleEndian.PutUint64(p[pageHead+elementLen+8:], uint64(page)) // its second child is itself
			circles++
		}
	}
	if circles == 0 {
		t.Fatal("there is no branch page")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	db = open(t, path, Options{})
	if n, err := use(db, "after"); n < 600 || n >= 700 || err != nil {
		t.Errorf("%d of 700 values, %v", n, err)
	}
}

// A number that was given out is not given out again after a repair.
func TestSequenceSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 5)
	next := func(db *DB) (n uint64) {
		if err := db.Update(func(tx *Tx) (err error) { n, err = second.Sequence(tx); return err }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 6 {
		next(db)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := (Options{}).checked().replace(path); err != nil {
		t.Fatal(err)
	}
	if n := next(open(t, path, Options{})); n != 7 {
		t.Errorf("got %d after 6", n)
	}
}

// FuzzPages: no file makes the reader of pages panic or go on for ever.
func FuzzPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), "db")
	db, err := Open(f.Context(), path, Options{})
	if err != nil {
		f.Fatal(err)
	}
	err = db.Update(func(tx *Tx) error {
		for i := range 150 {
			if err := second.Put(tx, fmt.Sprintf("key%03d", i), "0123456789012345678901234567890123456789"); err != nil {
				return err
			}
		}
		return first.Put(tx, "a", record{"b", 1})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		f.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{})
	f.Add(uint32(8192), []byte{2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		b := append([]byte(nil), sound...)
		if int(at) < len(b) {
			copy(b[at:], change)
		}
		p, err := readPages(readerAt(b))
		if err != nil {
			return
		}
		all, err := p.buckets()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, bb := range all {
			if err := p.each(bb, func(k, v []byte) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if n > 1<<18 {
			t.Errorf("%d values in %d octets", n, len(b))
		}
	})
}

type readerAt []byte

func (r readerAt) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at >= int64(len(r)) {
		return 0, errPage
	}
	n := copy(p, r[at:])
	if n < len(p) {
		return n, errPage
	}
	return n, nil
}
