package gpio

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Keeper is a Line whose descriptor can be left with somebody else, so that
// the kernel keeps the output when this process ends. Lines of the character
// device are.
type Keeper interface {
	// Keep returns a duplicate of the descriptor of a line that is an input or
	// output. The line goes on; Adopt continues with the duplicate elsewhere.
	Keep() (*os.File, error)
}

// Keep implements Keeper.
func (l *cdevLine) Keep() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("gpio: keep %s: %w", l.ref, err)
	}
	return os.NewFile(uintptr(dup), l.ref.String()), nil
}
