package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// bbolt trusts its pages: one that is damaged while the file is open, by flash
// that loses bits or a card that fails to read, makes it panic, or reach for
// memory that is not there. Within a transaction both become a fault.

// fault is damage of the file's pages that was met while it is open. It is
// ErrDamaged.
type fault struct{ what string }

func (f *fault) Error() string { return ErrDamaged.Error() + ": " + f.what }

func (f *fault) Is(err error) bool { return err == ErrDamaged }

// fenced runs f and turns its panics into a fault where a page is to blame.
// Others are faults of the program and go on.
func fenced(f func() error) (err error) {
	old := debug.SetPanicOnFault(true) // of this goroutine
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			bad, ok := p.(*fault)
			if !ok && !blamesPage(p) {
				panic(p)
			}
			if !ok {
				bad = &fault{fmt.Sprint(p)}
			}
			err = bad
		}
	}()
	return f()
}

// blamesPage tells whether a panic comes from a page that does not make sense:
// from memory that is not there or cannot be read, which only the file's map
// can be, or from within bbolt. It is called by the function that recovers.
func blamesPage(p any) bool {
	if _, ok := p.(interface{ Addr() uintptr }); ok {
		return true
	}
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for more := true; more; {
		var fr runtime.Frame
		fr, more = frames.Next()
		switch {
		case strings.HasPrefix(fr.Function, "go.etcd.io/bbolt"):
			return true
		case strings.HasPrefix(fr.Function, "postern/"):
			return false
		}
	}
	return false
}

// transact runs f in a transaction. After a fault the store is repaired, but f
// is not run again: it may have done half of its work.
func (db *DB) transact(writable bool, f func(*Tx) error) error {
	if writable {
		db.writers.Lock()
		defer db.writers.Unlock()
	}
	s, tx, err := db.begin(writable)
	if err == nil {
		err = carry(s, tx, writable, f)
	}
	var bad *fault
	if !errors.As(err, &bad) {
		return err
	}
	if !writable {
		db.writers.Lock()
		defer db.writers.Unlock()
	}
	return db.repair(s, bad)
}

// begin begins a transaction.
func (db *DB) begin(writable bool) (s *session, tx *bolt.Tx, err error) {
	s = db.s.Load()
	if db.closed.Load() {
		return s, nil, berrors.ErrDatabaseNotOpen
	}
	if err := s.sound(writable); err != nil {
		return s, nil, err
	}
	err = fenced(func() (err error) {
		tx, err = s.b.Begin(writable)
		return err
	})
	return s, tx, err
}

// sound looks at the pages that bbolt does not look at. Without a meta page it
// would panic with its locks held, and everybody else wait for ever; with that
// of the commit before it would go on as if the last one had never been; and
// what a damaged list of free pages claims it would fill the memory with.
func (s *session) sound(writable bool) error {
	last := s.last.Load()
	m, ok := newest(s.file, s.size)
	if !ok || m.tx < last {
		return &fault{"a first page does not make sense"}
	}
	if !writable {
		return nil
	}
	return m.freeSound(s.file, s.size)
}

// freeSound looks at the list of free pages: it is where it says it is, and as
// long as what it holds. bbolt frees and reads as much as it claims.
func (m *meta) freeSound(r io.ReaderAt, size uint64) error {
	var head [pageHead + 8]byte
	if _, err := r.ReadAt(head[:], int64(m.freelist*size)); err != nil {
		return &fault{"the list of free pages: " + err.Error()}
	}
	id, kind, more := parseHead(head[:])
	n := uint64(binary.LittleEndian.Uint16(head[10:]))
	if n == manyFree {
		n = binary.LittleEndian.Uint64(head[pageHead:])
	}
	// Its own pages may have been in it when its length was fixed.
	fits := func(n uint64) bool { return more+1 == freePages(n, size) }
	if id != m.freelist || kind != kindFree || id+more >= m.n || n > m.n || !fits(n) && !fits(n+more+1) {
		return &fault{"the list of free pages does not make sense"}
	}
	return nil
}

// manyFree says that the first entry of a list of free pages tells their
// number.
const manyFree = 0xFFFF

// freePages is how many pages the list of n free pages takes.
func freePages(n, size uint64) uint64 {
	if n >= manyFree {
		n++
	}
	return (pageHead+8*n)/size + 1
}

// carry runs f in tx and ends it.
func carry(s *session, tx *bolt.Tx, writable bool, f func(*Tx) error) (err error) {
	defer func() {
		if end := fenced(tx.Rollback); !errors.Is(end, berrors.ErrTxClosed) {
			err = errors.Join(err, end)
		}
	}()
	return fenced(func() error {
		if err := f(&Tx{tx}); err != nil || !writable {
			return err
		}
		id := tx.ID()
		if err := tx.Commit(); err != nil {
			return err
		}
		s.last.Store(uint64(id))
		return nil
	})
}
