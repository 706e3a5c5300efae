package hub

import (
	"errors"
	"testing"
	"time"

	"postern/exi"
)

// 0198-R35: what another session left behind has room of its own.
func Test0198R35_SecondChanceHasRoom(t *testing.T) {
	q := newQueue(Limits{Queue: 2, QueueOctets: 1 << 20})
	var d exi.Doc
	for i, want := range []error{nil, nil, errFull} {
		if err := q.push(&d, time.Now()); !errors.Is(err, want) {
			t.Errorf("stanza %d: %v, not %v", i, err, want)
		}
	}
	for i, want := range []error{nil, nil, errFull} {
		if err := q.add(&d, time.Now(), second); !errors.Is(err, want) {
			t.Errorf("second chance %d: %v, not %v", i, err, want)
		}
	}
	for range 5 {
		if err := q.add(&d, time.Now(), offline); err != nil {
			t.Error(err)
		}
	}
	// What was kept takes no room from what comes now.
	docs, n := q.take(nil, 2)
	q.wrote(0, false)
	if err := q.push(&d, time.Now()); len(docs) != 2 || n != 2 || err != nil {
		t.Errorf("took %d of %d; then %v", n, len(docs), err)
	}
}
