package xmpp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern/exi"
)

// docPool holds Docs between stanzas. A Doc belongs to one job at a time: the
// reader's until dispatch, the worker's until its handler returns; or the
// queue's from Send until it is written and acknowledged.
var docPool = sync.Pool{New: func() any { return new(exi.Doc) }}

// maxPooled is the number of events above which a Doc is left to the collector.
const maxPooled = 1024

func getDoc() *exi.Doc { return docPool.Get().(*exi.Doc) }

func putDoc(d *exi.Doc) {
	if d == nil || d.Len() > maxPooled {
		return
	}
	d.Reset()
	docPool.Put(d)
}

type outItem struct {
	doc    *exi.Doc
	queued time.Time
}

// outQueue holds the stanzas on their way out, in order:
//
//	head            cursor           sent              n
//	 | written on     | still to be    | never written   |
//	 | this link      | written again  |                 |
//
// With stream management a stanza stays until it is acknowledged (XEP-0198
// §4); without, until it is written. cursor < sent only after a resumption.
type outQueue struct {
	mu      sync.Mutex
	ring    []outItem
	head, n int
	cursor  int       // items from head that were written on the present link
	sent    int       // items from head that were ever written, and count as sent
	acked   uint32    // the peer's last h
	first   uint64    // sequence number of the item at head; never goes back
	again   uint64    // sequence number behind what a resumption sends again
	keep    bool      // stream management is on
	open    bool      // there is a session, or one that may be resumed
	until   time.Time // while hibernated: when the session is over; zero: online
	epoch   uint32    // number of the session
	writing bool      // the writer uses Docs: put none back into the pool
	trash   []*exi.Doc
	waiters chan struct{} // closed at the next progress; nil while nobody waits
	wake    chan struct{} // tells the writer
	out     uint64        // stanzas written first time
}

func newOutQueue(limit int) *outQueue {
	return &outQueue{ring: make([]outItem, limit), wake: make(chan struct{}, 1)}
}

func (q *outQueue) at(i int) *outItem { return &q.ring[(q.head+i)%len(q.ring)] }

func (q *outQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// progress wakes those who wait for space or for acknowledgement.
func (q *outQueue) progress() {
	if q.waiters != nil {
		close(q.waiters)
		q.waiters = nil
	}
}

func (q *outQueue) waiter() <-chan struct{} {
	if q.waiters == nil {
		q.waiters = make(chan struct{})
	}
	return q.waiters
}

// anyEpoch makes push take whatever session there is.
const anyEpoch = 0

// push appends docs, all at once. On error the caller keeps them. With wait
// false a full queue is errFull. The caller sees to it that they are written:
// by signal, or by writing.
func (q *outQueue) push(ctx context.Context, epoch uint32, wait bool, docs []*exi.Doc) error {
	now := time.Now()
	for {
		q.mu.Lock()
		switch {
		case !q.open || !q.until.IsZero() && now.After(q.until) || epoch != anyEpoch && epoch != q.epoch:
			q.mu.Unlock()
			return ErrOffline
		case q.n+len(docs) <= len(q.ring):
			for _, d := range docs {
				*q.at(q.n) = outItem{d, now}
				q.n++
			}
			q.mu.Unlock()
			return nil
		case len(docs) > len(q.ring):
			q.mu.Unlock()
			return fmt.Errorf("xmpp: %d stanzas at once are more than the queue of %d holds", len(docs), len(q.ring))
		case !wait:
			q.mu.Unlock()
			return errFull
		}
		ch := q.waiter()
		q.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("xmpp: the queue to the server is full: %w", ctx.Err())
		}
	}
}

// ready says that there is something to write.
func (q *outQueue) ready() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cursor < q.n
}

// take appends up to limit Docs that are to be written next. The writer must
// call wrote afterwards.
func (q *outQueue) take(dst []*exi.Doc, limit int) []*exi.Doc {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := q.cursor; i < q.n && len(dst) < limit; i++ {
		dst = append(dst, q.at(i).doc)
	}
	if len(dst) == 0 {
		return dst
	}
	q.cursor += len(dst)
	if q.cursor > q.sent {
		q.out += uint64(q.cursor - q.sent)
		q.sent = q.cursor
	}
	q.writing = true
	return dst
}

