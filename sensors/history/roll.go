package history

import (
	"slices"
	"sort"
	"time"

	"postern/internal/store"
)

// Roll-ups are made of the readings in the store, an hour at a time and after
// it has ended: nothing of them lives in memory only, and a mark that is
// committed with them says how far they are. The same commit puts the hour's
// small blocks together into few.

// late is how long after the end of an hour readings may still come in.
const late = 30 * time.Second

// mergeMost is how many samples a block has at most that is put together out
// of smaller ones.
const mergeMost = 50_000

// roll makes the roll-ups that are due.
func (h *History) roll(now time.Time) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	for {
		from, to, ok, err := h.window(now)
		if err != nil {
			return err
		}
		if !ok {
			return h.rollTardy(now)
		}
		if err := h.land(); err != nil { // what the hour still has in memory
			return err
		}
		if err := h.rollHour(from, to); err != nil {
			return err
		}
		if err := h.rollDays(now); err != nil {
			return err
		}
	}
}

// window returns the oldest hour that has readings and is over. writing is
// held.
func (h *History) window(now time.Time) (from, to int64, ok bool, err error) {
	over := now.Add(-late).UnixMilli()
	if h.rolled > over+2*hourMs {
		// The clock was ahead when the marks were set. What was made then is made
		// anew when its time comes.
		h.mu.Lock()
		h.rolled = h.hourStart(over)
		h.dayDone = min(h.dayDone, h.start(PerDay, h.rolled))
		h.mu.Unlock()
	}
	if h.hourEnd(h.rolled) > over {
		return 0, 0, false, nil
	}
	err = h.cfg.DB.View(func(tx *store.Tx) error {
		c := Raw.blobs().Cursor(tx, makeKey(h.rolled, 0))
		if c.Valid() && len(c.Key()) == keyLen {
			from, _ = parseKey(c.Key())
			ok = true
		}
		return nil
	})
	from = max(h.hourStart(from), h.rolled)
	to = h.hourEnd(from)
	return from, to, ok && to <= over, err
}

// rollHour makes the minutes and the hour from from to to, in place of what may be
// there from when the clock was ahead, and puts its blocks together. writing is
// held.
func (h *History) rollHour(from, to int64) error {
	c := change{h: h, add: map[Level][][]byte{}, marks: map[string]int64{"rolled": to, "day": h.dayDone}}
	c.redo = map[Level][2]int64{Minute: {from, to}, Hour: {to - 1, to}}
	if err := h.sumHour(&c, from, to); err != nil {
		return err
	}
	h.mu.Lock()
	h.rolled = to
	h.mu.Unlock()
	return nil
}

// sumHour makes the minutes and the hour from from to to, puts its blocks
// together, and commits c with them. writing is held.
func (h *History) sumHour(c *change, from, to int64) error {
	minutes, hours := newSumming(h, PerMinute), newSumming(h, PerHour)
	var dec decoded
	var page []sample
	visit := func(b *block, p *part, s *series) (int, error) {
		if err := s.readBody(&dec, b, p); err != nil {
			return 0, err
		}
		for i, ms := range dec.times {
			if ms < from || ms >= to {
				continue
			}
			sm := sample{ms: ms, num: dec.nums[i], series: s, q: dec.quality[i]}
			if dec.texts != nil {
				sm.text = dec.texts[sm.num]
			}
			page = append(page, sm)
		}
		return len(dec.times), nil
	}
	m := merger{h: h, from: from, to: to}
	for at := from; ; {
		page = page[:0]
		next, done, err := h.scan(Raw, nil, at, to-1, visit)
		if err != nil {
			return err
		}
		sortSamples(page)
		for i := range page {
			s := &page[i]
			if s.ms < at || s.ms >= next {
				continue // the page before had it, or the next one will
			}
			minutes.add(s.series, s.ms, s.num, s.text, s.q)
			hours.add(s.series, s.ms, s.num, s.text, s.q)
		}
		if done {
			break
		}
		at = next
	}
	minutes.close()
	hours.close()
	c.addRows(Minute, minutes)
	c.addRows(Hour, hours)
	if err := m.run(c); err != nil {
		return err
	}
	return c.apply()
}

// addRows puts rows into a block.
func (c *change) addRows(l Level, a *summing) {
	var chunks []chunk
	for _, rs := range a.kins {
		for part := range slices.Chunk(rs.list, rowsMost) {
			chunks = append(chunks, (&rows{series: rs.series, list: part}).chunk())
		}
	}
	if len(chunks) == 0 {
		return
	}
	sort.Slice(chunks, func(i, j int) bool {
		a, b := &chunks[i], &chunks[j]
		return a.series < b.series || a.series == b.series && a.times[0] < b.times[0]
	})
	c.add[l] = append(c.add[l], appendBlock(nil, chunks))
}

