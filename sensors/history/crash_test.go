package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

// TestMain lets the test program be the one that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == checkArgument {
		if err := store.Check(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	storetest.Main(victim)
	os.Exit(m.Run())
}

// checkArgument makes this binary the process that looks at a store before it
// is used, as postern store check is for the gateway.
const checkArgument = "check-the-store"

// long is how long the victim's readings are kept: many kills make many.
const long = 10_000 * day

// victim goes on measuring where the store ends, says what it measured and
// what it has committed, until it is killed.
func victim(path string, n int) error {
	db, err := store.Open(context.Background(), path, store.Options{})
	if err != nil {
		return err
	}
	c := &clock{}
	h, err := Open(Config{DB: db, Now: c.now, Location: time.UTC, Raw: long})
	if err != nil {
		return err
	}
	for ; ; n++ {
		c.t = begin.Add(time.Duration(n) * 10 * time.Second)
		fmt.Println("sent", n)
		h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(int32(n))))
		if n%37 == 0 {
			if err := h.commit(); err != nil {
				return err
			}
			fmt.Println("stored", n)
			if err := h.roll(c.t); err != nil {
				return err
			}
		}
	}
}

// kill starts a victim at reading from and kills it after a while. It returns
// the last readings that were sent and known to be stored.
func kill(t *testing.T, path string, from int, after time.Duration) (sent, stored int) {
	t.Helper()
	sent, stored = from-1, from-1
	storetest.Live(t, path, from, after, func(line string) {
		what, num, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(num)
		switch {
		case err != nil: // cut off by the kill
		case what == "sent":
			sent = n
		case what == "stored":
			stored = n
		}
	})
	return sent, stored
}

// A process that is killed at random moments loses what it had not committed,
// nothing else, and nothing is there twice. POSTERN_KILLS sets how often.
func TestKilledAtRandom(t *testing.T) {
	kills := storetest.Kills(t)
	path := filepath.Join(t.TempDir(), "db")
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	from, lost, total := 0, 0, 0
	for k := range kills {
		sent, stored := kill(t, path, from, time.Duration(r.IntN(120_000))*time.Microsecond)
		have := intact(t, path)
		if have <= stored || have > sent+1 {
			t.Fatalf("kill %d: sent up to %d, said to be stored up to %d, found %d", k, sent, stored, have-1)
		}
		lost += sent + 1 - have
		total += sent + 1 - from
		from = have
	}
	t.Logf("%d kills: %d readings sent, %d lost, none that was committed", kills, total, lost)
}

// intact checks a store after a kill and returns how many readings it has.
func intact(t *testing.T, path string) int {
	t.Helper()
	if err := store.Check(path); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := &clock{begin}
	h := open(t, db, c, func(cfg *Config) { cfg.Raw = long })
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	for i, p := range ps {
		if n, _ := p.Value.Int(); n != int64(i) {
			t.Fatalf("reading %d is %d", i, n)
		}
	}
	if len(ps) == 0 {
		return 0
	}
	// Every hour that is over has all its readings, out of roll-ups or not.
	c.t = ps[len(ps)-1].Time
	for i, row := range allRows(t, h.Rows(ref(1), "x", PerHour, time.Time{}, time.Time{})) {
		if row.Count != 360 || !row.End.Equal(begin.Add(time.Duration(i+1)*time.Hour)) {
			t.Fatalf("hour %d: %+v", i, row)
		}
	}
	return len(ps)
}

// A disk that is full costs nothing but memory until there is room again.
func TestDiskFull(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	c := &clock{begin}
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	h := open(t, db, c, nil)
	r := rand.New(rand.NewPCG(1, 2))
	n := 0
	add := func(k int) {
		for range k {
			c.t = begin.Add(time.Duration(n) * time.Second)
			h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Long(r.Int64())))
			n++
		}
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := func(l uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: l, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(old.Cur)
	limit(64 << 10)
	var failed error
	for range 200 {
		add(500)
		if failed = h.commit(); failed != nil {
			break
		}
	}
	if failed == nil {
		limit(old.Cur)
		t.Fatal("the limit had no effect")
	}
	add(100)
	if err := h.commit(); err == nil {
		t.Error("a second commit worked on a full disk")
	}
	limit(old.Cur)
	if st := h.Status(); st.Err == nil || st.Pending == 0 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
	if ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{})); len(ps) != n {
		t.Errorf("%d readings of %d while the disk is full", len(ps), n)
	}
	add(1)
	if err := h.commit(); err != nil {
		t.Fatalf("there is room again: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h = open(t, openDB(t, path), c, nil)
	if ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{})); len(ps) != n {
		t.Errorf("%d readings of %d", len(ps), n)
	}
}

// While nothing can be written, memory stays bounded and what is dropped is
// counted.
func TestNothingCanBeWritten(t *testing.T) {
	c := &clock{begin}
	db := openDB(t, filepath.Join(t.TempDir(), "db"))
	h := open(t, db, c, func(cfg *Config) { cfg.Pending = 1000 })
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		h.Add(ref(i%3), "x", live.Reading{}, reading(begin.Add(time.Duration(i)*time.Second), drivers.Int(int32(i))))
		if i%1000 == 0 {
			if err := h.commit(); err == nil {
				t.Fatal("a closed store took readings")
			}
		}
	}
	st := h.Status()
	if st.Pending > 2000 || st.Lost+uint64(st.Pending) != 10_000 {
		t.Errorf("%+v", st)
	}
}

