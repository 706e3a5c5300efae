package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/store"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

var begin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) // a Monday

func ref(i int) node.Ref { return node.Ref{ID: fmt.Sprintf("node%d", i)} }

func openDB(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func open(t testing.TB, db *store.DB, c *clock, change func(*Config)) *History {
	t.Helper()
	cfg := Config{DB: db, Now: c.now, Location: time.UTC, Connected: func() bool { return true }}
	if change != nil {
		change(&cfg)
	}
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func num(s string) drivers.Value {
	n, err := drivers.ParseNumber(s)
	if err != nil {
		panic(err)
	}
	return drivers.Decimal(n)
}

func reading(at time.Time, v drivers.Value) live.Reading {
	return live.Reading{Value: v, Unit: "°C", Time: at, Quality: live.AutomaticReadout, MaxAge: 32 * time.Second}
}

func all(t testing.TB, c *Cursor) []Point {
	t.Helper()
	var ps []Point
	for more := true; more; {
		var err error
		if ps, more, err = c.Next(ps); err != nil {
			t.Fatal(err)
		}
	}
	return ps
}

func allRows(t testing.TB, c *RowCursor) []Row {
	t.Helper()
	var rs []Row
	for more := true; more; {
		var err error
		if rs, more, err = c.Next(rs); err != nil {
			t.Fatal(err)
		}
	}
	return rs
}

// Every kind comes back as it was, digits and flags too, from memory, from
// the store, and from the store of the next run.
func TestValuesSurvive(t *testing.T) {
	c := &clock{begin}
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	h := open(t, db, c, nil)
	in := []drivers.Value{
		num("21.50"), num("21.5"), num("21.500"), num("-0.001"), num("9223372036854775807"), num("-9223372036854775808"),
		drivers.Bool(true), drivers.Bool(false), drivers.Int(-7), drivers.Long(1 << 60),
		drivers.Enum("open"), drivers.String("a ü"), drivers.String(""), drivers.Time(begin.Add(time.Nanosecond)),
		drivers.Text(drivers.KindDate, "2026-01-02"), drivers.Text(drivers.KindDuration, "PT5M"),
	}
	for i, v := range in {
		rd := reading(begin.Add(time.Duration(i)*1001*time.Millisecond), v)
		rd.Quality = live.Quality(1 << (i % live.NumFlags))
		h.Add(ref(1), "x", live.Reading{}, rd)
	}
	check := func(where string) {
		t.Helper()
		ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
		if len(ps) != len(in) {
			t.Fatalf("%s: %d readings, want %d", where, len(ps), len(in))
		}
		for i, p := range ps {
			if p.Value != in[i] || p.Unit != "°C" || p.Quality != live.Quality(1<<(i%live.NumFlags)) ||
				!p.Time.Equal(begin.Add(time.Duration(i)*1001*time.Millisecond)) {
				t.Errorf("%s: %d: %+v, want %v", where, i, p, in[i])
			}
		}
	}
	check("memory")
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	check("store")
	db.Close()
	db = openDB(t, path)
	h = open(t, db, c, nil)
	check("the next run")
	c.t = begin.Add(2 * time.Hour)
	if err := h.roll(c.t); err != nil {
		t.Fatal(err)
	}
	check("after the roll-up")
}

// 0323-D9: both ends of a range belong to it.
func Test0323D9_RangeIncludesBothEnds(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	for i := range 5000 {
		h.Add(ref(1), "x", live.Reading{}, reading(begin.Add(time.Duration(i)*time.Second), drivers.Int(int32(i))))
		if i%100 == 99 {
			if err := h.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range [][2]int{{0, 4999}, {10, 10}, {1234, 3777}, {4990, 4999}, {99, 100}} {
		ps := all(t, h.Raw(ref(1), "x", begin.Add(time.Duration(r[0])*time.Second), begin.Add(time.Duration(r[1])*time.Second)))
		if len(ps) != r[1]-r[0]+1 {
			t.Fatalf("%v: %d readings", r, len(ps))
		}
		for i, p := range ps {
			if n, _ := p.Value.Int(); n != int64(r[0]+i) {
				t.Fatalf("%v: reading %d is %d", r, i, n)
			}
		}
	}
	if ps := all(t, h.Raw(ref(2), "x", time.Time{}, time.Time{})); len(ps) != 0 {
		t.Error("readings of a field that has none")
	}
}

// A reader that is slow sees every reading once, whatever is written, rolled
// up and put together meanwhile.
func TestReadersAndWriter(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	n := 0
	more := func(k int) {
		for range k {
			c.t = begin.Add(time.Duration(n) * time.Second)
			h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(int32(n))))
			n++
			if n%30 == 0 {
				if err := h.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	more(4000)
	cur := h.Raw(ref(1), "x", time.Time{}, time.Time{})
	var ps []Point
	for ok, err := true, error(nil); ok; {
		if ps, ok, err = cur.Next(ps); err != nil {
			t.Fatal(err)
		}
		if n < 9000 {
			more(1500)
			if err := h.roll(c.t); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(ps) < 4000 {
		t.Fatalf("%d readings", len(ps))
	}
	for i, p := range ps {
		if k, _ := p.Value.Int(); k != int64(i) {
			t.Fatalf("reading %d is %d", i, k)
		}
	}
}

// A clock that is set back neither loses readings nor puts them out of order.
func TestClockSetBack(t *testing.T) {
	c := &clock{begin.Add(3 * time.Hour)}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	n := 0
	run := func(from time.Time, k int) {
		for i := range k {
			c.t = from.Add(time.Duration(i)*10*time.Second + time.Duration(n)*time.Millisecond)
			h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(int32(n))))
			n++
			if n%7 == 0 {
				if err := h.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	run(begin.Add(3*time.Hour), 200)
	run(begin.Add(3*time.Hour+10*time.Minute), 200)
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	if len(ps) != 400 {
		t.Fatalf("%d readings", len(ps))
	}
	for i := 1; i < len(ps); i++ {
		if ps[i].Time.Before(ps[i-1].Time) {
			t.Fatalf("reading %d is before the one in front of it", i)
		}
	}
}

// Readings from before the clock is sane get their time afterwards.
func TestTimeIsFilledIn(t *testing.T) {
	sane := false
	c := &clock{time.Now()}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, func(cfg *Config) { cfg.ClockSane = func() bool { return sane } })
	rd := reading(c.t, drivers.Int(1))
	rd.Quality |= live.TimeOffset
	h.Add(ref(1), "x", live.Reading{}, rd)
	if ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{})); len(ps) != 0 {
		t.Fatal("a reading with a time that cannot be believed")
	}
	sane = true
	c.t = c.t.Add(time.Minute)
	h.Add(ref(1), "x", rd, reading(c.t, drivers.Int(2)))
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	if len(ps) != 2 || ps[0].Quality != live.AutomaticReadout || ps[1].Time.Sub(ps[0].Time).Round(time.Second) != time.Minute {
		t.Fatalf("%+v", ps)
	}
	sane = false
	h.Add(ref(1), "x", rd, reading(c.t.Add(time.Minute), drivers.Int(3)))
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if ps = all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{})); len(ps) != 3 || ps[2].Quality&live.TimeOffset == 0 {
		t.Errorf("at the end, what has no sure time is kept with timeOffset: %+v", ps)
	}
}

// A failing field leaves one failure in the history, not one a poll.
func TestFailureIsKeptOnce(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, nil)
	l := live.New()
	defer h.Observe(l)()
	l.Put(ref(1), "x", reading(begin, num("1.0")))
	for i := range 5 {
		c.t = begin.Add(time.Duration(i+1) * time.Second)
		l.Fail(ref(1), "x", c.t, errors.New("gone"))
	}
	c.t = c.t.Add(time.Second)
	l.Put(ref(1), "x", reading(c.t, num("1.1")))
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	if len(ps) != 3 || ps[1].Quality != live.Missing|live.Error || !ps[1].Time.Equal(begin.Add(time.Second)) {
		t.Errorf("%+v", ps)
	}
}

// Blocks never grow beyond the cap, and what was dropped is counted.
func TestCapDropsTheOldest(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, func(cfg *Config) { cfg.Cap = 100_000 })
	r := rand.New(rand.NewPCG(1, 2))
	n := 0
	for range 40 {
		for range 360 {
			c.t = c.t.Add(10 * time.Second)
			h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Long(r.Int64())))
			n++
		}
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := h.roll(c.t); err != nil {
			t.Fatal(err)
		}
	}
	st := h.Status()
	if sum := st.Octets[0] + st.Octets[1] + st.Octets[2] + st.Octets[3]; sum > 110_000 {
		t.Errorf("%d octets", sum)
	}
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	if st.Dropped == 0 || len(ps)+int(st.Dropped) < n || len(ps) < 1000 {
		t.Errorf("%d of %d kept, %d dropped", len(ps), n, st.Dropped)
	}
	if !ps[len(ps)-1].Time.Equal(c.t) {
		t.Error("the newest is missing")
	}
}

// What is too old goes.
func TestRetention(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, func(cfg *Config) { cfg.Raw = 6 * time.Hour })
	for range 24 * 60 {
		c.t = c.t.Add(time.Minute)
		h.Add(ref(1), "x", live.Reading{}, reading(c.t, num("20.1")))
		if c.t.Minute()%5 == 0 {
			if err := h.step(false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	if age := c.t.Sub(ps[0].Time); age > 7*time.Hour+5*time.Minute || age < 5*time.Hour {
		t.Errorf("the oldest reading is %v old", age)
	}
	if rs := allRows(t, h.Rows(ref(1), "x", PerHour, time.Time{}, time.Time{})); len(rs) < 23 {
		t.Errorf("%d hours", len(rs))
	}
}
