package history

import (
	"sort"
	"time"

	"postern/internal/node"
	"postern/internal/store"
)

// RowCursor reads what the periods of one field came to, in order. It holds
// nothing between two calls of its methods.
type RowCursor struct {
	h        *History
	f        field
	period   Period
	from, to int64 // ends of periods, inclusive
	mark     mark
	done     bool
}

// mark is how far roll-ups were when a cursor began: what is behind it is made
// of readings, also when the store gets it meanwhile.
type mark struct{ rolled, day int64 }

// Rows returns a cursor over the periods that ended from from to to, both
// inclusive, zero for no bound. Periods that have not ended are left out.
func (h *History) Rows(ref node.Ref, name string, p Period, from, to time.Time) *RowCursor {
	a, b := bounds(from, to)
	h.mu.Lock()
	c := &RowCursor{h: h, f: field{ref, name}, period: p, mark: mark{h.rolled, h.dayDone}}
	known := len(h.fields[c.f]) > 0
	h.mu.Unlock()
	c.from, c.to = max(a, h.first()), min(b, h.cfg.Now().UnixMilli())
	c.done = !known || c.from > c.to
	return c
}

// first is when the oldest record of anything is from.
func (h *History) first() int64 {
	first := h.cfg.Now().UnixMilli()
	h.mu.Lock()
	first = min(first, h.oldest)
	h.mu.Unlock()
	// A store that cannot be read shows when its records are read.
	_ = h.cfg.DB.View(func(tx *store.Tx) error {
		for l := range levels {
			if c := l.blobs().Cursor(tx, nil); c.Valid() && len(c.Key()) == keyLen {
				ms, _ := parseKey(c.Key())
				first = min(first, ms)
			}
		}
		return nil
	})
	return first
}

// span is how much time one call covers.
func (p Period) span() time.Duration {
	switch p {
	case PerMinute:
		return day
	case PerHour:
		return 60 * day
	}
	return 10_000 * day
}

// Next appends the next periods to dst. more is false when there are no others
// behind them; none may come although more is true.
func (c *RowCursor) Next(dst []Row) (_ []Row, more bool, err error) {
	if c.done {
		return dst, false, nil
	}
	to := c.to
	if end := c.from + c.period.span().Milliseconds(); end < to && end > c.from {
		to = end
	}
	got, err := c.h.collect(c.f, c.period, c.from, to, c.mark)
	if err != nil {
		return dst, false, err
	}
	for i := range got {
		dst = append(dst, c.h.row(got[i].series, &got[i].row))
	}
	c.from = to + 1
	c.done = to >= c.to
	return dst, !c.done, nil
}

// kept is a row with its series.
type kept struct {
	series *series
	row    row
}

// collect returns the rows whose period ends from from to to.
func (h *History) collect(f field, p Period, from, to int64, m mark) ([]kept, error) {
	want := h.seriesOf(f)
	var got []kept
	add := func(s *series, r row) { got = append(got, kept{s, r}) }
	a := newSumming(h, p)
	switch p {
	case PerMinute, PerHour:
		l := Minute + Level(p-PerMinute)
		if err := h.eachRow(l, want, from, min(to, m.rolled), add); err != nil {
			return nil, err
		}
		if to <= m.rolled {
			break
		}
		c := h.raw(f, max(m.rolled, h.start(p, from-1)), to-1)
		for more := !c.done; more; more = !c.done {
			if err := c.next(); err != nil {
				return nil, err
			}
			for i := range c.page {
				s := &c.page[i]
				a.add(s.series, s.ms, s.num, s.text, s.q)
			}
		}
		a.close()
	case PerDay:
		if err := h.eachRow(Day, want, from, min(to, m.day), add); err != nil {
			return nil, err
		}
		if to <= m.day {
			break
		}
		if err := h.combine(a, f, PerHour, max(m.day, h.start(p, from-1))+1, to, m); err != nil {
			return nil, err
		}
	default:
		if err := h.combine(a, f, PerDay, h.start(p, from-1)+1, to, m); err != nil {
			return nil, err
		}
	}
	for _, rs := range a.kins {
		for _, r := range rs.list {
			if r.end >= from && r.end <= to {
				add(rs.series, r)
			}
		}
	}
	sort.SliceStable(got, func(i, j int) bool { return got[i].row.end < got[j].row.end })
	return got, nil
}

// combine puts the rows of a finer period together.
func (h *History) combine(a *summing, f field, finer Period, from, to int64, m mark) error {
	parts, err := h.collect(f, finer, from, to, m)
	if err != nil {
		return err
	}
	for i := range parts {
		a.combine(parts[i].series, parts[i].row)
	}
	a.closeDays()
	return nil
}
