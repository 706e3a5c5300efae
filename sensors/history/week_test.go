package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/store"
)

// kinds of series that the sizes are measured on.
var kinds = []struct {
	name string
	next func(r *rand.Rand, last int64) drivers.Value
}{
	{"random walk", func(r *rand.Rand, last int64) drivers.Value {
		return drivers.Decimal(drivers.Number{Mant: last + r.Int64N(21) - 10, Exp: -2}) // ±0.10 °C
	}},
	{"energy counter", func(r *rand.Rand, last int64) drivers.Value {
		return drivers.Long(last + 5 + r.Int64N(4)) // Wh
	}},
	{"door", func(r *rand.Rand, last int64) drivers.Value {
		return drivers.Bool((last != 0) != (r.IntN(400) == 0))
	}},
	{"noisy voltage", func(r *rand.Rand, _ int64) drivers.Value {
		return drivers.Decimal(drivers.Number{Mant: 2300 + int64(math.Round(r.NormFloat64()*8)), Exp: -1})
	}},
}

// load feeds series at 10 s each, as polled: some ms of jitter, fields of a
// device at the same instant.
type load struct {
	h    *History
	c    *clock
	r    *rand.Rand
	last []int64
	only int // kind, −1 for all four
}

func newLoad(h *History, c *clock, series, only int) *load {
	return &load{h: h, c: c, r: rand.New(rand.NewPCG(3, 4)), last: make([]int64, series), only: only}
}

func (l *load) tick() {
	l.c.t = l.c.t.Add(10 * time.Second)
	jitter := time.Duration(0)
	for i := range l.last {
		if i%4 == 0 {
			jitter = time.Duration(l.r.IntN(3)) * time.Millisecond
		}
		k := l.only
		if k < 0 {
			k = i % len(kinds)
		}
		at := l.c.t.Add(time.Duration(i/4)*17*time.Millisecond + jitter)
		v := kinds[k].next(l.r, l.last[i])
		l.last[i] = number(v)
		rd := live.Reading{Value: v, Time: at, Quality: live.AutomaticReadout, MaxAge: 32 * time.Second}
		l.h.Add(ref(i/4), fmt.Sprint("f", i%4), live.Reading{}, rd)
	}
}

