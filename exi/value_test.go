package exi

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseDecKeepsDigits(t *testing.T) {
	for _, c := range []struct {
		in   string
		mant int64
		exp  int
		ok   bool
	}{
		{"21.50", 2150, -2, true}, {"-0.007", -7, -3, true}, {"+3", 3, 0, true}, {".5", 5, -1, true},
		{"5.", 5, 0, true}, {"1.5E3", 15, 2, true}, {"1e-2", 1, -2, true}, {"0", 0, 0, true},
		{"999999999999999999", 999999999999999999, 0, true},
		{"", 0, 0, false}, {".", 0, 0, false}, {"1.2.3", 0, 0, false}, {"1,5", 0, 0, false},
		{"1e", 0, 0, false}, {"1e99999", 0, 0, false}, {"99999999999999999999", 0, 0, false}, {"INF", 0, 0, false},
		{"0x10", 0, 0, false}, {"1 ", 0, 0, false}, {"--1", 0, 0, false},
	} {
		m, e, ok := ParseDec(c.in)
		if ok != c.ok || ok && (m != c.mant || e != c.exp) {
			t.Errorf("ParseDec(%q) = %d, %d, %v; want %d, %d, %v", c.in, m, e, ok, c.mant, c.exp, c.ok)
		}
	}
}

func TestNumbersAsText(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{IntValue(math.MinInt64), "-9223372036854775808"},
		{DecimalValue(2150, -2), "21.50"}, {DecimalValue(-5, -3), "-0.005"}, {DecimalValue(0, -1), "0.0"},
		{DecimalValue(12, 0), "12"}, {DecimalValue(math.MinInt64, -18), "-9.223372036854775808"},
		{FloatValue(2340, -2), "23.40"}, {FloatValue(1, 3), "1E3"}, {FloatValue(-15, -16), "-15E-16"},
		{FloatValue(1, ExpSpecial), "INF"}, {FloatValue(-1, ExpSpecial), "-INF"}, {FloatValue(0, ExpSpecial), "NaN"},
		{BoolValue(true), "true"}, {BytesValue(Hex, "\x0f\xa0"), "0FA0"}, {BytesValue(Base64, "\x00\xff"), "AP8="},
		{NameValue("urn:x", "p:l"), "p:l"}, {Value{}, ""},
	} {
		if got := c.v.String(); got != c.want {
			t.Errorf("%v value reads %q, want %q", c.v.Kind(), got, c.want)
		}
		if !c.v.Is(c.want) || c.v.Is(c.want+"x") {
			t.Errorf("Is(%q) is wrong", c.want)
		}
	}
}

func TestAccessorsConvert(t *testing.T) {
	if n, ok := Str(" -12 ").Int(); !ok || n != -12 {
		t.Errorf("Int = %d, %v", n, ok)
	}
	if _, ok := Str("1.5").Int(); ok {
		t.Error("1.5 is no integer")
	}
	if b, ok := Str("1").Bool(); !ok || !b {
		t.Error("1 is true")
	}
	if _, ok := Str("yes").Bool(); ok {
		t.Error("yes is no boolean")
	}
	if f, ok := FloatValue(-1, ExpSpecial).Float64(); !ok || !math.IsInf(f, -1) {
		t.Errorf("-INF = %v, %v", f, ok)
	}
	if f, ok := Str("NaN").Float64(); !ok || !math.IsNaN(f) {
		t.Errorf("NaN = %v, %v", f, ok)
	}
	if f, ok := Str("23.40").Float64(); !ok || f != 23.4 {
		t.Errorf("23.40 = %v, %v", f, ok)
	}
	if b, ok := Str(" A P 8 = ").Bytes(Base64); !ok || string(b) != "\x00\xff" {
		t.Errorf("Bytes = %x, %v", b, ok)
	}
	if _, ok := Str("0F0").Bytes(Hex); ok {
		t.Error("an odd number of hex digits")
	}
	space, prefix, local, ok := NameValue("urn:x", "p:l").Name()
	if !ok || space != "urn:x" || prefix != "p" || local != "l" {
		t.Errorf("Name = %q %q %q %v", space, prefix, local, ok)
	}
	if pub, sys, in := DocTypeValue("p", "s", "<!--\n-->").DocType(); pub != "p" || sys != "s" || in != "<!--\n-->" {
		t.Errorf("DocType = %q %q %q", pub, sys, in)
	}
}

