// Package store keeps a program's state in one bbolt file: typed buckets whose
// values carry a checksum, creation that a power cut cannot spoil, a check
// before use, and recovery of what can still be read.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Options say how Open goes about it. The zero value is fine.
type Options struct {
	// LockTimeout is how long to wait for another process to let go of the
	// file; 0 means 1 s.
	LockTimeout time.Duration
	// Check judges an existing file before it is used, preferably in another
	// process: a damaged file can crash the one that looks at it (see
	// ChildCheck). nil walks the file's buckets in this process.
	Check func(ctx context.Context, path string) error
	// CheckTimeout bounds Check; 0 means 20 s.
	CheckTimeout time.Duration
	// Order is the order in which buckets are saved from a damaged file; those
	// not named come last.
	Order []string
	// Logger is told about recovery and compaction; nil discards.
	Logger *slog.Logger
}

func (o Options) checked() Options {
	if o.LockTimeout == 0 {
		o.LockTimeout = time.Second
	}
	if o.CheckTimeout == 0 {
		o.CheckTimeout = 20 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// ErrLocked: another process has the file open. Commands ask the daemon by its
// local door instead.
var ErrLocked = errors.New("another process holds the store: ask it, or stop it first")

// ErrDamaged: a value or page does not carry what was written.
var ErrDamaged = errors.New("the store is damaged")

// DB is an open store. Safe for concurrent use; writers take turns.
//
// Damage of the file that is met while it is open ends the transaction that
// meets it with an error that wraps ErrDamaged; the file is then put aside, and
// what is readable of it is in a new one when the error is returned. See
// Repaired.
type DB struct {
	path string
	o    Options

	writers  sync.Mutex // one of them at a time; a repair is one, too
	s        atomic.Pointer[session]
	closed   atomic.Bool // set with writers held
	repairs  atomic.Uint64
	mu       sync.Mutex
	repaired Repair // mu
}

// session is an open file.
type session struct {
	b    *bolt.DB
	file *os.File      // the same
	size uint64        // of a page
	last atomic.Uint64 // number of the last commit
}

// openSession opens the file at path for writing.
func openSession(path string, wait time.Duration) (*session, error) {
	s := &session{}
	var err error
	s.b, err = openWith(path, &bolt.Options{Timeout: wait, OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		s.file, err = os.OpenFile(name, flag, mode)
		return s.file, err
	}})
	if err != nil {
		return nil, err
	}
	s.size = uint64(s.b.Info().PageSize)
	return s, nil
}

// Open opens the store at path and creates it, and its directory with mode
// 0700, where it is missing. A damaged file is put aside, what is readable is
// copied into a new one, and the loss is logged.
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	o = o.checked()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path); err != nil {
			return nil, fmt.Errorf("store: creating %s: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("store: %w", err)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("store: %s is not a file", path)
	default:
		// A file that cannot be opened is no damaged one.
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if err := o.examine(ctx, path); err != nil {
			return nil, fmt.Errorf("store: %s: %w", path, err)
		}
	}
	s, err := openSession(path, o.LockTimeout)
	if err == nil {
		s, err = compact(s, path, o)
	}
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	db := &DB{path: path, o: o}
	db.s.Store(s)
	return db, nil
}

// Close waits for transactions and closes the file.
func (db *DB) Close() error {
	db.writers.Lock()
	defer db.writers.Unlock()
	db.closed.Store(true)
	return db.s.Load().b.Close()
}

// View runs f with a consistent state that nobody changes meanwhile. What f
// gets is valid until it returns, which it should do soon.
func (db *DB) View(f func(*Tx) error) error { return db.transact(false, f) }

// Update runs f and commits what it wrote, all of it or, on error, nothing.
// When it returns nil the changes are on the disk. f must not begin another
// transaction.
func (db *DB) Update(f func(*Tx) error) error { return db.transact(true, f) }

// Tx is a transaction; only the function that View or Update called may use
// it.
type Tx struct{ tx *bolt.Tx }

// create makes an empty store so that path is either missing or whole.
func create(path string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b, err := openFile(tmp, time.Second, false)
	if err != nil {
		return err
	}
	return install(b, tmp, path)
}

// install closes the new file b and gives it its name.
func install(b *bolt.DB, tmp, path string) error {
	if err := errors.Join(b.Sync(), b.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openFile opens a bbolt file. Damage that makes bbolt panic becomes an error.
func openFile(path string, wait time.Duration, readOnly bool) (b *bolt.DB, err error) {
	return openWith(path, &bolt.Options{Timeout: wait, ReadOnly: readOnly})
}

func openWith(path string, o *bolt.Options) (b *bolt.DB, err error) {
	o.FreelistType = bolt.FreelistMapType
	err = fenced(func() (err error) {
		b, err = bolt.Open(path, 0o600, o)
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, ErrLocked
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, err
}

// compactFrom is the size below which compaction is not worth a rewrite.
const compactFrom = 1 << 20

// compact rewrites the file when more than half of it is free, and returns the
// store to go on with.
func compact(s *session, path string, o Options) (*session, error) {
	b := s.b
	var size, free int64
	err := b.View(func(tx *bolt.Tx) error {
		size = tx.Size()
		return nil
	})
	if err != nil {
		return nil, err
	}
	st := b.Stats()
	free = int64(st.FreePageN+st.PendingPageN) * int64(s.size)
	if size < compactFrom || free <= size/2 {
		return s, nil
	}
	tmp := path + ".new"
	dst, err := compacted(b, tmp, o)
	if err != nil {
		// A disk without room for a second file is no reason not to start.
		o.Logger.Warn("the store cannot be compacted: going on with it as it is", "path", path, "err", err)
		return s, nil
	}
	// The old file stays locked until the new one has its name.
	if err := install(dst, tmp, path); err != nil {
		return nil, err
	}
	if err := b.Close(); err != nil {
		return nil, err
	}
	if s, err = openSession(path, o.LockTimeout); err != nil {
		return nil, err
	}
	o.Logger.Info("the store was compacted", "path", path, "octets", size, "free", free)
	return s, nil
}

// compacted copies a store into a new file. After an error there is none.
func compacted(b *bolt.DB, tmp string, o Options) (*bolt.DB, error) {
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	dst, err := openFile(tmp, o.LockTimeout, false)
	if err != nil {
		return nil, errors.Join(err, os.Remove(tmp))
	}
	if err := copyTo(dst, b); err != nil {
		return nil, errors.Join(err, dst.Close(), os.Remove(tmp))
	}
	return dst, nil
}

// Compact writes what the store holds into a new file at path, without the
// free pages that the store's own file has.
func (db *DB) Compact(path string) error {
	dst, err := openFile(path, time.Second, false)
	if err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	if err := errors.Join(copyTo(dst, db.s.Load().b), dst.Close()); err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	return nil
}

// copyTo copies what a store holds, once its pages were looked at.
func copyTo(dst, src *bolt.DB) error {
	return fenced(func() error {
		if err := src.View(lookAtAll); err != nil {
			return err
		}
		return bolt.Compact(dst, src, 1<<20)
	})
}
