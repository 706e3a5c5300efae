package drivers

import "time"

// Drift is a slow plausible change for simulated quantities: a wave around
// Base with the given amplitude and period.
type Drift struct {
	Base, Amplitude float64
	Period          time.Duration // zero: constant
	Phase           float64       // 0..1 of a period
}

// At returns the quantity at t. The wave is a parabola in each half period:
// smooth enough for a room, and without transcendental functions.
func (d Drift) At(t time.Time) float64 {
	if d.Period <= 0 {
		return d.Base
	}
	p := float64(t.UnixNano()%int64(d.Period))/float64(d.Period) + d.Phase
	p -= float64(int(p))
	sign := 1.0
	if p >= 0.5 {
		p, sign = p-0.5, -1
	}
	x := 4*p - 1 // −1..1 within the half period
	return d.Base + sign*d.Amplitude*(1-x*x)
}
