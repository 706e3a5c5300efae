package computed

import (
	"errors"
	"fmt"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/live"
	"postern/internal/store"
)

// meter adds up the energy of a power. Between two readings the power is taken
// to go straight from the one to the other. Where nothing was measured for
// longer than a reading stands for the present, nothing is added: a gap, which
// is counted and flagged.
type meter struct {
	source  formula.Reading
	total   total
	last    live.Reading // the last good one; zero before the first
	resumed bool         // the total comes from before a restart
	flags   live.Quality // of the present total
}

// total is what a meter keeps over a restart.
type total struct {
	Joules float64   `json:"joules"`
	At     time.Time `json:"at"`             // of the last reading that is in it
	Gaps   int       `json:"gaps,omitempty"` // times without measurement
	Lost   float64   `json:"lost,omitempty"` // seconds of them
}

// totals keeps them by node.field.
var totals = store.Bucket[total]{Name: "computed"}

// watts turns units of power into W, joules those of energy into J.
var (
	watts  = map[string]float64{"mW": 1e-3, "W": 1, "kW": 1e3, "MW": 1e6}
	joules = map[string]float64{"J": 1, "Wh": 3600, "kWh": 3.6e6, "MWh": 3.6e9}
)

// PowerUnit reports whether power in this unit can be added up, EnergyUnit
// whether the sum can be shown in it.
func PowerUnit(unit string) bool  { return watts[unit] != 0 }
func EnergyUnit(unit string) bool { return joules[unit] != 0 }

// take adds a reading. It reports whether the total changed.
func (m *meter) take(rd *live.Reading) bool {
	n, ok := rd.Value.Number()
	if !ok || rd.Err != nil || rd.Quality&(live.Missing|live.Error|live.InProgress) != 0 || !PowerUnit(rd.Unit) {
		return false
	}
	before := m.last
	if !before.Time.IsZero() && !rd.Time.After(before.Time) {
		return false // the same reading again, or one from before
	}
	m.last = *rd
	defer func() { m.total.At = rd.Time.Round(0) }()
	if before.Time.IsZero() {
		m.flags = 0
		if m.resumed {
			m.resumed = false
			m.gap(max(rd.Time.Round(0).Sub(m.total.At), 0))
			m.flags |= live.PowerFailure
		}
		return true
	}
	dt := rd.Time.Sub(before.Time)
	if before.MaxAge > 0 && dt > before.MaxAge {
		m.gap(dt)
		return true
	}
	m.flags = 0
	p, _ := before.Value.Number()
	w := (p.Float64()*watts[before.Unit] + n.Float64()*watts[rd.Unit]) / 2
	m.total.Joules += w * dt.Seconds()
	return true
}

// gap notes a time in which nothing was measured. The total warns until the
// next reading.
func (m *meter) gap(d time.Duration) {
	m.total.Gaps++
	m.total.Lost += d.Seconds()
	m.flags = live.Warning
}

// energy shows a total.
func (in *inputs) energy(f *Field, t total) (drivers.Value, string, error) {
	unit := f.Unit
	if unit == "" {
		unit = "kWh"
	}
	if err := in.bad[*f.Energy]; err != nil {
		return drivers.Value{}, unit, fmt.Errorf("%s: %w", f.Energy, err)
	}
	if !PowerUnit(in.units0()) {
		return drivers.Value{}, unit, fmt.Errorf("%s: the unit %q is none of power; W, kW and MW are", f.Energy, in.units0())
	}
	digits := 3
	switch {
	case f.Digits > 0:
		digits = f.Digits
	case f.Digits < 0:
		digits = 0
	}
	n, err := drivers.FromFloat(t.Joules/joules[unit], digits)
	if err != nil {
		err = errors.New("the total is out of range")
	}
	return drivers.Decimal(n), unit, err
}

func (in *inputs) units0() string {
	if len(in.units) == 0 {
		return ""
	}
	return in.units[0]
}

func (m *meter) explain() string {
	s := fmt.Sprintf("integral of %s over time", m.source)
	if m.total.Gaps > 0 {
		s += fmt.Sprintf("; %d gaps without measurement, %s together, are not in it", m.total.Gaps,
			time.Duration(m.total.Lost*float64(time.Second)).Round(time.Second))
	}
	return s
}

// load reads the totals.
func (e *Engine) load() error {
	return e.cfg.DB.View(func(tx *store.Tx) error {
		for entry := range totals.All(tx, "") {
			if entry.Err != nil {
				e.cfg.Logger.Warn("a total of energy is damaged and begins at zero", "field", entry.Key, "err", entry.Err)
				continue
			}
			if k, ok := parseKey(entry.Key); ok {
				e.meters[k] = &meter{total: entry.Value, resumed: true}
			}
		}
		return nil
	})
}

// save keeps the totals that changed.
func (e *Engine) save() {
	e.mu.Lock()
	changed := e.unsure
	e.unsure = false
	now := make(map[key]total, len(e.meters))
	for k, m := range e.meters {
		now[k] = m.total
	}
	e.mu.Unlock()
	if e.cfg.DB == nil || !changed {
		return
	}
	err := e.cfg.DB.Update(func(tx *store.Tx) error {
		for k, t := range now {
			if err := totals.Put(tx, k.stored(), t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.cfg.Logger.Error("totals of energy cannot be kept; a restart would lose what was added since they could be", "err", err)
		e.mu.Lock()
		e.unsure = true
		e.mu.Unlock()
	}
}
