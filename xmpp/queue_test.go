package xmpp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"postern/exi"
)

func numbered(from, to int) []*exi.Doc {
	var docs []*exi.Doc
	for i := from; i <= to; i++ {
		d := new(exi.Doc)
		d.Element(nameMessage, exi.Str(strconv.Itoa(i)))
		docs = append(docs, d)
	}
	return docs
}

func texts(docs []*exi.Doc) string {
	s := ""
	for _, d := range docs {
		s += d.Root().Text().String() + " "
	}
	return s
}

func pushed(t *testing.T, q *outQueue, from, to int) {
	t.Helper()
	for _, d := range numbered(from, to) {
		if err := q.push(context.Background(), anyEpoch, true, []*exi.Doc{d}); err != nil {
			t.Fatal(err)
		}
	}
}

func taken(q *outQueue, limit int) string {
	docs := q.take(nil, limit)
	s := texts(docs)
	q.wrote()
	return s
}

func Test0198R18_StanzasStayUntilAcknowledged(t *testing.T) {
	q := newOutQueue(8)
	q.begin(true)
	pushed(t, q, 1, 5)
	if got := taken(q, 3); got != "1 2 3 " {
		t.Fatal(got)
	}
	if _, ok := q.ack(2); !ok {
		t.Fatal("ack refused")
	}
	q.rewind()
	if got := taken(q, 8); got != "3 4 5 " {
		t.Errorf("resent %q", got)
	}
	if _, ok := q.ack(5); !ok || q.n != 0 {
		t.Error("not empty")
	}
	if q.out != 5 {
		t.Errorf("0198-R28: %d counted as sent", q.out)
	}
}

func Test0198R16_CountersWrap(t *testing.T) {
	q := newOutQueue(8)
	q.begin(true)
	q.acked = 1<<32 - 2
	pushed(t, q, 1, 4)
	taken(q, 8)
	for i, h := range []uint32{1<<32 - 1, 0, 2} {
		if _, ok := q.ack(h); !ok {
			t.Errorf("ack %d refused", h)
		}
		if want := []int{3, 2, 0}[i]; q.n != want {
			t.Errorf("after %d: %d left", h, q.n)
		}
	}
}

func Test0198R17_AcknowledgedMoreThanSent(t *testing.T) {
	q := newOutQueue(8)
	q.begin(true)
	pushed(t, q, 1, 3)
	taken(q, 2)
	if sent, ok := q.ack(3); ok || sent != 2 {
		t.Errorf("h 3 of %d: %v", sent, ok)
	}
	if _, ok := q.ack(1); !ok {
		t.Error("h 1 refused")
	}
	// D11: less than before is a huge number modulo 2^32.
	if _, ok := q.ack(0); ok {
		t.Error("h 0 after 1 is taken")
	}
	if q.n != 2 {
		t.Errorf("%d left", q.n)
	}
}

func Test0198R21_AFullQueueHoldsTheSenderBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newOutQueue(3)
		q.begin(true)
		pushed(t, q, 1, 3)
		if err := q.push(context.Background(), anyEpoch, false, numbered(4, 4)); !errors.Is(err, errFull) {
			t.Errorf("without waiting: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := q.push(ctx, anyEpoch, true, numbered(4, 4)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("full: %v", err)
		}
		done := make(chan error)
		go func() { done <- q.push(context.Background(), anyEpoch, true, numbered(4, 5)) }()
		synctest.Wait()
		taken(q, 3)
		q.ack(1)
		synctest.Wait()
		select {
		case <-done:
			t.Error("room for one is not enough for two")
		default:
		}
		q.ack(2)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := taken(q, 9); got != "4 5 " {
			t.Errorf("then %q", got)
		}
		if err := q.push(context.Background(), anyEpoch, true, numbered(1, 4)); err == nil {
			t.Error("more at once than the queue holds")
		}
	})
}

func TestQueueWithoutStreamManagement(t *testing.T) {
	q := newOutQueue(4)
	q.begin(false)
	pushed(t, q, 1, 3)
	if got := taken(q, 2); got != "1 2 " || q.n != 1 {
		t.Errorf("%q, %d left", got, q.n)
	}
	if err := q.push(context.Background(), anyEpoch, false, numbered(4, 6)); err != nil {
		t.Error(err)
	}
	if got := taken(q, 9); got != "3 4 5 6 " || q.n != 0 {
		t.Errorf("%q, %d left", got, q.n)
	}
}

