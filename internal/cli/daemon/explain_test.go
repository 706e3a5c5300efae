package daemon

import (
	"strings"
	"testing"
	"time"

	"postern/internal/local"
)

func TestWriteExplanation(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) *time.Time { x := now.Add(-d); return &x }
	e := local.Explanation{
		Node: "air", Label: "Air", Kind: "bme280", Now: now,
		Device: &local.Device{Bus: "i2c 1", Interval: 10, Reads: 7, Failures: 3, InARow: 2, Took: 0.0123, LastTry: at(2 * time.Second), LastOK: at(time.Minute), NextTry: at(-5 * time.Second), Error: "i2c: \x1b[31mno answer"},
		Fields: []local.Why{
			{Field: local.Field{Name: "serial", Value: "42"}},
			{Field: local.Field{Name: "Temperature", Value: "21.20", Unit: "°C", Quality: "automaticReadout warning", Time: at(3 * time.Second)}, Channel: "t", Raw: "21.50", Calibration: "× 1 + -0.3", MaxAge: 32,
				History: "deadband 0.2", Kept: at(3 * time.Minute), KeptAs: "21.10", Skipped: true},
		},
	}
	var b strings.Builder
	if err := writeExplanation(&b, e); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{
		"air (Air)  bme280\n", "read every 10s, in turn with others on i2c 1; 7 times, 3 of them failed\n",
		"last tried 2.0 s ago, which took 12.3ms; last good 60 s ago\n", "no answer (2 times in a row)\n", "next try in 5.0 s\n",
		"\nserial  42\n  from the configuration\n", "\nTemperature  21.20 °C  automaticReadout warning\n  channel t\n  measured 3.0 s ago; stands for 32 s\n",
		"  measured as 21.50; calibration: × 1 + -0.3\n", "  history: deadband 0.2; last kept 21.10, 3 min ago; the last reading was too like it, or too soon\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("a device reaches the terminal")
	}
}
