package formula

import (
	"strings"
	"testing"

	"postern/drivers"
	"postern/internal/node"
)

func num(s string) drivers.Value {
	n, err := drivers.ParseNumber(s)
	if err != nil {
		panic(err)
	}
	return drivers.Decimal(n)
}

// readings is a Source of fixed values.
func readings(m map[string]drivers.Value) Source {
	return func(r Reading) (drivers.Value, bool) {
		v, ok := m[r.Node.ID+"."+r.Field]
		return v, ok
	}
}

var plant = readings(map[string]drivers.Value{
	"tank.level": num("79.9"), "tank.max": drivers.Int(80), "door.open": drivers.Bool(false), "pump.on": drivers.Bool(true),
	"boiler room/2.mode": drivers.Enum("auto"), "meter.t-in": num("-5.50"), "meter.zero": drivers.Int(0),
})

func TestTruth(t *testing.T) {
	for text, want := range map[string]Truth{
		"tank.level < 80":                                True,
		"tank.level < tank.max":                          True,
		"tank.level >= 79.90":                            True,
		"tank.level > 79.9":                              False,
		"not door.open":                                  True,
		"door.open":                                      False,
		"not not pump.on":                                True,
		"door.open = false and pump.on = true":           True,
		"door.open or pump.on":                           True,
		"door.open and pump.on":                          False,
		"[boiler room/2].mode = 'auto'":                  True,
		"[boiler room/2].mode != 'auto'":                 False,
		"meter.t-in = -5.5":                              True,
		"meter.t-in + 5.5 = meter.zero":                  True,
		"meter.t-in - -5.5 = 0":                          True,
		"(tank.level + 0.1) * 2 = 160":                   True,
		"tank.max / 4 = 20 and 1 + 2 * 3 = 7":            True,
		"true and not (false or door.open)":              True,
		"tank.level < 80 and not door.open or door.open": True,
		// Unknown: a missing reading, kinds that do not compare, x/0.
		"nope.x":                             Unknown,
		"not nope.x":                         Unknown,
		"nope.x < 5":                         Unknown,
		"nope.x and true":                    Unknown,
		"nope.x or false":                    Unknown,
		"tank.level":                         Unknown,
		"tank.level = 'full'":                Unknown,
		"door.open < 5":                      Unknown,
		"1 / meter.zero > 0":                 Unknown,
		"999999999999999999 * 999999999 > 0": Unknown,
		// What decides regardless.
		"nope.x and false":               False,
		"false and nope.x":               False,
		"nope.x or true":                 True,
		"true or nope.x":                 True,
		"(nope.x < 1) = true or pump.on": True,
	} {
		c, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, _ := c.Truth(plant); got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

func TestUsesAndBlame(t *testing.T) {
	c, err := Parse("a.x < 1 and [b c].y and a.x > 0")
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Uses(); len(u) != 2 || u[1] != (Reading{node.Ref{ID: "b c"}, "y"}) || u[1].String() != "[b c].y" {
		t.Errorf("%v", u)
	}
	truth, who := c.Truth(readings(map[string]drivers.Value{"a.x": num("0.5")}))
	if truth != Unknown || who.String() != "[b c].y" {
		t.Errorf("%v %v", truth, who)
	}
}

func TestParseFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "character 1: the name of a node",
		"tank":                                  "the dot behind \"tank\" is missing",
		"tank.":                                 "the name of a field",
		"tank.level <":                          "character 13",
		"tank.level < 80 80":                    "character 17: \"80\" was not expected",
		"(a.b":                                  "closing parenthesis",
		"a.b = 'x":                              "not closed",
		"[a.b":                                  "not closed",
		"a.b & c.d":                             "character 5",
		"1.2.3 < 4":                             "not a decimal number",
		"not":                                   "character 4",
		"and a.b":                               "was expected",
		"a.b < 1 < 2":                           "was not expected",
		"[].x":                                  "was expected",
		strings.Repeat("(", 200) + "a.b":        "nested too deeply",
		strings.Repeat("not ", 200) + "a.b":     "nested too deeply",
		strings.Repeat("a.b and ", 200) + "a.b": "too many operands",
		strings.Repeat("a", 5000) + ".b":        "longer than",
		"99999999999999999999 = 1":              "out of range",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("round(a.b, 1) > 2 ? min(1, c.d) : sqrt(dew_point(a.b, 3))")
	f.Add("tank.level < 80 and not [a b].c or (x.y + 1) * 2 != -'z'")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		// Nothing is known: only literals can make a condition certain.
		none, _ := c.Truth(func(Reading) (drivers.Value, bool) { return drivers.Value{}, false })
		all, _ := c.Truth(func(Reading) (drivers.Value, bool) { return drivers.Bool(true), true })
		if none != Unknown && all != none {
			t.Fatalf("%q was %v with nothing known and %v with everything", s, none, all)
		}
	})
}

