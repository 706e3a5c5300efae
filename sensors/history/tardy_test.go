package history

import (
	"path/filepath"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
)

// Late readings change what the minutes, the hour and the day came to, also
// when the gateway ends between their commit and that.
func TestLateReadings(t *testing.T) {
	for _, restart := range []bool{false, true} {
		c := &clock{begin}
		path := filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		h := open(t, db, c, nil)
		add := func(at time.Time, v int32) {
			h.Add(ref(1), "x", live.Reading{}, reading(at, drivers.Int(v)))
		}
		for i := range 6 * 60 * 26 {
			c.t = begin.Add(time.Duration(i) * 10 * time.Second)
			add(c.t, 10)
		}
		if err := h.commit(); err != nil {
			t.Fatal(err)
		}
		if err := h.roll(c.t); err != nil {
			t.Fatal(err)
		}
		at := begin.Add(3*time.Hour + 7*time.Minute + 5*time.Second)
		add(at, 99)
		if err := h.commit(); err != nil {
			t.Fatal(err)
		}
		if restart {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			h = open(t, openDB(t, path), c, nil)
		}
		used := h.Status().Octets
		if err := h.roll(c.t); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			p     Period
			end   time.Time
			count int64
		}{
			{PerMinute, begin.Add(3*time.Hour + 8*time.Minute), 7},
			{PerHour, begin.Add(4 * time.Hour), 361},
			{PerDay, begin.Add(24 * time.Hour), 8641},
			{PerHour, begin.Add(5 * time.Hour), 360},
		} {
			rows := allRows(t, h.Rows(ref(1), "x", tc.p, tc.end, tc.end))
			if len(rows) != 1 || rows[0].Count != tc.count {
				t.Errorf("restart %v, period %d to %v: %+v, want %d", restart, tc.p, tc.end, rows, tc.count)
				continue
			}
			want := int64(10)
			if tc.count%10 == 1 || tc.count == 7 {
				want = 99
			}
			if m, _ := rows[0].Max.Int(); m != want {
				t.Errorf("restart %v, period %d: largest %d", restart, tc.p, m)
			}
		}
		now := h.Status().Octets
		for l := 1; l < 4; l++ {
			if d := now[l] - used[l]; d > 200 || d < -200 {
				t.Errorf("level %d went from %d to %d octets", l, used[l], now[l])
			}
		}
		if len(h.tardy) != 0 {
			t.Error("the mark stays")
		}
		if err := h.roll(c.t); err != nil {
			t.Fatal(err)
		}
		if err := h.cfg.DB.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A clock that was far ahead for a while, and is set right again: no minute, hour
// or day is missing afterwards, and none is there twice, also after a restart.
func TestClockWasAhead(t *testing.T) {
	for _, restart := range []bool{false, true} {
		c := &clock{begin}
		path := filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		h := open(t, db, c, nil)
		run := func(from, long time.Duration) {
			for at := from; at < from+long; at += time.Minute {
				c.t = begin.Add(at)
				h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(1)))
				if at%(10*time.Minute) == 0 {
					if err := h.step(true); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := h.commit(); err != nil {
				t.Fatal(err)
			}
			if err := h.roll(c.t); err != nil {
				t.Fatal(err)
			}
		}
		run(0, 10*time.Hour+30*time.Minute)
		run(50*24*time.Hour, 30*time.Hour) // ahead by fifty days
		if restart {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			h = open(t, openDB(t, path), c, nil)
		}
		run(10*time.Hour+30*time.Minute, 3*24*time.Hour)
		for _, tc := range []struct {
			p    Period
			from time.Duration
			end  time.Duration
			want int
		}{{PerDay, 24 * time.Hour, 72 * time.Hour, 3}, {PerHour, 9 * time.Hour, 14 * time.Hour, 6}, {PerMinute, 10*time.Hour + time.Minute, 11 * time.Hour, 60}} {
			rows := allRows(t, h.Rows(ref(1), "x", tc.p, begin.Add(tc.from), begin.Add(tc.end)))
			if len(rows) != tc.want {
				t.Errorf("restart %v: %d records of period %d, want %d", restart, len(rows), tc.p, tc.want)
			}
			for i := range rows {
				if i > 0 && !rows[i].End.After(rows[i-1].End) {
					t.Errorf("restart %v: twice until %v", restart, rows[i].End)
				}
			}
		}
		// The days from when it was ahead come for real.
		run(50*24*time.Hour, 60*time.Hour)
		for _, p := range []Period{PerMinute, PerHour, PerDay} {
			rows := allRows(t, h.Rows(ref(1), "x", p, begin.Add(50*24*time.Hour+time.Minute), begin.Add(52*24*time.Hour)))
			for i := range rows {
				if i > 0 && !rows[i].End.After(rows[i-1].End) {
					t.Fatalf("restart %v, period %d: twice until %v", restart, p, rows[i].End)
				}
			}
			if want := map[Period]int{PerMinute: 48 * 60, PerHour: 48, PerDay: 2}[p]; len(rows) != want {
				t.Errorf("restart %v: %d records of period %d, want %d", restart, len(rows), p, want)
			}
		}
	}
}