// run feeds for d, committing and rolling up as Run does.
func (l *load) run(t testing.TB, d time.Duration) (samples int) {
	every := l.h.cfg.Offline
	if l.h.cfg.Connected() {
		every = l.h.cfg.Online
	}
	for n := range int(d / (10 * time.Second)) {
		l.tick()
		samples += len(l.last)
		if time.Duration(n+1)*10*time.Second%every == 0 {
			if err := l.h.commit(); err != nil {
				t.Fatal(err)
			}
			if err := l.h.roll(l.c.t); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.h.Flush(); err != nil {
		t.Fatal(err)
	}
	return samples
}

// size compacts a store and returns the octets of the file.
func size(t testing.TB, db *store.DB) int64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "compact")
	if err := db.Compact(path); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// Octets of a sample, as size of the file after compaction divided by samples:
// readings at most 2.5, roll-ups 2 more.
func TestSizeOfEachKind(t *testing.T) {
	for k, kind := range kinds {
		c := &clock{begin}
		db := openDB(t, filepath.Join(t.TempDir(), "db"))
		h := open(t, db, c, nil)
		n := newLoad(h, c, 100, k).run(t, 6*time.Hour)
		st := h.Status()
		total := float64(size(t, db)) / float64(n)
		sum := float64(st.Octets[0] + st.Octets[1] + st.Octets[2] + st.Octets[3])
		raw := total * float64(st.Octets[0]) / sum
		t.Logf("%-15s %.2f octets a sample: readings %.2f, roll-ups %.2f", kind.name, total, raw, total-raw)
		if raw > 2.5 || total-raw > 2 {
			t.Errorf("%s takes too much", kind.name)
		}
	}
}

// A week of 100 series at 10 s: size, a day's query, the stream, and what is
// written. A day by default; POSTERN_LONG=1 for the week and a month.
func TestWeek(t *testing.T) {
	long := os.Getenv("POSTERN_LONG") != ""
	for _, online := range []bool{true, false} {
		days := 1
		if long && online {
			days = 30
		}
		c := &clock{begin}
		db := openDB(t, filepath.Join(t.TempDir(), "db"))
		h := open(t, db, c, func(cfg *Config) { cfg.Connected = func() bool { return online }; cfg.Cap = 1 << 30 })
		before, disk := written(t)
		block := blockWritten(t)
		n := newLoad(h, c, 100, -1).run(t, time.Duration(days)*day)
		after, diskAfter := written(t)
		if block >= 0 {
			t.Logf("online %v: the block device got %.1f MB a day", online, float64(blockWritten(t)-block)/1e6/float64(days))
		}
		mb := float64(after-before) / 1e6 / float64(days)
		st := h.Status()
		t.Logf("online %v: %d samples; file %.2f octets each, of these readings about %.2f, roll-ups %.2f; %.1f MB a day written, write_bytes %.1f MB",
			online, n, float64(size(t, db))/float64(n), float64(st.Octets[0])/float64(n), float64(st.Octets[1]+st.Octets[2]+st.Octets[3])/float64(n),
			mb, float64(diskAfter-disk)/1e6/float64(days))
		if most := map[bool]float64{true: 20, false: 120}[online]; mb > most {
			t.Errorf("%.1f MB written a day, want %.0f at most", mb, most)
		}
		start := time.Now()
		ps := all(t, h.Raw(ref(3), "f0", c.t.Add(-day), c.t))
		took := time.Since(start)
		t.Logf("online %v: a day of a series: %d readings in %v", online, len(ps), took)
		if len(ps) < 8600 {
			t.Errorf("%d readings", len(ps))
		}
		cur, count := h.Raw(ref(3), "f0", time.Time{}, time.Time{}), 0
		start = time.Now()
		for more := true; more; {
			var err error
			if ps, more, err = cur.Next(ps[:0]); err != nil {
				t.Fatal(err)
			}
			count += len(ps)
		}
		t.Logf("online %v: %d readings streamed, %.0f a second", online, count, float64(count)/time.Since(start).Seconds())
		start = time.Now()
		rs := allRows(t, h.Rows(ref(3), "f0", PerMinute, c.t.Add(-day), c.t))
		t.Logf("online %v: a day of minutes: %d in %v", online, len(rs), time.Since(start))
	}
}

// written is what this process has handed to write calls, and write_bytes,
// which counts what that made dirty. Since Linux 6.16 ext4 counts in units that
// may be larger than the page that was written, so that the second is too high
// there.
func written(t testing.TB) (calls, dirty int64) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("no /proc/self/io: ", err)
	}
	var rchar, wchar, syscr, syscw, rb, wb int64
	if _, err := fmt.Sscanf(string(b), "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d\nread_bytes: %d\nwrite_bytes: %d", &rchar, &wchar, &syscr, &syscw, &rb, &wb); err != nil {
		t.Fatal(err)
	}
	return wchar, wb
}

// blockWritten is what a block device has been given, in octets; −1 where none
// is named. POSTERN_BLOCK is its stat file, such as /sys/block/loop0/stat, with
// the test's TMPDIR on a file system that has the device to itself.
func blockWritten(t testing.TB) int64 {
	path := os.Getenv("POSTERN_BLOCK")
	if path == "" {
		return -1
	}
	syscall.Sync()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b))
	if len(f) < 7 {
		t.Fatalf("%s: %q", path, b)
	}
	n, err := strconv.ParseInt(f[6], 10, 64) // sectors written, of 512 octets
	if err != nil {
		t.Fatal(err)
	}
	return n * 512
}

func BenchmarkDayQuery(b *testing.B) {
	c := &clock{begin}
	h := open(b, openDB(b, filepath.Join(b.TempDir(), "db")), c, nil)
	newLoad(h, c, 100, -1).run(b, day)
	b.ResetTimer()
	for b.Loop() {
		all(b, h.Raw(ref(3), "f0", begin, begin.Add(day)))
	}
}