// A store any page of which is damaged is opened with what can be read, and
// measuring goes on.
func TestEveryPageDamaged(t *testing.T) {
	c := &clock{begin}
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	h := open(t, db, c, nil)
	for i := range 1500 {
		c.t = begin.Add(time.Duration(i) * 10 * time.Second)
		h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(int32(i))))
		if i%30 == 29 {
			if err := h.commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.roll(c.t); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	worst := 1500
	for page := 0; page < len(sound)/4096; page++ {
		bad := append([]byte(nil), sound...)
		if page%2 == 0 {
			bad[page*4096+r.IntN(64)] ^= 0xff
		} else {
			for i := range 4096 {
				bad[page*4096+i] ^= byte(1 + r.IntN(255))
			}
		}
		worst = min(worst, damaged(t, bad, page))
	}
	t.Logf("%d pages; at worst %d of 1500 readings are left", len(sound)/4096, worst)
}

func damaged(t *testing.T, bad []byte, page int) int {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(t.Context(), path, store.Options{Check: store.ChildCheck(os.Args[0], checkArgument)})
	if err != nil {
		t.Fatalf("page %d: %v", page, err)
	}
	defer db.Close()
	c := &clock{begin.Add(20 * time.Hour)}
	h := open(t, db, c, nil)
	h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(-1)))
	if err := h.Flush(); err != nil {
		t.Fatalf("page %d: %v", page, err)
	}
	if err := h.roll(c.t); err != nil {
		t.Fatalf("page %d: %v", page, err)
	}
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	if n, _ := ps[len(ps)-1].Value.Int(); n != -1 {
		t.Errorf("page %d: the reading after is missing", page)
	}
	for i := 1; i < len(ps); i++ {
		if !ps[i].Time.After(ps[i-1].Time) {
			t.Fatalf("page %d: reading %d is there twice", page, i)
		}
	}
	return len(ps) - 1
}

// When the table of series is lost, old readings do not turn up under another
// name.
func TestLostTableOfSeries(t *testing.T) {
	for _, lost := range [][]string{{seriesBucket}, {seriesBucket, marksBucket}} {
		c := &clock{begin}
		path := filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		h := open(t, db, c, nil)
		h.Add(ref(1), "x", live.Reading{}, reading(c.t, drivers.Int(1)))
		h.Add(ref(2), "x", live.Reading{}, reading(c.t, drivers.Int(2)))
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
		err := db.Update(func(tx *store.Tx) error {
			for _, b := range lost {
				if err := (store.Blobs{Name: b}).Clear(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		h = open(t, db, c, nil)
		c.t = c.t.Add(time.Second)
		h.Add(ref(3), "x", live.Reading{}, reading(c.t, drivers.Int(3)))
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
		if ps := all(t, h.Raw(ref(3), "x", time.Time{}, time.Time{})); len(ps) != 1 || ps[0].Value != drivers.Int(3) {
			t.Errorf("without %v: %+v", lost, ps)
		}
	}
}

// Run keeps its bounds: nothing waits longer than the interval says, alarms do
// not wait, and the end loses nothing.
func TestRunKeepsTheBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var online atomic.Bool
		db := openDB(t, filepath.Join(t.TempDir(), "db"))
		h, err := Open(Config{DB: db, Location: time.UTC, Connected: online.Load})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Run(ctx) }()
		add := func(i int, q live.Quality, old live.Quality) {
			rd := reading(time.Now(), drivers.Int(int32(i)))
			rd.Quality = q
			h.Add(ref(1), "x", live.Reading{Quality: old}, rd)
		}
		for _, bound := range []time.Duration{5 * time.Minute, 30 * time.Second} {
			online.Store(bound == 5*time.Minute)
			time.Sleep(2 * h.tick()) // what waited when the link was lost is committed
			oldest := time.Duration(0)
			for i := range 2000 {
				add(i, live.AutomaticReadout, live.AutomaticReadout)
				time.Sleep(time.Second)
				oldest = max(oldest, h.Status().Oldest)
			}
			if oldest > bound || oldest < bound/2 {
				t.Errorf("online %v: a reading waited %v, want %v at most", online.Load(), oldest, bound)
			}
		}
		online.Store(true)
		time.Sleep(10 * time.Minute)
		for i := range 3 * alarmsMost {
			add(i, live.AutomaticReadout|live.Warning, live.AutomaticReadout)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if p := h.Status().Pending; i < alarmsMost && p != 0 {
				t.Fatalf("alarm %d waits", i)
			} else if i == 3*alarmsMost-1 && p == 0 {
				t.Error("a chattering contact is written each time")
			}
		}
		add(99, live.AutomaticReadout, live.AutomaticReadout)
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if h.Status().Pending != 0 {
			t.Error("the end lost readings")
		}
	})
}
