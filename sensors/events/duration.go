package events

import (
	"strconv"
	"strings"
	"time"
)

// parseDuration reads an xs:duration. Years and months count as 365 and 30
// days: in the intervals of a subscription nothing depends on the calendar.
func parseDuration(s string) (time.Duration, bool) {
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	if !strings.HasPrefix(s, "P") || len(s) < 3 || len(s) > 64 {
		return 0, false
	}
	date, clock, hasClock := strings.Cut(s[1:], "T")
	if hasClock && clock == "" {
		return 0, false
	}
	total := 0.0
	ok := addUnits(&total, date, "YMD", []float64{365 * 86400, 30 * 86400, 86400}) &&
		addUnits(&total, clock, "HMS", []float64{3600, 60, 1})
	if !ok || total > 1e9 {
		return 0, false
	}
	if neg {
		total = -total
	}
	return time.Duration(total * float64(time.Second)), true
}

// addUnits adds numbers that are each followed by a letter, in the letters'
// order.
func addUnits(total *float64, s, letters string, seconds []float64) bool {
	for s != "" {
		i := strings.IndexAny(s, letters)
		if i <= 0 {
			return false
		}
		unit := strings.IndexByte(letters, s[i])
		num := s[:i]
		if strings.Trim(num, "0123456789.") != "" || strings.Contains(num, ".") && s[i] != 'S' {
			return false
		}
		n, err := strconv.ParseFloat(num, 64)
		if err != nil {
			return false
		}
		*total += n * seconds[unit]
		letters, seconds, s = letters[unit+1:], seconds[unit+1:], s[i+1:]
	}
	return true
}

// formatDuration writes an xs:duration.
func formatDuration(d time.Duration) string {
	return "PT" + strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "S"
}
