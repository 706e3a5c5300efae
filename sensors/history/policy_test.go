package history

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

func TestPolicy(t *testing.T) {
	n := func(s string) drivers.Number { v, _ := num(s).Number(); return v }
	for _, c := range []struct {
		name     string
		p        Policy
		in, want string // one reading every 10 s
	}{
		{"each", Policy{}, "1 1 2", "1 1 2"},
		{"absolute", Policy{Absolute: n("0.5")}, "1.0 1.4 1.5 1.9 1.1 1.0", "1.0 1.5 1.0"},
		{"of other digits", Policy{Absolute: n("0.5")}, "1 1.49 1.50 1.01 1.0", "1 1.50 1.0"},
		{"percent", Policy{Percent: 10}, "100 109 110 100 99", "100 110 99"},
		{"percent of nothing", Policy{Percent: 10}, "0 0 0.1", "0 0.1"},
		{"either", Policy{Percent: 50, Absolute: n("5")}, "4 6 9 100 105", "4 6 9 100 105"},
		{"not too often", Policy{Min: 30 * time.Second}, "1 2 3 4 5 6 7", "1 4 7"},
		{"heartbeat", Policy{Absolute: n("1"), Max: 20 * time.Second}, "1.0 1.1 1.2 1.3 1.4", "1.0 1.2 1.4"},
		{"without a heartbeat", Policy{Absolute: n("1")}, "1.0 1.1 1.2 1.3 1.4", "1.0"},
	} {
		ck := &clock{begin}
		h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), ck, func(cfg *Config) {
			cfg.Policy = func(node.Ref, string) Policy { return c.p }
		})
		for i, s := range strings.Fields(c.in) {
			ck.t = begin.Add(time.Duration(i) * 10 * time.Second)
			h.Add(ref(1), "x", live.Reading{}, reading(ck.t, num(s)))
		}
		var got []string
		for _, p := range all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{})) {
			got = append(got, p.Value.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		if st := h.Status(); int(st.Samples+st.Alike) != len(strings.Fields(c.in)) {
			t.Errorf("%s: %+v", c.name, st)
		}
	}
}

// A deadband hides no fault, and no return from one.
func TestPolicyKeepsFaults(t *testing.T) {
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, func(cfg *Config) {
		cfg.Policy = func(node.Ref, string) Policy {
			return Policy{Absolute: drivers.Num(100, 0), Min: time.Hour, Max: 2 * time.Hour}
		}
	})
	l := live.New()
	defer h.Observe(l)()
	step := func(f func()) { c.t = c.t.Add(time.Second); f() }
	ok := func() { l.Put(ref(1), "x", reading(c.t, num("1.0"))) }
	step(ok)
	step(ok)
	step(func() { l.Fail(ref(1), "x", c.t, errors.New("gone")) })
	step(func() { l.Fail(ref(1), "x", c.t, errors.New("gone")) })
	step(ok)
	step(ok)
	ps := all(t, h.Raw(ref(1), "x", time.Time{}, time.Time{}))
	if len(ps) != 3 || ps[1].Quality&live.Missing == 0 || ps[2].Quality != live.AutomaticReadout {
		t.Errorf("%+v", ps)
	}
	// Silence is no gap where nothing was to be expected.
	for range 5 * 60 {
		c.t = c.t.Add(time.Minute)
		ok()
	}
	rows := allRows(t, h.Rows(ref(1), "x", PerHour, begin.Add(90*time.Minute), time.Time{}))
	for _, r := range rows {
		if r.Gap || r.Partial {
			t.Errorf("%+v", r)
		}
	}
}
