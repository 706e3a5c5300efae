package bme280

import (
	"context"
	"fmt"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/bmxx80"

	"postern/drivers"
	"postern/drivers/i2c"
)

// BMP280Config is the configuration of one BMP280, the BME280's brother without
// humidity.
type BMP280Config struct {
	Bus          string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address      int    `yaml:"address" default:"0x76" min:"0x76" max:"0x77" doc:"I2C address: 0x76 with SDO low, 0x77 with SDO high"`
	Oversampling string `yaml:"oversampling" default:"4x" oneof:"1x|2x|4x|8x|16x" doc:"measurements averaged for one reading; 4x takes 20 ms, 16x 75 ms"`
}

// Validate reports what the tags cannot express.
func (c BMP280Config) Validate() error {
	return Config{Address: c.Address, Oversampling: c.Oversampling}.Validate()
}

const regCtrlMeasBMP = 0xf4

// OpenBMP280 returns the chip at the configured address. Whether it is there
// shows when it is read.
func OpenBMP280(ctx context.Context, bus i2c.Bus, cfg BMP280Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bmp280: %w", err)
	}
	return i2c.NewSensor("bmp280", bus, cfg.Address, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
		{Name: "pressure", Kind: drivers.KindNumber, Unit: "hPa", Doc: "air pressure at the place, not reduced to sea level"},
	}, func(c *i2c.Chip) (i2c.Measure, error) { return setUpBMP280(c, cfg) }), nil
}

func setUpBMP280(c *i2c.Chip, cfg BMP280Config) (i2c.Measure, error) {
	var id [1]byte
	if err := c.Ask(id[:], regID); err != nil {
		return nil, err
	}
	if id[0] != idBMP280 {
		return nil, fmt.Errorf("the chip at 0x%02x has identity 0x%02x and is no BMP280 (0x60 is a BME280): %w", cfg.Address, id[0], drivers.ErrProtocol)
	}
	o := oversamplings[cfg.Oversampling]
	dev, err := bmxx80.NewI2C(c, uint16(cfg.Address), &bmxx80.Opts{Temperature: o, Pressure: o})
	if err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		e := physic.Env{}
		if err := dev.Sense(&e); err != nil {
			return dst, err
		}
		// Disturbed octets on the bus show in a register that is known.
		var ctrl [1]byte
		if err := c.Ask(ctrl[:], regCtrlMeasBMP); err != nil {
			return dst, err
		}
		if want := byte(o)<<5 | byte(o)<<2; ctrl[0]&^3 != want {
			return dst, fmt.Errorf("control register reads 0x%02x, not 0x%02x; the chip lost its power or the bus is disturbed: %w", ctrl[0], want, drivers.ErrProtocol)
		}
		if err := plausible(e); err != nil {
			return dst, err
		}
		now := time.Now()
		t := int64(e.Temperature-physic.ZeroCelsius) / int64(10*physic.MilliKelvin)
		return append(dst,
			drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(t, -2)), Unit: "°C", Time: now},
			drivers.Sample{Channel: "pressure", Value: drivers.Decimal(drivers.Num(divRound(int64(e.Pressure), int64(physic.Pascal)), -2)), Unit: "hPa", Time: now},
		), nil
	}, nil
}

// SimulateBMP280 returns a chip in a room, see Simulate.
func SimulateBMP280(c BMP280Config) i2c.Slave {
	s := Simulate(Config{}).(*Slave)
	s.id = idBMP280
	s.PowerOn()
	return s
}