func TestValue(t *testing.T) {
	for text, want := range map[string]string{
		"0.1 + 0.2":                               "0.3",
		"tank.level + 0.10":                       "80.00",
		"-tank.level":                             "-79.9",
		"10 / 4":                                  "2.5",
		"1 / 3":                                   "0.333333333",
		"123456789.12 / 4":                        "30864197.28",
		"round(2 / 3, 2)":                         "0.67",
		"round(-2.5)":                             "-3",
		"floor(-2.5) + ceil(2.1)":                 "0",
		"ceil(7) - floor(7.9)":                    "0",
		"min(3, tank.level, 2) + max(1, 4)":       "6",
		"sum(1.5, 2, 3)":                          "6.5",
		"mean(20.1, 20.2)":                        "20.15",
		"abs(meter.t-in)":                         "5.50",
		"sqrt(2)":                                 "1.414213562",
		"sqrt(16)":                                "4",
		"dew_point(20, 50)":                       "9.26",
		"dew_point(25.0, 100)":                    "25.00",
		"pump.on ? 1 : 2":                         "1",
		"tank.level > 80 ? 'full' : 'room'":       "room",
		"door.open ? nope.x : 3":                  "3",
		"door.open == false":                      "true",
		"(door.open ? 1 : 2) * 3":                 "6",
		"1234567.891 * 9876543.21 * 1.0000000001": "12193263122359.4", // more digits than a mantissa has
	} {
		f, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v, ok, _ := f.Value(plant); !ok || !strings.HasPrefix(v.String(), want) {
			t.Errorf("%s is %v %v, want %s", text, v, ok, want)
		}
	}
	for text, blame := range map[string]string{
		"nope.x + 1": "nope.x", "pump.on ? nope.x : 3": "nope.x", "nope.x ? 1 : 2": "nope.x",
		"1 / meter.zero": "", "sqrt(-1)": "", "door.open + 1": "", "dew_point(20, 0)": "", "dew_point(99, 50)": "",
		"round(1, 99)": "", "round(1, 0.5)": "",
	} {
		f, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, ok, because := f.Value(plant)
		got := because.String()
		if because == (Reading{}) {
			got = ""
		}
		if ok || got != blame {
			t.Errorf("%s is %v %v because of %q, want %q", text, v, ok, got, blame)
		}
	}
	if f, _ := Parse("a.b > 1"); !f.Logical() {
		t.Error("a comparison is no truth")
	}
	if f, _ := Parse("a.b + 1"); f.Logical() {
		t.Error("a sum is a truth")
	}
}

func TestFunctionFaults(t *testing.T) {
	for text, want := range map[string]string{
		"abs()":                                  "character 5",
		"abs(1, 2)":                              "abs takes one operand, not 2",
		"round(1, 2, 3)":                         "1 or 2 operands",
		"dew_point(1)":                           "2 operands",
		"sum(1":                                  "not closed",
		"sine(1)":                                "the dot behind \"sine\" is missing",
		"true ? 1":                               "the : is missing",
		"true ? : 1":                             "was expected",
		strings.Repeat("abs(", 200) + "1":        "nested too deeply",
		strings.Repeat("true ? 1 : ", 200) + "1": "nested too deeply",
		"sum(" + strings.Repeat("1,", 300) + "1": "more than 200 operands",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}
