// Package bme280 reads Bosch's BME280 (temperature, humidity, pressure) over
// I2C through periph's driver. Source of addresses and registers: BST-BME280
// data sheet, chapters 4 and 5.
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

// Registers that this package looks at by itself.
const (
	regID      = 0xd0
	regCtrlHum = 0xf2
	idBME280   = 0x60
	idBMP280   = 0x58
)

var oversamplings = map[string]bmxx80.Oversampling{
	"1x": bmxx80.O1x, "2x": bmxx80.O2x, "4x": bmxx80.O4x, "8x": bmxx80.O8x, "16x": bmxx80.O16x,
}

// Device is one BME280. It is safe for concurrent use.
type Device struct {
	cfg  Config
	chip *i2c.Chip

	// Guarded by chip.Do.
	dev  *bmxx80.Dev // nil until the chip was set up, and after a fault
	last physic.Env
	at   time.Time
}

// Open returns the chip at the configured address. A chip that does not answer
// is set up at the first Read that reaches it.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*Device, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bme280: %w", err)
	}
	return &Device{cfg: cfg, chip: i2c.NewChip(bus, uint16(cfg.Address))}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	return []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
		{Name: "humidity", Kind: drivers.KindNumber, Unit: "%RH", Doc: "relative humidity"},
		{Name: "pressure", Kind: drivers.KindNumber, Unit: "hPa", Doc: "air pressure at the place, not reduced to sea level"},
	}
}

// Read implements drivers.Device: it measures once, which takes 10 to 100 ms
// by oversampling, or gives the measurement of max_age ago.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	var env physic.Env
	var at time.Time
	err := d.chip.Do(ctx, func() error {
		if d.dev == nil || time.Since(d.at) >= d.cfg.MaxAge {
			if err := d.measure(); err != nil {
				d.dev = nil // set it up anew: it may have lost its power
				return err
			}
		}
		env, at = d.last, d.at
		return nil
	})
	if err != nil {
		return dst, fmt.Errorf("bme280: %w", err)
	}
	return d.append(dst, env, at), nil
}

func (d *Device) measure() error {
	if d.dev == nil {
		if err := d.setUp(); err != nil {
			return err
		}
	}
	var env physic.Env
	if err := d.dev.Sense(&env); err != nil {
		return err
	}
	// A chip that lost its power since the last measurement skips humidity and
	// gives a constant instead of an error; the control register tells.
	var ctrl [1]byte
	if err := d.chip.Tx(uint16(d.cfg.Address), []byte{regCtrlHum}, ctrl[:]); err != nil {
		return err
	}
	if want := byte(oversamplings[d.cfg.Oversampling]); ctrl[0]&7 != want {
		return fmt.Errorf("control register reads 0x%02x, not 0x%02x; the chip lost its power or the bus is disturbed: %w", ctrl[0], want, drivers.ErrProtocol)
	}
	if err := plausible(env); err != nil {
		return err
	}
	d.last, d.at = env, time.Now()
	return nil
}

func (d *Device) setUp() error {
	var id [1]byte
	if err := d.chip.Tx(uint16(d.cfg.Address), []byte{regID}, id[:]); err != nil {
		return err
	}
	switch id[0] {
	case idBME280:
	case idBMP280:
		return fmt.Errorf("the chip at 0x%02x is a BMP280, which has no humidity: %w", d.cfg.Address, drivers.ErrProtocol)
	default:
		return fmt.Errorf("the chip at 0x%02x has identity 0x%02x and is no BME280: %w", d.cfg.Address, id[0], drivers.ErrProtocol)
	}
	o := oversamplings[d.cfg.Oversampling]
	dev, err := bmxx80.NewI2C(d.chip, uint16(d.cfg.Address), &bmxx80.Opts{Temperature: o, Pressure: o, Humidity: o})
	if err != nil {
		return err
	}
	d.dev = dev
	return nil
}

// plausible refuses what the chip cannot measure (data sheet, table 1: −40..85
// °C, 300..1100 hPa), with room for what it still gives beyond.
func plausible(e physic.Env) error {
	t := e.Temperature - physic.ZeroCelsius
	switch {
	case t < -45*physic.Celsius || t > 90*physic.Celsius:
	case e.Pressure < 250*100*physic.Pascal || e.Pressure > 1200*100*physic.Pascal:
	case e.Humidity < 0 || e.Humidity > 100*physic.PercentRH:
	default:
		return nil
	}
	return fmt.Errorf("reading %s, %s, %s is outside of what a BME280 can measure: %w", e.Temperature, e.Pressure, e.Humidity, drivers.ErrProtocol)
}

func (d *Device) append(dst []drivers.Sample, e physic.Env, at time.Time) []drivers.Sample {
	// The library's units are nK, nPa and 10^-5 %RH; the chip's resolution is
	// 0.01 °C, 1/1024 %RH and, at 4x, 0.66 Pa.
	t := int64(e.Temperature-physic.ZeroCelsius) / int64(10*physic.MilliKelvin)
	h := divRound(int64(e.Humidity), int64(physic.PercentRH)/100)
	p := divRound(int64(e.Pressure), int64(physic.Pascal))
	return append(dst,
		drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(t, -2)), Unit: "°C", Time: at},
		drivers.Sample{Channel: "humidity", Value: drivers.Decimal(drivers.Num(h, -2)), Unit: "%RH", Time: at},
		drivers.Sample{Channel: "pressure", Value: drivers.Decimal(drivers.Num(p, -2)), Unit: "hPa", Time: at},
	)
}

func divRound(n, d int64) int64 { return (n + d/2) / d } // n ≥ 0

// Close implements drivers.Device. The chip sleeps between measurements, so
// there is nothing to stop.
func (d *Device) Close() error {
	d.chip.Close()
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
