package modbus

import (
	"strings"
	"testing"

	"postern/drivers"
)

func TestSafeStates(t *testing.T) {
	valve := []EnumValue{{0, "shut"}, {1, "open"}}
	for _, c := range []struct {
		name string
		reg  Register
		want drivers.Value
	}{
		{"coil", Register{Table: "coil", Safe: "off"}, drivers.Bool(false)},
		{"bit", Register{Bits: "3", Safe: "on"}, drivers.Bool(true)},
		{"whole", Register{Safe: "40"}, drivers.Int(40)},
		{"long", Register{Type: "uint32", Safe: "70000"}, drivers.Long(70000)},
		{"scaled", Register{Scale: "0.1", Safe: "5.5"}, drivers.Decimal(drivers.Num(55, -1))},
		{"name", Register{Values: valve, Safe: "shut"}, drivers.Enum("shut")},
		{"none", Register{Table: "coil"}, drivers.Value{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.reg.Writable = true
			p := one(t, c.reg)
			if got := p.channel().Safe; got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if c.reg.Safe != "" {
				if _, err := p.encode(p.safe); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, c := range []struct {
		reg  Register
		says string
	}{
		{Register{Safe: "1"}, "only for what is writable"},
		{Register{Table: "coil", Writable: true, Safe: "0"}, "neither on nor off"},
		{Register{Writable: true, Safe: "off"}, "safe"},
		{Register{Writable: true, Safe: "70000"}, "not in 0..65535"},
		{Register{Writable: true, Safe: "1.5"}, "not a whole number"},
		{Register{Writable: true, Min: "0", Max: "10", Safe: "11"}, "not in 0..10"},
		{Register{Writable: true, Values: valve, Safe: "ajar"}, "none of the names"},
	} {
		c.reg.Name = "x"
		if _, err := compile([]Register{c.reg}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.reg, err, c.says)
		}
	}
}
