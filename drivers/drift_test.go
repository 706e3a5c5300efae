package drivers

import (
	"testing"
	"time"
)

func TestDriftIsBoundedAndSmooth(t *testing.T) {
	d := Drift{Base: 20, Amplitude: 2, Period: time.Hour, Phase: 0.25}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lo, hi, last := 99.0, 0.0, d.At(start)
	for i := range 3600 {
		v := d.At(start.Add(time.Duration(i) * time.Second))
		lo, hi = min(lo, v), max(hi, v)
		if step := v - last; step > 0.01 || step < -0.01 {
			t.Fatalf("a step of %v at %d s", step, i)
		}
		last = v
	}
	if lo < 18 || hi > 22 || lo > 18.01 || hi < 21.99 {
		t.Errorf("between %v and %v, want 18 and 22", lo, hi)
	}
	if (Drift{Base: 7}).At(start) != 7 {
		t.Error("a constant moves")
	}
}
