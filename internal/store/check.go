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
	// First without bbolt, which a page that leads in a circle would never let
	// go.
	if err := checkValues(path); err != nil {
		return err
	}
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
	return nil
}

// checkValues reads every page that holds values, and their checksums.
func checkValues(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	p, err := readPages(f)
	if err != nil {
		return err
	}
	if err := p.freeSound(f, p.size); err != nil {
		p.miss(err)
	}
	all, err := p.buckets()
	for name, b := range all {
		if err == nil {
			err = p.each(b, func(k, v []byte) error {
				if _, err := unseal(k, v); err != nil {
					return fmt.Errorf("bucket %s: %w", name, err)
				}
				return nil
			})
		}
	}
	return errors.Join(p.err(), err)
}

// checkHere is the check without a child process: every value, though not
// every page.
func checkHere(path string, wait time.Duration) error {
	// First while bbolt has looked at little: it reads as many free pages as the
	// file claims to have.
	b, err := openFile(path, wait, true)
	if err != nil {
		return err
	}
	if err := errors.Join(checkValues(path), b.Close()); err != nil {
		return err
	}
	// A reader needs no list of free pages, a writer does: look at it, too.
	if b, err = openWith(path, &bolt.Options{Timeout: wait, ReadOnly: true, PreLoadFreelist: true}); err != nil {
		return err
	}
	return b.Close()
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
	o.Logger.Error("the store is damaged: putting it aside and saving what is readable", "path", path, "err", err)
	_, err = o.replace(path)
	return err
}
