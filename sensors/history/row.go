package history

import (
	"cmp"
	"math"
	"slices"
	"time"

	"postern/drivers"
	"postern/internal/live"
)

// row is what a period came to. Numbers are mantissas of the series' exponent.
// The sum is kept as dev, the sum of all differences from the last value: it
// is exact, and small.
type row struct {
	end    int64 // of the period, ms; the period does not include it
	count  int64 // readings that are good
	last   int64
	min    int64
	max    int64
	dev    int64
	flags  int64
	text   string // last, of the kinds that are kept as text
	lastAt int64  // when last was measured; known while rows are made only
}

// Flags of a row.
const (
	flagGap     = 1 << iota // readings failed, or none came for too long
	flagPartial             // readings begin after the period or end before it
	flagNoMean              // the sum is beyond what is kept
)

// widest is the difference up to which sums are kept.
const widest = 1 << 40

func within(a, b int64) bool {
	d := a - b
	return d < widest && d > -widest && (d < 0) == (a < b)
}

// merge adds what o says about the same period or the next part of it.
func (r *row) merge(o *row) {
	r.flags |= o.flags
	if o.count == 0 {
		return
	}
	if r.count == 0 {
		end, flags := r.end, r.flags
		*r = *o
		r.end, r.flags = end, flags
		return
	}
	later := o
	if r.lastAt > o.lastAt {
		later = r
	}
	last, lastText, lastAt := later.last, later.text, later.lastAt
	if !within(r.last, last) || !within(o.last, last) || math.Abs(float64(r.dev))+math.Abs(float64(o.dev)) > 1<<62 {
		r.flags |= flagNoMean
	}
	if r.flags&flagNoMean == 0 {
		r.dev += o.dev + r.count*(r.last-last) + o.count*(o.last-last)
	} else {
		r.dev = 0
	}
	r.last, r.text, r.lastAt = last, lastText, lastAt
	r.min, r.max = min(r.min, o.min), max(r.max, o.max)
	r.count += o.count
}

// scale multiplies the numbers; false when they do not fit.
func (r *row) scale(by int64) bool {
	for _, p := range []*int64{&r.last, &r.min, &r.max} {
		if *p > math.MaxInt64/by || *p < math.MinInt64/by {
			return false
		}
	}
	if r.dev > math.MaxInt64/by || r.dev < math.MinInt64/by {
		r.flags |= flagNoMean
		r.dev = 0
	}
	r.last, r.min, r.max, r.dev = r.last*by, r.min*by, r.max*by, r.dev*by
	return true
}

func pow10(n int32) (int64, bool) {
	if n < 0 || n > 18 {
		return 0, false
	}
	p := int64(1)
	for range n {
		p *= 10
	}
	return p, true
}

// Row is what a period came to.
type Row struct {
	End      time.Time // of the period, which does not include it
	Count    int64     // good readings
	Last     drivers.Value
	Unit     string
	Min, Max drivers.Value // kind none where the values are no numbers
	// Mean has one digit more than the readings; kind none where there is none.
	Mean drivers.Value
	// Gap: a reading failed or none came for too long. Partial: the period
	// began or ended without readings.
	Gap, Partial bool
}

// Quality is that of the row's values.
func (r *Row) Quality() live.Quality {
	if r.Gap || r.Partial {
		return live.AutomaticReadout | live.Warning
	}
	return live.AutomaticReadout
}

func (h *History) row(s *series, r *row) Row {
	out := Row{
		End: h.at(r.end), Count: r.count, Unit: s.Unit, Last: s.value(r.last, r.text),
		Gap: r.flags&flagGap != 0, Partial: r.flags&flagPartial != 0,
	}
	if isText(s.Kind) || s.Kind == drivers.KindBool {
		return out
	}
	out.Min, out.Max = s.value(r.min, ""), s.value(r.max, "")
	if r.flags&flagNoMean == 0 && r.count > 0 {
		if m, ok := mean(r, s.Exp); ok {
			out.Mean = drivers.Decimal(m)
		}
	}
	return out
}

