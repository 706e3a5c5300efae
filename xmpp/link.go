package xmpp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"postern/exi"
)

// link is one connection on which stanzas flow. Two goroutines use it, a reader
// and a writer; when either ends, the connection is broken off and the other
// ends too.
type link struct {
	s         *Session
	conn      Conn
	early     []*exi.Doc // stanzas that came before the session was complete
	features  []exi.Name
	mechanism string
	resumed   bool
	start     time.Time // of stanzas flowing; times below are nanoseconds since, monotonic

	lastRead atomic.Int64 // when an element arrived last
	asked    atomic.Int64 // when r or a ping was sent that is not answered; 0: none
	answer   atomic.Bool  // the peer asked for an a
	urge     atomic.Bool  // ask r with the next batch
	probe    atomic.Bool  // send a ping
	stale    atomic.Bool  // stanzas may be as old as since
	since    time.Time
}

// Pace of acknowledgement requests (XEP-0198 §4).
const (
	ackEvery  = 16          // stanzas, fewer when the queue is short
	ackDelay  = time.Second // when something is unacknowledged
	maxBatch  = 64          // stanzas in one write
	pingTries = 2           // unanswered pings that end a link without stream management
)

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
			l.s.handled.Add(1)
		}
		return nil
	}
	defer putDoc(d)
	switch c.Name() {
	case nameR:
		if l.s.sm.on {
			l.answer.Store(true)
			l.s.q.signal()
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

// writeLoop sends what is queued, and asks for signs of life. It is the only
// writer of the connection.
func (l *link) writeLoop(ctx context.Context) error {
	w := &linkWriter{link: l, timer: time.NewTimer(time.Hour), lastWrite: l.now()}
	defer w.timer.Stop()
	for ctx.Err() == nil {
		wrote, err := w.send()
		if err != nil {
			return err
		}
		if wrote {
			continue
		}
		wait, err := w.idle()
		if err != nil {
			return err
		}
		w.timer.Reset(wait)
		select {
		case <-l.s.q.wake:
		case <-w.timer.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// linkWriter is the state of writeLoop.
type linkWriter struct {
	*link
	timer     *time.Timer
	docs      []*exi.Doc
	a, r, p   exi.Doc
	lastWrite int64
	unasked   int // stanzas written since the last r
	missed    int // pings in a row without an answer
}

// send writes one batch; wrote is false when there was nothing to write.
func (w *linkWriter) send() (wrote bool, err error) {
	s := w.s
	ping := w.probe.Swap(false)
	if ping && s.sm.on {
		w.queuePing()
	}
	w.docs = s.q.take(w.docs[:0], maxBatch)
	stanzas := len(w.docs)
	if w.answer.Swap(false) {
		w.add(&w.a, func(d *exi.Doc) { appendA(d, s.handled.Load()) })
	}
	w.unasked += stanzas
	urged := w.urge.Swap(false)
	if s.sm.on && w.asked.Load() == 0 && (urged || w.unasked >= s.ackEvery()) {
		w.unasked = 0
		w.asked.Store(w.now())
		w.add(&w.r, appendR)
	}
	if ping && !s.sm.on {
		w.asked.CompareAndSwap(0, w.now())
		w.add(&w.p, s.newPing(w.link).AppendEvents)
	}
	if len(w.docs) == 0 {
		return false, nil
	}
	err = w.conn.WriteElements(w.docs...)
	if stanzas > 0 {
		err = w.settle(stanzas, err)
		s.q.wrote()
	}
	w.lastWrite = w.now()
	return true, err
}

func (s *Session) ackEvery() int { return min(ackEvery, max(1, s.cfg.Queue/2)) }

// settle removes a stanza that cannot be encoded; those behind it are written
// in the next round.
func (w *linkWriter) settle(stanzas int, err error) error {
	if err == nil {
		return nil
	}
	var enc *EncodeError
	if !errors.As(err, &enc) {
		return err
	}
	w.urge.Store(true)
	w.answer.Store(w.s.sm.on)
	w.asked.Store(0)
	if enc.Index >= stanzas {
		return nil // one of our own, which is not possible
	}
	bad, ok := w.s.q.unsend(stanzas - enc.Index)
	if !ok {
		return errPoison
	}
	w.s.unsendable(bad, enc)
	return nil
}

func (w *linkWriter) add(d *exi.Doc, fill func(*exi.Doc)) {
	d.Reset()
	fill(d)
	w.docs = append(w.docs, d)
}

// queuePing asks the server by XEP-0199. With stream management a ping counts
// as a stanza, so it goes through the queue; that also puts it behind the
// resends.
func (w *linkWriter) queuePing() {
	st := w.s.newPing(w.link)
	d := record(st)
	if err := w.s.q.push(context.Background(), anyEpoch, false, []*exi.Doc{d}); err != nil {
		putDoc(d)
		w.s.forget(st.ID)
		w.probe.Store(true) // when there is room again
	}
}

// idle decides what to do when nothing is queued: it returns how long to wait,
// or an error when the peer is dead.
func (w *linkWriter) idle() (time.Duration, error) {
	s, now := w.s, w.now()
	if at := w.asked.Load(); at != 0 {
		if left := s.cfg.Timeout - time.Duration(now-max(at, w.lastRead.Load())); left > 0 {
			return left, nil
		}
		w.missed++
		if s.sm.on || w.missed >= pingTries {
			return 0, fmt.Errorf("xmpp: the server has not answered for %v: %w", s.cfg.Timeout, errDead)
		}
		w.asked.Store(0)
		w.sign()
		return 0, nil
	}
	w.missed = 0
	if unacked, _ := s.q.pending(); s.sm.on && unacked > 0 {
		if left := ackDelay - time.Duration(now-w.lastWrite); left > 0 {
			return left, nil
		}
		w.sign()
		return 0, nil
	}
	if left := s.cfg.KeepAlive - time.Duration(now-max(w.lastWrite, w.lastRead.Load())); left > 0 {
		return left, nil
	}
	w.sign()
	return 0, nil
}

// sign asks the server for a sign of life: by r where it is understood, which
// is cheaper (XEP-0199 §4), else by a ping.
func (w *linkWriter) sign() {
	if w.s.sm.on {
		w.urge.Store(true)
	} else {
		w.probe.Store(true)
	}
	w.s.q.signal()
}

// serve lets stanzas flow until the connection ends, or ctx is done and the
// last stanzas are out.
func (l *link) serve(ctx context.Context) error {
	l.start = time.Now()
	l.s.link.Store(l)
	defer l.s.link.Store(nil)
	l.stale.Store(l.resumed)
	l.probe.Store(l.resumed)
	up, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	read, wrote := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		cancel(l.readLoop(ctx))
	}()
	go func() {
		defer close(wrote)
		if err := l.writeLoop(up); err != nil {
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
	l.end(err, wrote)
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

// end ends the stream as far as that is possible.
func (l *link) end(err error, wrote <-chan struct{}) {
	var se *StreamError
	clean := errors.Is(err, ErrStreamEnd) || errors.Is(err, ErrClosed)
	if !clean && (!errors.As(err, &se) || se.Elem.Valid()) {
		abort(l.conn)
		return
	}
	// The writer must be quiet before the last elements are written.
	t := time.NewTimer(settleTime)
	defer t.Stop()
	select {
	case <-wrote:
	case <-t.C:
		abort(l.conn)
		return
	}
	if errors.Is(err, ErrClosed) && l.s.sm.on {
		var d exi.Doc
		appendA(&d, l.s.handled.Load()) // so that nothing is delivered twice (XEP-0198 §4)
		if werr := l.conn.WriteElements(&d); werr != nil {
			abort(l.conn)
			return
		}
	}
	if cerr := EndWith(l.conn, err); cerr != nil {
		l.s.log.Debug("closing the connection", "err", cerr)
	}
}
