package drivers

import "context"

// Watcher is a Device that learns of changes by itself (an edge on a line, a
// radio packet), so that nobody has to poll it.
type Watcher interface {
	// Watch calls changed for each change, in order, until ctx is done, and
	// then returns nil. It returns an error when the hardware fails or is
	// closed. The samples are those of the channels that changed; changed is
	// called on the goroutine of Watch and must not block. Only one Watch runs
	// at a time; Read works beside it.
	Watch(ctx context.Context, changed func(Sample)) error
}
