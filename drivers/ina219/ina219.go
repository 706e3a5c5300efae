// Package ina219 reads Texas Instruments' INA219 and INA226 (voltage, current,
// power of a DC line) over I2C. Sources: TI SBOS448 (INA219), chapter 8, and
// SBOS547 (INA226), chapter 7.
//
// It does not use periph's driver of the INA219, which cuts the voltage at 16 V
// and takes no shunt voltages between 5 and 20 mV.
package ina219

import (
	"context"
	"fmt"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one INA219.
type Config struct {
	Bus        string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address    int    `yaml:"address" default:"0x40" min:"0x40" max:"0x4f" doc:"I2C address, set by the pins A1 and A0"`
	Shunt      string `yaml:"shunt" default:"0.1" doc:"shunt resistor in Ω"`
	MaxCurrent string `yaml:"max_current" default:"3.2" doc:"largest current in A; it sets the resolution"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	_, err := ina219.plan(c.Address, c.Shunt, c.MaxCurrent)
	return err
}

// ina219 is the family of the INA219 (8.5.1, 8.6).
var ina219 = family{
	name: "ina219", constant: 0.04096, calibration: 65534, // its lowest bit is fixed
	full: 32000, least: 500, shunt: 10e-6, shift: 3, bus: drivers.Num(4, -3), power: 20,
}

const (
	powerOnConfig = 0x399f
	workConfig    = 0x3fff // 32 V, 320 mV, 128 samples of 12 bits, continuously
	conversion    = 140 * time.Millisecond
	overflow      = 1 << 0 // in the bus register
)

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	s, err := ina219.plan(cfg.Address, cfg.Shunt, cfg.MaxCurrent)
	if err != nil {
		return nil, fmt.Errorf("ina219: %w", err)
	}
	return i2c.NewSensor("ina219", bus, cfg.Address, channels[:], func(c *i2c.Chip) (i2c.Measure, error) { return setUp(c, s) }), nil
}

func setUp(c *i2c.Chip, s scaling) (i2c.Measure, error) {
	if w, err := c.Word(regConfig); err != nil {
		return nil, err
	} else if w != powerOnConfig && w != workConfig {
		// There is no identity register; a program before may have set it
		// up differently, so reset it once and look again.
		if err := c.Write(regConfig, 0x80, 0); err != nil {
			return nil, err
		}
		if w, err = c.Word(regConfig); err != nil {
			return nil, err
		}
		if w != powerOnConfig {
			return nil, fmt.Errorf("configuration 0x%04x is none of an INA219: %w", w, drivers.ErrProtocol)
		}
	}
	if err := s.start(c, workConfig, conversion); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		w, err := s.registers(c)
		if err != nil {
			return dst, err
		}
		return s.samples(dst, w, w[regBus]&overflow != 0), nil
	}, nil
}
