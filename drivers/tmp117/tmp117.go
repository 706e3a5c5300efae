// Package tmp117 reads Texas Instruments' TMP117, a thermometer to 0.1 °C, over
// I2C. Source: TI SNOSD82, 7.6 (register map); compared with the Linux driver
// tmp117 and the register table of ruuvi.drivers.c.
package tmp117

import (
	"context"
	"fmt"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one TMP117.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x48" min:"0x48" max:"0x4b" doc:"I2C address, set by the pin ADD0"`
}

const (
	regTemperature = 0x00
	regConfig      = 0x01
	regIdentity    = 0x0f
	identity       = 0x117                  // in the lower 12 bits; above them is the revision
	unmeasured     = -0x8000                // what the register holds until the first conversion
	continuously   = 0x0220                 // once a second, of eight averages: as the maker sets it
	firstResult    = 125 * time.Millisecond // eight averages of 15.5 ms
)

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	return i2c.NewSensor("tmp117", bus, cfg.Address, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature of the chip"},
	}, setUp), nil
}

// setUp checks which chip it is, and lets it measure once a second: it does so
// from power-on, unless another program stopped it, when the register would
// hold an old temperature.
func setUp(c *i2c.Chip) (i2c.Measure, error) {
	id, err := c.Word(regIdentity)
	if err != nil {
		return nil, err
	}
	if id&0xfff != identity {
		return nil, fmt.Errorf("identity 0x%04x is none of a TMP117: %w", id, drivers.ErrProtocol)
	}
	if err := c.Write(regConfig, continuously>>8, continuously&0xff); err != nil {
		return nil, err
	}
	if err := c.Sleep(firstResult); err != nil { // it may have just got its power
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		raw, err := c.Word(regTemperature)
		if err != nil {
			return dst, err
		}
		t, err := celsius(raw)
		if err != nil {
			return dst, err
		}
		return append(dst, drivers.Sample{Channel: "temperature", Value: drivers.Decimal(t), Unit: "°C", Time: time.Now()}), nil
	}, nil
}

// celsius is the register in 1/128 °C: 7.8125 m°C, of which four decimals are
// kept.
func celsius(raw uint16) (drivers.Number, error) {
	n := int16(raw)
	if n == unmeasured {
		return drivers.Number{}, fmt.Errorf("it has not measured yet; did it lose its power? %w", drivers.ErrTimeout)
	}
	if n < -56*128 || n > 151*128 {
		return drivers.Number{}, fmt.Errorf("reading 0x%04x is outside of -55 to 150 °C: %w", raw, drivers.ErrProtocol)
	}
	return drivers.Num(int64(n)*78125, -7).Rescale(-4)
}
