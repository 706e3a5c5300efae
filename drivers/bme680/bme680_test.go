package bme680

import (
	"errors"
	"math"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Address: 0x76, HeaterTemp: 320, HeaterTime: 10 * time.Millisecond, Temperature: 25}

func open(t *testing.T, c Config) (*i2c.Sim, *Slave, *i2c.Sensor) {
	s := Simulate(c).(*Slave)
	d, sim := i2ctest.Open(t, 0x76, Open, c, s)
	return sim, s, d
}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x76, Open, Simulate, config, i2c.Dead, i2c.Noise)
}

// The calibration and the results are those of a chip that was sold, in the
// tests of github.com/pimoroni/bme680-python (tests/conftest.py and
// test_compensation.py).
func TestRealChip(t *testing.T) {
	c := calibrationOf(realCal)
	want := calibration{
		t1: 26041, t2: 26469, t3: 3,
		p1: 36673, p2: -10515, p3: 88, p4: 7310, p5: -129, p6: 30, p7: 46, p8: -3177, p9: -2379, p10: 30,
		h1: 676, h2: 1029, h3: 0, h4: 45, h5: 20, h6: 120, h7: -100,
		g1: -30, g2: -24754, g3: 18, heatRange: 1, heatValue: 48, rangeErr: 0,
	}
	if *c != want {
		t.Fatalf("calibration\n%+v, want\n%+v", *c, want)
	}
	fine := c.fine(501240)
	for name, v := range map[string][2]int64{
		"fine":        {fine, 136667},
		"temperature": {temperature(fine), 2669},
		"pressure":    {c.pressure(353485, fine), 98712},
		"humidity":    {c.humidity(19019, fine), 42402},
		"gas":         {c.gas(0, 0), 12946860},
	} {
		if v[0] != v[1] {
			t.Errorf("%s is %d, want %d", name, v[0], v[1])
		}
	}
}

// The maker's formula of the heater for floating point, and its ranges of the
// gas resistance: each is half of the one before.
func TestHeaterAndRanges(t *testing.T) {
	c := calibrationOf(realCal)
	for _, temp := range []int{200, 320, 400} {
		v1, v2 := float64(c.g1)/16+49, float64(c.g2)/32768*0.0005+0.00235
		v4 := v1 * (1 + v2*float64(temp))
		v5 := v4 + float64(c.g3)/1024*25
		want := 3.4 * (v5*(4/(4+float64(c.heatRange)))*(1/(1+float64(c.heatValue)*0.002)) - 25)
		if got := float64(c.heater(temp, 25)); math.Abs(got-want) > 1.5 {
			t.Errorf("%d °C: %v, want %.1f", temp, got, want)
		}
	}
	for scope := byte(1); scope < 16; scope++ {
		if a, b := c.gas(512, scope-1), c.gas(512, scope); math.Abs(float64(a)/float64(b)-2) > 0.05 {
			t.Errorf("range %d: %d Ω, range %d: %d Ω", scope-1, a, scope, b)
		}
	}
	for d, want := range map[time.Duration]byte{
		time.Millisecond: 1, 63 * time.Millisecond: 63, 64 * time.Millisecond: 0x50, 100 * time.Millisecond: 0x59, time.Second: 0xbf,
	} {
		if got := heaterTime(d); got != want {
			t.Errorf("%v is 0x%02x, want 0x%02x", d, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	sim, s, d := open(t, config)
	s.Temperature, s.Humidity = drivers.Drift{Base: -5.25}, drivers.Drift{Base: 61.5}
	s.Pressure, s.Gas = drivers.Drift{Base: 987.12}, drivers.Drift{Base: 50000}
	for range 2 {
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != "-5.25" {
			t.Fatalf("%v, %v", got, err)
		}
		for i, want := range map[int]struct{ value, within float64 }{1: {61.5, 0.02}, 2: {987.12, 0.02}, 3: {50000, 60}} {
			if n, _ := got[i].Value.Number(); math.Abs(n.Float64()-want.value) > want.within {
				t.Errorf("%s is %v, want %v", got[i].Channel, n, want.value)
			}
		}
		sim.SetFault(0x76, i2c.BrownOut)
	}
	s.ColdHeater = true
	if got, err := d.Read(t.Context(), nil); err != nil || !errors.Is(got[3].Err, ErrHeater) || got[2].Err != nil {
		t.Errorf("with a cold heater: %v, %v", got, err)
	}
}

func TestWithoutGas(t *testing.T) {
	c := config
	c.HeaterTemp = 0
	_, _, d := open(t, c)
	if got, err := d.Read(t.Context(), nil); err != nil || len(got) != 3 || len(d.Channels()) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	for reg, v := range map[byte]byte{regID: 0x60, regVariant: 1} {
		_, s, d := open(t, config)
		s.reg[reg] = v
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("register %02x is %02x: %v, %v", reg, v, got, err)
		}
	}
	for _, f := range []func(*Config){
		func(c *Config) { c.Address = 0x75 },
		func(c *Config) { c.HeaterTemp = 100 },
		func(c *Config) { c.HeaterTime = 2 * time.Second },
		func(c *Config) { c.Temperature = 90 },
	} {
		c := config
		f(&c)
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// A program before left a filter on and the heater off.
func TestSettingsOfAnother(t *testing.T) {
	_, s, d := open(t, config)
	s.reg[regFilter], s.reg[regCtrlOff] = 2<<2, 8
	if got, err := d.Read(t.Context(), nil); err != nil || s.reg[regFilter] != 0 || s.reg[regCtrlOff] != 0 {
		t.Errorf("0x%02x 0x%02x: %v, %v", s.reg[regFilter], s.reg[regCtrlOff], got, err)
	}
}
