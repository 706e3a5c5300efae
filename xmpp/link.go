package xmpp

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"postern/exi"
)

// link is one connection on which stanzas flow. Two goroutines belong to it, a
// reader and a writer; when either ends, the connection is broken off and the
// other ends too. Whoever sends may do the writer's work for it, see
// linkWriter.
type link struct {
	s         *Session
	conn      Conn
	early     []*exi.Doc // stanzas that came before the session was complete
	features  []exi.Name
	mechanism string
	resumed   bool
	start     time.Time // of stanzas flowing; times below are nanoseconds since, monotonic

	lastRead atomic.Int64  // when an element arrived last
	asked    atomic.Int64  // when r or a ping was sent that is not answered; 0: none
	answer   atomic.Int64  // when the peer asked for an a; 0: not
	told     atomic.Uint32 // h of the last a
	urge     atomic.Bool   // ask r with the next batch
	probe    atomic.Bool   // send a ping
	stale    atomic.Bool   // stanzas may be as old as since
	since    time.Time

	w      linkWriter
	remind *time.Timer // wakes the writer for an a that has waited long enough
}

func (l *link) now() int64 { return int64(time.Since(l.start)) + 1 }

// readLoop hands on everything that arrives until the stream ends. It is the
// only reader of the connection.
func (l *link) readLoop(ctx context.Context) error {
	for len(l.early) > 0 {
		d := l.early[0]
		l.early = l.early[1:]
		if err := l.received(ctx, d, false); err != nil {
			return err
		}
	}
	for {
		d := getDoc()
		if err := l.conn.ReadElement(d); err != nil {
			putDoc(d)
			return err
		}
		l.lastRead.Store(l.now())
		if err := l.received(ctx, d, true); err != nil {
			return err
		}
	}
}

// received routes one element. It owns d.
func (l *link) received(ctx context.Context, d *exi.Doc, count bool) error {
	c := d.Root()
	if KindOf(c.Name()) != 0 {
		l.s.in.Add(1)
		l.s.route(ctx, l, d, c)
		if count && l.s.sm.on {
			// Taken over: in a worker's queue, or answered (XEP-0198 §4, D5).
			h := l.s.handled.Add(1)
			if l.answer.Load() != 0 && h-l.told.Load() == answerEvery {
				l.s.q.signal()
			}
		}
		return nil
	}
	defer putDoc(d)
	switch c.Name() {
	case nameR:
		if l.s.sm.on {
			if l.answer.CompareAndSwap(0, l.now()) {
				l.remind.Reset(answerDelay)
			}
		}
		return nil
	case nameA:
		return l.acked(c)
	}
	q := c.Name().Value()
	if q.Space == NSClient {
		return NewStreamError("unsupported-stanza-type", q.Local)
	}
	return NewStreamError("bad-format", "unknown element "+q.Local+" in "+q.Space)
}

func (l *link) acked(c exi.Cursor) error {
	if !l.s.sm.on {
		return nil
	}
	h, ok := parseH(c)
	if !ok {
		return NewStreamError("bad-format", "an acknowledgement without h")
	}
	l.asked.Store(0)
	if sent, ok := l.s.q.ack(h); !ok {
		return tooHigh(h, sent)
	}
	return nil
}

// ponged is called for the answers to the link's own pings. Any answer, an
// error too, shows that the server is there (XEP-0199 §4) and, as the server
// keeps order, that what it had kept during a break has all been delivered.
func (l *link) ponged() {
	l.stale.Store(false)
	l.asked.Store(0)
}

// serve lets stanzas flow until the connection ends, or ctx is done and the
// last stanzas are out.
func (l *link) serve(ctx context.Context) error {
	l.start = time.Now()
	l.stale.Store(l.resumed)
	l.probe.Store(l.resumed)
	up, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	l.remind = time.AfterFunc(time.Hour, l.s.q.signal)
	defer l.remind.Stop()
	l.w = linkWriter{link: l, busy: make(chan struct{}, 1), fail: cancel, lastWrite: l.now()}
	l.s.link.Store(l)
	defer l.s.link.Store(nil)
	read, wrote := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		cancel(l.readLoop(ctx))
	}()
	go func() {
		defer close(wrote)
		if err := l.w.loop(up); err != nil {
			cancel(err)
		}
	}()
	select {
	case <-up.Done():
	case <-ctx.Done():
		l.goodbye(up)
		cancel(ErrClosed)
	}
	err := context.Cause(up)
	if !l.end(err) {
		l.w.busy <- struct{}{} // a helper may still be failing to write
	}
	<-read
	<-wrote
	l.s.forgetPings()
	for _, d := range l.early {
		putDoc(d)
	}
	return err
}

// Bounds of a clean end: Run ends within a second of its context.
const (
	goodbyeTime = 400 * time.Millisecond // until the last stanzas are acknowledged
	settleTime  = 200 * time.Millisecond // until the writer is quiet
)

// goodbye sends what is queued and says that this resource is gone
// (RFC 6121 §4.5).
func (l *link) goodbye(up context.Context) {
	l.s.sayUnavailable()
	l.s.q.shut()
	l.urge.Store(true)
	l.s.q.signal()
	limit, cancel := context.WithTimeout(up, goodbyeTime)
	defer cancel()
	if err := l.s.q.flush(limit); err != nil {
		l.s.log.Warn("the last stanzas are not acknowledged", "err", err)
	}
}

// end ends the stream as far as that is possible. quiet says that nobody writes
// any more, nor will.
func (l *link) end(err error) (quiet bool) {
	var se *StreamError
	clean := errors.Is(err, ErrStreamEnd) || errors.Is(err, ErrClosed)
	if !clean && (!errors.As(err, &se) || se.Elem.Valid()) {
		abort(l.conn)
		return false
	}
	// Nobody may write any more before the last elements are written.
	t := time.NewTimer(settleTime)
	defer t.Stop()
	select {
	case l.w.busy <- struct{}{}:
	case <-t.C:
		abort(l.conn)
		return false
	}
	if errors.Is(err, ErrClosed) && l.s.sm.on {
		var d exi.Doc
		appendA(&d, l.s.handled.Load()) // so that nothing is delivered twice (XEP-0198 §4)
		if werr := l.conn.WriteElements(&d); werr != nil {
			abort(l.conn)
			return true
		}
	}
	if cerr := EndWith(l.conn, err); cerr != nil {
		l.s.log.Debug("closing the connection", "err", cerr)
	}
	return true
}