// mean rounds half away from zero, with one digit more than the readings.
func mean(r *row, exp int32) (drivers.Number, bool) {
	if exp <= -18 || r.dev > math.MaxInt64/20 || r.dev < math.MinInt64/20 ||
		r.last > math.MaxInt64/20 || r.last < math.MinInt64/20 {
		return drivers.Number{}, false
	}
	// last×10 + dev×10/count, rounded once.
	whole, rest := r.last*10+r.dev*10/r.count, r.dev*10%r.count
	switch up := 2 * rest; {
	case up > r.count, up == r.count && whole >= 0:
		whole++
	case up < -r.count, up == -r.count && whole <= 0:
		whole--
	}
	return drivers.Number{Mant: whole, Exp: exp - 1}, true
}

// kin are series whose rows are kept together: numbers of the same unit, told
// with more digits or fewer.
type kin struct {
	field field
	kind  drivers.Kind
	unit  string
}

// rows of one kin, rising by end.
type rows struct {
	series *series // the one with most digits
	list   []row
	prev   int64 // when the reading before was, 0 for unknown
}

// summing makes rows out of readings, which come roughly in order.
type summing struct {
	h      *History
	period Period
	kins   map[kin]*rows
	end    int64 // of the period of the reading before
	start  int64
}

func newSumming(h *History, p Period) *summing {
	return &summing{h: h, period: p, kins: make(map[kin]*rows)}
}

// rowsOf returns the rows that a series' readings belong to.
func (a *summing) rowsOf(s *series) *rows {
	k := kin{s.field(), s.Kind, s.Unit}
	rs := a.kins[k]
	if rs == nil {
		rs = &rows{series: s}
		a.kins[k] = rs
	}
	if s.Exp < rs.series.Exp {
		if by, ok := pow10(rs.series.Exp - s.Exp); ok && rs.scale(by) {
			rs.series = s
		}
	}
	return rs
}

func (rs *rows) scale(by int64) bool {
	scaled := slices.Clone(rs.list)
	for i := range scaled {
		if !scaled[i].scale(by) {
			return false
		}
	}
	rs.list = scaled
	return true
}

// at returns the row that ends at end.
func (rs *rows) at(end int64) *row {
	n := len(rs.list)
	if n > 0 && rs.list[n-1].end == end {
		return &rs.list[n-1]
	}
	i, ok := slices.BinarySearchFunc(rs.list, end, func(r row, end int64) int { return cmp.Compare(r.end, end) })
	if !ok {
		rs.list = slices.Insert(rs.list, i, row{end: end})
	}
	return &rs.list[i]
}

// add takes one reading.
func (a *summing) add(s *series, ms, n int64, text string, q live.Quality) {
	if ms >= a.end || ms < a.start {
		a.start, a.end = a.h.start(a.period, ms), a.h.end(a.period, ms)
	}
	rs := a.rowsOf(s)
	r := rs.at(a.end)
	if !q.Usable() {
		r.flags |= flagGap
		return
	}
	if s.Exp != rs.series.Exp && s.Kind == drivers.KindNumber {
		num, err := drivers.Number{Mant: n, Exp: s.Exp}.Rescale(int(rs.series.Exp))
		if err != nil {
			r.flags |= flagGap
			return
		}
		n = num.Mant
	}
	if age := s.MaxAge.Milliseconds(); age > 0 {
		switch {
		case r.count == 0 && ms-a.start > age:
			r.flags |= flagPartial
		case r.count > 0 && ms-rs.prev > age:
			r.flags |= flagGap
		}
	}
	rs.prev = ms
	r.merge(&row{count: 1, last: n, min: n, max: n, text: text, lastAt: ms})
}

// close marks the rows whose readings ended before the period did.
func (a *summing) close() {
	for _, rs := range a.kins {
		age := rs.series.MaxAge.Milliseconds()
		for i := range rs.list {
			r := &rs.list[i]
			if age > 0 && r.end-r.lastAt > age {
				r.flags |= flagPartial
			}
		}
		rs.list = slices.DeleteFunc(rs.list, func(r row) bool { return r.count == 0 })
	}
}

