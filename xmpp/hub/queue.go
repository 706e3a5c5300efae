package hub

import (
	"errors"
	"sync"
	"time"

	"postern/exi"
)

// item is a stanza on its way to a client. Its Doc belongs to the queue.
type item struct {
	doc  *exi.Doc
	size int
	at   time.Time
	lane lane
}

// lane says where a stanza comes from. Each has its own share of the queue, for
// what waited elsewhere comes all at once, and no client is to be thrown out
// for that.
type lane int

const (
	live    lane = iota // from others, as they send it
	second              // left behind by another session of the account
	offline             // kept while the account was away; bounded there
	lanes
)

// queue holds what a session is to be sent, in order:
//
//	[0, written)      on the wire, not acknowledged (stream management only)
//	[written, end)    not written yet
//
// The link's writer takes from it; anybody may push.
type queue struct {
	mu       sync.Mutex
	items    []item
	written  int
	stanzas  [lanes]int
	size     [lanes]int
	limit    int    // stanzas of a lane
	octets   int    // size of a lane
	keep     bool   // stream management: keep until acknowledged
	turnKeep bool   // keep from the next batch on
	acked    uint32 // the client's last h
	closed   bool
	control  []*exi.Doc // elements that are no stanzas; they go first
	writing  bool       // a batch is being written
	wake     chan struct{}
}

var (
	errFull   = errors.New("hub: the client does not take its stanzas")
	errClosed = errors.New("hub: the session is over")
)

func newQueue(l Limits) *queue {
	return &queue{limit: l.Queue, octets: l.QueueOctets, wake: make(chan struct{}, 1)}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// docSize is roughly what a Doc holds in memory.
func docSize(d *exi.Doc) int {
	n := 0
	for i := range d.Len() {
		n += 96
		if e := d.Event(i); e.Kind != exi.SE && e.Value.Kind() == exi.Lexical {
			n += len(e.Value.View())
		}
	}
	return n
}

// push appends a stanza. On error the caller keeps the Doc.
func (q *queue) push(d *exi.Doc, at time.Time) error { return q.add(d, at, live) }

func (q *queue) add(d *exi.Doc, at time.Time, l lane) error {
	size := docSize(d)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return errClosed
	case l != offline && (q.stanzas[l] >= q.limit || q.size[l]+size > q.octets):
		return errFull
	}
	q.items = append(q.items, item{d, size, at, l})
	q.stanzas[l]++
	q.size[l] += size
	q.signal()
	return nil
}

// pushControl appends an element that is no stanza.
func (q *queue) pushControl(d *exi.Doc) {
	q.mu.Lock()
	q.control = append(q.control, d)
	q.mu.Unlock()
	q.signal()
}

// enable answers the client's enable with d. Stanzas written before it do not
// count, those after it do (XEP-0198 §3, D2).
func (q *queue) enable(d *exi.Doc) {
	q.mu.Lock()
	q.control = append(q.control, d)
	q.turnKeep = true
	q.mu.Unlock()
	q.signal()
}

// take returns what is to be written next; wrote must follow.
func (q *queue) take(dst []*exi.Doc, limit int) (docs []*exi.Doc, stanzas int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	dst = append(dst, q.control...)
	q.control = q.control[:0]
	q.writing = true
	if q.turnKeep {
		q.turnKeep, q.keep, q.acked = false, true, 0
		q.signal()
		return dst, 0
	}
	for q.written < len(q.items) && stanzas < limit {
		dst = append(dst, q.items[q.written].doc)
		q.written++
		stanzas++
	}
	return dst, stanzas
}

// wrote ends a batch and returns the Docs that are done with. unsent of its
// stanzas, the last ones, were not written; skip leaves the first of these out
// for good because it cannot be.
func (q *queue) wrote(unsent int, skip bool) (done []*exi.Doc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = false
	q.written -= unsent
	if skip {
		bad := q.items[q.written]
		q.items = append(q.items[:q.written], q.items[q.written+1:]...)
		q.uncount(bad)
		done = append(done, bad.doc)
	}
	if !q.keep {
		done = q.drop(done, q.written)
	}
	return done
}

func (q *queue) uncount(it item) {
	q.stanzas[it.lane]--
	q.size[it.lane] -= it.size
}

func (q *queue) drop(done []*exi.Doc, n int) []*exi.Doc {
	for _, it := range q.items[:n] {
		q.uncount(it)
		done = append(done, it.doc)
	}
	rest := copy(q.items, q.items[n:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	q.written -= n
	return done
}

// ack applies the client's h; ok is false when it is more than was sent, and
// sent is what h could be at most (XEP-0198 §4).
func (q *queue) ack(h uint32) (done []*exi.Doc, sent uint32, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := h - q.acked // modulo 2^32
	if uint64(n) > uint64(q.written) {
		return nil, q.acked + uint32(q.written), false
	}
	q.acked = h
	if q.writing {
		// The batch being written may be acknowledged before the writer has
		// noticed that it is done; its Docs are left to the collector.
		q.drop(nil, int(n))
		return nil, h, true
	}
	return q.drop(nil, int(n)), h, true
}

// rewind makes the next link start with what is not acknowledged.
func (q *queue) rewind() {
	q.mu.Lock()
	q.written, q.writing = 0, false
	q.control = q.control[:0]
	q.mu.Unlock()
	q.signal()
}

// close refuses further stanzas and returns those that were not delivered as
// far as is known.
func (q *queue) close() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	rest := q.items
	q.items, q.written = nil, 0
	q.stanzas, q.size = [lanes]int{}, [lanes]int{}
	return rest
}

// pending tells how many are unacknowledged, and whether something waits to
// be written.
func (q *queue) pending() (unacked int, waiting bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.keep {
		unacked = q.written
	}
	return unacked, q.written < len(q.items) || len(q.control) > 0
}
