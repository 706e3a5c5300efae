package cli

import (
	"testing"
	"time"

	"postern/internal/node"
)

func TestParseWhen(t *testing.T) {
	zone := time.FixedZone("x", 3600)
	now := time.Date(2026, 3, 5, 14, 0, 30, 0, zone)
	for text, want := range map[string]string{
		"":                          "",
		"now":                       "2026-03-05T14:00:30+01:00",
		"2026-03-01":                "2026-03-01T00:00:00+01:00",
		"2026-03-01T12:30":          "2026-03-01T12:30:00+01:00",
		"2026-03-01 12:30:01":       "2026-03-01T12:30:01+01:00",
		"2026-03-01T12:30:00-05:00": "2026-03-01T12:30:00-05:00",
		"12:30":                     "2026-03-05T12:30:00+01:00",
		"90m":                       "2026-03-05T12:30:30+01:00",
		"2d":                        "2026-03-03T14:00:30+01:00",
		"1w":                        "2026-02-26T14:00:30+01:00",
		"-1h":                       "error",
		"yesterday":                 "error",
		"2026-13-01":                "error",
		"99999d":                    "error",
	} {
		got, err := parseWhen("--from", text, now, false)
		s := ""
		switch {
		case err != nil:
			s = "error"
		case !got.IsZero():
			s = got.Format(time.RFC3339)
		}
		if s != want {
			t.Errorf("%q: %s %v, want %s", text, s, err, want)
		}
	}
	if got, _ := parseWhen("--to", "2026-03-01", now, true); got.Format(time.RFC3339Nano) != "2026-03-01T23:59:59.999+01:00" {
		t.Error(got)
	}
}

func TestSelectionOfThePast(t *testing.T) {
	for _, c := range []struct {
		s    selection
		want node.Types
	}{
		{selection{}, node.Momentary}, {selection{from: "1h"}, node.HistoricalOther}, {selection{to: "1h"}, node.HistoricalOther},
		{selection{from: "1h", types: "historicalHour,peak"}, node.HistoricalHour | node.Peak},
	} {
		if req, err := c.s.request(); err != nil || req.Types != c.want || req.From.IsZero() != (c.s.from == "") {
			t.Errorf("%+v: %+v %v", c.s, req, err)
		}
	}
	if _, err := (&selection{from: "1h", to: "2h"}).request(); err == nil {
		t.Error("a range that ends before it begins")
	}
}
