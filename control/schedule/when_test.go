package schedule

import (
	"math"
	"strings"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("no time zones here: %v", err)
	}
	return loc
}

func must(t testing.TB, text string) When {
	t.Helper()
	w, err := ParseWhen(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return w
}

func TestParseWhen(t *testing.T) {
	for in, want := range map[string]string{
		"daily 07:30":                        "daily 07:30",
		"Daily  7:30":                        "",
		"DAILY 07:30:15":                     "daily 07:30:15",
		"mon-fri 06:45":                      "mon-fri 06:45",
		"sun,sat sunrise+00:30":              "sat,sun sunrise+00:30",
		"sat-mon 00:00":                      "mon,sat,sun 00:00",
		"fri-tue 00:00":                      "mon,tue,fri-sun 00:00",
		"mon-sun sunset":                     "daily sunset",
		"2026-12-24 18:00":                   "2026-12-24 18:00",
		"2026-12-24,2026-12-31 sunset-00:15": "2026-12-24,2026-12-31 sunset-00:15",
		"mon 2026-11-01..2027-03-31 sunset":  "mon 2026-11-01..2027-03-31 sunset",
		"daily 2026-11-01..2027-03-31 06:00": "2026-11-01..2027-03-31 06:00",
		"daily sunrise+12:00":                "daily sunrise+12:00",
		"":                                   "", "daily": "", "07:30": "", "daily 24:00": "", "daily 12:60": "", "daily 12:0": "", "daily noon": "",
		"moon 07:30": "", "mon- 07:30": "", "mon,,tue 07:30": "", "2026-02-30 07:30": "", "2026-12-31..2026-12-01 07:30": "",
		"2026-12-24 mon 07:30": "", "mon tue 07:30": "", "daily sunrise+12:01": "", "daily sunrise 00:30": "", "daily sunset*00:30": "",
		"daily sunrise+": "", "daily 07:30 x": "", "daily +7:30": "", "daily 07-30": "",
	} {
		w, err := ParseWhen(in)
		if (err == nil) != (want != "") || err == nil && w.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, w, err, want)
		}
	}
	long := "2026-12-24" + strings.Repeat(",2026-12-24", maxSpans) + " 07:30"
	if _, err := ParseWhen(long); err == nil {
		t.Error("more dates than are kept")
	}
}

func TestNext(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	p := Place{Location: berlin}
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ when, from, want string }{
		{"daily 07:30", "2026-11-30 07:29", "2026-11-30 07:30"},
		{"daily 07:30", "2026-11-30 07:30", "2026-12-01 07:30"}, // strictly after
		{"mon-fri 07:30", "2026-12-04 08:00", "2026-12-07 07:30"},
		{"2026-12-24 18:00", "2026-11-30 00:00", "2026-12-24 18:00"},
		{"2026-12-24 18:00", "2026-12-24 18:00", ""},
		{"2040-02-29 18:00", "2026-12-24 18:00", "2040-02-29 18:00"}, // far away
		{"2026-01-01,2040-02-29 18:00", "2026-12-24 18:00", "2040-02-29 18:00"},
		{"2040-02-29,2026-12-25 18:00", "2026-12-24 18:00", "2026-12-25 18:00"},
		{"mon 2026-12-01..2026-12-06 18:00", "2026-11-30 00:00", ""}, // no Monday among them
		{"sun 2026-12-01..2026-12-06 18:00", "2026-11-30 00:00", "2026-12-06 18:00"},
	} {
		got, ok := must(t, c.when).Next(at(c.from), p)
		if ok != (c.want != "") || ok && !got.Equal(at(c.want)) {
			t.Errorf("%s after %s: %v %v, want %s", c.when, c.from, got, ok, c.want)
		}
	}
	if _, ok := must(t, "daily sunset").Next(at("2026-12-01 00:00"), p); ok {
		t.Error("the Sun sets at no place at all")
	}
}

