package schedule

import (
	"math"
	"time"
)

// Position is a place on the Earth in degrees, north and east positive.
type Position struct{ Latitude, Longitude float64 }

// zenith is how far below the point overhead the centre of the Sun stands when
// its upper limb touches the horizon: 90°, 34' of refraction, 16' of radius.
const zenith = 90 + 50.0/60

const rad = math.Pi / 180

// sun returns declination (degrees) and the equation of time (minutes by which
// a sundial is ahead), by the low-accuracy theory of the Sun (Meeus,
// Astronomical Algorithms, chapters 25 and 28): good to a few seconds of time
// between 1950 and 2050, to half a minute between 1900 and 2100.
func sun(t time.Time) (declination, equation float64) {
	days := t.Sub(time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)).Hours() / 24
	c := days / 36525
	l0 := 280.46646 + c*(36000.76983+c*0.0003032)  // mean longitude
	m := (357.52911 + c*(35999.05029-c*0.0001537)) // mean anomaly
	e := 0.016708634 - c*(0.000042037+c*0.0000001267)
	centre := math.Sin(m*rad)*(1.914602-c*(0.004817+c*0.000014)) +
		math.Sin(2*m*rad)*(0.019993-c*0.000101) + math.Sin(3*m*rad)*0.000289
	node := (125.04 - 1934.136*c) * rad
	apparent := (l0 + centre - 0.00569 - 0.00478*math.Sin(node)) * rad
	tilt := (23.43929111 - c*0.0130041667 + 0.00256*math.Cos(node)) * rad
	y := math.Pow(math.Tan(tilt/2), 2)
	l, a := l0*rad, m*rad
	equation = 4 / rad * (y*math.Sin(2*l) - 2*e*math.Sin(a) + 4*e*y*math.Sin(a)*math.Cos(2*l) -
		y*y/2*math.Sin(4*l) - 5*e*e/4*math.Sin(2*a))
	return math.Asin(math.Sin(tilt)*math.Sin(apparent)) / rad, equation
}

// minutes is a duration of that many minutes.
func minutes(m float64) time.Duration { return time.Duration(m * float64(time.Minute)) }

// transit returns when the Sun is highest nearest to t.
func (p Position) transit(t time.Time) time.Time {
	for range 3 {
		_, eq := sun(t)
		u := t.UTC()
		dial := float64(u.Hour()*60+u.Minute()) + float64(u.Second())/60 + eq + 4*p.Longitude
		t = t.Add(minutes(math.Remainder(720-dial, 1440)))
	}
	return t
}

// Sunrise returns when the Sun rises on the day whose noon is given; ok is
// false where it does not.
func (p Position) Sunrise(noon time.Time) (at time.Time, ok bool) { return p.horizon(noon, -1) }

// Sunset returns when the Sun sets on the day whose noon is given.
func (p Position) Sunset(noon time.Time) (at time.Time, ok bool) { return p.horizon(noon, 1) }

// horizon finds the crossing before (-1) or after (+1) the transit nearest to
// noon: the hour angle depends a little on the time that is looked for.
func (p Position) horizon(noon time.Time, side float64) (time.Time, bool) {
	top := p.transit(noon)
	_, eqTop := sun(top)
	t := top
	for range 5 {
		dec, eq := sun(t)
		c := (math.Cos(zenith*rad) - math.Sin(p.Latitude*rad)*math.Sin(dec*rad)) / (math.Cos(p.Latitude*rad) * math.Cos(dec*rad))
		if !(c >= -1 && c <= 1) { // also at the poles, where it is no number
			return time.Time{}, false
		}
		t = top.Add(minutes(eqTop - eq + side*4*math.Acos(c)/rad))
	}
	return t.Truncate(time.Second), true
}
