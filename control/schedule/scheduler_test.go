package schedule

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/node"
	"postern/internal/store"
)

// rig is a scheduler with a clock that can be set and outputs that note what
// they are told.
type rig struct {
	*Scheduler
	t      *testing.T
	db     *store.DB
	mu     sync.Mutex
	shift  time.Duration // of the wall clock
	sane   bool
	log    []string // "hh:mm:ss name=value", in UTC
	refuse func(Entry) error
	cancel context.CancelFunc
	done   chan error
}

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// start begins at 2000-01-01 00:00 UTC, where synctest's clock stands.
func start(t *testing.T, path string, shift time.Duration) *rig {
	r := &rig{t: t, db: open(t, path), shift: shift, sane: true, done: make(chan error, 1)}
	var err error
	r.Scheduler, err = New(Config{
		Store: r.db, Place: Place{Location: time.UTC, Position: &Position{52.5, 13.4}}, Now: r.now,
		ClockSane: func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.sane },
		Check: func(e Entry) error {
			if e.Node.ID == "ghost" {
				return errors.New("there is no node ghost")
			}
			return nil
		},
		Do: func(_ context.Context, e Entry) error {
			r.mu.Lock()
			refuse := r.refuse
			r.mu.Unlock()
			if refuse != nil {
				if err := refuse(e); err != nil {
					return err
				}
			}
			at := r.now()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.log = append(r.log, fmt.Sprintf("%s %s=%s", at.UTC().Format(time.TimeOnly), e.Node.ID, e.Value))
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.done <- r.Run(ctx) }()
	return r
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.shift).Round(0)
}

func (r *rig) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) stop() {
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Error(err)
	}
	if err := r.db.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) expect(what string, want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.log, want) {
		r.t.Errorf("%s: %q, want %q", what, r.log, want)
	}
	r.log = nil
}

func (r *rig) add(name, nodeID, value, when string, late time.Duration) {
	r.t.Helper()
	if _, err := r.Add(Entry{Name: name, Node: node.Ref{ID: nodeID}, Parameter: "state", Value: value, When: when, Late: late}); err != nil {
		r.t.Fatal(err)
	}
}

func bubble(t *testing.T, f func(t *testing.T, path string)) {
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) { f(t, path) })
}

func TestRunsAtItsTimes(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		r.add("on", "lamp", "true", "daily 07:30", 0)
		r.add("off", "lamp", "false", "daily 07:45:10", 0)
		r.add("dusk", "porch", "true", "daily sunset", 0)
		time.Sleep(24 * time.Hour)
		r.expect("a day", "07:30:00 lamp=true", "07:45:10 lamp=false", "15:02:19 porch=true")
		if err := r.Pause("on"); err != nil {
			t.Fatal(err)
		}
		if err := r.Remove("dusk"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		r.expect("one paused, one removed", "07:45:10 lamp=false")
		if err := r.Resume("on"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Hour)
		r.expect("resumed", "07:30:00 lamp=true", "07:45:10 lamp=false")
		if l := r.List(); len(l) != 2 || l[1].Name != "on" || !l[1].Notice.Done || l[1].Next.Format(time.DateTime) != "2000-01-04 07:30:00" {
			t.Errorf("%+v", l)
		}
		r.stop()
	})
}

func TestMissedTimesAreNotMadeUpFor(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		r.add("a-on", "lamp", "true", "daily 07:30", 0)
		r.add("b-off", "lamp", "false", "daily 07:35", 0)
		r.add("catch-up", "pump", "true", "daily 06:00", 3*time.Hour)
		r.stop()
		time.Sleep(7*time.Hour + 37*time.Minute) // the power is back at 07:37
		r = start(t, path, 0)
		synctest.Wait()
		r.expect("after the power cut: the latest of each output, not too late", "07:37:00 pump=true", "07:37:00 lamp=false")
		time.Sleep(time.Hour)
		r.expect("and once")
		r.stop()

		time.Sleep(23*time.Hour + 23*time.Minute) // 08:00 of the next day
		r = start(t, path, 0)
		synctest.Wait()
		r.expect("too late for the lamp", "08:00:00 pump=true")
		for _, l := range r.List() {
			if l.Node.ID == "lamp" && l.Notice.Missed.IsZero() {
				t.Errorf("%s does not say that a time was missed", l.Name)
			}
		}
		r.stop()
	})
}

func TestNothingRunsWhileTheClockIsNotSane(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		r.add("on", "lamp", "true", "daily 07:30", time.Hour)
		r.set(func() { r.sane = false })
		time.Sleep(8*time.Hour + time.Second)
		r.expect("the clock is not set")
		if l := r.List(); l[0].Problem == "" || !l[0].Next.IsZero() {
			t.Errorf("%+v", l)
		}
		r.set(func() { r.sane = true })
		time.Sleep(lookForClock)
		synctest.Wait()
		r.expect("half an hour late", "08:00:02 lamp=true")
		r.stop()
	})
}

func TestSettingTheClockRepeatsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		r.add("on", "lamp", "true", "daily 07:30", 0)
		time.Sleep(7*time.Hour + 31*time.Minute)
		r.expect("first", "07:30:00 lamp=true")
		r.set(func() { r.shift = -time.Hour }) // 06:31 again
		time.Sleep(2 * time.Hour)
		r.expect("set back by an hour")
		r.set(func() { r.shift = 22*time.Hour + 58*time.Minute + 45*time.Second }) // 08:29:45 the next day
		time.Sleep(2 * lookEvery)
		r.expect("an hour was jumped over; that is too late")
		r.set(func() { r.shift += 22*time.Hour + 59*time.Minute }) // 07:29:45 of the third day
		time.Sleep(2 * lookEvery)
		r.set(func() {
			if len(r.log) != 1 || r.log[0] < "07:30:00" || r.log[0] > "07:30:30 z" { // a clock that is set is noticed within half a minute
				t.Errorf("the third day: %q", r.log)
			}
		})
		r.stop()
	})
}

func TestRefusalsAreTriedAgainWhileItIsNotTooLate(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		tries := 0
		r.refuse = func(e Entry) error {
			tries++
			if tries <= 3 {
				return fmt.Errorf("it has to stay off: %w", ErrAgain)
			}
			return nil
		}
		r.add("on", "lamp", "true", "daily 07:30", 0)
		time.Sleep(8 * time.Hour)
		r.expect("at the fourth try", "07:30:45 lamp=true")
		r.set(func() { tries = -1000 })
		time.Sleep(24 * time.Hour)
		r.expect("never let")
		if tries != -1000+int(DefaultLate/retryEvery)+1 {
			t.Errorf("%d tries", tries+1000)
		}
		final := errors.New("the door is open")
		r.set(func() { tries = 0; r.refuse = func(Entry) error { tries++; return final } })
		time.Sleep(24 * time.Hour)
		if l := r.List(); tries != 1 || l[0].Notice.Error != final.Error() || l[0].Notice.Done {
			t.Errorf("%d tries, %+v", tries, l)
		}
		// What waits gives way to the next entry of the output.
		r.set(func() {
			r.log = nil
			r.refuse = func(e Entry) error { return map[string]error{"true": ErrAgain}[e.Value] }
		})
		r.add("off", "lamp", "false", "daily 07:32", 0)
		time.Sleep(24 * time.Hour)
		r.expect("overtaken", "07:32:00 lamp=false")
		r.stop()
	})
}

func TestNothingMovesWithoutANoteOnTheDisk(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		r.add("on", "lamp", "true", "daily 07:30", 0)
		if err := r.db.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Hour)
		r.expect("the store cannot be written")
		if _, err := r.Add(Entry{Name: "x", Node: node.Ref{ID: "lamp"}, Parameter: "state", Value: "true", When: "daily 08:30"}); err == nil {
			t.Error("an entry was taken that cannot be kept")
		}
		r.cancel()
		<-r.done
	})
}

func TestAddRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		good := Entry{Name: "on", Node: node.Ref{ID: "lamp"}, Parameter: "state", Value: "true", When: "daily 07:30"}
		if _, err := r.Add(good); err != nil {
			t.Fatal(err)
		}
		for hint, change := range map[string]func(*Entry){
			"taken":       func(e *Entry) {},
			"name":        func(e *Entry) { e.Name = "\x1b[2J" },
			"printable":   func(e *Entry) { e.Name = strings.Repeat("x", 65) },
			"node":        func(e *Entry) { e.Name, e.Node.ID = "a", "" },
			"ghost":       func(e *Entry) { e.Name, e.Node.ID = "a", "ghost" },
			"write":       func(e *Entry) { e.Name, e.When = "a", "noon" },
			"never":       func(e *Entry) { e.Name, e.When = "a", "1999-12-31 12:00" },
			"lateness":    func(e *Entry) { e.Name, e.Late = "a", 25*time.Hour },
			"1000 octets": func(e *Entry) { e.Name, e.Value = "a", strings.Repeat("x", 1001) },
		} {
			e := good
			change(&e)
			if _, err := r.Add(e); err == nil || !strings.Contains(err.Error(), hint) {
				t.Errorf("%s: %v", hint, err)
			}
		}
		r.Move(Place{})
		if _, err := r.Add(Entry{Name: "a", Node: node.Ref{ID: "lamp"}, Parameter: "state", When: "daily sunset"}); !errors.Is(err, errNoPosition) {
			t.Errorf("without a position: %v", err)
		}
		for i := 1; i < MaxEntries; i++ {
			e := good
			e.Name = fmt.Sprint(i)
			if _, err := r.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		good.Name = "more"
		if _, err := r.Add(good); !errors.Is(err, ErrFull) {
			t.Errorf("%v", err)
		}
		for _, f := range []func(string) error{r.Remove, r.Pause, r.Resume} {
			if err := f("more"); !errors.Is(err, ErrUnknown) {
				t.Errorf("%v", err)
			}
		}
		r.stop()
	})
}