func TestNameValueDoesNotBorrow(t *testing.T) {
	text := []byte("p:local")
	v := NameValue("", view(text))
	copy(text, "XXXXXXX")
	if v.String() != "p:local" {
		t.Errorf("the text changed to %q", v.String())
	}
}

func TestDateTimeText(t *testing.T) {
	good := []string{
		"2014-02-11T10:20:30Z", "2014-02-11T10:20:30.005+05:30", "-0044-03-15T12:00:00-14:00",
		"12014-12-31T24:00:00", "2014-02-11T23:59:59.999999999Z",
	}
	for _, s := range good {
		c, ok := ParseDateTime(s)
		if !ok {
			t.Errorf("%s is refused", s)
			continue
		}
		if got := CalendarValue(DateTime, c).String(); got != s {
			t.Errorf("%s reads back as %s", s, got)
		}
	}
	for _, s := range []string{
		"", "2014-02-11", "2014-13-11T10:20:30Z", "2014-02-32T10:20:30Z", "2014-02-11T25:00:00Z", "2014-02-11T24:00:01Z",
		"2014-02-11T10:60:00Z", "2014-02-11T10:20:30.Z", "2014-02-11T10:20:30.1234567890Z", "2014-02-11T10:20:30+14:01",
		"2014-02-11T10:20:30+1:00", "02014-02-11T10:20:30Z", "0000-02-11T10:20:30Z", "2014-02-11 10:20:30Z", "2014-02-11T10:20:30ZZ",
		"99999999999-01-01T00:00:00Z",
	} {
		if _, ok := ParseDateTime(s); ok {
			t.Errorf("%q is accepted", s)
		}
	}
	if c, ok := ParseDate("2014-02-11+01:00"); !ok || CalendarValue(Date, c).String() != "2014-02-11+01:00" {
		t.Error("dates")
	}
	if c, ok := ParseTime("10:20:30.5"); !ok || CalendarValue(Time, c).String() != "10:20:30.5" {
		t.Error("times")
	}
}

func TestCalendarKinds(t *testing.T) {
	c := Calendar{Year: 2014, Month: 2, Day: 9, HasZone: true, ZoneMinutes: -90}
	for kind, want := range map[ValueKind]string{
		GYear: "2014-01:30", GYearMonth: "2014-02-01:30", GMonth: "--02-01:30", GMonthDay: "--02-09-01:30", GDay: "---09-01:30",
	} {
		if got := CalendarValue(kind, c).String(); got != want {
			t.Errorf("%d reads %q, want %q", kind, got, want)
		}
	}
}

func TestTimeValue(t *testing.T) {
	when := time.Date(2014, 2, 11, 10, 20, 30, 250_000_000, time.FixedZone("", -5*3600))
	v := TimeValue(when, -1)
	if v.String() != "2014-02-11T10:20:30.25-05:00" {
		t.Errorf("reads %s", v)
	}
	if got := TimeValue(when, 0).String(); got != "2014-02-11T10:20:30-05:00" {
		t.Errorf("without digits: %s", got)
	}
	back, zone, ok := v.Time(time.UTC)
	if !ok || !zone || !back.Equal(when) {
		t.Errorf("back as %v, %v, %v", back, zone, ok)
	}
	local := time.FixedZone("x", 3600)
	back, zone, ok = Str("2014-02-11T10:20:30").Time(local)
	if !ok || zone || back.Location() != local {
		t.Errorf("without zone: %v, %v, %v", back, zone, ok)
	}
	if _, _, ok := IntValue(1).Time(nil); ok {
		t.Error("an integer is no time")
	}
}

func TestCloneOutlivesDoc(t *testing.T) {
	var d Doc
	v := d.Borrow([]byte("hello"))
	kept, text := v.Clone(), v.String()
	d.Reset()
	d.Borrow([]byte("XXXXX"))
	if kept.View() != "hello" || text != "hello" {
		t.Errorf("kept %q and %q", kept.View(), text)
	}
	if strings.Clone(v.View()) != "XXXXX" {
		t.Error("a borrowed value should follow the arena; the test proves nothing otherwise")
	}
}
