package xmpp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/exi"
)

// Pace of acknowledgement requests (XEP-0198 §4).
const (
	ackEvery = 32          // stanzas, fewer when the queue is short
	ackDelay = time.Second // when something is unacknowledged
	// A request is answered after this many stanzas or this time, whichever
	// comes first. Servers ask again as soon as they have an answer, so an
	// answer to each stanza would double what goes over the wire (XEP-0198 §4
	// allows to withhold for a time).
	answerEvery = 16
	answerDelay = 100 * time.Millisecond
	maxBatch    = 64 // stanzas in one write
	pingTries   = 2  // unanswered pings that end a link without stream management
	// slowAnswer is how long the server may leave something unanswered before
	// senders leave writing to the writer, which may have to wait.
	slowAnswer = 2 * time.Second
)

// linkWriter writes what is queued, and asks for signs of life. Whoever has
// busy may write: the writer's goroutine; or a goroutine that has just queued
// something, to spare the change of goroutines, which costs more than the
// write. The queue keeps the order, so it does not matter who writes.
type linkWriter struct {
	*link
	busy chan struct{} // holds one token while somebody writes; guards what follows
	fail context.CancelCauseFunc

	docs      []*exi.Doc
	a, r, p   exi.Doc
	lastWrite int64
	wakes     int64 // when the goroutine wakes by itself; 0: it is awake
	unasked   int   // stanzas written since the last r
	missed    int   // pings in a row without an answer
}

// loop is the writer's goroutine.
func (w *linkWriter) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case w.busy <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		wait, err := w.round()
		<-w.busy
		if err != nil {
			return err
		}
		timer.Reset(wait)
		select {
		case <-w.s.q.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// round writes until nothing is queued and returns how long to sleep.
func (w *linkWriter) round() (wait time.Duration, err error) {
	w.wakes = 0
	for wrote := true; wrote; {
		if wrote, err = w.send(); err != nil {
			return 0, err
		}
	}
	if wait, err = w.idle(); err == nil {
		w.wakes = w.now() + int64(wait)
	}
	return wait, err
}

// help writes what is queued, for its caller has just queued something; when
// somebody else is writing already, that one is told. It may wait as long as
// one write may.
func (w *linkWriter) help() {
	if at := w.asked.Load(); at != 0 && w.now()-max(at, w.lastRead.Load()) > int64(slowAnswer) {
		w.s.q.signal()
		return
	}
	select {
	case w.busy <- struct{}{}:
	default:
		w.s.q.signal()
		return
	}
	wait, err := w.aid()
	<-w.busy
	if err != nil {
		w.fail(err)
		return
	}
	if wait || w.s.q.ready() {
		w.s.q.signal()
	}
}

// aid is one round of help; wake says that the writer's goroutine must look
// after the time.
func (w *linkWriter) aid() (wake bool, err error) {
	if _, err := w.send(); err != nil {
		return false, err
	}
	// It must be awake in time to ask for an acknowledgement.
	return w.wakes > w.now()+int64(ackDelay), nil
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
	w.answerAsked()
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

// answerAsked adds the acknowledgement that the peer asked for, when it is time.
func (w *linkWriter) answerAsked() {
	at, h := w.answer.Load(), w.s.handled.Load()
	if at == 0 || w.now()-at < int64(answerDelay) && h-w.told.Load() < answerEvery {
		return
	}
	w.answer.Store(0)
	w.told.Store(h)
	w.add(&w.a, func(d *exi.Doc) { appendA(d, h) })
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
	if w.s.sm.on {
		w.answer.Store(1) // long ago
	}
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
	wait, err := w.watch()
	if at := w.answer.Load(); at != 0 {
		wait = min(wait, max(answerDelay-time.Duration(w.now()-at), 0))
	}
	return wait, err
}

// watch looks after the peer's signs of life while nothing is queued.
func (w *linkWriter) watch() (time.Duration, error) {
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
