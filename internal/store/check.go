package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Check walks every page and value of the file and returns an error that
// wraps ErrDamaged when something is wrong. It is what a child process runs:
// bbolt may bring the process down over a damaged file.
func Check(path string) (err error) {
	b, err := openFile(path, time.Second, true)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	err = b.View(func(tx *bolt.Tx) error {
		var errs []error
		for e := range tx.Check() {
			if len(errs) < 10 {
				errs = append(errs, e)
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("store: %w: %w", ErrDamaged, err)
	}
	return walk(b)
}

// walk reads every value and its checksum.
func walk(b *bolt.DB) (err error) {
	defer guard(&err)()
	return b.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bb *bolt.Bucket) error {
			return bb.ForEach(func(k, v []byte) error {
				if v == nil {
					return fmt.Errorf("%w: bucket %s holds another bucket", ErrDamaged, name)
				}
				if _, err := unseal(k, v); err != nil {
					return fmt.Errorf("bucket %s: %w", name, err)
				}
				return nil
			})
		})
	})
}

// checkHere is the check without a child process: every value, though not
// every page.
func checkHere(path string, wait time.Duration) error {
	// A reader needs no list of free pages, a writer does: look at it, too.
	b, err := openWith(path, &bolt.Options{Timeout: wait, ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return err
	}
	return errors.Join(walk(b), b.Close())
}

// ChildCheck returns an Options.Check that runs a command with the path as its
// last argument. Exit code 0 says that the file is sound, CheckLocked that it
// is in use, everything else, a crash included, that it is damaged.
func ChildCheck(command string, args ...string) func(context.Context, string) error {
	return func(ctx context.Context, path string) error {
		cmd := exec.CommandContext(ctx, command, append(slices.Clone(args), path)...)
		cmd.Env = []string{} // nothing of it is needed, and it may hold secrets
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &exit):
			return fmt.Errorf("the check did not run: %w", err)
		case exit.ExitCode() == CheckLocked:
			return ErrLocked
		}
		return fmt.Errorf("%w: %s", ErrDamaged, firstLine(string(out)))
	}
}

// CheckLocked is the exit code of a check that found the file in use.
const CheckLocked = 3

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// examine checks the file and, when it is damaged, replaces it by what can be
// saved.
func (o Options) examine(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, o.CheckTimeout)
	defer cancel()
	check := o.Check
	if check == nil {
		check = func(_ context.Context, path string) error { return checkHere(path, o.LockTimeout) }
	}
	err := check(ctx, path)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		// A long history on a slow card is no reason to throw it away.
		o.Logger.Warn("the check of the store did not end in time: going on without", "path", path, "after", o.CheckTimeout)
		return nil
	case !errors.Is(err, ErrDamaged):
		return err
	}
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	o.Logger.Error("the store is damaged: putting it aside and saving what is readable",
		"path", path, "aside", aside, "err", err)
	return o.recover(path, aside)
}

// recover moves the file aside and builds a new one from it.
func (o Options) recover(path, aside string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dst, err := openFile(tmp, o.LockTimeout, false)
	if err != nil {
		return err
	}
	saved, lost, err := o.salvage(dst, path)
	if err != nil {
		// Not even the file's head is readable.
		o.Logger.Error("nothing could be saved", "path", path, "err", err)
	} else {
		o.Logger.Warn("saved from the damaged store", "values", saved, "lost", lost)
	}
	// The name must never be without a file: link first, then replace.
	if os.Link(path, aside) != nil {
		// A file system without links.
		if err := os.Rename(path, aside); err != nil {
			return errors.Join(err, dst.Close())
		}
	}
	return install(dst, tmp, path)
}

// salvage copies every value with a good checksum. lost counts those it saw
// without one; what unreadable pages held is not known.
func (o Options) salvage(dst *bolt.DB, path string) (saved, lost int, err error) {
	src, err := openFile(path, o.LockTimeout, true)
	if err != nil {
		return 0, 0, err
	}
	// A damaged file may make Close panic, too.
	defer func() { err = errors.Join(err, closeGuarded(src)) }()
	names := slices.Clone(o.Order)
	err = guarded(func() error {
		return src.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
				if !slices.Contains(names, string(name)) {
					names = append(names, string(name))
				}
				return nil
			})
		})
	})
	for _, name := range names {
		s, l, berr := salvageBucket(dst, src, name)
		saved, lost = saved+s, lost+l
		if berr != nil {
			o.Logger.Warn("a part of the damaged store could not be read to its end", "bucket", name, "err", berr)
		}
	}
	return saved, lost, err
}

func closeGuarded(b *bolt.DB) error { return guarded(b.Close) }

func guarded(f func() error) (err error) {
	defer guard(&err)()
	return f()
}

// salvageBucket copies one bucket as far as it can be read, a part at a time: a
// history is larger than memory likes.
func salvageBucket(dst, src *bolt.DB, name string) (saved, lost int, err error) {
	b := batch{dst: dst, name: name}
	err = guarded(func() error {
		return src.View(func(tx *bolt.Tx) error {
			bb := tx.Bucket([]byte(name))
			if bb == nil {
				return nil
			}
			return bb.ForEach(func(k, v []byte) error {
				if _, err := unseal(k, v); err != nil || len(k) == 0 {
					lost++
					return nil
				}
				return b.add(k, v)
			})
		})
	})
	werr := b.write()
	return b.saved, lost, errors.Join(err, werr)
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

func (b *batch) write() error {
	pairs := b.pairs
	b.pairs, b.size = nil, 0
	err := b.dst.Update(func(tx *bolt.Tx) error {
		bb, err := tx.CreateBucketIfNotExists([]byte(b.name))
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if err := bb.Put(p[0], p[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		b.saved += len(pairs)
	}
	return err
}
