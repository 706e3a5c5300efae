package gateway

import (
	"time"

	"postern/drivers"
	"postern/internal/config"
	"postern/internal/node"
)

// calibration makes a field's calibration out of its configuration, whose
// formats were checked when it was loaded.
func calibration(c *config.Calibration) *node.Calibration {
	if c == nil {
		return nil
	}
	num := func(s string) drivers.Number {
		n, _ := drivers.ParseNumber(s) // empty is zero: no factor, no offset
		return n
	}
	day := func(s string) time.Time {
		t, _ := time.ParseInLocation(time.DateOnly, s, time.Local) // empty is never
		return t
	}
	out := &node.Calibration{
		Scale: num(c.Scale), Offset: num(c.Offset), Digits: c.Digits,
		By: c.By, Date: day(c.Date), Expires: day(c.Expires),
	}
	for _, p := range c.Polynomial {
		out.Polynomial = append(out.Polynomial, num(p))
	}
	for _, p := range c.Table {
		out.Table = append(out.Table, node.CalibrationPoint{Measured: num(p.Measured), True: num(p.True)})
	}
	return out
}