// A time that the clock skips is the moment of the jump, one that comes twice
// is the first.
func TestTimeThatIsSkippedOrComesTwice(t *testing.T) {
	for _, c := range []struct{ zone, when, from, want string }{
		{"Europe/Berlin", "daily 02:30", "2026-03-29T00:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"Europe/Berlin", "daily 02:00", "2026-03-29T00:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"Europe/Berlin", "daily 03:00", "2026-03-29T00:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"Europe/Berlin", "daily 01:59", "2026-03-29T00:00:00+01:00", "2026-03-29T01:59:00+01:00"},
		{"Europe/Berlin", "daily 02:30", "2026-10-25T00:00:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"Europe/Berlin", "daily 02:30", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}, // not again an hour later
		{"Europe/Berlin", "daily 03:00", "2026-10-25T00:00:00+02:00", "2026-10-25T03:00:00+01:00"},
		{"America/New_York", "daily 02:30", "2026-03-08T00:00:00-05:00", "2026-03-08T03:00:00-04:00"},
		{"Australia/Lord_Howe", "daily 02:15", "2026-10-04T00:00:00+10:30", "2026-10-04T02:30:00+11:00"}, // half an hour
		{"Australia/Lord_Howe", "daily 01:45", "2026-04-05T00:00:00+11:00", "2026-04-05T01:45:00+11:00"},
		{"Pacific/Apia", "2011-12-30 12:00", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"}, // a day that was not
	} {
		from, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := must(t, c.when).Next(from, Place{Location: zone(t, c.zone)})
		if !ok || got.Format(time.RFC3339) != c.want {
			t.Errorf("%s: %s after %s: %s, want %s", c.zone, c.when, c.from, got.Format(time.RFC3339), c.want)
		}
	}
}

// Every local time of two years agrees with a search minute by minute.
func TestWallAgreesWithASearch(t *testing.T) {
	loc := zone(t, "Europe/London")
	type key struct {
		d    date
		h, m int
	}
	first := map[key]time.Time{}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for at := start; at.Before(start.AddDate(1, 0, 0)); at = at.Add(5 * time.Minute) {
		l := at.In(loc)
		k := key{dateOf(l), l.Hour(), l.Minute()}
		if _, seen := first[k]; !seen {
			first[k] = at
		}
	}
	for k, want := range first {
		if got := wall(k.d, time.Duration(k.h)*time.Hour+time.Duration(k.m)*time.Minute, loc); !got.Equal(want) {
			t.Fatalf("%v %02d:%02d: %v, want %v", k.d, k.h, k.m, got, want)
		}
	}
}

func TestLatest(t *testing.T) {
	p := Place{Location: zone(t, "Europe/Berlin")}
	now := time.Date(2026, 11, 30, 6, 0, 0, 0, p.Location)
	for when, want := range map[string]string{
		"daily 05:00": "2026-11-30T05:00:00+01:00", "daily 06:00": "2026-11-30T06:00:00+01:00",
		"daily 07:00": "2026-11-29T07:00:00+01:00", "tue 07:00": "", "2026-11-20 07:00": "",
	} {
		got, ok := must(t, when).Latest(now, p)
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v, want %s", when, got, ok, want)
		}
	}
}

// Published times: of London (51.5° N, 0.125° W), June 2025, with seconds; of
// Helsinki, January 2018; of Decorah, Iowa, September, from tables of the US
// Naval Observatory in whole minutes that serve any year: within a leap cycle
// the same date moves by a minute and a half. Almanacs round to minutes.
func TestSunAgreesWithPublishedTimes(t *testing.T) {
	london, helsinki, decorah := Position{51.5, -0.125}, Position{60.1699, 24.9384}, Position{43.303, -91.786}
	for _, c := range []struct {
		where     Position
		day       string
		offset    int // hours
		rise, set string
		within    time.Duration
	}{
		{london, "2025-06-15", 1, "04:42:13", "21:20:07", time.Minute},
		{london, "2025-06-17", 1, "04:42:09", "21:20:59", time.Minute},
		{london, "2025-06-20", 1, "04:42:26", "21:21:54", time.Minute},
		{london, "2025-06-24", 1, "04:43:31", "21:22:24", time.Minute},
		{london, "2025-06-26", 1, "04:44:21", "21:22:21", time.Minute},
		{helsinki, "2018-01-01", 2, "09:23:34", "15:24:17", 90 * time.Second},
		{helsinki, "2018-01-05", 2, "09:20:45", "15:30:45", 90 * time.Second},
		{helsinki, "2018-01-09", 2, "09:16:37", "15:38:17", 90 * time.Second},
		{decorah, "2023-09-01", -5, "06:32:00", "19:41:00", 2 * time.Minute},
		{decorah, "2023-09-15", -5, "06:47:00", "19:16:00", 2 * time.Minute},
		{decorah, "2023-09-30", -5, "07:04:00", "18:49:00", 2 * time.Minute},
	} {
		loc := time.FixedZone("", c.offset*3600)
		day, err := time.ParseInLocation(time.DateOnly, c.day, loc)
		if err != nil {
			t.Fatal(err)
		}
		noon := day.Add(12 * time.Hour)
		check := func(what, want string, got time.Time, ok bool) {
			w, err := time.ParseInLocation("2006-01-02 15:04:05", c.day+" "+want, loc)
			if err != nil {
				t.Fatal(err)
			}
			if d := got.Sub(w).Abs(); !ok || d > c.within {
				t.Errorf("%s %+v: %s at %s, published %s (%v away)", c.day, c.where, what, got.In(loc).Format(time.TimeOnly), want, d)
			}
		}
		rise, ok := c.where.Sunrise(noon)
		check("sunrise", c.rise, rise, ok)
		set, ok := c.where.Sunset(noon)
		check("sunset", c.set, set, ok)
	}
}

// naval is the calculation of the US Naval Observatory's Almanac for
// Computers (1990), good to a minute away from the poles: written from
// another theory than the package's.
func naval(d date, p Position, rising bool) (utc float64, ok bool) {
	sin := func(x float64) float64 { return math.Sin(x * rad) }
	cos := func(x float64) float64 { return math.Cos(x * rad) }
	wrap := func(x, m float64) float64 { return math.Mod(math.Mod(x, m)+m, m) }
	side, hour := 1.0, 18.0
	if rising {
		side, hour = -1, 6
	}
	t := float64(d.time().YearDay()) + (hour-p.Longitude/15)/24
	m := 0.9856*t - 3.289
	l := wrap(m+1.916*sin(m)+0.020*sin(2*m)+282.634, 360)
	ra := wrap(math.Atan2(0.91764*sin(l), cos(l))/rad, 360) / 15
	dec := math.Asin(0.39782 * sin(l))
	c := (cos(90+50.0/60) - math.Sin(dec)*sin(p.Latitude)) / (math.Cos(dec) * cos(p.Latitude))
	if c < -1 || c > 1 {
		return 0, false
	}
	h := side * math.Acos(c) / rad / 15
	return wrap(h+ra-0.06571*t-6.622-p.Longitude/15, 24), true
}

func TestSunAgreesWithTheNavalObservatorysMethod(t *testing.T) {
	worst := 0.0
	for lat := -60.0; lat <= 60; lat += 10 {
		for lon := -180.0; lon <= 180; lon += 60 {
			p := Position{lat, lon}
			for n := range 73 {
				d := date{2026, 1, 1}.add(5 * n)
				noon := d.time().Add(12*time.Hour - time.Duration(lon*4*float64(time.Minute)))
				for _, rising := range []bool{true, false} {
					got, ok := p.Sunset(noon)
					if rising {
						got, ok = p.Sunrise(noon)
					}
					want, okWant := naval(d, p, rising)
					if !ok || !okWant {
						t.Fatalf("%v %+v: %v %v", d, p, ok, okWant)
					}
					u := got.UTC()
					diff := math.Abs(math.Remainder(float64(u.Hour())+float64(u.Minute())/60+float64(u.Second())/3600-want, 24)) * 60
					worst = max(worst, diff)
				}
			}
		}
	}
	t.Logf("at most %.2f min apart", worst)
	if worst > 2 {
		t.Errorf("%.2f min apart", worst)
	}
}

func TestPolarNight(t *testing.T) {
	p := Place{Position: &Position{69.65, 18.96}, Location: time.FixedZone("", 3600)} // Tromsø: dark from 27 November on
	from := time.Date(2026, 12, 1, 0, 0, 0, 0, p.Location)
	got, ok := must(t, "daily sunrise").Next(from, p)
	if !ok || got.Before(time.Date(2027, 1, 12, 0, 0, 0, 0, p.Location)) || got.After(time.Date(2027, 1, 18, 0, 0, 0, 0, p.Location)) {
		t.Errorf("the Sun comes back on %v", got)
	}
	for _, lat := range []float64{90, -90} {
		if _, ok := (Position{lat, 0}).Sunrise(from); ok {
			t.Errorf("the Sun rises daily at latitude %v", lat)
		}
	}
	// Where the date is far from the Sun's: the day is the wall's.
	kiritimati := Place{Position: &Position{1.87, -157.4}, Location: time.FixedZone("", 14*3600)}
	got, ok = must(t, "2026-06-01 sunrise").Next(from.AddDate(-1, 0, 0), kiritimati)
	if !ok || got.Format("2006-01-02 15") != "2026-06-01 06" {
		t.Errorf("%v", got)
	}
}

func FuzzWhen(f *testing.F) {
	f.Add("daily 07:30")
	f.Add("mon-fri,sun 2026-11-01..2027-03-31,2026-02-28 sunset-00:15")
	p := Place{Location: time.FixedZone("", 3600), Position: &Position{52, 13}}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseWhen(text)
		if err != nil {
			return
		}
		again, err := ParseWhen(w.String())
		if err != nil || again.String() != w.String() {
			t.Fatalf("%q is written %q: %v", text, w, err)
		}
		next, ok := w.Next(now, p)
		if ok && !next.After(now) {
			t.Fatalf("%q: next is %v", text, next)
		}
		if last, ok := w.Latest(now, p); ok && last.After(now) {
			t.Fatalf("%q: latest is %v", text, last)
		}
	})
}
