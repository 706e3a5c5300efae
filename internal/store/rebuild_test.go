package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// secretMark is easy to find in a file.
const secretMark = "K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO"

func storeWithSecrets(t *testing.T) (path string, db *DB) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "postern.db")
	db, err := Open(context.Background(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *Tx) error {
		claim := Bucket[string]{Name: "claim"}
		for _, k := range []string{"a", "b"} {
			if err := claim.Put(tx, k, secretMark); err != nil {
				return err
			}
		}
		return Blobs{Name: "history"}.Put(tx, []byte("t"), []byte(secretMark))
	})
	if err != nil {
		t.Fatal(err)
	}
	return path, db
}

func holds(t *testing.T, file string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, []byte(secretMark))
}

// What was in a store is neither in the new file, nor in the old one's blocks,
// nor in what was put aside.
func TestRebuildLeavesNothing(t *testing.T) {
	path, db := storeWithSecrets(t)
	if _, _, err := Rebuild(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("with the store open: %v", err)
	}
	// Deleting is not enough, which is why there is Rebuild.
	if err := db.Update(func(tx *Tx) error { return Bucket[string]{Name: "claim"}.DeletePrefix(tx, "") }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if !holds(t, path) {
		t.Fatal("the test proves nothing: the secret is not in the old file")
	}
	damaged := path + ".damaged-20260101T000000.000Z"
	if err := os.WriteFile(damaged, []byte("before "+secretMark), 0o600); err != nil {
		t.Fatal(err)
	}
	// Other names of the old files show what is left in their blocks.
	oldBlocks, asideBlocks := path+"-link", filepath.Join(t.TempDir(), "aside")
	for from, to := range map[string]string{path: oldBlocks, damaged: asideBlocks} {
		if err := os.Link(from, to); err != nil {
			t.Skipf("no hard links here: %v", err)
		}
	}
	held, aside, err := Rebuild(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != 2 || held[0] != (Part{"claim", 0}) || held[1] != (Part{"history", 1}) {
		t.Errorf("held %v", held)
	}
	if len(aside) != 1 || aside[0] != damaged {
		t.Errorf("aside %v", aside)
	}
	for _, f := range []string{path, oldBlocks, asideBlocks} {
		if holds(t, f) {
			t.Errorf("%s still holds the secret", filepath.Base(f))
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the new file: %v, %v", st, err)
	}
	db, err = Open(context.Background(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if parts, err := db.Contents(); err != nil || len(parts) != 0 {
		t.Errorf("the new store holds %v, %v", parts, err)
	}
}

// A damaged store is replaced too.
func TestRebuildOfADamagedStore(t *testing.T) {
	path, db := storeWithSecrets(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xaa}, 2*os.Getpagesize()), 0); err != nil { // both meta pages
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Rebuild(path); err != nil {
		t.Fatal(err)
	}
	if holds(t, path) {
		t.Error("the secret is still there")
	}
	if err := Check(path); err != nil {
		t.Error(err)
	}
}

func TestRebuildOfNothing(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Rebuild(filepath.Join(dir, "none.db")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := Rebuild(dir); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Error(err)
	}
}
