package store

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// A disk that is full keeps no store from being opened and read, and what was
// written before is there.
func TestOpenOnFullDisk(t *testing.T) {
	const inChild = "STORE_FULL_DISK"
	if os.Getenv(inChild) == "" { // the limit is the process's: its own log must not meet it
		child := exec.Command(os.Args[0], "-test.run=^TestOpenOnFullDisk$")
		child.Env = append(os.Environ(), inChild+"=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, Options{})
	fill(t, db, 20_000)
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
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(16 << 10) // a new file fails, the old one is longer
	db, err = Open(t.Context(), path, Options{})
	limit(old.Cur)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the attempt left something behind: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != before.Size() {
		t.Errorf("%v %v", st, err)
	}
	err = db.Update(func(tx *Tx) error {
		if n := second.Count(tx, "key"); n != 20_000 {
			t.Errorf("%d values", n)
		}
		return second.Put(tx, "new", "value")
	})
	if err != nil {
		t.Error(err)
	}
}
