package serial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"postern/drivers"
)

// Front is what drivers of instruments on a serial port have in common: one
// reading at a time, calls that end with their context, Close. It is safe for
// concurrent use.
type Front struct {
	name string
	conn Conn
	turn chan struct{} // holds one token: the right to use conn
	done atomic.Bool
}

// NewFront returns the front of a driver called name, which begins its errors.
// The front owns conn.
func NewFront(name string, conn Conn) *Front {
	return &Front{name: name, conn: conn, turn: make(chan struct{}, 1)}
}

// Do runs f, which may use the connection, when it is its turn. After Close it
// returns drivers.ErrClosed.
func (r *Front) Do(ctx context.Context, f func() error) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := drivers.ErrClosed
	if !r.done.Load() {
		defer Interrupt(ctx, r.conn)()
		err = f()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

// Close implements drivers.Device: a reading that runs ends with
// drivers.ErrClosed. Closing twice is allowed.
func (r *Front) Close() error {
	if r.done.Swap(true) {
		return nil
	}
	return r.conn.Close()
}

// Flush drops what came and was not read, where conn can.
func Flush(conn Conn) error {
	if f, ok := conn.(interface{ Flush() error }); ok {
		return f.Flush()
	}
	return nil
}

// Fetch reads what has come, at least one octet. Errors are that of ctx,
// os.ErrDeadlineExceeded behind the deadline, drivers.ErrClosed, or
// drivers.ErrGone for all that means a lost connection. The caller lets the end
// of ctx move the deadline (see Interrupt, which Front.Do uses).
func Fetch(ctx context.Context, conn Conn, b []byte, deadline time.Time) (int, error) {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return 0, fmt.Errorf("%w: %w", err, drivers.ErrGone)
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return 0, context.Cause(ctx)
	}
	n, err := conn.Read(b)
	switch {
	case n > 0:
		return n, nil
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, os.ErrDeadlineExceeded
	case err == nil, errors.Is(err, drivers.ErrClosed), errors.Is(err, drivers.ErrGone):
		return 0, err
	}
	return 0, fmt.Errorf("%w: %w", err, drivers.ErrGone)
}
