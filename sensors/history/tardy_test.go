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
