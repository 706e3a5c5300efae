// Package ina226 reads Texas Instruments' INA226 (voltage, current, power of a
// DC line) over I2C. Source: TI SBOS547, chapter 7.
package ina226

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one INA226.
type Config struct {
	Bus        string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address    int    `yaml:"address" default:"0x40" min:"0x40" max:"0x4f" doc:"I2C address, set by the pins A1 and A0"`
	Shunt      string `yaml:"shunt" default:"0.1" doc:"shunt resistor in Ω"`
	MaxCurrent string `yaml:"max_current" default:"0.8" doc:"largest current in A; it sets the resolution"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	_, err := c.plan()
	return err
}

// scaling is what follows from shunt and largest current.
type scaling struct {
	lsb         drivers.Number // A a step of the current register: 1, 2 or 5 × 10^n
	calibration uint16
}

// plan chooses the smallest step out of 1, 2, 5 × 10^n that reaches the largest
// current, so that currents are short decimal numbers (7.5: CAL = 0.00512 /
// (step × shunt)).
func (c Config) plan() (scaling, error) {
	if c.Address < 0x40 || c.Address > 0x4f {
		return scaling{}, fmt.Errorf("address: 0x%02x is not in 0x40..0x4f", c.Address)
	}
	shunt, err := drivers.ParseNumber(c.Shunt)
	if err != nil || shunt.Mant <= 0 {
		return scaling{}, fmt.Errorf("shunt: %q is not a resistance in Ω above 0", c.Shunt)
	}
	top, err := drivers.ParseNumber(c.MaxCurrent)
	if err != nil || top.Mant <= 0 {
		return scaling{}, fmt.Errorf("max_current: %q is not a current in A above 0", c.MaxCurrent)
	}
	if mv := 1000 * shunt.Float64() * top.Float64(); mv > 81.92 {
		return scaling{}, fmt.Errorf("max_current: %s A at %s Ω are %.1f mV; the chip measures up to 81.92 mV", c.MaxCurrent, c.Shunt, mv)
	}
	need := top.Float64() / 32768
	for exp := -9; exp <= 0; exp++ {
		for _, m := range []int64{1, 2, 5} {
			step := drivers.Num(m, exp)
			if step.Float64() < need {
				continue
			}
			cal := math.Round(0.00512 / (step.Float64() * shunt.Float64()))
			if cal < 1 || cal > 32767 {
				continue
			}
			return scaling{step, uint16(cal)}, nil
		}
	}
	return scaling{}, fmt.Errorf("max_current: %s A at %s Ω cannot be calibrated; choose a larger shunt", c.MaxCurrent, c.Shunt)
}

const (
	regConfig      = 0x00
	regBus         = 0x02
	regPower       = 0x03
	regCurrent     = 0x04
	regCalibration = 0x05
	regMask        = 0x06
	regMaker       = 0xfe
	regDie         = 0xff

	powerOnConfig = 0x4127 // no averaging, 1.1 ms each, continuously
	workConfig    = 0x4527 // 16 averages: 35 ms for both
	conversion    = 40 * time.Millisecond
	maker         = 0x5449
	die           = 0x2260
	overflow      = 1 << 2 // in the mask register
)

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	s, err := cfg.plan()
	if err != nil {
		return nil, fmt.Errorf("ina226: %w", err)
	}
	return i2c.NewSensor("ina226", bus, cfg.Address, []drivers.Channel{
		{Name: "voltage", Kind: drivers.KindNumber, Unit: "V", Doc: "voltage of the line"},
		{Name: "current", Kind: drivers.KindNumber, Unit: "A", Doc: "current through the shunt"},
		{Name: "power", Kind: drivers.KindNumber, Unit: "W", Doc: "power of the line"},
	}, func(c *i2c.Chip) (i2c.Measure, error) { return setUp(c, s) }), nil
}

func setUp(c *i2c.Chip, s scaling) (i2c.Measure, error) {
	m, err := c.Word(regMaker)
	if err != nil {
		return nil, err
	}
	d, err := c.Word(regDie)
	if err != nil {
		return nil, err
	}
	if m != maker || d&0xfff0 != die&0xfff0 {
		return nil, fmt.Errorf("identity 0x%04x 0x%04x is none of an INA226: %w", m, d, drivers.ErrProtocol)
	}
	if err := c.Write(regCalibration, byte(s.calibration>>8), byte(s.calibration)); err != nil {
		return nil, err
	}
	if err := c.Write(regConfig, workConfig>>8, workConfig&0xff); err != nil {
		return nil, err
	}
	if err := c.Sleep(conversion); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) { return s.measure(c, dst) }, nil
}

func (s scaling) measure(c *i2c.Chip, dst []drivers.Sample) ([]drivers.Sample, error) {
	var w [5]uint16
	for i, reg := range []byte{regBus, regCurrent, regPower, regCalibration, regMask} {
		v, err := c.Word(reg)
		if err != nil {
			return dst, err
		}
		w[i] = v
	}
	switch {
	case w[3] != s.calibration:
		return dst, fmt.Errorf("calibration reads 0x%04x, not 0x%04x; the chip lost its power or the bus is disturbed: %w", w[3], s.calibration, drivers.ErrProtocol)
	case w[4]&overflow != 0:
		return dst, fmt.Errorf("the current is above max_current: %w", drivers.ErrRange)
	}
	current, err := drivers.Num(int64(int16(w[1])), 0).Mul(s.lsb)
	if err != nil {
		return dst, err
	}
	power, err := drivers.Num(25*int64(w[2]), 0).Mul(s.lsb) // its step is 25 times the current's
	if err != nil {
		return dst, err
	}
	now := time.Now()
	return append(dst,
		drivers.Sample{Channel: "voltage", Value: drivers.Decimal(drivers.Num(125*int64(w[0]), -5)), Unit: "V", Time: now},
		drivers.Sample{Channel: "current", Value: drivers.Decimal(current), Unit: "A", Time: now},
		drivers.Sample{Channel: "power", Value: drivers.Decimal(power), Unit: "W", Time: now},
	), nil
}

// Slave is a simulated INA226. It is safe for concurrent use.
type Slave struct {
	// In V and A; set them before use.
	Voltage, Current drivers.Drift

	shunt float64 // Ω
	mu    sync.Mutex
	ptr   byte
	reg   map[byte]uint16
}

// Simulate returns a chip on a 24 V line with about 0.4 A.
func Simulate(c Config) i2c.Slave {
	s := &Slave{
		Voltage: drivers.Drift{Base: 24.1, Amplitude: 0.3, Period: 20 * time.Minute},
		Current: drivers.Drift{Base: 0.4, Amplitude: 0.2, Period: 3 * time.Minute, Phase: 0.6},
		shunt:   0.1,
	}
	if n, err := drivers.ParseNumber(c.Shunt); err == nil {
		s.shunt = n.Float64()
	}
	s.PowerOn()
	return s
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg = map[byte]uint16{regConfig: powerOnConfig, regMaker: maker, regDie: die}
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w) > 0 {
		s.ptr = w[0]
	}
	if len(w) >= 3 && (s.ptr == regConfig || s.ptr == regCalibration) {
		s.reg[s.ptr] = uint16(w[1])<<8 | uint16(w[2])
	}
	now := time.Now()
	shunt := math.Round(s.Current.At(now) * s.shunt / 2.5e-6)
	bus := math.Round(s.Voltage.At(now) / 1.25e-3)
	current := math.Trunc(shunt * float64(s.reg[regCalibration]) / 2048)
	s.reg[regMask] = 0
	if math.Abs(current) > 32767 {
		s.reg[regMask] = overflow
	}
	s.reg[regBus], s.reg[regCurrent] = uint16(bus), uint16(int16(min(max(current, -32768), 32767)))
	s.reg[regPower] = uint16(math.Abs(current) * bus / 20000)
	for i := range r {
		r[i] = byte(s.reg[s.ptr] >> (8 * (1 - i%2)))
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
