package history

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"postern/internal/store"
)

// change is one transaction.
type change struct {
	h      *History
	add    map[Level][][]byte
	remove [][]byte // keys of raw blocks
	freed  int64    // their weight
	series []*series
	marks  map[string]int64
	unmark []string
	redo   map[Level][2]int64 // records of periods that end after the first and up to the second are made anew
	trim   bool               // also drop what is too old or too much

	used    [levels]int64
	next    uint64
	dropped uint64
	expired uint64
	gone    int64 // last instant of the readings that were removed, ms
}

// apply commits the change. writing is held.
func (c *change) apply() error {
	h := c.h
	repairs := h.cfg.DB.Repairs()
	again := repairs != h.repairs
	if again {
		c.again()
	}
	err := h.cfg.DB.Update(func(tx *store.Tx) error {
		c.used, c.next, c.dropped, c.expired, c.gone = h.used, h.next, 0, 0, h.gone
		if again {
			used, next := weigh(tx)
			c.used, c.next = used, max(next, c.next)
		}
		return c.write(tx)
	})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repairs = repairs
	h.used, h.next, h.gone = c.used, c.next, c.gone
	h.stats.Dropped += c.dropped
	h.stats.Expired += c.expired
	if c.dropped > 0 {
		h.cfg.Logger.Warn("the history is full: the oldest is dropped", slog.Uint64("samples", c.dropped))
	}
	return nil
}

// again adds to c what memory knows and a repaired store may have lost: the
// series, without which their readings cannot be shown, and how far roll-ups
// are. writing is held.
func (c *change) again() {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	c.series = slices.SortedFunc(maps.Values(h.byID), func(a, b *series) int { return cmp.Compare(a.ID, b.ID) })
	marks := map[string]int64{"rolled": h.rolled, "day": h.dayDone}
	if h.gone > -forever {
		marks["gone"] = h.gone
	}
	for from := range h.tardy {
		marks[tardyMark(from)] = from
	}
	maps.Copy(marks, c.marks)
	for _, name := range c.unmark {
		delete(marks, name)
	}
	c.marks = marks
}

func (c *change) write(tx *store.Tx) error {
	if n := len(c.series); n > 0 {
		if err := marks().Put(tx, "series", int64(c.series[n-1].ID)+1); err != nil {
			return err
		}
	}
	for _, s := range c.series {
		if err := seriesTable().Put(tx, fmt.Sprintf("%08x", s.ID), *s); err != nil {
			return err
		}
	}
	for _, k := range c.remove {
		if err := Raw.blobs().Delete(tx, k); err != nil {
			return err
		}
	}
	c.used[Raw] -= c.freed
	for l, span := range c.redo {
		if err := c.clear(tx, l, span[0], span[1]); err != nil {
			return err
		}
	}
	for _, name := range c.unmark {
		if err := marks().Delete(tx, name); err != nil {
			return err
		}
	}
	for l := range levels {
		for _, b := range c.add[l] {
			hd, _, err := readHead(b)
			if err != nil {
				return err
			}
			if err := l.blobs().Put(tx, makeKey(hd.first, c.next), b); err != nil {
				return err
			}
			c.next++
			c.used[l] += weight(len(b))
		}
	}
	for name, v := range c.marks {
		if err := marks().Put(tx, name, v); err != nil {
			return err
		}
	}
	if c.trim && c.h.cfg.ClockSane() {
		return c.drop(tx)
	}
	return nil
}

// clear removes the blocks of a level whose first record ends a period after
// from and up to to.
func (c *change) clear(tx *store.Tx, l Level, from, to int64) error {
	return c.discard(tx, l, makeKey(from+1, 0), -1, func(first int64, _ *store.Cursor) bool { return first <= to })
}

