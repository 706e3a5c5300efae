package cli

import (
	"strconv"
	"strings"
	"time"

	"postern/sensors"
)

// past fills in the range of a request.
func (s *selection) past(req *sensors.Request) (err error) {
	now := time.Now()
	if req.From, err = parseWhen("--from", s.from, now, false); err != nil {
		return err
	}
	if req.To, err = parseWhen("--to", s.to, now, true); err != nil {
		return err
	}
	if !req.From.IsZero() && !req.To.IsZero() && req.From.After(req.To) {
		return usagef("--from is later than --to")
	}
	return nil
}

// whenLayouts are how people write an instant, besides RFC 3339.
var whenLayouts = [...]string{
	"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04",
}

// parseWhen reads an instant. Empty is none. A day is its beginning, or, as an
// end, its last millisecond.
func parseWhen(flag, text string, now time.Time, end bool) (time.Time, error) {
	switch {
	case text == "":
		return time.Time{}, nil
	case text == "now":
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, layout := range whenLayouts {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		if end {
			return t.AddDate(0, 0, 1).Add(-time.Millisecond), nil
		}
		return t, nil
	}
	if t, err := time.Parse("15:04", text); err == nil {
		y, m, d := now.Date()
		return time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, now.Location()), nil
	}
	if d, ok := parseAgo(text); ok {
		return now.Add(-d), nil
	}
	return time.Time{}, usagef("%s %q is no time; write 2026-03-01, 2026-03-01T12:30, 12:30, or 24h for so long ago", flag, text)
}

// parseAgo reads a span of time, in days and weeks, too.
func parseAgo(text string) (time.Duration, bool) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, true
	}
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			if v, err := strconv.ParseUint(n, 10, 16); err == nil {
				return time.Duration(v) * length, true
			}
		}
	}
	return 0, false
}
