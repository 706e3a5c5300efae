// Package drivers is the vocabulary between hardware and the rest of Postern:
// what a device is, what a reading is, what can go wrong. It depends on the
// standard library alone. Buses and chips live in packages below it.
package drivers

import (
	"context"
	"errors"
	"time"
)

// Device is something that can be read: a chip, an instrument on a bus, a set
// of lines, the board itself.
//
// Implementations are safe for concurrent use; calls that share a bus are
// serialised by the bus. Read and Set return promptly when ctx is done.
type Device interface {
	// Read appends one Sample per channel to dst and returns it. A channel
	// that could not be read carries Err in its Sample; the error result is for
	// faults of the device as a whole, and then no Sample is appended.
	Read(ctx context.Context, dst []Sample) ([]Sample, error)
	// Close releases the hardware. Further calls return ErrClosed. Closing
	// twice is allowed.
	Close() error
}

// Setter is a Device with channels that can be written.
type Setter interface {
	// Set writes v to a channel and returns once the hardware has taken it.
	// It returns ErrChannel for an unknown or read-only channel and ErrValue
	// for a value of the wrong kind or range, both before anything was written.
	Set(ctx context.Context, channel string, v Value) error
}

// Sample is one reading of one channel.
type Sample struct {
	Channel string // name within the device, for example "temperature"
	Value   Value
	Unit    string    // as measured, for example "°C"; empty where there is none
	Time    time.Time // when it was measured, with monotonic reading
	Err     error     // why there is no Value, or nil
}

// Sentinel errors. Drivers wrap them with what they were doing.
var (
	// ErrClosed: the device was closed.
	ErrClosed = errors.New("device is closed")
	// ErrChannel: no such channel, or it cannot be written.
	ErrChannel = errors.New("no such channel")
	// ErrValue: the value has the wrong kind or is out of range.
	ErrValue = errors.New("value not acceptable")
	// ErrTimeout: the device did not answer in time.
	ErrTimeout = errors.New("device did not answer in time")
	// ErrProtocol: the device answered something it must not (checksum, frame).
	ErrProtocol = errors.New("device answered garbage")
	// ErrGone: the device or its bus is not there (unplugged, no acknowledge).
	ErrGone = errors.New("device is not there")
)
