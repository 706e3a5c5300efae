package ble

import (
	"context"
	"sync/atomic"

	"postern/drivers"
)

// news carries changes from the adapter's goroutines, which must not wait, to
// whoever watches. What does not fit while nobody takes it is dropped; a read
// still has it.
type news struct {
	queue    chan drivers.Sample
	watching *atomic.Bool
}

func newNews() news { return news{make(chan drivers.Sample, 64), new(atomic.Bool)} }

// tell never blocks.
func (n news) tell(s drivers.Sample) {
	if !n.watching.Load() {
		return
	}
	select {
	case n.queue <- s:
	default:
	}
}

// deliver calls changed for each change until ctx is done.
func (n news) deliver(ctx context.Context, changed func(drivers.Sample)) error {
	n.watching.Store(true)
	defer n.watching.Store(false)
	for {
		select {
		case s := <-n.queue:
			changed(s)
		case <-ctx.Done():
			return nil
		}
	}
}
