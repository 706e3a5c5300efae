package events

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/outbox"
)

const keep = "<keep xmlns='urn:postern:seq:1'/>"

// values lists what came of temp, by live and past, in the order of arrival.
func values(events []string) (live, past []string) {
	for _, e := range events {
		for _, w := range strings.Split(strings.TrimSuffix(e, " done"), " ") {
			if v, ok := strings.CutPrefix(w, "temp="); ok {
				if strings.Contains(e, "past") {
					past = append(past, v)
				} else {
					live = append(live, v)
				}
			}
		}
	}
	return live, past
}

func count(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("%d.%d", i/10, i%10))
	}
	return out
}

// What is missed while away comes from the history, each reading once, in
// order, beside live data.
func TestKept(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		feed := func(from, to int) {
			for i := from; i < to; i++ {
				r.put(room, "temp", temp(int64(i)))
			}
		}
		feed(0, 20)
		got, past := values(r.events())
		if !slices.Equal(got, count(0, 20)) || past != nil {
			t.Fatal(got, past)
		}
		r.present(false)
		feed(20, 1500)
		if e := r.events(); e != nil {
			t.Fatal(e)
		}
		r.present(true)
		feed(1500, 1510)
		got, past = values(r.events())
		if !slices.Equal(got, count(1500, 1510)) || !slices.Equal(past, count(20, 1500)) {
			t.Errorf("live %v, of the past %d: %v", got, len(past), past)
		}
	})
}

// A reading that a device gives twice, because it is young enough, is told once;
// one whose quality has changed is told again.
func TestSameReadingAgain(t *testing.T) {
	for _, more := range []string{"", keep} {
		test(t, func(r *rig) {
			r.subscribe("momentary='true'", "<node nodeId='room'/>"+more)
			r.put(room, "temp", temp(1))
			r.events()
			rd := live.Reading{Value: temp(2), Time: time.Now(), Quality: live.AutomaticReadout}
			for range 3 {
				r.live.Put(room, "temp", rd)
				time.Sleep(time.Second)
			}
			rd.Quality |= live.Warning
			r.live.Put(room, "temp", rd)
			time.Sleep(time.Second)
			if got, _ := values(r.events()); len(got) != 2 || got[0] != "0.2" || got[1] != "0.2" {
				t.Errorf("%q: %v", more, got)
			}
		})
	}
}

// One who comes only for a moment gets what it missed once.
func TestComesForAMoment(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		r.put(room, "temp", temp(0))
		n := 1
		for range 5 {
			r.present(false)
			for range 10 {
				r.put(room, "temp", temp(int64(n)))
				n++
			}
			r.present(true)
		}
		_, past := values(r.events())
		if !slices.Equal(past, count(1, n)) {
			t.Error(past)
		}
	})
}

// An alarm is committed at once and comes by itself, and not again with the
// past.
func TestAlarmsOfWhoIsAway(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		r.put(room, "temp", temp(1))
		r.present(false)
		for i := range 3 {
			r.put(room, "temp", temp(int64(10+i)))
		}
		r.live.Put(room, "temp", live.Reading{Value: temp(20), Time: time.Now(), Quality: live.AutomaticReadout | live.Warning})
		time.Sleep(time.Second)
		for i := range 3 {
			r.live.Put(room, "temp", live.Reading{Value: temp(int64(30 + i)), Time: time.Now(), Quality: live.AutomaticReadout | live.Warning})
			time.Sleep(time.Second)
		}
		if st := r.out.Status().Subscribers[0]; st.Waiting[outbox.Alarm] != 1 || r.out.Status().LastCommit.IsZero() {
			t.Errorf("%+v", st)
		}
		r.events()
		r.present(true)
		got, past := values(r.events())
		if !slices.Equal(got, []string{"2.0"}) || !slices.Equal(past, []string{"1.0", "1.1", "1.2", "3.0", "3.1", "3.2"}) {
			t.Error(got, past)
		}
		r.live.Fail(room, "temp", time.Now(), errors.New("unplugged"))
		time.Sleep(time.Second)
		r.live.Fail(room, "temp", time.Now(), errors.New("unplugged")) // still
		time.Sleep(time.Second)
		r.want("room: temp=3.2 done")
	})
}

