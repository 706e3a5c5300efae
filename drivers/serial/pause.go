package serial

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// exact is the last part of a pause, which the kernel times: the runtime's
// timers are up to 1 ms late, because it waits in whole milliseconds.
const exact = 2 * time.Millisecond

// Pause waits until then, to about 0.1 ms where the machine has nothing else to
// do. It returns the cause of ctx when that ends more than 2 ms earlier.
func Pause(ctx context.Context, then time.Time) error {
	if d := time.Until(then); d > exact {
		t := time.NewTimer(d - exact)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for d := time.Until(then); d > 0; d = time.Until(then) {
		ts := syscall.NsecToTimespec(int64(d))
		if err := syscall.Nanosleep(&ts, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return nil
}
