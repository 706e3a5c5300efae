package sensors

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// Breaker of a device: after breakAfter failures in a row the gateway leaves
// it alone for a while that doubles from backoffMin to backoffMax.
const (
	breakAfter = 3
	backoffMin = time.Second
	backoffMax = time.Minute
)

// unit is one device on its owner's bus. The owner's mutex guards everything
// below it.
type unit struct {
	name string
	dev  Device

	nodes    []*node.Node // that the device serves
	att      *attempt     // asked for or under way
	waiting  bool         // att is in the owner's queue
	nextPoll time.Time    // zero while the device is not polled
	onGrid   bool         // the first poll was
	lastTry  time.Time
	lastOK   time.Time
	lastErr  error // of the last attempt
	took     time.Duration
	fails    int       // in a row
	retryAt  time.Time // no attempt before it, once fails reached breakAfter
	reads    uint64
	failures uint64
}

// attempt is one reading of a device that any number of read-outs wait for.
// err may be read once done is closed.
type attempt struct {
	done chan struct{}
	err  error
}

func (u *unit) timeout() time.Duration {
	if u.dev.Timeout <= 0 {
		return 2 * time.Second
	}
	return u.dev.Timeout
}

func (u *unit) fresh() time.Duration {
	switch {
	case u.dev.Fresh < 0:
		return 0
	case u.dev.Fresh == 0:
		return time.Second
	}
	return u.dev.Fresh
}

func (u *unit) maxAge() time.Duration {
	switch {
	case u.dev.MaxAge > 0:
		return u.dev.MaxAge
	case u.dev.Interval > 0:
		return 3*u.dev.Interval + u.timeout()
	}
	return time.Minute
}

// open reports whether the breaker is open: the device failed too often.
func (u *unit) open() bool { return u.fails >= breakAfter }

// succeeded and failed record the outcome of an attempt.
func (u *unit) succeeded(now time.Time) {
	u.fails, u.lastErr, u.lastOK, u.retryAt = 0, nil, now, time.Time{}
}

func (u *unit) failed(now time.Time, err error) {
	u.failures++
	u.fails++
	u.lastErr = err
	if !u.open() {
		return
	}
	back := backoffMax
	if n := u.fails - breakAfter; n < 6 {
		back = min(back, backoffMin<<n)
	}
	// A quarter of jitter: devices that died together are not tried together.
	back += rand.N(back / 4)
	u.retryAt = now.Add(back)
}

// condition is how the device is, in a word. The owner's mutex is held.
func (u *unit) condition() string {
	switch {
	case u.open():
		return "left alone"
	case u.lastErr != nil:
		return "failing"
	case u.lastOK.IsZero():
		return "unread"
	}
	return "ok"
}

// schedule sets the next poll on the device's own grid, in the future and not
// before the breaker allows it. The first poll comes at once; the grid starts
// at a point of the interval that follows from the name, so that devices with
// the same interval are spread over it.
func (u *unit) schedule(now time.Time) {
	if u.dev.Interval <= 0 {
		return
	}
	if !u.onGrid {
		u.onGrid = true
		u.nextPoll = now.Add(u.phase() - u.dev.Interval)
	}
	if late := now.Sub(u.nextPoll); late >= 0 {
		u.nextPoll = u.nextPoll.Add((late/u.dev.Interval + 1) * u.dev.Interval)
	}
	if u.nextPoll.Before(u.retryAt) {
		u.nextPoll = u.retryAt
	}
}

// phase is a part of the interval, the same for the same name.
func (u *unit) phase() time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(u.name)) // never fails
	return time.Duration(float64(u.dev.Interval) * float64(h.Sum32()) / (1 << 32))
}

// leftAlone is why a request for a device with an open breaker gets no
// reading.
func (u *unit) leftAlone(now time.Time) error {
	return fmt.Errorf("%w; failed %d times, next try in %d s",
		u.lastErr, u.fails, int(u.retryAt.Sub(now).Round(time.Second)/time.Second))
}

var (
	errStuck    = errors.New("the driver does not return from an earlier read")
	errTooLate  = errors.New("the device was not read in time")
	errNoSource = errors.New("what it is computed from has not been read yet")
	errNoDevice = errors.New("the device of this node is not set up")
	errStopped  = errors.New("the gateway is stopping")
)

// outcome is the error of a whole reading: that of Read, or that of the
// samples when none of them carries a value.
func outcome(samples []drivers.Sample, err error) error {
	if err != nil {
		return err
	}
	for i := range samples {
		if samples[i].Err == nil {
			return nil
		}
	}
	if len(samples) > 0 {
		return samples[0].Err
	}
	return errors.New("the device gave no readings")
}

// DeviceStatus is what the gateway shows about a device.
type DeviceStatus struct {
	Name     string
	Bus      string
	Interval time.Duration
	LastOK   time.Time     // zero while there was no good reading
	LastTry  time.Time     // zero before the first
	Took     time.Duration // the last attempt
	LastErr  error         // nil after a good one
	State    string        // ok, unread, failing, left alone
	Fails    int           // in a row
	NextTry  time.Time     // zero where nothing is planned
	Reads    uint64
	Failures uint64
}

func (u *unit) status() DeviceStatus {
	st := DeviceStatus{
		Name: u.name, Bus: u.dev.Bus, Interval: u.dev.Interval,
		LastOK: u.lastOK, LastTry: u.lastTry, Took: u.took, LastErr: u.lastErr, Fails: u.fails,
		State:   u.condition(),
		NextTry: u.nextPoll, Reads: u.reads, Failures: u.failures,
	}
	if st.NextTry.Before(u.retryAt) {
		st.NextTry = u.retryAt
	}
	return st
}
