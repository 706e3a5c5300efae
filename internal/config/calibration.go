package config

import (
	"errors"
	"slices"
	"strconv"
	"time"
)

// Calibration corrects what a channel measures: by a line, a polynomial or a
// table.
type Calibration struct {
	Scale      string       `yaml:"scale,omitempty" format:"decimal" doc:"factor of the measured value"`
	Offset     string       `yaml:"offset,omitempty" format:"decimal" doc:"added after the factor" example:"-0.3"`
	Polynomial []string     `yaml:"polynomial,omitempty" format:"decimal" max:"10" doc:"coefficients instead of a factor, the constant first"`
	Table      []Calibrated `yaml:"table,omitempty" max:"1000" doc:"comparisons with a reference instead of a factor, by rising measured value"`
	Digits     int          `yaml:"digits,omitempty" min:"-1" max:"9" doc:"digits behind the point; as measured when left out, none with -1"`
	By         string       `yaml:"by,omitempty" max:"128" doc:"who calibrated it"`
	Date       string       `yaml:"date,omitempty" format:"date" doc:"when" example:"2026-03-01"`
	Expires    string       `yaml:"expires,omitempty" format:"date" doc:"from when on readings carry a warning that it has to be renewed" example:"2028-03-01"`
}

// Calibrated is one comparison with a reference.
type Calibrated struct {
	Measured string `yaml:"measured" format:"decimal" doc:"what the device said" example:"20.4"`
	True     string `yaml:"true" format:"decimal" doc:"what the reference said" example:"20.0"`
}

// checkDate is the format of calendar days.
func checkDate(text string) error {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return errors.New("write year-month-day, for example 2026-03-01")
	}
	return nil
}

// calibrations checks what the tags cannot say.
func (l *loader) calibrations(n *node, path string, nd *Node, writable []string) {
	fields := n.get("fields")
	if fields == nil {
		return
	}
	for i, k := range fields.keys {
		c := nd.Fields[k.text].Calibration
		if c == nil {
			continue
		}
		at := fields.items[i].get("calibration")
		if slices.Contains(writable, k.text) {
			l.add(at, join(path, "fields."+k.text+".calibration"), "the channel "+quote(k.text)+" can be switched, and then shows what was set", "calibrate only what is measured")
		}
		if what, fix := c.fault(); what != "" {
			l.add(at, join(path, "fields."+k.text+".calibration"), what, fix)
		}
	}
}

// fault says what is wrong with a calibration whose values have passed their
// formats.
func (c *Calibration) fault() (what, fix string) {
	ways := 0
	for _, given := range []bool{c.Scale != "" || c.Offset != "", len(c.Polynomial) > 0, len(c.Table) > 0} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return "it changes nothing", "give scale and offset, a polynomial or a table"
	case ways > 1:
		return "it corrects in more than one way", "keep one of scale and offset, polynomial, table"
	case len(c.Table) == 1:
		return "a table of one point is no line", "give two points at least, or an offset"
	case c.Expires != "" && c.Date != "" && c.Expires < c.Date: // both are year-month-day
		return "it expires before its date", "change date or expires"
	}
	for i := 1; i < len(c.Table); i++ {
		a, errA := strconv.ParseFloat(c.Table[i-1].Measured, 64)
		b, errB := strconv.ParseFloat(c.Table[i].Measured, 64)
		if errA == nil && errB == nil && b <= a {
			return "the measured value " + c.Table[i].Measured + " does not rise from the one before it", "order the table by measured value"
		}
	}
	return "", ""
}
