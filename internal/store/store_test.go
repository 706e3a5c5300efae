package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

type record struct {
	Name string
	N    int
}

var (
	first  = Bucket[record]{"first"}
	second = Bucket[string]{"second"}
)

func open(t *testing.T, path string, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func fill(t *testing.T, db *DB, n int) {
	t.Helper()
	err := db.Update(func(tx *Tx) error {
		for i := range n {
			key := fmt.Sprintf("key%05d", i)
			if err := first.Put(tx, key, record{strings.Repeat("x", 100), i}); err != nil {
				return err
			}
			if err := second.Put(tx, key, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBuckets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "db")
	db := open(t, path, Options{})
	fill(t, db, 10)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path, Options{})
	err := db.View(func(tx *Tx) error {
		v, ok, err := first.Get(tx, "key00003")
		if err != nil || !ok || v.N != 3 {
			t.Errorf("got %+v %v %v", v, ok, err)
		}
		if _, ok, err := first.Get(tx, "none"); ok || err != nil {
			t.Errorf("missing key: %v %v", ok, err)
		}
		if n := second.Count(tx, "key0000"); n != 10 {
			t.Errorf("%d keys", n)
		}
		var keys []string
		for e := range second.All(tx, "key00") {
			if e.Err != nil {
				t.Error(e.Err)
			}
			keys = append(keys, e.Value)
		}
		if len(keys) != 10 || keys[0] != "key00000" || keys[9] != "key00009" {
			t.Errorf("%v", keys)
		}
		if err := first.Put(tx, "a", record{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("put within a View: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *Tx) error {
		if err := second.DeletePrefix(tx, "key0000"); err != nil {
			return err
		}
		if n := second.Count(tx, ""); n != 0 {
			t.Errorf("%d left", n)
		}
		return errors.New("no")
	})
	if err == nil {
		t.Error("no error from Update")
	}
	if err := db.View(func(tx *Tx) error {
		if n := second.Count(tx, ""); n != 10 {
			t.Errorf("%d keys after a transaction that failed", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

func TestLockedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	open(t, path, Options{})
	start := time.Now()
	if _, err := Open(t.Context(), path, Options{LockTimeout: 50 * time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 50)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); err != nil {
		t.Fatal(err)
	}
	// A flipped bit in a value is only visible by its checksum.
	b, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Update(func(tx *bolt.Tx) error {
		bb := tx.Bucket([]byte("second"))
		v := []byte(string(bb.Get([]byte("key00007"))))
		v[3] ^= 4
		return bb.Put([]byte("key00007"), v)
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
	db = open(t, path, Options{})
	if err := db.View(func(tx *Tx) error {
		if n := first.Count(tx, ""); n != 50 {
			t.Errorf("%d of 50 in the sound bucket", n)
		}
		if n := second.Count(tx, ""); n != 49 {
			t.Errorf("%d, want all but one", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	aside, err := filepath.Glob(path + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v %v", aside, err)
	}
}

// Whatever happens to the file, Open gives a working store.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	db := open(t, path, Options{})
	fill(t, db, 2000)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string]func([]byte) []byte{
		"empty":      func(b []byte) []byte { return nil },
		"one page":   func(b []byte) []byte { return b[:4096] },
		"half":       func(b []byte) []byte { return b[:len(b)/2] },
		"zeros":      func(b []byte) []byte { clear(b); return b },
		"bad metas":  func(b []byte) []byte { clear(b[:8192]); return b },
		"bad middle": func(b []byte) []byte { clear(b[len(b)/3 : len(b)/2]); return b },
		"noise": func(b []byte) []byte {
			for i := 8192; i < len(b); i += 97 {
				b[i] ^= byte(i)
			}
			return b
		},
		"text": func(b []byte) []byte { return []byte("this is not a database\n") },
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "db")
			if err := os.WriteFile(p, f([]byte(string(whole))), 0o600); err != nil {
				t.Fatal(err)
			}
			db := open(t, p, Options{Check: ChildCheck(os.Args[0], "-test.run=^TestChild$", "-test.v=false", "-child")})
			fill(t, db, 3)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := Check(p); err != nil {
				t.Errorf("after recovery: %v", err)
			}
		})
	}
}

// The test program serves as the child that checks.
func TestMain(m *testing.M) {
	if n := len(os.Args); n > 2 && os.Args[n-2] == "-child" {
		if err := Check(os.Args[n-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestChildCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ChildCheck(os.Args[0], "-child")(t.Context(), path); err != nil {
		t.Errorf("sound file: %v", err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ChildCheck(os.Args[0], "-child")(t.Context(), path); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged file: %v", err)
	}
	if err := ChildCheck("/does/not/exist")(t.Context(), path); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("no child: %v", err)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep command")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	hangs := ChildCheck("/bin/sh", "-c", sleep+" 60; exit 1")
	if err := hangs(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a check that hangs: %v", err)
	}
	// A slow check is no reason to give the file up.
	sound := filepath.Join(t.TempDir(), "db")
	db = open(t, sound, Options{})
	fill(t, db, 3)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, sound, Options{Check: hangs, CheckTimeout: 50 * time.Millisecond})
	if err := db.View(func(tx *Tx) error {
		if n := first.Count(tx, ""); n != 3 {
			t.Errorf("%d of 3 values", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A file that may not be read is left alone.
func TestNoPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestCompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 20000)
	if err := db.Update(func(tx *Tx) error { return first.DeletePrefix(tx, "key") }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	db = open(t, path, Options{})
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.Size() > before.Size()/2 {
		t.Errorf("%d octets before, %d after", before.Size(), after.Size())
	}
	if err := db.View(func(tx *Tx) error {
		if n := second.Count(tx, ""); n != 20000 {
			t.Errorf("%d keys", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
