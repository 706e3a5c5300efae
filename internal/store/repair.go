package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Repair is what was done about a file that was damaged while it was open.
type Repair struct {
	At    time.Time // zero: it never was
	Aside string    // where the damaged file is; empty when Err is set
	Saved int       // values that were copied
	Lost  int       // values that were seen and could not be; what unreadable pages held is not known
	Err   error     // why there is no new file; the damaged one is still in use
}

// repairPause is the shortest time between two repairs: a card that goes on
// losing pages is not to be filled with copies.
const repairPause = 10 * time.Minute

// Repaired returns the last repair.
func (db *DB) Repaired() Repair {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.repaired
}

// Repairs counts the repairs that gave a new file. Who keeps in memory what it
// has put into the store puts all of it again when this has changed: it may be
// missing in the new one.
func (db *DB) Repairs() uint64 { return db.repairs.Load() }

// repair puts the file of a session aside and goes on with a new one. It
// returns what the transaction that met the damage is to return. writers is
// held.
func (db *DB) repair(s *session, bad *fault) error {
	if db.s.Load() != s || db.closed.Load() {
		return bad // somebody else was faster
	}
	last := db.Repaired()
	if wait := repairPause - time.Since(last.At); !last.At.IsZero() && wait > 0 {
		return fmt.Errorf("%w; it was repaired a short time ago and is not again for %v", bad, wait.Round(time.Second))
	}
	db.o.Logger.Error("the store was damaged while it was open: putting it aside and saving what is readable; is the card or disk at its end?",
		"path", db.path, "err", bad)
	r, err := db.o.replace(db.path)
	var fresh *session
	if err == nil {
		fresh, err = openSession(db.path, db.o.LockTimeout)
	}
	r.At, r.Err = time.Now(), err
	db.mu.Lock()
	db.repaired = r
	db.mu.Unlock()
	if err != nil {
		db.o.Logger.Error("the store cannot be repaired; what it has is used as far as it can be read", "path", db.path, "err", err)
		return errors.Join(bad, err)
	}
	db.s.Store(fresh)
	db.repairs.Add(1)
	go func() { _ = fenced(s.b.Close) }() // when those who still read it have done
	return fmt.Errorf("%w; it is put aside as %s, and what is readable of it is in a new one", bad, r.Aside)
}

// replace puts the file at path aside and a new one in its place, with what can
// be read of the old one.
func (o Options) replace(path string) (r Repair, err error) {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	dst, err := openFile(tmp, o.LockTimeout, false)
	if err != nil {
		return r, err
	}
	if r.Saved, r.Lost, err = o.salvage(dst, path); err != nil {
		o.Logger.Warn("the damaged store could not be read as a whole", "path", path, "err", err)
	}
	o.Logger.Warn("saved from the damaged store", "values", r.Saved, "lost", r.Lost)
	// The name must never be without a file: link first, then replace.
	r.Aside = path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	if os.Link(path, r.Aside) != nil {
		// A file system without links.
		if err := os.Rename(path, r.Aside); err != nil {
			r.Aside = ""
			return r, errors.Join(err, dst.Close())
		}
	}
	if err := install(dst, tmp, path); err != nil {
		return r, err
	}
	o.Logger.Warn("the damaged store is put aside", "aside", r.Aside)
	return r, nil
}

// salvage copies every value with a good checksum, and the sequences of the
// buckets. lost counts the values that it saw without one; what unreadable pages
// held is not known. An error tells what was left out.
func (o Options) salvage(dst *bolt.DB, path string) (saved, lost int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	p, err := readPages(f)
	if err != nil {
		return 0, 0, err
	}
	all, err := p.buckets()
	if err != nil {
		return 0, 0, err
	}
	names := slices.DeleteFunc(slices.Clone(o.Order), func(n string) bool { _, ok := all[n]; return !ok })
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	var errs []error
	var batches []*batch
	for _, name := range names {
		b := &batch{dst: dst, name: name}
		batches = append(batches, b)
		err := p.each(all[name], func(k, v []byte) error {
			if _, err := unseal(k, v); err != nil {
				lost++
				return nil
			}
			return b.add(k, v)
		})
		if err == nil {
			err = b.end(all[name].sequence)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("bucket %s: %w", name, err))
		}
	}
	errs = append(errs, p.rest())
	for _, b := range batches {
		if len(b.pairs) > 0 {
			errs = append(errs, b.write())
		}
		saved += b.saved
	}
	return saved, lost, errors.Join(p.err(), errors.Join(errs...))
}

// batchMost is how many octets are copied in one transaction.
const batchMost = 1 << 20

// batch is what waits to be copied into a bucket.
type batch struct {
	dst   *bolt.DB
	name  string
	pairs [][2][]byte
	size  int
	saved int
}

func (b *batch) add(k, v []byte) error {
	b.pairs = append(b.pairs, [2][]byte{slices.Clone(k), slices.Clone(v)})
	if b.size += len(k) + len(v); b.size < batchMost {
		return nil
	}
	return b.write()
}

func (b *batch) write() error { return b.end(0) }

// end writes what waits, and the sequence of the bucket where it is not 0. Of
// two values with the same key the first counts.
func (b *batch) end(sequence uint64) error {
	pairs, saved := b.pairs, 0
	b.pairs, b.size = nil, 0
	err := b.dst.Update(func(tx *bolt.Tx) error {
		bb, err := tx.CreateBucketIfNotExists([]byte(b.name))
		if err != nil {
			return err
		}
		if sequence > 0 {
			if err := bb.SetSequence(sequence); err != nil {
				return err
			}
		}
		for _, p := range pairs {
			if bb.Get(p[0]) != nil {
				continue
			}
			if err := bb.Put(p[0], p[1]); err != nil {
				return err
			}
			saved++
		}
		return nil
	})
	if err == nil {
		b.saved += saved
	}
	return err
}
