package node

import (
	"errors"
	"fmt"
	"math"
	"time"

	"postern/drivers"
)

// Calibration turns what a device measured into what is true. Exactly one of
// line, polynomial and table applies: the table where there is one, else the
// polynomial, else the line.
type Calibration struct {
	// Scale and Offset: measured × Scale + Offset. A zero Scale stands for 1.
	Scale, Offset drivers.Number
	// Polynomial holds the coefficients, the constant first.
	Polynomial []drivers.Number
	// Table is interpolated between its points and says nothing beyond them.
	// Measured values rise from point to point.
	Table []CalibrationPoint
	// Digits behind the point of the result; 0 keeps those of the measurement,
	// negative gives whole numbers.
	Digits int

	By   string    // who calibrated
	Date time.Time // when; zero where unknown
	// Expires is when the calibration has to be renewed; from then on readings
	// carry a warning. Zero: never.
	Expires time.Time
}

// CalibrationPoint is one comparison with a reference.
type CalibrationPoint struct{ Measured, True drivers.Number }

// ErrUncalibrated: a measurement lies outside the calibration table.
var ErrUncalibrated = errors.New("the measurement lies outside the calibration table")

// maxDigits behind the point that a result may have.
const maxDigits = 9

func (c *Calibration) check() error {
	if c.Digits > maxDigits {
		return fmt.Errorf("calibration: at most %d digits", maxDigits)
	}
	if len(c.Table) == 1 {
		return errors.New("calibration: a table needs two points at least")
	}
	for i := 1; i < len(c.Table); i++ {
		if c.Table[i].Measured.Cmp(c.Table[i-1].Measured) <= 0 {
			return fmt.Errorf("calibration: the measured value %s does not rise from the point before it", c.Table[i].Measured)
		}
	}
	if !c.Expires.IsZero() && c.Expires.Before(c.Date) {
		return errors.New("calibration: it expires before its date")
	}
	return nil
}

// Expired reports whether the calibration has to be renewed at t.
func (c *Calibration) Expired(t time.Time) bool { return !c.Expires.IsZero() && !t.Before(c.Expires) }

// Apply returns the true value for a measurement, rounded half away from zero
// to its digits. It returns ErrUncalibrated beyond the table and
// drivers.ErrRange for what does not fit.
func (c *Calibration) Apply(n drivers.Number) (drivers.Number, error) {
	exp := int(n.Exp)
	switch {
	case c.Digits > 0:
		exp = -c.Digits
	case c.Digits < 0:
		exp = 0
	}
	if len(c.Table) == 0 && len(c.Polynomial) == 0 {
		if r, err := c.line(n); err == nil {
			return r.Rescale(exp)
		}
	}
	f, err := c.float(n.Float64(), n)
	if err != nil {
		return drivers.Number{}, err
	}
	if exp > 0 {
		exp = 0
	}
	return drivers.FromFloat(f, -exp)
}

// line is exact: 2301 × 0.1 is 230.1.
func (c *Calibration) line(n drivers.Number) (drivers.Number, error) {
	r := n
	if c.Scale.Mant != 0 {
		var err error
		if r, err = n.Mul(c.Scale); err != nil {
			return r, err
		}
	}
	return r.Add(c.Offset)
}

func (c *Calibration) float(x float64, n drivers.Number) (float64, error) {
	switch {
	case len(c.Table) > 0:
		return c.interpolate(x, n)
	case len(c.Polynomial) > 0:
		y := 0.0
		for i := len(c.Polynomial) - 1; i >= 0; i-- {
			y = y*x + c.Polynomial[i].Float64()
		}
		return y, nil
	}
	scale := 1.0
	if c.Scale.Mant != 0 {
		scale = c.Scale.Float64()
	}
	y := x*scale + c.Offset.Float64()
	if math.IsInf(y, 0) || math.IsNaN(y) {
		return 0, drivers.ErrRange
	}
	return y, nil
}

func (c *Calibration) interpolate(x float64, n drivers.Number) (float64, error) {
	last := len(c.Table) - 1
	if n.Cmp(c.Table[0].Measured) < 0 || n.Cmp(c.Table[last].Measured) > 0 {
		return 0, fmt.Errorf("%w: %s is not within %s to %s", ErrUncalibrated, n, c.Table[0].Measured, c.Table[last].Measured)
	}
	i := 1
	for i < last && n.Cmp(c.Table[i].Measured) > 0 {
		i++
	}
	x0, y0 := c.Table[i-1].Measured.Float64(), c.Table[i-1].True.Float64()
	x1, y1 := c.Table[i].Measured.Float64(), c.Table[i].True.Float64()
	return y0 + (x-x0)*(y1-y0)/(x1-x0), nil
}
