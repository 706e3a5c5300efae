package computed

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/store"
)

func num(t *testing.T, s string) drivers.Value {
	t.Helper()
	n, err := drivers.ParseNumber(s)
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Decimal(n)
}

func parse(t *testing.T, text string) *formula.Formula {
	t.Helper()
	f, err := formula.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func reading(id, name string) formula.Reading {
	return formula.Reading{Node: node.Ref{ID: id}, Field: name}
}

// site is an engine with a store of readings.
type site struct {
	*testing.T
	live *live.Store
	eng  *Engine
	stop func()
}

func start(t *testing.T, cfg Config, fields ...Field) *site {
	s := &site{T: t, live: live.New()}
	cfg.Live = s.live
	s.eng = New(cfg)
	if err := s.eng.Apply(fields); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.eng.Run(ctx) }()
	s.stop = func() { cancel(); <-done }
	synctest.Wait()
	return s
}

func (s *site) put(id, name, value, unit string, q live.Quality) {
	s.Helper()
	s.live.Put(node.Ref{ID: id}, name, live.Reading{Value: num(s.T, value), Unit: unit, Time: time.Now(), Quality: q, MaxAge: 10 * time.Second})
}

// want waits for the engine and checks a result.
func (s *site) want(name, value, unit string, q live.Quality) {
	s.Helper()
	time.Sleep(2 * settle)
	synctest.Wait()
	rd, ok := s.live.Get(node.Ref{ID: "site"}, name)
	if !ok || rd.Err != nil || rd.Value.String() != value || rd.Unit != unit || rd.Quality != q {
		s.Errorf("%s is %v %q [%v] %v, want %s %q [%v]", name, rd.Value, rd.Unit, rd.Quality, rd.Err, value, unit, q)
	}
}

// fails checks that a result is not known, and why.
func (s *site) fails(name, why string) {
	s.Helper()
	time.Sleep(2 * settle)
	synctest.Wait()
	rd, ok := s.live.Get(node.Ref{ID: "site"}, name)
	if !ok || rd.Err == nil || !strings.Contains(rd.Err.Error(), why) || rd.Quality&live.Missing == 0 {
		s.Errorf("%s is %v [%v] %v, want a failure with %q", name, rd.Value, rd.Quality, rd.Err, why)
	}
}

func field(t *testing.T, name, text string) Field {
	return Field{Ref: node.Ref{ID: "site"}, Name: name, Formula: parse(t, text)}
}

func Test0323R49_SumAndItsQuality(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sum := field(t, "total", "sum(a.p, b.p)")
		sum.SameUnit = true
		twice := field(t, "twice", "site.total * 2")
		s := start(t, Config{}, twice, sum) // in the wrong order
		defer s.stop()
		if _, ok := s.live.Get(node.Ref{ID: "site"}, "total"); ok {
			t.Error("there is a sum before there are readings")
		}
		s.put("a", "p", "1.50", "kW", live.AutomaticReadout)
		s.put("b", "p", "2.5", "kW", live.AutomaticReadout|live.Signed)
		s.want("total", "4.00", "kW", live.AutomaticReadout)
		s.want("twice", "8.00", "", live.AutomaticReadout)
		s.put("b", "p", "2.5", "kW", live.AutomaticEstimate|live.TimeOffset)
		s.want("total", "4.00", "kW", live.AutomaticEstimate|live.TimeOffset)
		s.put("b", "p", "2500", "W", live.AutomaticReadout)
		s.fails("total", `different units, "kW" and "W"`)
		s.fails("twice", "site.total")
		s.live.Fail(node.Ref{ID: "b"}, "p", time.Now(), errors.New("no answer"))
		s.fails("total", "b.p: no answer")
		s.put("b", "p", "2.5", "kW", live.AutomaticReadout)
		s.want("twice", "8.00", "", live.AutomaticReadout)
		time.Sleep(8 * time.Second)
		s.put("a", "p", "1.50", "kW", live.AutomaticReadout)
		time.Sleep(3 * time.Second)
		s.put("a", "p", "1.60", "kW", live.AutomaticReadout)
		s.fails("total", "b.p: is old")
	})
}