// The gateway is stopped, or killed, while a subscriber is away: what was
// committed comes, and a kill is told.
func TestRestartWhileAway(t *testing.T) {
	for _, killed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			r := start(t, openDB(t, path), nil)
			r.present(true)
			r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
			for i := range 10 {
				r.put(room, "temp", temp(int64(i)))
			}
			r.events()
			r.present(false)
			for i := 10; i < 100; i++ {
				r.put(room, "temp", temp(int64(i)))
			}
			if killed {
				if err := r.hist.Flush(); err != nil {
					t.Fatal(err)
				}
				copied := filepath.Join(t.TempDir(), "copy")
				if err := r.db.Compact(copied); err != nil {
					t.Fatal(err)
				}
				path = copied
			}
			r.stop()
			if err := r.db.Close(); err != nil {
				t.Fatal(err)
			}
			r = start(t, openDB(t, path), nil)
			defer r.stop()
			for i := 100; i < 110; i++ {
				r.put(room, "temp", temp(int64(i)))
			}
			r.present(true)
			r.put(room, "temp", temp(110))
			e := r.events()
			got, past := values(e)
			if slices.Contains(e, "gap:restart") != killed || !slices.Equal(past, count(10, 110)) || !slices.Equal(got, count(110, 111)) {
				t.Errorf("killed %v: %v %v %v", killed, e, got, past)
			}
		})
	}
}

// A client that subscribes anew when it comes back gets what it missed.
func TestSubscribingAnewKeepsWhatWasMissed(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		r.put(room, "temp", temp(0))
		r.events()
		r.present(false)
		for i := 1; i < 50; i++ {
			r.put(room, "temp", temp(int64(i)))
		}
		r.mu.Lock()
		r.online = true
		r.mu.Unlock()
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		r.put(room, "temp", temp(50))
		got, past := values(r.events())
		if !slices.Equal(past, count(1, 50)) || !slices.Equal(got, count(50, 51)) {
			t.Error(got, past)
		}
	})
}

// What the history does not have is told.
func TestGaps(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		r.put(room, "temp", temp(0))
		r.present(false)
		r.put(room, "temp", temp(1))
		time.Sleep(26 * time.Hour) // readings are kept for a day
		r.put(room, "temp", temp(2))
		if err := r.hist.Flush(); err != nil {
			t.Fatal(err)
		}
		r.events()
		r.present(true)
		e := r.events()
		_, past := values(e)
		if len(e) == 0 || e[0] != "gap:expired" || !slices.Equal(past, count(2, 3)) {
			t.Error(e)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, openDB(t, filepath.Join(t.TempDir(), "db")), func(c *Config) { c.History = nil })
		defer r.stop()
		r.present(true)
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		r.present(false)
		r.put(room, "temp", temp(1))
		r.present(true)
		r.want("gap:unkept")
	})
}

// The configuration's subscribers need not ask.
func TestConfiguredSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		set := func(c *Config) {
			c.Subscribers = []Subscriber{{Bare: owner, Fields: []string{"temp"}, Readings: true, Min: 10 * time.Second}}
		}
		r := start(t, openDB(t, path), set)
		r.put(room, "temp", temp(0))
		r.put(room, "door", drivers.Bool(true))
		r.present(true)
		r.want("room: past temp=0.0 done")
		for i := range 20 {
			r.put(cellar, "temp", temp(int64(i)))
		}
		time.Sleep(10 * time.Second)
		e := r.events()
		got, _ := values(e)
		if !slices.Equal(got, count(0, 20)) || len(e) > 4 {
			t.Errorf("%d messages: %v", len(e), e)
		}
		r.stop()
		if err := r.db.Close(); err != nil {
			t.Fatal(err)
		}
		// One that the configuration no longer has is forgotten.
		r = start(t, openDB(t, path), nil)
		r.stop()
		if st := r.out.Status(); len(st.Subscribers) != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// One who cannot follow gets the rest from the history.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, openDB(t, filepath.Join(t.TempDir(), "db")), nil)
		defer r.stop()
		r.present(true)
		r.subscribe("momentary='true'", "<node nodeId='room'/>"+keep)
		r.block(true)
		for i := range 400 {
			r.put(room, "temp", temp(int64(i)))
		}
		if st := r.out.Status().Subscribers[0]; st.Waiting[outbox.Momentary] > 200 {
			t.Errorf("%+v", st)
		}
		r.block(false)
		time.Sleep(time.Minute)
		r.put(room, "temp", temp(400))
		got, past := values(r.events())
		all := append(slices.Clone(got[:len(got)-1]), past...)
		if !slices.Equal(append(all, got[len(got)-1]), count(0, 401)) {
			t.Error(got, past)
		}
	})
}
