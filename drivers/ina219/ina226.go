package ina219

import (
	"context"
	"fmt"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// INA226Config is the configuration of one INA226.
type INA226Config struct {
	Bus        string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address    int    `yaml:"address" default:"0x40" min:"0x40" max:"0x4f" doc:"I2C address, set by the pins A1 and A0"`
	Shunt      string `yaml:"shunt" default:"0.1" doc:"shunt resistor in Ω"`
	MaxCurrent string `yaml:"max_current" default:"0.8" doc:"largest current in A; it sets the resolution"`
}

// Validate reports what the tags cannot express.
func (c INA226Config) Validate() error {
	_, err := ina226.plan(c.Address, c.Shunt, c.MaxCurrent)
	return err
}

// ina226 is the family of the INA226 (SBOS547, 7.5, 7.6).
var ina226 = family{
	name: "ina226", constant: 0.00512, calibration: 32767,
	full: 32767, least: 1, shunt: 2.5e-6, bus: drivers.Num(125, -5), power: 25,
}

const (
	regMask  = 0x06
	regMaker = 0xfe
	regDie   = 0xff

	powerOnConfig226 = 0x4127 // no averaging, 1.1 ms each, continuously
	workConfig226    = 0x4527 // 16 averages: 35 ms for both
	conversion226    = 40 * time.Millisecond
	maker            = 0x5449
	die              = 0x2260
	overflow226      = 1 << 2 // in the mask register
)

// OpenINA226 returns the chip. Whether it is there shows when it is read.
func OpenINA226(ctx context.Context, bus i2c.Bus, cfg INA226Config) (*i2c.Sensor, error) {
	s, err := ina226.plan(cfg.Address, cfg.Shunt, cfg.MaxCurrent)
	if err != nil {
		return nil, fmt.Errorf("ina226: %w", err)
	}
	return i2c.NewSensor("ina226", bus, cfg.Address, channels[:], func(c *i2c.Chip) (i2c.Measure, error) { return setUp226(c, s) }), nil
}

func setUp226(c *i2c.Chip, s scaling) (i2c.Measure, error) {
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
	if err := s.start(c, workConfig226, conversion226); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		w, err := s.registers(c)
		if err != nil {
			return dst, err
		}
		mask, err := c.Word(regMask)
		if err != nil {
			return dst, err
		}
		return s.samples(dst, w, mask&overflow226 != 0), nil
	}, nil
}