// rollDays makes the days that are over out of their hours. writing is held.
func (h *History) rollDays(now time.Time) error {
	for {
		var first int64
		found := false
		err := h.cfg.DB.View(func(tx *store.Tx) error {
			if c := Hour.blobs().Cursor(tx, makeKey(h.dayDone+1, 0)); c.Valid() && len(c.Key()) == keyLen {
				first, _ = parseKey(c.Key())
				found = true
			}
			return nil
		})
		if err != nil || !found {
			return err
		}
		from, end := h.start(PerDay, first-1), h.end(PerDay, first-1)
		if end > h.rolled {
			return nil // hours may still come
		}
		c := change{h: h, add: map[Level][][]byte{}, marks: map[string]int64{"day": end}}
		c.redo = map[Level][2]int64{Day: {end - 1, end}}
		if err := h.sumDay(&c, from, end); err != nil {
			return err
		}
		h.mu.Lock()
		h.dayDone = end
		h.mu.Unlock()
	}
}

// sumDay makes the day from from to end out of its hours and commits c with it.
// writing is held.
func (h *History) sumDay(c *change, from, end int64) error {
	a := newSumming(h, PerDay)
	if err := h.eachRow(Hour, nil, from+1, end, func(s *series, r row) { a.combine(s, r) }); err != nil {
		return err
	}
	a.closeDays()
	c.addRows(Day, a)
	return c.apply()
}

// closeDays marks periods that end without hours.
func (a *summing) closeDays() {
	for _, rs := range a.kins {
		for i := range rs.list {
			r := &rs.list[i]
			if r.end-r.lastAt >= max(hourMs, rs.series.MaxAge.Milliseconds()) && r.lastAt != r.end {
				r.flags |= flagPartial
			}
		}
	}
}

// eachRow calls f for the rows of the wanted series that end from from to to.
func (h *History) eachRow(l Level, want map[uint32]*series, from, to int64, f func(*series, row)) error {
	var buf []row
	for {
		type found struct {
			s *series
			r row
		}
		var page []found
		next, done, err := h.scan(l, want, from, to, func(b *block, p *part, s *series) (n int, err error) {
			if buf, err = s.readRows(buf[:0], b, p); err != nil {
				return 0, err
			}
			for _, r := range buf {
				if r.end >= from && r.end <= to {
					page = append(page, found{s, r})
				}
			}
			return len(buf), nil
		})
		if err != nil {
			return err
		}
		sort.SliceStable(page, func(i, j int) bool { return page[i].r.end < page[j].r.end })
		for _, p := range page {
			if p.r.end < next {
				f(p.s, p.r)
			}
		}
		if done {
			return nil
		}
		from = next
	}
}

// merger puts the blocks of an hour together.
type merger struct {
	h        *History
	from, to int64
}

// run adds to c the removal of small blocks and the larger ones in their
// place.
func (m *merger) run(c *change) error {
	type small struct {
		key    []byte
		weight int64
	}
	var got []small
	g, n := make(group), 0
	flush := func() {
		if len(got) > 1 {
			c.add[packed] = append(c.add[packed], g.blocks(m.h.hourEnd)...)
			for _, s := range got {
				c.remove = append(c.remove, s.key)
				c.freed += s.weight
			}
		}
		got, g, n = nil, make(group), 0
	}
	var b block
	var dec decoded
	err := m.h.cfg.DB.View(func(tx *store.Tx) error {
		for cur := Raw.blobs().Cursor(tx, makeKey(m.from, 0)); cur.Valid() && len(cur.Key()) == keyLen; cur.Next() {
			if first, _ := parseKey(cur.Key()); first >= m.to {
				return nil
			}
			v, err := cur.Value()
			if err != nil || b.read(v, nil) != nil || b.last >= m.to || b.samples > mergeMost/2 {
				continue // as it is
			}
			taken := make(group)
			for i := range b.parts {
				p := &b.parts[i]
				s := m.h.numbered(p.series)
				if s == nil || s.readBody(&dec, &b, p) != nil {
					taken = nil
					break
				}
				tmp := pending{series: s, times: dec.times, nums: dec.nums, quality: dec.quality, texts: texts{list: dec.texts}}
				taken.of(s).take(&tmp, 0, len(dec.times))
			}
			if taken == nil {
				continue
			}
			for _, p := range taken {
				g.of(p.series).take(p, 0, len(p.times))
			}
			got = append(got, small{slices.Clone(cur.Key()), weight(cur.Len())})
			if n += b.samples; n >= mergeMost {
				flush()
			}
		}
		return nil
	})
	flush()
	return err
}
