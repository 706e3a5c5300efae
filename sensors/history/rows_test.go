package history

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Skip("no time zones here: ", err)
	}
	return loc
}

// brute makes the rows of a period in the plainest way there is.
func brute(vals []drivers.Number, times []time.Time, end func(time.Time) time.Time) map[time.Time]Row {
	out := map[time.Time]Row{}
	sums := map[time.Time]*big.Rat{}
	for i, v := range vals {
		e := end(times[i])
		r := out[e]
		if r.Count == 0 {
			r.Min, r.Max = drivers.Decimal(v), drivers.Decimal(v)
			sums[e] = new(big.Rat)
		}
		if n, _ := r.Min.Number(); v.Cmp(n) < 0 {
			r.Min = drivers.Decimal(v)
		}
		if n, _ := r.Max.Number(); v.Cmp(n) > 0 {
			r.Max = drivers.Decimal(v)
		}
		r.Last = drivers.Decimal(v)
		r.Count++
		x, _ := new(big.Rat).SetString(v.String())
		sums[e].Add(sums[e], x)
		out[e] = r
	}
	for e, r := range out {
		m, err := drivers.ParseNumber(new(big.Rat).Quo(sums[e], big.NewRat(r.Count, 1)).FloatString(3))
		if err != nil {
			panic(err)
		}
		r.Mean = drivers.Decimal(m)
		out[e] = r
	}
	return out
}

// Minutes, hours, days, weeks, months, quarters and years, in zones with
// changes of the clock and half hours, equal what the readings come to.
func TestRollUpsAreExact(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"} {
		t.Run(name, func(t *testing.T) { exact(t, zone(t, name)) })
	}
}

func exact(t *testing.T, loc *time.Location) {
	c := &clock{time.Date(2026, 3, 25, 7, 12, 0, 0, loc)}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, func(cfg *Config) { cfg.Location = loc })
	r := rand.New(rand.NewPCG(1, 2))
	var vals []drivers.Number
	var times []time.Time
	for i := range 12 * 24 * 40 {
		c.t = c.t.Add(5*time.Minute + time.Duration(r.IntN(1000)-500)*time.Millisecond)
		v := drivers.Number{Mant: r.Int64N(10_000) - 5_000, Exp: -2}
		vals, times = append(vals, v), append(times, time.UnixMilli(c.t.UnixMilli()).In(loc))
		h.Add(ref(1), "x", live.Reading{}, live.Reading{Value: drivers.Decimal(v), Time: c.t, Quality: live.AutomaticReadout})
		if i%60 == 0 {
			if err := h.commit(); err != nil {
				t.Fatal(err)
			}
			if err := h.roll(c.t); err != nil {
				t.Fatal(err)
			}
		}
	}
	date := func(t time.Time, months, days int) time.Time {
		y, m, d := t.Date()
		return time.Date(y, m+time.Month(months), d+days, 0, 0, 0, 0, loc)
	}
	ends := map[Period]func(time.Time) time.Time{
		PerMinute: func(x time.Time) time.Time { return x.Truncate(time.Minute).Add(time.Minute) },
		PerHour:   func(x time.Time) time.Time { return h.at(h.hourEnd(x.UnixMilli())) },
		PerDay:    func(x time.Time) time.Time { return date(x, 0, 1) },
		PerWeek:   func(x time.Time) time.Time { return date(x, 0, 7-(int(x.Weekday())+6)%7) },
		PerMonth:  func(x time.Time) time.Time { return date(x, 1, 1-x.Day()) },
		PerQuarter: func(x time.Time) time.Time {
			return time.Date(x.Year(), (x.Month()-1)/3*3+4, 1, 0, 0, 0, 0, loc)
		},
		PerYear: func(x time.Time) time.Time { return time.Date(x.Year()+1, 1, 1, 0, 0, 0, 0, loc) },
	}
	for p, end := range ends {
		want := brute(vals, times, end)
		for e := range want {
			if e.After(c.t) {
				delete(want, e)
			}
		}
		got := allRows(t, h.Rows(ref(1), "x", p, time.Time{}, time.Time{}))
		if len(got) != len(want) {
			t.Errorf("period %d: %d rows, want %d", p, len(got), len(want))
		}
		for i, g := range got {
			w := want[g.End]
			if g.Count != w.Count || g.Last != w.Last || g.Min != w.Min || g.Max != w.Max || g.Mean != w.Mean {
				t.Fatalf("period %d, row %d: got %+v\nwant %+v", p, i, g, w)
			}
			if i > 0 && !g.End.After(got[i-1].End) {
				t.Fatalf("period %d: row %d is out of order", p, i)
			}
		}
	}
}

