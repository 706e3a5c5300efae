package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Part is one bucket of a store and how many keys it holds.
type Part struct {
	Name string
	Keys int
}

// Contents lists what the store holds, in the order of the names.
func (db *DB) Contents() ([]Part, error) { return contents(db.s.Load().b) }

func contents(b *bolt.DB) (parts []Part, err error) {
	err = fenced(func() error {
		return b.View(func(tx *bolt.Tx) error {
			if err := lookAtAll(tx); err != nil {
				return err
			}
			return tx.ForEach(func(name []byte, bb *bolt.Bucket) error {
				n := 0
				err := bb.ForEach(func(_, _ []byte) error { n++; return nil })
				parts = append(parts, Part{string(name), n})
				return err
			})
		})
	})
	return parts, err
}

// Rebuild puts a new, empty store in the place of the one at path, which no
// process may have open, and returns what the old one held. Deleting within a
// store would leave what was deleted in free pages; here the old file, and
// those that were put aside as damaged, are overwritten with zeros and removed.
// That reaches the blocks the file system shows; flash and copy-on-write file
// systems may keep older ones.
//
// The name is never without a whole store: until the new file is in place, the
// old one is. A damaged store is replaced too, as far as what it held is known.
func Rebuild(path string) (held []Part, aside []string, err error) {
	if st, err := os.Lstat(path); err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	} else if !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("store: %s is not a file", path)
	}
	b, err := openFile(path, time.Second, false)
	switch {
	case err == nil:
		// The lock is held until the old file is gone.
		defer func() { err = errors.Join(err, fenced(b.Close)) }()
		if held, err = contents(b); err != nil && !errors.Is(err, ErrDamaged) {
			return nil, nil, fmt.Errorf("store: %s: %w", path, err)
		}
	case !errors.Is(err, ErrDamaged):
		return nil, nil, fmt.Errorf("store: %s: %w", path, err)
	}
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	defer old.Close()
	if err := create(path); err != nil {
		return nil, nil, fmt.Errorf("store: %s: %w", path, err)
	}
	if err := overwrite(old); err != nil {
		return held, nil, fmt.Errorf("store: the old file of %s is removed, but not overwritten: %w", path, err)
	}
	aside, err = removeAside(path)
	return held, aside, err
}

// removeAside removes what earlier repairs put aside.
func removeAside(path string) (gone []string, err error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base+".damaged-") || !e.Type().IsRegular() {
			continue
		}
		name := dir + e.Name()
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return gone, fmt.Errorf("store: %w", err)
		}
		err = errors.Join(overwrite(f), f.Close())
		if rerr := os.Remove(name); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		if err != nil {
			return gone, fmt.Errorf("store: %s: %w", name, err)
		}
		gone = append(gone, name)
	}
	slices.Sort(gone)
	return gone, syncDir(filepath.Clean(dir + "."))
}

// overwrite fills a file with zeros and sees that they are on the disk.
func overwrite(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	zeros := make([]byte, 1<<16)
	for left := st.Size(); left > 0; {
		n, err := f.Write(zeros[:min(left, int64(len(zeros)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return f.Sync()
}
