package modbus

import (
	"errors"
	"math"
	"strings"
	"testing"

	"postern/drivers"
)

func one(t *testing.T, r Register) *point {
	t.Helper()
	if r.Name == "" {
		r.Name = "x"
	}
	if r.Type != "float32" && r.Type != "float64" || r.Decimals == 0 {
		r.Decimals = -1
	}
	ps, err := compile([]Register{r})
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return &ps[0]
}

func TestValues(t *testing.T) {
	f32 := math.Float32bits(230.1)
	f64 := math.Float64bits(-12.375)
	for _, c := range []struct {
		name string
		reg  Register
		regs []uint16
		want drivers.Value
	}{
		{"uint16", Register{}, []uint16{65535}, drivers.Int(65535)},
		{"int16", Register{Type: "int16"}, []uint16{0xfffe}, drivers.Int(-2)},
		{"decimals stay", Register{Scale: "0.1"}, []uint16{2300}, drivers.Decimal(drivers.Num(2300, -1))},
		{"negative scaled", Register{Type: "int16", Scale: "0.01"}, []uint16{0xffd8}, drivers.Decimal(drivers.Num(-40, -2))},
		{"offset", Register{Scale: "0.1", Offset: "-40"}, []uint16{615}, drivers.Decimal(drivers.Num(215, -1))},
		{"uint32 abcd", Register{Type: "uint32"}, []uint16{0x1234, 0x5678}, drivers.Long(0x12345678)},
		{"uint32 badc", Register{Type: "uint32", Order: "badc"}, []uint16{0x3412, 0x7856}, drivers.Long(0x12345678)},
		{"uint32 cdab", Register{Type: "uint32", Order: "cdab"}, []uint16{0x5678, 0x1234}, drivers.Long(0x12345678)},
		{"uint32 dcba", Register{Type: "uint32", Order: "dcba"}, []uint16{0x7856, 0x3412}, drivers.Long(0x12345678)},
		{"int32", Register{Type: "int32"}, []uint16{0xffff, 0xff9c}, drivers.Int(-100)},
		{"int64", Register{Type: "int64"}, []uint16{0xffff, 0xffff, 0xffff, 0xff9c}, drivers.Long(-100)},
		{"uint64 cdab", Register{Type: "uint64", Order: "cdab"}, []uint16{4, 3, 2, 1}, drivers.Long(0x0001000200030004)},
		{"float32", Register{Type: "float32"}, []uint16{uint16(f32 >> 16), uint16(f32)}, drivers.Decimal(drivers.Num(2301, -1))},
		{"float32 decimals", Register{Type: "float32", Decimals: 3}, []uint16{uint16(f32 >> 16), uint16(f32)}, drivers.Decimal(drivers.Num(230100, -3))},
		{"float64", Register{Type: "float64"}, []uint16{uint16(f64 >> 48), uint16(f64 >> 32), uint16(f64 >> 16), uint16(f64)}, drivers.Decimal(drivers.Num(-12375, -3))},
		{"float32 zero", Register{Type: "float32"}, []uint16{0, 0}, drivers.Decimal(drivers.Num(0, 0))},
		{"float32 tiny", Register{Type: "float32"}, []uint16{0, 1}, drivers.Decimal(drivers.Num(0, 0))},
		{"float32 large", Register{Type: "float32"}, []uint16{0x4974, 0x2400}, drivers.Decimal(drivers.Num(1000000, 0))},
		{"bcd16", Register{Type: "bcd16"}, []uint16{0x1234}, drivers.Int(1234)},
		{"bcd32 scaled", Register{Type: "bcd32", Scale: "0.01"}, []uint16{0x0001, 0x2345}, drivers.Decimal(drivers.Num(12345, -2))},
		{"bit", Register{Bits: "3"}, []uint16{0x0008}, drivers.Bool(true)},
		{"no bit", Register{Bits: "3"}, []uint16{0xfff7}, drivers.Bool(false)},
		{"bits", Register{Bits: "4-7"}, []uint16{0x00a0}, drivers.Int(10)},
		{"enum", Register{Values: []EnumValue{{0, "off"}, {2, "auto"}}}, []uint16{2}, drivers.Enum("auto")},
		{"enum of bits", Register{Bits: "14-15", Values: []EnumValue{{3, "fault"}}}, []uint16{0xc000}, drivers.Enum("fault")},
		{"string", Register{Type: "string", Length: 3}, []uint16{0x4142, 0x4320, 0x0000}, drivers.String("ABC")},
		{"string swapped", Register{Type: "string", Length: 2, Order: "badc"}, []uint16{0x4241, 0x4443}, drivers.String("ABCD")},
	} {
		p := one(t, c.reg)
		got, err := p.value(c.regs, 0)
		if err != nil || got != c.want {
			t.Errorf("%s: %v (%v), %v; want %v (%v)", c.name, got, got.Kind(), err, c.want, c.want.Kind())
		}
		if ch := p.channel(); got.Kind() != ch.Kind {
			t.Errorf("%s: kind %v, described as %v", c.name, got.Kind(), ch.Kind)
		}
	}
}

