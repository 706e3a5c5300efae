package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// When is a rule of the calendar. The zero When is none; ParseWhen makes one.
type When struct {
	days  [7]bool // by time.Weekday; all for every day
	dates []span  // empty for no bound
	at    moment
}

// span is a range of dates, both ends in it.
type span struct{ from, to date }

// date is a day without a time.
type date struct {
	y int
	m time.Month
	d int
}

func (d date) time() time.Time { return time.Date(d.y, d.m, d.d, 0, 0, 0, 0, time.UTC) }
func (d date) String() string  { return d.time().Format(time.DateOnly) }
func (d date) add(n int) date  { return dateOf(d.time().AddDate(0, 0, n)) }
func (d date) before(o date) bool {
	return d.time().Before(o.time())
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

// moment is a time of day: of the clock, or counted from the Sun.
type moment struct {
	sun   string        // "sunrise", "sunset"; empty for the clock
	after time.Duration // since midnight by the clock, or since the Sun
}

// Bounds of what may be written.
const (
	maxWhen   = 300 // octets
	maxSpans  = 20
	maxOffset = 12 * time.Hour
)

var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// WhenHelp says how a When is written, for people.
const WhenHelp = `DAYS TIME, as in "daily 07:30", "mon-fri 06:45", "sat,sun sunrise+00:30",
"2026-12-24,2026-12-31 18:00", "mon-fri 2026-11-01..2027-03-31 sunset-00:15"`

// ParseWhen reads DAYS TIME: "daily", days of the week (mon,wed or mon-fri),
// dates (2026-12-24 or 2026-12-01..2026-12-31), or days and dates, of which
// both must hold; then 07:30, 07:30:15, sunrise or sunset, the last two with
// +HH:MM or -HH:MM, at most twelve hours.
func ParseWhen(text string) (When, error) {
	var w When
	words := strings.Fields(strings.ToLower(text))
	if len(text) > maxWhen || len(words) < 2 || len(words) > 3 {
		return w, fmt.Errorf("write %s", strings.ReplaceAll(WhenHelp, "\n", " "))
	}
	var err error
	if w.at, err = parseMoment(words[len(words)-1]); err != nil {
		return When{}, err
	}
	for i, word := range words[:len(words)-1] {
		switch c := word[0]; {
		case i == 0 && word == "daily":
			w.days = [7]bool{true, true, true, true, true, true, true}
		case i == 0 && (c < '0' || c > '9'):
			err = w.parseDays(word)
		case w.dates == nil && c >= '0' && c <= '9':
			err = w.parseDates(word)
		default:
			err = fmt.Errorf("%q is in the wrong place: first days of the week, then dates, then the time", word)
		}
		if err != nil {
			return When{}, err
		}
	}
	if w.days == [7]bool{} {
		w.days = [7]bool{true, true, true, true, true, true, true}
	}
	return w, nil
}

func (w *When) parseDays(word string) error {
	for part := range strings.SplitSeq(word, ",") {
		from, to, ranged := strings.Cut(part, "-")
		a, b := weekday(from), weekday(to)
		if !ranged {
			b = a
		}
		if a < 0 || b < 0 {
			return fmt.Errorf("%q is no day of the week; write daily, mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri", part)
		}
		for d := a; ; d = (d + 1) % 7 { // sat-mon goes round
			w.days[d] = true
			if d == b {
				break
			}
		}
	}
	return nil
}

func weekday(s string) int {
	for i, n := range weekdays {
		if s == n {
			return i
		}
	}
	return -1
}

func (w *When) parseDates(word string) error {
	for part := range strings.SplitSeq(word, ",") {
		from, to, ranged := strings.Cut(part, "..")
		if !ranged {
			to = from
		}
		a, errA := time.Parse(time.DateOnly, from)
		b, errB := time.Parse(time.DateOnly, to)
		if errA != nil || errB != nil {
			return fmt.Errorf("%q is no date; write 2026-12-24, or 2026-12-01..2026-12-31", part)
		}
		if b.Before(a) {
			return fmt.Errorf("%q ends before it begins", part)
		}
		w.dates = append(w.dates, span{dateOf(a), dateOf(b)})
	}
	if len(w.dates) > maxSpans {
		return fmt.Errorf("more than %d dates; make several entries of them", maxSpans)
	}
	return nil
}

func parseMoment(word string) (moment, error) {
	for _, s := range []string{"sunrise", "sunset"} {
		rest, ok := strings.CutPrefix(word, s)
		if !ok {
			continue
		}
		if rest == "" {
			return moment{sun: s}, nil
		}
		d, ok := clock(rest[1:], false)
		if !ok || d > maxOffset || rest[0] != '+' && rest[0] != '-' {
			return moment{}, fmt.Errorf("%q: write %s, or %s+00:30, at most twelve hours away", word, s, s)
		}
		if rest[0] == '-' {
			d = -d
		}
		return moment{s, d}, nil
	}
	d, ok := clock(word, true)
	if !ok {
		return moment{}, fmt.Errorf("%q is no time; write 07:30, sunrise or sunset, sunrise+00:30 or sunset-01:15", word)
	}
	return moment{after: d}, nil
}

// clock reads HH:MM or, where seconds may be, HH:MM:SS.
func clock(s string, seconds bool) (time.Duration, bool) {
	if len(s) != 5 && !(seconds && len(s) == 8) {
		return 0, false
	}
	var v [3]int
	for i, limit := range []int{23, 59, 59}[:(len(s)+1)/3] {
		n, err := strconv.ParseUint(s[3*i:3*i+2], 10, 8)
		if err != nil || int(n) > limit || i > 0 && s[3*i-1] != ':' {
			return 0, false
		}
		v[i] = int(n)
	}
	return time.Duration(v[0])*time.Hour + time.Duration(v[1])*time.Minute + time.Duration(v[2])*time.Second, true
}

// NeedsPosition reports whether the rule depends on the Sun.
func (w When) NeedsPosition() bool { return w.at.sun != "" }

// String writes the rule so that ParseWhen reads the same.
func (w When) String() string {
	var parts []string
	all := w.days == [7]bool{true, true, true, true, true, true, true}
	switch {
	case !all:
		parts = append(parts, w.dayText())
	case len(w.dates) == 0:
		parts = append(parts, "daily")
	}
	var spans []string
	for _, s := range w.dates {
		t := s.from.String()
		if s.to != s.from {
			t += ".." + s.to.String()
		}
		spans = append(spans, t)
	}
	if spans != nil {
		parts = append(parts, strings.Join(spans, ","))
	}
	return strings.Join(append(parts, w.at.String()), " ")
}

// dayText lists the days from Monday on, three and more in a row as a range.
func (w When) dayText() string {
	var out []string
	for i := 1; i <= 7; {
		if !w.days[i%7] {
			i++
			continue
		}
		j := i
		for j < 7 && w.days[(j+1)%7] {
			j++
		}
		switch first, last := weekdays[i%7], weekdays[j%7]; {
		case j == i:
			out = append(out, first)
		case j == i+1:
			out = append(out, first, last)
		default:
			out = append(out, first+"-"+last)
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}

// String writes the time.
func (m moment) String() string {
	d, sign := m.after, ""
	switch {
	case m.sun != "" && d == 0:
		return m.sun
	case m.sun != "" && d < 0:
		d, sign = -d, "-"
	case m.sun != "":
		sign = "+"
	}
	s := fmt.Sprintf("%s%s%02d:%02d", m.sun, sign, d/time.Hour, d%time.Hour/time.Minute)
	if sec := d % time.Minute / time.Second; sec > 0 {
		s += fmt.Sprintf(":%02d", sec)
	}
	return s
}

// Place is where and by which clock a calendar runs.
type Place struct {
	Location *time.Location // nil for UTC
	Position *Position      // nil where it is not known: no Sun
}

func (p Place) zone() *time.Location {
	if p.Location == nil {
		return time.UTC
	}
	return p.Location
}

// errNoPosition: the Sun is asked for and nobody said where this is.
var errNoPosition = errors.New("sunrise and sunset need the gateway's position; set site.latitude and site.longitude in its configuration")

// on returns the moment of the rule on a day; ok is false when there is none.
func (w When) on(d date, p Place) (t time.Time, ok bool) {
	if !w.days[d.time().Weekday()] || !w.covers(d) {
		return time.Time{}, false
	}
	if w.at.sun == "" {
		return wall(d, w.at.after, p.zone()), true
	}
	if p.Position == nil {
		return time.Time{}, false
	}
	noon := wall(d, 12*time.Hour, p.zone())
	if w.at.sun == "sunrise" {
		t, ok = p.Position.Sunrise(noon)
	} else {
		t, ok = p.Position.Sunset(noon)
	}
	return t.Add(w.at.after).In(p.zone()), ok
}

func (w When) covers(d date) bool {
	for _, s := range w.dates {
		if !d.before(s.from) && !s.to.before(d) {
			return true
		}
	}
	return len(w.dates) == 0
}

// wall returns the moment at which a clock on the wall shows a time: the first
// where it comes twice, the moment of the jump where it is skipped.
func wall(d date, after time.Duration, loc *time.Location) time.Time {
	shown := d.time().Add(after) // as if the wall showed UTC
	// The offsets in force well before and well after.
	_, before := shown.Add(-36 * time.Hour).In(loc).Zone()
	_, later := shown.Add(36 * time.Hour).In(loc).Zone()
	var first time.Time
	for _, offset := range []int{before, later} {
		t := shown.Add(-time.Duration(offset) * time.Second).In(loc)
		if _, is := t.Zone(); is == offset && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !first.IsZero() {
		return first
	}
	start, _ := shown.Add(-time.Duration(before) * time.Second).In(loc).ZoneBounds()
	return start
}

// horizonDays is how far Next looks ahead: a polar night or a leap day later
// there is nothing new to find.
const horizonDays = 400

// Next returns the first moment after t, or false when there is none within
// the next 400 days; for rules with dates, within 400 days of the first date
// that is still to come.
func (w When) Next(t time.Time, p Place) (time.Time, bool) {
	d := dateOf(t.In(p.zone())).add(-1)
	if first, last, bounded := w.bounds(); bounded {
		if last.add(1).before(d) {
			return time.Time{}, false
		}
		if d.before(first) {
			d = first
		}
		d = w.skip(d)
	}
	for range horizonDays + 2 {
		if at, ok := w.on(d, p); ok && at.After(t) {
			return at, true
		}
		d = d.add(1)
	}
	return time.Time{}, false
}

// bounds are the first and the last date.
func (w When) bounds() (first, last date, ok bool) {
	for i, s := range w.dates {
		if i == 0 || s.from.before(first) {
			first = s.from
		}
		if i == 0 || last.before(s.to) {
			last = s.to
		}
	}
	return first, last, len(w.dates) > 0
}

// skip goes over a long time between two ranges of dates. Two days are left,
// for moments that the Sun moves to a neighbouring day.
func (w When) skip(d date) date {
	var next date
	for _, s := range w.dates {
		if !s.to.before(d.add(-2)) && !d.add(2).before(s.from) {
			return d // within one, or near
		}
		if d.before(s.from) && (next == date{} || s.from.before(next)) {
			next = s.from
		}
	}
	if next == (date{}) {
		return d
	}
	return next
}

// Latest returns the last moment not after t, of the two days before it.
func (w When) Latest(t time.Time, p Place) (at time.Time, ok bool) {
	today := dateOf(t.In(p.zone()))
	for n := -2; n <= 1; n++ {
		if m, there := w.on(today.add(n), p); there && !m.After(t) && (!ok || m.After(at)) {
			at, ok = m, true
		}
	}
	return at, ok
}