// A result gets old with its first source, not with its last.
func TestAgeOfAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{}, field(t, "x", "a.p + b.p"))
		defer s.stop()
		s.put("a", "p", "1", "", 0)
		time.Sleep(6 * time.Second)
		s.put("b", "p", "2", "", 0)
		s.want("x", "3", "", live.AutomaticReadout)
		rd, _ := s.live.Get(node.Ref{ID: "site"}, "x")
		if now := time.Now(); !rd.Fresh(now) || rd.Fresh(now.Add(5*time.Second)) {
			t.Errorf("stands for the present for %v", rd.MaxAge)
		}
	})
}

func TestFormulas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dew := field(t, "dew", "dew_point(a.t, a.h)")
		dew.Unit, dew.AsSources = "°C", true
		dew.Want = map[formula.Reading][]string{reading("a", "t"): {"°C"}, reading("a", "h"): {"%RH", "%"}}
		mean := field(t, "mean", "mean(a.t, b.t)")
		mean.SameUnit, mean.AsSources = true, true
		digits := field(t, "digits", "a.t / 7")
		digits.Digits = 1
		s := start(t, Config{}, dew, mean, digits, field(t, "ratio", "a.t / 7"), field(t, "warm", "a.t > 20 or b.none = 1"),
			field(t, "zero", "a.t / (a.t - a.t)"))
		defer s.stop()
		s.put("a", "t", "21.5", "°C", 0)
		s.put("b", "t", "22.4", "°C", 0)
		s.put("a", "h", "60.0", "%", 0)
		s.want("dew", "13.4", "°C", live.AutomaticReadout)
		s.want("mean", "22.0", "°C", live.AutomaticReadout)
		s.want("digits", "3.1", "", live.AutomaticReadout)
		s.want("ratio", "3.071", "", live.AutomaticReadout)
		s.want("warm", "true", "", live.AutomaticReadout|live.Warning) // b.none is not known, and does not matter
		s.fails("zero", "division by zero")
		s.put("a", "t", "70", "°F", 0)
		s.fails("dew", `a.t: has the unit "°F", where "°C" is needed`)
	})
}

// Units are free strings; who needs another one converts it: W and kW to kWh.
func Test0323R54_EnergyOverRestarts(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	synctest.Test(t, func(t *testing.T) {
		power := reading("a", "p")
		energy := Field{Ref: node.Ref{ID: "site"}, Name: "energy", Energy: &power}
		cfg := Config{DB: db, Save: func() time.Duration { return 30 * time.Second }}
		s := start(t, cfg, energy)
		s.put("a", "p", "3000", "W", 0)
		s.want("energy", "0.000", "kWh", live.AutomaticReadout)
		for range 720 { // an hour at 3 kW
			time.Sleep(5 * time.Second)
			s.put("a", "p", "3.000", "kW", 0)
		}
		s.want("energy", "3.000", "kWh", live.AutomaticReadout)
		time.Sleep(time.Minute) // longer than a reading stands for the present
		s.put("a", "p", "3.000", "kW", 0)
		s.want("energy", "3.000", "kWh", live.AutomaticReadout|live.Warning)
		s.live.Fail(node.Ref{ID: "a"}, "p", time.Now(), errors.New("gone"))
		s.fails("energy", "a.p: gone")
		// Kept without an orderly end: what was added in the last 30 s may go.
		time.Sleep(31 * time.Second)
		synctest.Wait()
		abandoned := s.stop
		defer abandoned()

		s = start(t, cfg, energy)
		defer s.stop()
		time.Sleep(time.Hour)
		s.put("a", "p", "1000", "W", 0)
		s.want("energy", "3.000", "kWh", live.AutomaticReadout|live.Warning|live.PowerFailure)
		for range 720 {
			time.Sleep(5 * time.Second)
			s.put("a", "p", "1000", "W", 0)
		}
		s.want("energy", "4.000", "kWh", live.AutomaticReadout)
		how, sources, ok := s.eng.Explain(node.Ref{ID: "site"}, "energy")
		if !ok || len(sources) != 1 || !strings.Contains(how, "2 gaps") {
			t.Errorf("%q %q", how, sources)
		}
		s.put("a", "p", "5", "A", 0)
		s.fails("energy", `"A" is none of power`)
	})
}

func TestCycles(t *testing.T) {
	e := New(Config{Live: live.New()})
	err := e.Apply([]Field{field(t, "a", "site.b + 1"), field(t, "b", "site.c"), field(t, "c", "2 * site.a")})
	if !errors.Is(err, ErrCycle) {
		t.Errorf("%v", err)
	}
	if err := e.Apply([]Field{field(t, "a", "site.b + 1"), field(t, "b", "x.y")}); err != nil {
		t.Error(err)
	}
}
