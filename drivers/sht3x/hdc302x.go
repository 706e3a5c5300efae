package sht3x

import (
	"context"
	"fmt"

	"postern/drivers"
	"postern/drivers/i2c"
)

// HDC302xConfig is the configuration of one HDC3020, HDC3021 or HDC3022, which
// takes the commands of an SHT3x and gives the same words. Source: Texas
// Instruments SNAS778D, chapter 7. periph's driver is not used, because it
// sleeps for a sampling period without an end by a context.
type HDC302xConfig struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x44" min:"0x44" max:"0x47" doc:"I2C address, set by the pins ADDR and ADDR1"`
}

// Validate reports what the tags cannot express.
func (c HDC302xConfig) Validate() error {
	if c.Address < 0x44 || c.Address > 0x47 {
		return fmt.Errorf("address: 0x%02x is not in 0x44..0x47", c.Address)
	}
	return nil
}

const (
	cmdMaker = 0x3781
	makerTI  = 0x3000
)

// OpenHDC302x returns the chip. Whether it is there shows when it is read.
func OpenHDC302x(ctx context.Context, bus i2c.Bus, cfg HDC302xConfig) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("hdc302x: %w", err)
	}
	return i2c.NewSensor("hdc302x", bus, cfg.Address, channels[:], func(c *i2c.Chip) (i2c.Measure, error) {
		w, err := c.AskWords(cmdMaker, 0, 1)
		if err == nil && w[0] != makerTI {
			err = fmt.Errorf("its maker is 0x%04x and not Texas Instruments: %w", w[0], drivers.ErrProtocol)
		}
		if err != nil {
			return nil, err
		}
		return setUp(c)
	}), nil
}

// SimulateHDC302x returns a chip in a room, see Simulate.
func SimulateHDC302x(HDC302xConfig) i2c.Slave { return &Slave{room: aRoom(), maker: makerTI} }