// What hours, half hours of a zone and changed clocks come to.
func TestHoursOfZones(t *testing.T) {
	for _, c := range []struct{ zone, at, start, end string }{
		{"Asia/Kolkata", "2026-05-01T10:20:00Z", "2026-05-01T09:30:00Z", "2026-05-01T10:30:00Z"},
		{"Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
	} {
		h := &History{cfg: Config{Location: zone(t, c.zone)}}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		s, e := h.at(h.hourStart(at.UnixMilli())), h.at(h.hourEnd(at.UnixMilli()))
		if s.UTC().Format(time.RFC3339) != c.start || e.UTC().Format(time.RFC3339) != c.end {
			t.Errorf("%s in %s: %s to %s", c.at, c.zone, s.UTC(), e.UTC())
		}
	}
	// Days have 23 and 25 hours where the clock is changed.
	h := &History{cfg: Config{Location: zone(t, "Europe/Berlin")}}
	for day, hours := range map[string]int64{"2026-03-29": 23, "2026-10-25": 25, "2026-06-01": 24} {
		d, err := time.ParseInLocation(time.DateOnly, day, h.cfg.Location)
		if err != nil {
			t.Fatal(err)
		}
		ms := d.Add(12 * time.Hour).UnixMilli()
		if got := (h.end(PerDay, ms) - h.start(PerDay, ms)) / hourMs; got != hours {
			t.Errorf("%s has %d hours", day, got)
		}
	}
}

// Gaps, failures and periods that are cut short are flagged; others are not.
func TestGapAndPartial(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	for i := range 5 * 360 {
		at := begin.Add(time.Duration(i) * 10 * time.Second)
		rd := reading(at, num("1.0"))
		switch m := i / 6; {
		case m >= 60+10 && m < 60+15: // silence in hour 2
			continue
		case m == 120+10 && i%6 == 2: // a failure in hour 3
			rd.Err, rd.Quality = errDamaged, live.Missing|live.Error
		case m >= 180 && m < 200: // hour 4 begins late
			continue
		}
		c.t = at
		h.Add(ref(1), "x", live.Reading{}, rd)
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	c.t = begin.Add(5*time.Hour + time.Minute)
	check := func(where string) {
		t.Helper()
		var got string
		for _, r := range allRows(t, h.Rows(ref(1), "x", PerHour, time.Time{}, time.Time{})) {
			got += fmt.Sprintf("%d:%v/%v ", r.End.Hour(), r.Gap, r.Partial)
			if flagged := r.Quality()&live.Warning != 0; flagged != (r.Gap || r.Partial) {
				t.Error("Quality")
			}
		}
		if want := "1:false/false 2:true/false 3:true/false 4:false/true 5:false/false "; got != want {
			t.Errorf("%s: %s, want %s", where, got, want)
		}
	}
	check("out of readings")
	if err := h.roll(c.t); err != nil {
		t.Fatal(err)
	}
	check("out of the store")
	if st := h.Status(); st.Octets[1] == 0 || st.Octets[2] == 0 {
		t.Errorf("%+v", st)
	}
	// The day is made when it is over, out of its hours.
	c.t = begin.Add(25 * time.Hour)
	h.Add(ref(1), "x", live.Reading{}, reading(c.t, num("2.0")))
	c.t = begin.Add(27 * time.Hour)
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := h.roll(c.t); err != nil {
		t.Fatal(err)
	}
	rs := allRows(t, h.Rows(ref(1), "x", PerDay, time.Time{}, time.Time{}))
	if len(rs) != 1 || !rs[0].Partial || rs[0].Count != 5*360-30-1-120 || h.Status().Octets[3] == 0 {
		t.Errorf("%+v", rs)
	}
}

// Readings with more digits and fewer come to one row, exactly.
func TestRowsOfMixedDigits(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	for i, v := range []string{"1.5", "1.25", "2", "1.125"} {
		h.Add(ref(1), "x", live.Reading{}, reading(begin.Add(time.Duration(i+1)*time.Second), num(v)))
	}
	h.Add(ref(1), "x", live.Reading{}, reading(begin.Add(2*time.Minute), num("7")))
	c.t = begin.Add(2 * time.Minute)
	for range 2 {
		rs := allRows(t, h.Rows(ref(1), "x", PerMinute, time.Time{}, begin.Add(time.Minute)))
		if len(rs) != 1 || rs[0].Min.String() != "1.125" || rs[0].Max.String() != "2.000" ||
			rs[0].Mean.String() != "1.4688" || rs[0].Last.String() != "1.125" || rs[0].Count != 4 {
			t.Fatalf("%+v", rs)
		}
		c.t = begin.Add(2 * time.Hour)
		if err := h.roll(c.t); err != nil {
			t.Fatal(err)
		}
	}
}

// A sum that is beyond 64 bits gives no mean instead of a wrong one.
func TestNoWrongMean(t *testing.T) {
	c := &clock{begin.Add(time.Minute)}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	for i, v := range []int64{1 << 62, -1 << 62, 1<<63 - 1, -1 << 63} {
		h.Add(ref(1), "x", live.Reading{}, reading(begin.Add(time.Duration(i+1)*time.Second), drivers.Long(v)))
	}
	rs := allRows(t, h.Rows(ref(1), "x", PerMinute, time.Time{}, time.Time{}))
	if len(rs) != 1 || rs[0].Mean.Kind() != drivers.KindNone || rs[0].Min != drivers.Long(-1<<63) || rs[0].Max != drivers.Long(1<<63-1) {
		t.Errorf("%+v", rs)
	}
}

// Booleans and texts have a last value and a count.
func TestRowsOfTexts(t *testing.T) {
	c := &clock{begin.Add(time.Hour)}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	for i := range 10 {
		at := begin.Add(time.Duration(i) * 10 * time.Second)
		h.Add(ref(1), "door", live.Reading{}, reading(at, drivers.Bool(i%2 == 0)))
		h.Add(ref(1), "mode", live.Reading{}, reading(at, drivers.Enum(fmt.Sprint("m", i))))
	}
	c.t = begin.Add(2 * time.Hour)
	for range 2 {
		for name, want := range map[string]drivers.Value{"door": drivers.Bool(false), "mode": drivers.Enum("m9")} {
			rs := allRows(t, h.Rows(ref(1), name, PerHour, time.Time{}, time.Time{}))
			if len(rs) != 1 || rs[0].Last != want || rs[0].Count != 10 || rs[0].Mean.Kind() != drivers.KindNone {
				t.Errorf("%s: %+v", name, rs)
			}
		}
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := h.roll(c.t); err != nil {
			t.Fatal(err)
		}
	}
}
