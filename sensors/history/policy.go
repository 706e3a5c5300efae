package history

import (
	"math"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

// Policy says which readings of a field are worth keeping. The zero Policy
// keeps each. A change of quality, and the first failure, are always kept.
type Policy struct {
	Off bool // keep nothing
	// Absolute and Percent are the deadband: a number is kept when it differs
	// from the last one kept by either of them or more. Where both are zero
	// there is none. Values that are no numbers are kept when they change.
	Absolute drivers.Number
	Percent  float64
	// Min is the shortest time between two readings that are kept.
	Min time.Duration
	// Max is the longest: the heartbeat that tells a steady value from a lost
	// one. 0 with a deadband: none.
	Max time.Duration
}

func (p *Policy) deadband() bool { return p.Absolute.Mant > 0 || p.Percent > 0 }

// recent is what is known about the last readings of a field.
type recent struct {
	seen time.Time // the last reading
	kept time.Time // the last one kept
	v    drivers.Value
	q    live.Quality
}

// keeps decides about a reading. Instants with a monotonic part are compared
// by it, so that a clock set back does not silence a field.
func (p *Policy) keeps(r *recent, rd *live.Reading) bool {
	if r.kept.IsZero() || rd.Quality != r.q || rd.Value.Kind() != r.v.Kind() {
		return true
	}
	since := rd.Time.Sub(r.kept)
	switch {
	case since < 0:
		return true
	case since < p.Min:
		return false
	case p.Max > 0 && since >= p.Max:
		return true
	case !p.deadband():
		return true
	}
	a, ok := r.v.Number()
	b, _ := rd.Value.Number()
	if !ok {
		return rd.Value != r.v
	}
	return p.outside(a, b)
}

// outside reports whether b lies outside the deadband around a.
func (p *Policy) outside(a, b drivers.Number) bool {
	if p.Absolute.Mant > 0 {
		up, errU := a.Add(p.Absolute)
		down, errD := a.Add(drivers.Number{Mant: -p.Absolute.Mant, Exp: p.Absolute.Exp})
		if errU != nil || errD != nil || b.Cmp(up) >= 0 || b.Cmp(down) <= 0 {
			return true
		}
	}
	if p.Percent > 0 {
		x, y := a.Float64(), b.Float64()
		return math.Abs(y-x) >= math.Abs(x)*p.Percent/100 && x != y
	}
	return false
}

// maxAge is for how long a reading that was kept stands: longer than the
// reading itself, since what is like it is left out.
func (p *Policy) maxAge(of time.Duration) time.Duration {
	switch {
	case of == 0 || p.deadband() && p.Max == 0:
		return 0
	case p.deadband():
		return of + p.Max
	}
	return of + p.Min
}

// Decision is what the history made of a field's last reading.
type Decision struct {
	Policy  Policy
	Last    time.Time // the last reading, kept or not; zero for none
	Kept    time.Time // the last one kept
	Value   drivers.Value
	Skipped bool // the last reading was too like the one kept
}

// Decision tells what the history made of the last reading of a field.
func (h *History) Decision(ref node.Ref, name string) Decision {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := Decision{Policy: h.cfg.Policy(ref, name)}
	if r := h.last[field{ref, name}]; r != nil {
		d.Last, d.Kept, d.Value, d.Skipped = r.seen, r.kept, r.v, r.kept.Before(r.seen)
	}
	return d
}
