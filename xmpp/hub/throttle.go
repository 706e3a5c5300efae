package hub

import (
	"net"
	"sync/atomic"
	"time"
)

// throttled slows the reading of a connection down to a rate: a client that
// sends too much waits, nothing of it is dropped (RFC 6120 §13.12).
type throttled struct {
	net.Conn
	rate   int       // octets per second
	credit int       // octets that may be read at once, at most one second's
	last   time.Time // of credit
	slept  atomic.Int64
}

// Read reads and then waits as long as it takes to get back to the rate.
func (t *throttled) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	now := time.Now()
	if t.last.IsZero() {
		t.credit = t.rate
	} else {
		// More than a second's worth does not add up.
		since := min(now.Sub(t.last), time.Second)
		t.credit = min(t.rate, t.credit+int(since.Seconds()*float64(t.rate)))
	}
	t.last = now
	if t.credit -= n; t.credit < 0 {
		wait := time.Duration(float64(-t.credit) / float64(t.rate) * float64(time.Second))
		t.slept.Add(int64(wait))
		time.Sleep(wait)
	}
	return n, err
}
