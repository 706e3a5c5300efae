package node

import (
	"errors"
	"strings"
	"testing"
	"time"

	"postern/drivers"
)

func TestCalibration(t *testing.T) {
	pts := func(s string) (out []CalibrationPoint) {
		for _, p := range strings.Fields(s) {
			m, tr, _ := strings.Cut(p, ":")
			out = append(out, CalibrationPoint{num(m), num(tr)})
		}
		return out
	}
	nums := func(s string) (out []drivers.Number) {
		for _, p := range strings.Fields(s) {
			out = append(out, num(p))
		}
		return out
	}
	for _, c := range []struct {
		cal      Calibration
		in, want string
	}{
		{Calibration{}, "21.50", "21.50"},
		{Calibration{Offset: num("-0.3")}, "21.50", "21.20"},
		{Calibration{Offset: num("-0.25")}, "21.5", "21.3"}, // the digits of the measurement
		{Calibration{Offset: num("-0.25"), Digits: 2}, "21.5", "21.25"},
		{Calibration{Scale: num("0.1"), Digits: 1}, "2301", "230.1"},
		{Calibration{Scale: num("1.02"), Offset: num("1"), Digits: -1}, "100.4", "103"},
		{Calibration{Scale: num("0.000000001"), Digits: 9}, "999999999999", "999.999999999"},
		{Calibration{Polynomial: nums("1 2 0.5"), Digits: 2}, "3.0", "11.50"},
		{Calibration{Table: pts("0:0.5 10:10.1 100:101")}, "5.0", "5.3"},
		{Calibration{Table: pts("0:0.5 10:10.1 100:101")}, "0", "1"},
		{Calibration{Table: pts("0:0.5 10:10.1 100:101"), Digits: 1}, "100", "101.0"},
		{Calibration{Table: pts("0:0.5 10:10.1 100:101"), Digits: 1}, "10", "10.1"},
		{Calibration{Table: pts("-10:10 10:-10")}, "-2.5", "2.5"},
	} {
		got, err := c.cal.Apply(num(c.in))
		if err != nil || got.String() != c.want {
			t.Errorf("%+v of %s: %s %v, want %s", c.cal, c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"-0.1", "100.1"} {
		if _, err := (&Calibration{Table: pts("0:0 100:1")}).Apply(num(in)); !errors.Is(err, ErrUncalibrated) {
			t.Errorf("%s: %v", in, err)
		}
	}
	if _, err := (&Calibration{Polynomial: nums("0 0 0 1e18")}).Apply(num("1e18")); !errors.Is(err, drivers.ErrRange) {
		t.Error(err)
	}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if c := (&Calibration{Expires: day}); c.Expired(day.Add(-1)) || !c.Expired(day) || (&Calibration{}).Expired(day) {
		t.Error("Expired")
	}
	for _, c := range []struct {
		cal  Calibration
		want string
	}{
		{Calibration{Table: pts("1:1")}, "two points"}, {Calibration{Table: pts("1:1 1.0:2")}, "does not rise"},
		{Calibration{Digits: 10}, "digits"}, {Calibration{Date: day, Expires: day.Add(-1)}, "expires before"},
	} {
		n := mk("a", "", "")
		n.Fields = []Field{{Name: "f", Calibration: &c.cal}}
		if _, err := NewTree([]Node{n}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	// What is set cannot be calibrated: it would read back another value.
	n := mk("a", "", "")
	n.Fields = []Field{{Name: "f", Channel: "c", Calibration: &Calibration{}}}
	n.Parameters = []Parameter{{Name: "p", Channel: "c", Kind: drivers.KindInt}}
	if _, err := NewTree([]Node{n}); err == nil || !strings.Contains(err.Error(), "can be set") {
		t.Error(err)
	}
}