// wrote ends what take began.
func (q *outQueue) wrote() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = false
	if !q.keep {
		q.drop(q.cursor)
	}
	for _, d := range q.trash {
		putDoc(d)
	}
	clear(q.trash)
	q.trash = q.trash[:0]
	q.progress()
}

// unsend takes back the last k Docs of take, which the connection could not
// write, and removes the first of them, which is returned. ok is false when
// that one counts as sent already, so that the session cannot go on.
func (q *outQueue) unsend(k int) (bad *exi.Doc, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.cursor - k
	if i < 0 || q.first+uint64(i) < q.again {
		return nil, false
	}
	q.cursor, q.sent = i, i
	q.out -= uint64(k)
	bad = q.at(i).doc
	for ; i+1 < q.n; i++ {
		*q.at(i) = *q.at(i + 1)
	}
	q.n--
	*q.at(q.n) = outItem{}
	q.first++ // keeps flush's targets within reach
	return bad, true
}

// drop removes k items from the head.
func (q *outQueue) drop(k int) {
	for range k {
		it := q.at(0)
		if q.writing {
			q.trash = append(q.trash, it.doc)
		} else {
			putDoc(it.doc)
		}
		*it = outItem{}
		q.head = (q.head + 1) % len(q.ring)
	}
	q.n -= k
	q.cursor = max(q.cursor-k, 0)
	q.sent = max(q.sent-k, 0)
	q.first += uint64(k)
}

// ack applies the peer's h (XEP-0198 §4). ok is false when it acknowledges
// more than was sent; sent is what h could be at most.
func (q *outQueue) ack(h uint32) (sent uint32, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := h - q.acked // modulo 2^32
	if uint64(k) > uint64(q.sent) {
		return q.acked + uint32(q.sent), false
	}
	q.acked = h
	if k > 0 {
		q.drop(int(k))
		q.progress()
	}
	return h, true
}

// rewind makes the writer start again with what is not acknowledged.
func (q *outQueue) rewind() {
	q.mu.Lock()
	q.cursor = 0
	q.until = time.Time{}
	q.again = q.first + uint64(q.sent)
	q.mu.Unlock()
	q.signal()
}

// begin opens the queue for a new session.
func (q *outQueue) begin(keep bool) (epoch uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open, q.keep, q.until = true, keep, time.Time{}
	q.acked = 0
	return q.nextEpoch()
}

func (q *outQueue) nextEpoch() uint32 {
	if q.epoch++; q.epoch == anyEpoch {
		q.epoch++
	}
	return q.epoch
}

// lose ends the session: nothing can be sent until begin. What was not
// acknowledged is returned.
func (q *outQueue) lose() []outItem {
	q.mu.Lock()
	defer q.mu.Unlock()
	rest := make([]outItem, q.n)
	for i := range rest {
		rest[i] = *q.at(i)
		*q.at(i) = outItem{}
	}
	q.head, q.first = (q.head+q.n)%len(q.ring), q.first+uint64(q.n)
	q.n, q.cursor, q.sent = 0, 0, 0
	q.open = false
	q.nextEpoch()
	q.progress()
	return rest
}

// shut refuses new stanzas but keeps what is queued.
func (q *outQueue) shut() {
	q.mu.Lock()
	q.open = false
	q.progress()
	q.mu.Unlock()
}

// hibernate lets the queue take stanzas until the given time, when the server
// will have given the session up.
func (q *outQueue) hibernate(until time.Time) {
	q.mu.Lock()
	q.until = until
	q.mu.Unlock()
}

func (q *outQueue) written() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.out
}

// flush waits until everything queued so far has left the queue.
func (q *outQueue) flush(ctx context.Context) error {
	q.mu.Lock()
	target, epoch := q.first+uint64(q.n), q.epoch
	for q.first < target {
		ch := q.waiter()
		q.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
		q.mu.Lock()
		if q.epoch != epoch {
			q.mu.Unlock()
			return ErrOffline
		}
	}
	q.mu.Unlock()
	return nil
}

// pending tells how many are written and unacknowledged, and not yet written.
func (q *outQueue) pending() (unacked, queued int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cursor, q.n - q.cursor
}