func TestQueueUnsend(t *testing.T) {
	q := newOutQueue(8)
	q.begin(true)
	pushed(t, q, 1, 4)
	docs := q.take(nil, 4)
	// 1 was written, 2 cannot be.
	bad, ok := q.unsend(len(docs) - 1)
	q.wrote()
	if !ok || texts([]*exi.Doc{bad}) != "2 " {
		t.Fatal(ok)
	}
	if got := taken(q, 4); got != "3 4 " {
		t.Errorf("then %q", got)
	}
	if _, ok := q.ack(3); !ok || q.n != 0 {
		t.Errorf("%d left", q.n)
	}
	pushed(t, q, 5, 5)
	taken(q, 4)
	q.rewind()
	docs = q.take(nil, 4)
	if _, ok := q.unsend(len(docs)); ok {
		t.Error("what counts as sent is taken back")
	}
	q.wrote()
}

func TestQueueEpochs(t *testing.T) {
	q := newOutQueue(4)
	if err := q.push(context.Background(), anyEpoch, true, numbered(1, 1)); !errors.Is(err, ErrOffline) {
		t.Errorf("before a session: %v", err)
	}
	old := q.begin(true)
	pushed(t, q, 1, 2)
	if rest := q.lose(); len(rest) != 2 {
		t.Errorf("%d left behind", len(rest))
	}
	now := q.begin(true)
	if err := q.push(context.Background(), old, true, numbered(3, 3)); !errors.Is(err, ErrOffline) {
		t.Errorf("for the former session: %v", err)
	}
	if err := q.push(context.Background(), now, true, numbered(4, 4)); err != nil {
		t.Error(err)
	}
	if got := taken(q, 9); got != "4 " {
		t.Errorf("got %q", got)
	}
}

func TestQueueFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newOutQueue(8)
		q.begin(true)
		pushed(t, q, 1, 2)
		done := make(chan error, 1)
		go func() { done <- q.flush(context.Background()) }()
		synctest.Wait()
		pushed(t, q, 3, 3) // later ones do not count
		taken(q, 8)
		q.ack(2)
		if err := <-done; err != nil {
			t.Error(err)
		}
		go func() { done <- q.flush(context.Background()) }()
		synctest.Wait()
		q.lose()
		if err := <-done; !errors.Is(err, ErrOffline) {
			t.Errorf("lost: %v", err)
		}
	})
}

// A hostile peer acknowledges what is just being written: the Doc must not be
// used for something else meanwhile.
func TestQueueAckWhileWriting(t *testing.T) {
	q := newOutQueue(8)
	q.begin(true)
	pushed(t, q, 1, 2)
	docs := q.take(nil, 8)
	if _, ok := q.ack(2); !ok {
		t.Fatal("refused")
	}
	if got := texts(docs); got != "1 2 " {
		t.Errorf("the writer sees %q", got)
	}
	q.wrote()
	if len(q.trash) != 0 {
		t.Error("Docs are kept")
	}
}

// The queue against a simple model, for any mix of operations.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 0, 3, 1, 2, 2})
	f.Fuzz(func(t *testing.T, ops []byte) {
		q := newOutQueue(5)
		q.begin(true)
		next, acked, cursor, sent := 0, 0, 0, 0 // of the model: stanza numbers
		for _, op := range ops {
			switch op % 4 {
			case 0:
				err := q.push(context.Background(), anyEpoch, false, numbered(next, next))
				if full := next-acked == 5; (err != nil) != full {
					t.Fatalf("push %d with %d unacknowledged: %v", next, next-acked, err)
				} else if !full {
					next++
				}
			case 1:
				k := int(op>>2) % 4
				want := ""
				for i := cursor; i < min(cursor+k, next); i++ {
					want += fmt.Sprint(i, " ")
				}
				if got := taken(q, k); got != want {
					t.Fatalf("took %q, want %q", got, want)
				}
				cursor = min(cursor+k, next)
				sent = max(sent, cursor)
			case 2:
				h := acked + int(op>>2)%7
				_, ok := q.ack(uint32(h))
				if want := h <= sent; ok != want {
					t.Fatalf("ack %d of %d: %v", h, sent, ok)
				}
				if ok {
					acked = h
					cursor = max(cursor, acked)
				}
			case 3:
				q.rewind()
				cursor = acked
			}
		}
	})
}
