package history

import (
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// Peaks returns the smallest and the largest good reading of a field since
// midnight, the first where several are equal; ok is false where there is no
// number yet.
func (h *History) Peaks(ref node.Ref, name string) (low, high Point, ok bool, err error) {
	now := h.cfg.Now()
	p := peaks{h: h, ref: ref, name: name}
	midnight := h.at(h.start(PerDay, now.UnixMilli()))
	// Hours that are over tell where to look.
	var hours []Row
	c := h.Rows(ref, name, PerHour, midnight.Add(time.Millisecond), now)
	for more := !c.done; more; {
		if hours, more, err = c.Next(hours); err != nil {
			return low, high, false, err
		}
	}
	from := midnight
	var lowest, highest *Row
	for i := range hours {
		r := &hours[i]
		from = r.End
		if r.Min.Kind() == drivers.KindNone {
			continue
		}
		if lowest == nil || less(r.Min, lowest.Min) {
			lowest = r
		}
		if highest == nil || less(highest.Max, r.Max) {
			highest = r
		}
	}
	for _, r := range []*Row{lowest, highest} {
		if r == nil || r == highest && lowest == highest && p.ok {
			continue
		}
		end := r.End.Add(-time.Millisecond)
		if err := p.look(h.at(h.start(PerHour, end.UnixMilli())), end); err != nil {
			return low, high, false, err
		}
	}
	err = p.look(from, now)
	return p.low, p.high, p.ok, err
}

func less(a, b drivers.Value) bool {
	x, _ := a.Number()
	y, _ := b.Number()
	return x.Cmp(y) < 0
}

// peaks are those found so far.
type peaks struct {
	h         *History
	ref       node.Ref
	name      string
	low, high Point
	ok        bool
}

// look takes the readings from from to to, both inclusive.
func (p *peaks) look(from, to time.Time) error {
	c := p.h.Raw(p.ref, p.name, from, to)
	var page []Point
	for more := !c.done; more; {
		var err error
		if page, more, err = c.Next(page[:0]); err != nil {
			return err
		}
		for i := range page {
			p.take(&page[i])
		}
	}
	return nil
}

func (p *peaks) take(pt *Point) {
	if _, ok := pt.Value.Number(); !ok || !pt.Quality.Usable() {
		return
	}
	// Hours are looked at in any order.
	if !p.ok || less(pt.Value, p.low.Value) || !less(p.low.Value, pt.Value) && pt.Time.Before(p.low.Time) {
		p.low = *pt
	}
	if !p.ok || less(p.high.Value, pt.Value) || !less(pt.Value, p.high.Value) && pt.Time.Before(p.high.Time) {
		p.high = *pt
	}
	p.ok = true
}
