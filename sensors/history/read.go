package history

import (
	"bytes"
	"slices"
	"sort"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/store"
)

// Point is one reading of the past.
type Point struct {
	Time    time.Time
	Value   drivers.Value
	Unit    string
	Quality live.Quality
}

// sample is a reading as the store has it.
type sample struct {
	ms     int64
	num    int64
	text   string
	series *series
	q      live.Quality
}

func (h *History) point(s *sample) Point {
	return Point{h.at(s.ms), s.series.value(s.num, s.text), s.series.Unit, s.q}
}

// A page of a cursor is what it reads with one transaction: it ends at the block
// after so many records, or so long a time. A read-out of many nodes has a page
// of each in memory.
const (
	pageRecords = 250
	pageTime    = 20 * time.Millisecond
)

// Fields lists the fields that the history has anything of.
func (h *History) Fields(ref node.Ref) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for f := range h.fields {
		if f.ref == ref {
			names = append(names, f.name)
		}
	}
	slices.Sort(names)
	return names
}

func (h *History) seriesOf(f field) map[uint32]*series {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := make(map[uint32]*series, len(h.fields[f]))
	for _, s := range h.fields[f] {
		m[s.ID] = s
	}
	return m
}

func (h *History) numbered(id uint32) *series {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byID[id]
}

// bounds turns a range, both ends inclusive (0323-D9), into ms.
func bounds(from, to time.Time) (int64, int64) {
	a, b := int64(-1<<62), int64(1<<62)
	if !from.IsZero() {
		a = from.UnixMilli()
		if from.Nanosecond()%1e6 != 0 {
			a++
		}
	}
	if !to.IsZero() {
		b = to.UnixMilli()
	}
	return a, b
}

// scan calls visit for the parts of the wanted series in blocks of a level
// that may hold records from from to to. It ends a page when enough was
// visited; all records before next are then visited, and done says whether
// there is nothing behind. Its transaction ends with it.
func (h *History) scan(l Level, want map[uint32]*series, from, to int64, visit func(*block, *part, *series) (int, error)) (next int64, done bool, err error) {
	// Blocks are found by their first record and span an hour, those of hours
	// and days a single instant, those of minutes an hour.
	start := time.Now()
	var bad []error
	n := 0
	var b block
	keep := func(id uint32) bool { return want == nil || want[id] != nil }
	next, done = forever, true
	err = h.cfg.DB.View(func(tx *store.Tx) error {
		for c := newWalk(tx, l, makeKey(max(from-hourMs, -1<<62), 0)); c.Valid(); c.Next() {
			if len(c.Key()) != keyLen {
				continue
			}
			first, _ := parseKey(c.Key())
			if first > to {
				return nil
			}
			if first > from && (n >= pageRecords || time.Since(start) > pageTime) {
				next, done = first, false
				return nil
			}
			if hd, _, err := readHead(c.Peek(headMost)); err == nil && hd.last < from {
				continue
			}
			v, err := c.Value()
			if err == nil {
				err = b.read(v, keep)
			}
			for i := 0; err == nil && i < len(b.parts); i++ {
				p, more := &b.parts[i], 0
				s := want[p.series]
				if want == nil {
					s = h.numbered(p.series)
				}
				if s != nil {
					more, err = visit(&b, p, s)
					n += more
				}
			}
			if err != nil {
				bad = append(bad, err)
			}
		}
		return nil
	})
	for _, e := range bad {
		h.damaged(e)
	}
	return next, done, err
}

// walk goes over the blocks of a level by key, readings in both of their forms.
type walk struct {
	*store.Cursor
	other *store.Cursor
}

func newWalk(tx *store.Tx, l Level, from []byte) *walk {
	w := &walk{Cursor: l.blobs().Cursor(tx, from)}
	if l == Raw {
		w.other = packed.blobs().Cursor(tx, from)
		w.order()
	}
	return w
}

// Next moves to the next block.
func (w *walk) Next() {
	w.Cursor.Next()
	w.order()
}

func (w *walk) order() {
	if w.other != nil && w.other.Valid() && (!w.Valid() || bytes.Compare(w.other.Key(), w.Key()) < 0) {
		w.Cursor, w.other = w.other, w.Cursor
	}
}

// Cursor reads the past of one field in order. It holds nothing between two
// calls of its methods.
type Cursor struct {
	h        *History
	want     map[uint32]*series
	from, to int64
	done     bool
	page     []sample
	dec      decoded
}

// Raw returns a cursor over the readings from from to to, both inclusive, zero
// for no bound.
func (h *History) Raw(ref node.Ref, name string, from, to time.Time) *Cursor {
	a, b := bounds(from, to)
	return h.raw(field{ref, name}, a, b)
}

func (h *History) raw(f field, from, to int64) *Cursor {
	c := &Cursor{h: h, want: h.seriesOf(f), from: from, to: to}
	c.done = len(c.want) == 0
	return c
}

// Next appends the next readings to dst, as many as a page holds. more is
// false when there are no others behind them.
func (c *Cursor) Next(dst []Point) (_ []Point, more bool, err error) {
	if err := c.next(); err != nil {
		return dst, false, err
	}
	for i := range c.page {
		dst = append(dst, c.h.point(&c.page[i]))
	}
	return dst, !c.done, nil
}

// next fills the page.
func (c *Cursor) next() error {
	c.page = c.page[:0]
	if c.done {
		return nil
	}
	// While a group lands it is neither in the store alone nor in memory alone.
	c.h.landing.RLock()
	next, done, err := c.h.scan(Raw, c.want, c.from, c.to, c.visit)
	if err == nil {
		c.page = slices.DeleteFunc(c.page, func(s sample) bool { return s.ms >= next })
		c.memory(min(c.to, next-1))
	}
	c.h.landing.RUnlock()
	if err != nil {
		return err
	}
	sortSamples(c.page)
	c.from, c.done = next, done
	return nil
}

// sortSamples orders samples by time.
func sortSamples(page []sample) {
	sorted := true
	for i := 1; i < len(page) && sorted; i++ {
		sorted = page[i-1].ms <= page[i].ms
	}
	if !sorted {
		sort.SliceStable(page, func(i, j int) bool { return page[i].ms < page[j].ms })
	}
}

// memory takes what is not in the store yet, up to an instant.
func (c *Cursor) memory(to int64) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	for id, s := range c.want {
		for _, g := range [...]group{c.h.flying, c.h.buf} {
			p := g[id]
			if p == nil {
				continue
			}
			for i, ms := range p.times {
				if ms < c.from || ms > to {
					continue
				}
				sm := sample{ms: ms, num: p.nums[i], series: s, q: p.quality[i]}
				if isText(s.Kind) {
					sm.text = p.texts.list[p.nums[i]]
				}
				c.page = append(c.page, sm)
			}
		}
	}
}

func (c *Cursor) visit(b *block, p *part, s *series) (int, error) {
	if err := s.readBody(&c.dec, b, p); err != nil {
		return 0, err
	}
	n := len(c.page)
	for i, ms := range c.dec.times {
		if ms < c.from || ms > c.to {
			continue
		}
		sm := sample{ms: ms, num: c.dec.nums[i], series: s, q: c.dec.quality[i]}
		if c.dec.texts != nil {
			sm.text = c.dec.texts[sm.num]
		}
		c.page = append(c.page, sm)
	}
	return len(c.page) - n, nil
}