// The digits of a float64 that a Number has no room for are rounded, not refused.
func TestFloat64WithManyDigits(t *testing.T) {
	for _, c := range []struct {
		f           float64
		scale, want string
	}{
		{0.0012345678901234567, "1", "0.001234567890"}, {230.12345678901234, "1000", "230123.456789000"},
		{-0.0012345678901234567, "0.1", "-0.0001234567890"}, {4.123456789e-13, "1", "0"}, {230.1, "1", "230.1"},
	} {
		b := math.Float64bits(c.f)
		p := one(t, Register{Type: "float64", Scale: c.scale})
		if v, err := p.value([]uint16{uint16(b >> 48), uint16(b >> 32), uint16(b >> 16), uint16(b)}, 0); err != nil || v.String() != c.want {
			t.Errorf("%v × %s: %v, %v; want %s", c.f, c.scale, v, err, c.want)
		}
	}
	p := one(t, Register{Type: "float64"})
	if v, err := p.value([]uint16{0x7e37, 0xe43c, 0x8800, 0x759c}, 0); !errors.Is(err, drivers.ErrRange) { // 1e300
		t.Errorf("%v, %v", v, err)
	}
}

func TestNoValue(t *testing.T) {
	for _, c := range []struct {
		name string
		reg  Register
		regs []uint16
		want error
	}{
		{"hex", Register{Type: "int16", Invalid: "0x8000"}, []uint16{0x8000}, ErrNoValue},
		{"signed", Register{Type: "int16", Invalid: "-32768"}, []uint16{0x8000}, ErrNoValue},
		{"uint32", Register{Type: "uint32", Invalid: "0xffffffff"}, []uint16{0xffff, 0xffff}, ErrNoValue},
		{"NaN", Register{Type: "float32"}, []uint16{0x7fc0, 0}, ErrNoValue},
		{"infinite", Register{Type: "float32"}, []uint16{0x7f80, 0}, ErrNoValue},
		{"bcd", Register{Type: "bcd16"}, []uint16{0x00a0}, drivers.ErrProtocol},
		{"unnamed", Register{Values: []EnumValue{{0, "off"}}}, []uint16{1}, drivers.ErrProtocol},
		{"too large", Register{Type: "uint64"}, []uint16{0xffff, 0, 0, 0}, drivers.ErrRange},
		{"control characters", Register{Type: "string", Length: 1}, []uint16{0x0741}, drivers.ErrProtocol},
	} {
		if got, err := one(t, c.reg).value(c.regs, 0); !errors.Is(err, c.want) || got.Kind() != drivers.KindNone {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestScaleFrom(t *testing.T) {
	ps, err := compile([]Register{
		{Name: "power", Type: "int16", ScaleFrom: "power-sf", Unit: "W"},
		{Name: "power-sf", Type: "int16", Address: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	for exp, want := range map[int64]string{-2: "12.34", 0: "1234", 1: "12340"} {
		if got, err := ps[0].value([]uint16{1234}, exp); err != nil || got.String() != want {
			t.Errorf("10^%d: %v, %v; want %s", exp, got, err, want)
		}
	}
	if _, err := ps[0].value([]uint16{1}, -32768); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("a factor of 10^-32768: %v", err)
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name string
		reg  Register
		v    drivers.Value
		want []uint16
	}{
		{"uint16", Register{}, drivers.Int(7), []uint16{7}},
		{"scaled", Register{Scale: "0.1"}, drivers.Decimal(drivers.Num(2150, -2)), []uint16{215}},
		{"negative", Register{Type: "int16", Scale: "0.5"}, drivers.Decimal(drivers.Num(-5, -1)), []uint16{0xffff}},
		{"offset", Register{Scale: "0.1", Offset: "-40"}, drivers.Decimal(drivers.Num(215, -1)), []uint16{615}},
		{"uint32 cdab", Register{Type: "uint32", Order: "cdab"}, drivers.Long(0x12345678), []uint16{0x5678, 0x1234}},
		{"float32", Register{Type: "float32"}, drivers.Decimal(drivers.Num(1, 0)), []uint16{0x3f80, 0}},
		{"bcd16", Register{Type: "bcd16"}, drivers.Int(1234), []uint16{0x1234}},
		{"enum", Register{Values: []EnumValue{{0, "off"}, {2, "auto"}}}, drivers.Enum("auto"), []uint16{2}},
	} {
		c.reg.Writable = true
		p := one(t, c.reg)
		raw, err := p.encode(c.v)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := p.registers(raw)
		if len(got) != len(c.want) || got[0] != c.want[0] || len(got) == 2 && got[1] != c.want[1] {
			t.Errorf("%s: % x, want % x", c.name, got, c.want)
		}
		if back, err := p.value(got, 0); err != nil || back.Kind() != c.v.Kind() && p.kind == drivers.KindEnum {
			t.Errorf("%s: comes back as %v, %v", c.name, back, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		reg  Register
		v    drivers.Value
	}{
		{"above the register", Register{}, drivers.Long(65536)},
		{"below the register", Register{}, drivers.Int(-1)},
		{"above max", Register{Min: "0", Max: "100"}, drivers.Int(101)},
		{"finer than the step", Register{Scale: "0.5"}, drivers.Decimal(drivers.Num(7, -1))},
		{"no number", Register{}, drivers.String("7")},
		{"no name", Register{Values: []EnumValue{{0, "off"}}}, drivers.Enum("on")},
		{"number for a name", Register{Values: []EnumValue{{0, "off"}}}, drivers.Int(0)},
		{"no boolean", Register{Table: "coil"}, drivers.Int(1)},
		{"too large for bcd", Register{Type: "bcd16"}, drivers.Int(10000)},
		{"too large for float32", Register{Type: "float32"}, drivers.Decimal(drivers.Num(math.MaxInt64, 18))},
		{"above the field", Register{Bits: "0-1"}, drivers.Int(4)},
	} {
		c.reg.Writable = true
		if c.name == "too large for float32" {
			c.v = drivers.Decimal(drivers.Number{Mant: math.MaxInt64, Exp: 30}) // beyond what parsing lets through
		}
		if raw, err := one(t, c.reg).encode(c.v); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("%s: %x, %v; want ErrValue", c.name, raw, err)
		}
	}
}

func TestCompileSaysEveryProblem(t *testing.T) {
	for hint, r := range map[string]Register{
		"lower case":            {Name: "Voltage"},
		"table":                 {Name: "x", Table: "output"},
		"bool":                  {Name: "x", Table: "coil", Type: "uint16"},
		"unknown":               {Name: "x", Type: "uint8"},
		"length":                {Name: "x", Type: "string"},
		"address: 65535":        {Name: "x", Type: "uint32", Address: 65535},
		"order":                 {Name: "x", Order: "abdc"},
		"scale: 0":              {Name: "x", Scale: "0"},
		"scale: number":         {Name: "x", Scale: "much"},
		"offset":                {Name: "x", Offset: "-"},
		"bits: needs":           {Name: "x", Type: "int16", Bits: "1"},
		"bits: \"16\"":          {Name: "x", Bits: "16"},
		"bits: \"4-2\"":         {Name: "x", Bits: "4-2"},
		"invalid":               {Name: "x", Invalid: "0x10000"},
		"used twice":            {Name: "x", Values: []EnumValue{{0, "a"}, {1, "a"}}},
		"table input cannot":    {Name: "x", Table: "input", Writable: true},
		"strings cannot":        {Name: "x", Type: "string", Length: 2, Writable: true},
		"min 5 is above max 1":  {Name: "x", Min: "5", Max: "1"},
		"give both":             {Name: "x", Type: "float32", Min: "5"},
		"no int16 register \"y": {Name: "x", ScaleFrom: "y"},
	} {
		r.Decimals = -1
		_, err := compile([]Register{r, {Name: "Other"}})
		if err == nil || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), "registers[1] Other") {
			t.Errorf("%+v: %v; want %q and the other problem", r, err, hint)
		}
	}
	if _, err := compile(nil); err == nil {
		t.Error("no registers at all were accepted")
	}
	if _, err := compile([]Register{{Name: "x"}, {Name: "x", Address: 1}}); err == nil {
		t.Error("a name used twice was accepted")
	}
}

func TestPlan(t *testing.T) {
	cfg := Config{MaxRegisters: 10, MaxBits: 100, MaxHole: 2, Registers: []Register{
		{Name: "e", Type: "uint32", Address: 14},
		{Name: "a", Address: 0},
		{Name: "b", Address: 1},
		{Name: "c", Address: 4}, // a hole of two
		{Name: "d", Address: 8}, // a hole of three
		{Name: "bits", Address: 4, Bits: "1"},
		{Name: "in", Table: "input", Address: 5},
		{Name: "coil", Table: "coil", Address: 3},
		{Name: "far", Table: "coil", Address: 60},
	}}
	blocks, err := Plan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range blocks {
		got = append(got, b.String())
	}
	want := []string{
		"coil 3 to 3 (1 bits): coil",
		"coil 60 to 60 (1 bits): far",
		"input 5 to 5 (1 registers): in",
		"holding 0 to 4 (5 registers, reading across unused ones): a, b, c, bits",
		"holding 8 to 8 (1 registers): d",
		"holding 14 to 15 (2 registers): e",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("plan is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPlanNeverDividesAndNeverExceeds(t *testing.T) {
	var regs []Register
	for i := range 60 {
		regs = append(regs, Register{Name: "r" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Type: "uint64", Address: 4 * i})
	}
	blocks, err := Plan(Config{MaxRegisters: 10, MaxHole: 8, Registers: regs})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range blocks {
		if b.Count > 10 || b.Count%4 != 0 {
			t.Errorf("block %v", b)
		}
		n += len(b.Names)
	}
	if n != 60 {
		t.Errorf("%d of 60 registers are read", n)
	}
}
