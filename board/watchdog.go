package board

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watchdog is a hardware watchdog of the kernel: unless it is fed within its
// time, the machine is reset (Documentation/watchdog/watchdog-api.rst). It runs
// on when the process dies, and stops when it is closed in an orderly way.
type Watchdog struct {
	f    *os.File
	time time.Duration
}

// OpenWatchdog starts a watchdog. The driver may choose another time than the
// wanted one; Time tells it. Only one process can have it.
func OpenWatchdog(path string, want time.Duration) (*Watchdog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("board: there is no watchdog %s: enable the board's (on a Raspberry Pi dtparam=watchdog=on), or load softdog: %w", path, err)
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("board: the watchdog %s is in use, by systemd if RuntimeWatchdogSec is set: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("board: %w; the udev rules of the package give it to the group postern", err)
	case err != nil:
		return nil, fmt.Errorf("board: %w", err)
	}
	w := &Watchdog{f: f, time: want}
	fd := int(f.Fd())
	seconds := int((want + time.Second - 1) / time.Second)
	// The driver writes back what it took.
	if err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
		return nil, errors.Join(fmt.Errorf("board: watchdog %s: set time: %w", path, err), w.Close())
	}
	if got, err := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT); err == nil && got > 0 {
		w.time = time.Duration(got) * time.Second
	}
	if err := w.Feed(); err != nil {
		return nil, errors.Join(fmt.Errorf("board: %s is no watchdog: %w", path, err), f.Close())
	}
	return w, nil
}

// Time is within which it has to be fed.
func (w *Watchdog) Time() time.Duration { return w.time }

// Feed gives it another Time.
func (w *Watchdog) Feed() error {
	if err := unix.IoctlSetInt(int(w.f.Fd()), unix.WDIOC_KEEPALIVE, 0); err != nil {
		return fmt.Errorf("board: feed the watchdog: %w", err)
	}
	return nil
}

// Close stops it: the letter V says that this is meant. A kernel with NOWAYOUT
// lets it run on all the same.
func (w *Watchdog) Close() error {
	_, err := w.f.Write([]byte("V"))
	return errors.Join(err, w.f.Close())
}