// discard removes blocks of a level, from a key on while want says so, most of
// them at most; −1: all.
func (c *change) discard(tx *store.Tx, l Level, from []byte, most int, want func(first int64, cur *store.Cursor) bool) error {
	var keys [][]byte
	for cur := l.blobs().Cursor(tx, from); cur.Valid() && len(keys) != most; cur.Next() {
		if len(cur.Key()) != keyLen {
			continue
		}
		if first, _ := parseKey(cur.Key()); !want(first, cur) {
			break
		}
		keys = append(keys, slices.Clone(cur.Key()))
		c.used[l] -= weight(cur.Len())
	}
	for _, k := range keys {
		if err := l.blobs().Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// dropMost bounds the blocks dropped in one transaction.
const dropMost = 500

// drop removes what is older than it is kept, then the oldest until the rest
// is below the cap.
func (c *change) drop(tx *store.Tx) error {
	now := c.h.cfg.Now()
	for l := range levels {
		keep := c.h.cfg.keep(l)
		if keep == 0 {
			continue
		}
		before := now.Add(-keep).UnixMilli()
		if err := c.dropFrom(tx, l, &c.expired, func(first int64) bool { return first < before }); err != nil {
			return err
		}
	}
	for l := range levels {
		over := func(int64) bool { return c.total() > c.h.cfg.Cap }
		if err := c.dropFrom(tx, l, &c.dropped, over); err != nil {
			return err
		}
	}
	if c.gone > c.h.gone {
		return marks().Put(tx, "gone", c.gone)
	}
	return nil
}

// Dropped is the last instant of the readings that were removed because of
// their age or for the cap, in ms since 1970; before any were, it lies before
// all time.
func (h *History) Dropped() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

func (c *change) total() (n int64) {
	for _, u := range c.used {
		n += u
	}
	return n
}

// dropFrom removes the oldest blocks of a level while want says so.
func (c *change) dropFrom(tx *store.Tx, l Level, samples *uint64, want func(first int64) bool) error {
	return c.discard(tx, l, nil, dropMost, func(first int64, cur *store.Cursor) bool {
		if !want(first) {
			return false
		}
		if h, _, err := readHead(cur.Peek(headMost)); err == nil {
			*samples += uint64(h.samples)
			if l <= Raw {
				c.gone = max(c.gone, h.last)
			}
		}
		return true
	})
}

// Newest is about when the newest reading in the store was taken; zero where
// there is none.
func (h *History) Newest() time.Time {
	var newest int64
	err := h.cfg.DB.View(func(tx *store.Tx) error {
		for _, l := range [...]Level{Raw, packed} {
			key := l.blobs().Last(tx)
			if len(key) != keyLen {
				continue
			}
			first, _ := parseKey(key)
			c := l.blobs().Cursor(tx, key)
			if hd, _, err := readHead(c.Peek(headMost)); err == nil {
				first = max(first, hd.last)
			}
			newest = max(newest, first)
		}
		return nil
	})
	if err != nil || newest == 0 {
		return time.Time{}
	}
	return time.UnixMilli(newest)
}

// Status is what the operator sees.
type Status struct {
	Series  int           // kept
	Pending int           // readings not committed yet
	Oldest  time.Duration // age of the oldest of them
	// Online and Offline are the bounds of what a power cut loses.
	Online, Offline time.Duration
	Octets          [4]int64 // in the store: readings, minutes, hours, days
	Cap             int64
	Samples         uint64 // taken since the start
	Alike           uint64 // left out by a Policy since the start
	Dropped         uint64 // removed for the cap since the start
	Expired         uint64 // removed because of their age since the start
	Lost            uint64 // that memory had no room for since the start
	Damaged         uint64 // blocks that could not be read since the start
	LastCommit      time.Time
	Err             error // of the last commit
}

// Status returns the present state.
func (h *History) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Series, s.Pending, s.Cap = len(h.byID), h.count+len(h.waiting), h.cfg.Cap
	s.Octets = [4]int64{h.used[packed] + h.used[Raw], h.used[Minute], h.used[Hour], h.used[Day]}
	s.Online, s.Offline = h.cfg.Online, h.cfg.Offline
	if h.count > 0 {
		s.Oldest = h.cfg.Now().Sub(h.since)
	}
	return s
}
