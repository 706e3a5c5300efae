package bmp388

import (
	"math"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Address: 0x77, Oversampling: "1x"}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x77, Open, Simulate, config, i2c.Dead, i2c.Noise)
}

// The octets of a chip that was sold, as the tests of the Elixir library
// bmp3xx (github.com/elixir-sensors/bmp3xx, test/bmp3xx/bmp388) have them, and
// what that library makes of them.
func TestRealChip(t *testing.T) {
	c := calibrationOf(realCal)
	temp := c.temperature(0x85d873)
	if math.Abs(temp-30.499314453874284) > 1e-9 {
		t.Errorf("temperature %v", temp)
	}
	if p := c.pressure(0x6d9f97, temp); math.Abs(p-100876.00634692199) > 1e-4 {
		t.Errorf("pressure %v", p)
	}
}

func TestValues(t *testing.T) {
	for _, osr := range []string{"1x", "32x"} {
		s := Simulate(config).(*Slave)
		s.Temperature, s.Pressure = drivers.Drift{Base: -12.34}, drivers.Drift{Base: 456.789}
		d, sim := i2ctest.Open(t, 0x76, Open, Config{Address: 0x76, Oversampling: osr}, s)
		for range 2 {
			got, err := d.Read(t.Context(), nil)
			if err != nil || got[0].Value.String() != "-12.34" || got[1].Value.String() != "456.789" {
				t.Fatalf("%s: %v, %v", osr, got, err)
			}
			sim.SetFault(0x76, i2c.BrownOut)
		}
	}
}

func TestOtherChip(t *testing.T) {
	s := Simulate(config).(*Slave)
	s.reg[regID] = 0x58
	d, _ := i2ctest.Open(t, 0x77, Open, config, s)
	if got, err := d.Read(t.Context(), nil); err == nil {
		t.Errorf("a BMP280 was taken for a BMP388: %v", got)
	}
	for _, c := range []Config{{Address: 0x75, Oversampling: "1x"}, {Address: 0x76, Oversampling: "3x"}} {
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// A program before left the chip measuring by itself, with a filter.
func TestSettingsOfAnother(t *testing.T) {
	s := Simulate(config).(*Slave)
	s.reg[regFilter], s.reg[regPower] = 7<<1, 0x33
	d, _ := i2ctest.Open(t, 0x77, Open, config, s)
	if got, err := d.Read(t.Context(), nil); err != nil || s.reg[regFilter] != 0 {
		t.Errorf("filter 0x%02x: %v, %v", s.reg[regFilter], got, err)
	}
}
