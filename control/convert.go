package control

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"postern/drivers"
	"postern/exi"
)

// Convert turns the value of a field into one for a parameter of kind to
// (XEP-0325 §4; 0325-R30). ok is false where the two are incompatible or the
// value does not fit: it is never wrapped (D28). Fractions are cut toward
// zero. Units have no part in it (R31). Times without a zone are in loc.
func Convert(v drivers.Value, to drivers.Kind, loc *time.Location) (out drivers.Value, ok bool) {
	if v.Kind() == to {
		return v, v.Kind() != drivers.KindNone
	}
	switch to {
	case drivers.KindBool:
		n, ok := v.Number()
		return drivers.Bool(n.Mant != 0), ok
	case drivers.KindInt, drivers.KindLong:
		return convertWhole(v, to)
	case drivers.KindNumber:
		return convertNumber(v)
	case drivers.KindString, drivers.KindEnum:
		return convertText(v, to)
	case drivers.KindTime, drivers.KindDate, drivers.KindClock:
		return convertTime(v, to, loc)
	case drivers.KindDuration:
		return convertDuration(v)
	case drivers.KindColor:
		s, isText := v.Text()
		s = strings.TrimSpace(s)
		good := v.Kind() == drivers.KindString && isText && (len(s) == 6 || len(s) == 8) && strings.Trim(s, "0123456789abcdefABCDEF") == ""
		return drivers.Text(drivers.KindColor, s), good
	}
	return drivers.Value{}, false
}

func convertWhole(v drivers.Value, to drivers.Kind) (drivers.Value, bool) {
	var n int64
	if b, ok := v.Bool(); ok {
		if b {
			n = 1
		}
	} else if num, ok := v.Number(); ok {
		if n, ok = truncate(num); !ok {
			return drivers.Value{}, false
		}
	} else if s, ok := v.Text(); ok && v.Kind() == drivers.KindString {
		var err error
		if n, err = strconv.ParseInt(strings.TrimSpace(s), 10, 64); err != nil {
			return drivers.Value{}, false
		}
	} else {
		return drivers.Value{}, false // enumerations: their ordinals are not known here
	}
	if to == drivers.KindLong {
		return drivers.Long(n), true
	}
	return drivers.Int(int32(n)), n >= math.MinInt32 && n <= math.MaxInt32
}

// truncate cuts the fraction off.
func truncate(n drivers.Number) (int64, bool) {
	m := n.Mant
	for e := n.Exp; e < 0; e++ {
		m /= 10
	}
	for e := n.Exp; e > 0; e-- {
		if m > math.MaxInt64/10 || m < math.MinInt64/10 {
			return 0, false
		}
		m *= 10
	}
	return m, true
}

func convertNumber(v drivers.Value) (drivers.Value, bool) {
	if b, ok := v.Bool(); ok {
		if b {
			return drivers.Decimal(drivers.Num(1, 0)), true
		}
		return drivers.Decimal(drivers.Num(0, 0)), true
	}
	if n, ok := v.Number(); ok {
		return drivers.Decimal(n), true
	}
	if s, ok := v.Text(); ok && v.Kind() == drivers.KindString {
		out, err := parseText(drivers.KindNumber, s, time.UTC)
		return out, err == nil
	}
	return drivers.Value{}, false
}

// convertText gives the XML Schema form; numbers keep their decimals.
func convertText(v drivers.Value, to drivers.Kind) (drivers.Value, bool) {
	if v.Kind() == drivers.KindNone || v.Kind() == drivers.KindColor {
		return drivers.Value{}, false
	}
	return drivers.Text(to, lexicalForm(v)), true
}

// old are the forms of dates in e-mail, which texts may have.
var oldDates = [...]string{time.RFC1123Z, time.RFC1123, time.RFC822Z, time.RFC822}

func convertTime(v drivers.Value, to drivers.Kind, loc *time.Location) (drivers.Value, bool) {
	s, _ := v.Text()
	s = strings.TrimSpace(s)
	switch v.Kind() {
	case drivers.KindString:
		if out, err := parseText(to, s, loc); err == nil {
			return out, true
		}
		if to == drivers.KindClock {
			return drivers.Value{}, false
		}
		for _, layout := range oldDates {
			if t, err := time.ParseInLocation(layout, s, loc); err == nil {
				return convertTime(drivers.Time(t), to, loc)
			}
		}
	case drivers.KindTime:
		t, _ := v.Time()
		switch to {
		case drivers.KindTime:
			return v, true
		case drivers.KindDate:
			return drivers.Text(to, t.Format("2006-01-02Z07:00")), true
		}
		return drivers.Text(to, t.Format("15:04:05.999999999Z07:00")), true
	case drivers.KindDate:
		c, ok := exi.ParseDate(s)
		if !ok || to != drivers.KindTime {
			return drivers.Value{}, false
		}
		if c.HasZone {
			loc = time.FixedZone("", int(c.ZoneMinutes)*60)
		}
		return drivers.Time(time.Date(int(c.Year), time.Month(c.Month), int(c.Day), 0, 0, 0, 0, loc)), true
	case drivers.KindDuration:
		d, ok := shortDuration(s)
		if !ok || to != drivers.KindClock {
			return drivers.Value{}, false
		}
		return drivers.Text(to, time.Time{}.Add(d).Format("15:04:05.999999999")), true
	}
	return drivers.Value{}, false
}

// shortDuration reads an xs:duration from 0 to less than a day that names
// neither years, months nor days.
func shortDuration(s string) (time.Duration, bool) {
	clock, ok := strings.CutPrefix(s, "PT")
	if !ok || !isDuration(s) {
		return 0, false
	}
	d, err := time.ParseDuration(strings.ToLower(clock)) // 1H2M3.5S is 1h2m3.5s
	return d, err == nil && d >= 0 && d < 24*time.Hour
}

func convertDuration(v drivers.Value) (drivers.Value, bool) {
	s, ok := v.Text()
	s = strings.TrimSpace(s)
	switch {
	case !ok || v.Kind() != drivers.KindString && v.Kind() != drivers.KindClock:
		return drivers.Value{}, false
	case v.Kind() == drivers.KindString && isDuration(s):
		return drivers.Text(drivers.KindDuration, s), true
	}
	c, ok := exi.ParseTime(s)
	if !ok {
		return drivers.Value{}, false
	}
	text := fmt.Sprintf("PT%dH%dM%d", c.Hour, c.Minute, c.Second)
	if c.Digits > 0 {
		text += fmt.Sprintf(".%0*d", c.Digits, c.Fraction)
	}
	return drivers.Text(drivers.KindDuration, text+"S"), true
}
