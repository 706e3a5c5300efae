package drivers

import (
	"sync"
	"time"
)

// Exchange is one exchange with a device: what went out and what came back.
type Exchange struct {
	At      time.Time
	Out, In []byte // at most TapeOctets of each
	More    bool   // there were more
	Err     error
}

// The bounds of a Tape.
const (
	TapeExchanges = 4
	TapeOctets    = 64
)

// Tape keeps the last exchanges with one device, for people who want to know
// what it said. The owner of the bus records; devices know nothing of it. It is
// safe for concurrent use. A nil Tape keeps nothing.
type Tape struct {
	mu   sync.Mutex
	ring [TapeExchanges]Exchange
	next int
	n    int
}

// Record keeps an exchange. The octets are copied.
func (t *Tape) Record(at time.Time, out, in []byte, err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &t.ring[t.next]
	t.next = (t.next + 1) % TapeExchanges
	t.n = min(t.n+1, TapeExchanges)
	e.At, e.Err = at, err
	e.Out, e.In = append(e.Out[:0], clip(out)...), append(e.In[:0], clip(in)...)
	e.More = len(out) > TapeOctets || len(in) > TapeOctets
}

// Heard adds octets that came back to the last exchange: on a line there is no
// telling which read ends it.
func (t *Tape) Heard(at time.Time, in []byte, err error) {
	if t == nil || len(in) == 0 && err == nil {
		return
	}
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		t.Record(at, nil, in, err)
		return
	}
	defer t.mu.Unlock()
	e := &t.ring[(t.next+TapeExchanges-1)%TapeExchanges]
	if len(e.Out) == 0 && len(e.In)+len(in) > TapeOctets {
		e.In = e.In[:0] // a talker that is never asked: the newest counts
	}
	room := max(TapeOctets-len(e.In), 0)
	e.More = e.More || len(in) > room
	e.In = append(e.In, in[:min(len(in), room)]...)
	e.Err = err
	if len(e.Out) == 0 {
		e.At = at
	}
}

func clip(b []byte) []byte { return b[:min(len(b), TapeOctets)] }

// Last returns what is kept, the oldest first, as a copy.
func (t *Tape) Last() []Exchange {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Exchange, 0, t.n)
	for i := t.n; i > 0; i-- {
		e := t.ring[(t.next+TapeExchanges-i)%TapeExchanges]
		e.Out, e.In = append([]byte(nil), e.Out...), append([]byte(nil), e.In...)
		out = append(out, e)
	}
	return out
}