// combine puts a row of a finer period into that of the coarser one. Only its
// end says when it was, so that of the last reading is taken to be there.
func (a *summing) combine(s *series, r row) {
	ms := r.end - 1
	if ms >= a.end || ms < a.start {
		a.start, a.end = a.h.start(a.period, ms), a.h.end(a.period, ms)
	}
	rs := a.rowsOf(s)
	if s.Exp != rs.series.Exp {
		by, ok := pow10(s.Exp - rs.series.Exp)
		if !ok || !r.scale(by) {
			return
		}
	}
	r.lastAt = r.end
	to := rs.at(a.end)
	// Whole hours that are missing are gaps, too.
	switch age := max(s.MaxAge.Milliseconds(), a.finer(r.end)); {
	case to.count == 0 && ms-a.start > age:
		to.flags |= flagPartial
	case to.count > 0 && r.end-to.lastAt > age:
		to.flags |= flagGap
	}
	to.merge(&r)
}

// finer is the length of the period that ended at end and is a part of
// a.period.
func (a *summing) finer(end int64) int64 {
	if a.period <= PerDay {
		return hourMs
	}
	return end - a.h.start(PerDay, end-1)
}

// chunk writes rows as a chunk.
func (rs *rows) chunk() chunk {
	c := chunk{series: rs.series.ID}
	n := len(rs.list)
	cols := make([][]int64, 0, 6)
	col := func(f func(r *row) int64) {
		v := make([]int64, n)
		for i := range rs.list {
			v[i] = f(&rs.list[i])
		}
		cols = append(cols, v)
	}
	col(func(r *row) int64 { return r.flags })
	col(func(r *row) int64 { return r.count })
	if isText(rs.series.Kind) {
		var t texts
		col(func(r *row) int64 { return t.number(r.text) })
		c.body = appendTexts(c.body, t.list)
	} else {
		col(func(r *row) int64 { return r.last })
		col(func(r *row) int64 { return r.last - r.min })
		col(func(r *row) int64 { return r.max - r.last })
		col(func(r *row) int64 { return r.dev })
	}
	for _, v := range cols {
		before := len(c.body)
		c.body = append(c.body, 0, 0)
		c.body = appendColumn(c.body, v)
		size := len(c.body) - before - 2
		c.body[before], c.body[before+1] = byte(size>>8), byte(size)
	}
	for i := range rs.list {
		c.times = append(c.times, rs.list[i].end)
	}
	return c
}

// rowsMost is how many rows a chunk holds at most, so that the size of a
// column fits two octets.
const rowsMost = 4096

// readRows is the inverse of chunk.
func (s *series) readRows(dst []row, b *block, p *part) ([]row, error) {
	times, err := b.times(nil, p)
	if err != nil {
		return dst, err
	}
	n, rest := len(times), p.body
	var list []string
	if isText(s.Kind) {
		if list, rest, err = readTexts(rest); err != nil {
			return dst, err
		}
	}
	var cols [6][]int64
	for i := range cols {
		if i == 3 && isText(s.Kind) {
			break
		}
		if len(rest) < 2 {
			return dst, errDamaged
		}
		size := int(rest[0])<<8 | int(rest[1])
		if rest = rest[2:]; size > len(rest) {
			return dst, errDamaged
		}
		if cols[i], err = readColumn(nil, rest[:size], n); err != nil {
			return dst, err
		}
		rest = rest[size:]
	}
	for i := range n {
		r := row{end: times[i], flags: cols[0][i], count: cols[1][i], last: cols[2][i]}
		if isText(s.Kind) {
			if r.last < 0 || r.last >= int64(len(list)) {
				return dst, errDamaged
			}
			r.text, r.last = list[r.last], 0
		} else {
			r.min, r.max, r.dev = r.last-cols[3][i], r.last+cols[4][i], cols[5][i]
		}
		if r.count <= 0 {
			return dst, errDamaged
		}
		dst = append(dst, r)
	}
	return dst, nil
}
