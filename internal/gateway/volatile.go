package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// copyMost is the largest state file that is copied into memory.
const copyMost = 16 << 20

// openState opens the store in dir. Where nothing can be written there, the
// gateway works with a copy in the directory for temporary files: it measures,
// answers, moves outputs into their safe states, and says what it does not keep.
// Commands need a durable record, so those of people and schedules are refused.
func (g *Gateway) openState(ctx context.Context, dir string) (err error) {
	log := g.log.With("part", "store")
	g.db, err = OpenStore(ctx, dir, log)
	if err == nil || !cannotWrite(err) {
		return err
	}
	why := err
	tmp, err := os.MkdirTemp("", "postern-state-")
	if err != nil {
		return errors.Join(why, fmt.Errorf("and there is no place for temporary state either: %w", err))
	}
	g.volatileDir = tmp
	if err := copyState(filepath.Join(dir, "postern.db"), filepath.Join(tmp, "postern.db")); err != nil {
		log.Warn("what was kept before is not there in this run", "err", err)
	}
	if g.db, err = OpenStore(ctx, tmp, log); err != nil {
		return errors.Join(why, err, os.RemoveAll(tmp))
	}
	g.volatile = fmt.Errorf("%s cannot be written: %w", dir, why)
	log.Error("nothing outlives this run: readings, subscriptions, schedules and pairing are in memory only, and commands are refused; "+
		"make the directory writable and restart", "directory", dir, "err", why)
	return nil
}

// cannotWrite reports whether an error says that nothing can be written.
func cannotWrite(err error) bool {
	for _, e := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// copyState copies a state file; one that is not there is no error.
func copyState(from, to string) (err error) {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil {
		return err
	} else if st.Size() > copyMost {
		return fmt.Errorf("%s is too large to be copied into memory: %d MiB", from, st.Size()>>20)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
