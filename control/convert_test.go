package control

import (
	"testing"
	"time"

	"postern/drivers"
)

// The matrix of §4: every kind of field into every kind of parameter. "-"
// marks what is incompatible or does not fit.
func Test0325R30R31_ConversionMatrix(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	at := drivers.Time(time.Date(2024, 2, 29, 23, 4, 5, 500_000_000, zone))
	text := func(k drivers.Kind, s string) drivers.Value { return drivers.Text(k, s) }
	kinds := []drivers.Kind{drivers.KindBool, drivers.KindColor, drivers.KindDate, drivers.KindTime, drivers.KindNumber, drivers.KindDuration,
		drivers.KindInt, drivers.KindLong, drivers.KindString, drivers.KindClock}
	for _, c := range []struct {
		v    drivers.Value
		want [10]string // boolean, color, date, dateTime, double, duration, int, long, string, time
	}{
		{drivers.Bool(true), [10]string{"true", "-", "-", "-", "1", "-", "1", "1", "true", "-"}},
		{drivers.Bool(false), [10]string{"false", "-", "-", "-", "0", "-", "0", "0", "false", "-"}},
		{text(drivers.KindDate, "2024-02-29"), [10]string{"-", "-", "2024-02-29", "2024-02-29T00:00:00+01:00", "-", "-", "-", "-", "2024-02-29", "-"}},
		{text(drivers.KindDate, "2024-02-29Z"), [10]string{"-", "-", "2024-02-29Z", "2024-02-29T00:00:00Z", "-", "-", "-", "-", "2024-02-29Z", "-"}},
		{at, [10]string{"-", "-", "2024-02-29+02:00", "2024-02-29T23:04:05.5+02:00", "-", "-", "-", "-", "2024-02-29T23:04:05.5+02:00", "23:04:05.5+02:00"}},
		{text(drivers.KindDuration, "PT1H2M3.5S"), [10]string{"-", "-", "-", "-", "-", "PT1H2M3.5S", "-", "-", "PT1H2M3.5S", "01:02:03.5"}},
		{text(drivers.KindDuration, "PT24H"), [10]string{"-", "-", "-", "-", "-", "PT24H", "-", "-", "PT24H", "-"}},
		{text(drivers.KindDuration, "P1D"), [10]string{"-", "-", "-", "-", "-", "P1D", "-", "-", "P1D", "-"}},
		{drivers.Enum("auto"), [10]string{"-", "-", "-", "-", "-", "-", "-", "-", "auto", "-"}},
		{drivers.Int(-7), [10]string{"true", "-", "-", "-", "-7", "-", "-7", "-7", "-7", "-"}},
		{drivers.Long(1 << 40), [10]string{"true", "-", "-", "-", "1099511627776", "-", "-", "1099511627776", "1099511627776", "-"}},
		{drivers.Decimal(number("-21.90")), [10]string{"true", "-", "-", "-", "-21.90", "-", "-21", "-21", "-21.90", "-"}},
		{drivers.Decimal(number("0.00")), [10]string{"false", "-", "-", "-", "0.00", "-", "0", "0", "0.00", "-"}},
		{drivers.Decimal(number("5e18")), [10]string{"true", "-", "-", "-", "5000000000000000000", "-", "-", "5000000000000000000", "5E18", "-"}},
		{drivers.Decimal(number("99e18")), [10]string{"true", "-", "-", "-", "99000000000000000000", "-", "-", "-", "99E18", "-"}},
		{drivers.String("ff8000"), [10]string{"-", "ff8000", "-", "-", "-", "-", "-", "-", "ff8000", "-"}},
		{drivers.String(" 12 "), [10]string{"-", "-", "-", "-", "12", "-", "12", "12", " 12 ", "-"}},
		{drivers.String("1.50"), [10]string{"-", "-", "-", "-", "1.50", "-", "-", "-", "1.50", "-"}},
		{drivers.String("2024-02-29"), [10]string{"-", "-", "2024-02-29", "-", "-", "-", "-", "-", "2024-02-29", "-"}},
		{drivers.String("Thu, 29 Feb 2024 12:00:00 +0000"), [10]string{"-", "-", "2024-02-29Z", "2024-02-29T12:00:00Z", "-", "-", "-", "-", "Thu, 29 Feb 2024 12:00:00 +0000", "-"}},
		{drivers.String("12:30:00"), [10]string{"-", "-", "-", "-", "-", "PT12H30M0S", "-", "-", "12:30:00", "12:30:00"}},
		{drivers.String("P1Y"), [10]string{"-", "-", "-", "-", "-", "P1Y", "-", "-", "P1Y", "-"}},
		{text(drivers.KindClock, "01:02:03.050"), [10]string{"-", "-", "-", "-", "-", "PT1H2M3.050S", "-", "-", "01:02:03.050", "01:02:03.050"}},
		{drivers.Value{}, [10]string{"-", "-", "-", "-", "-", "-", "-", "-", "-", "-"}},
	} {
		for i, k := range kinds {
			got, ok := Convert(c.v, k, time.FixedZone("", 3600))
			s := "-"
			if ok {
				s = got.String()
				if got.Kind() != k {
					t.Errorf("%v became %v, not %v", c.v, got.Kind(), k)
				}
			}
			if s != c.want[i] {
				t.Errorf("%v %q as %v: %q, want %q", c.v.Kind(), c.v, k, s, c.want[i])
			}
		}
	}
	// An enumerated parameter takes what a string does.
	if v, ok := Convert(drivers.Int(3), drivers.KindEnum, time.UTC); !ok || v != drivers.Enum("3") {
		t.Error(v, ok)
	}
}
