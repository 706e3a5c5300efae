// Package mcp9808 reads Microchip's MCP9808 thermometer over I2C through
// periph's driver. Source of registers: Microchip DS25095, chapter 5.
package mcp9808

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/mcp9808"

	"postern/drivers"
	"postern/drivers/i2c"
)

const (
	regConfig       = 0x01
	regManufacturer = 0x06
	regDevice       = 0x07
	regResolution   = 0x08

	manufacturer = 0x0054
	deviceID     = 0x04 // upper octet of regDevice; the lower is the revision
	shutdown     = 0x0100
)

// resolution says what a setting means: the register's value, decimals that
// hold it, and the time of a conversion.
type resolution struct {
	opts     mcp9808.Opts
	register byte
	decimals int
	convert  time.Duration
}

var resolutions = map[string]resolution{
	"0.5":    {mcp9808.Opts{Res: mcp9808.Low}, 0, 1, 30 * time.Millisecond},
	"0.25":   {mcp9808.Opts{Res: mcp9808.Medium}, 1, 2, 65 * time.Millisecond},
	"0.125":  {mcp9808.Opts{Res: mcp9808.High}, 2, 3, 130 * time.Millisecond},
	"0.0625": {mcp9808.Opts{Res: mcp9808.Maximum}, 3, 4, 250 * time.Millisecond},
}

// Device is one MCP9808. It is safe for concurrent use.
type Device struct {
	cfg  Config
	res  resolution
	chip *i2c.Chip

	dev *mcp9808.Dev // guarded by chip.Do; nil until set up, and after a fault
}

// Open returns the chip at the configured address. A chip that does not answer
// is set up at the first Read that reaches it.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*Device, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("mcp9808: %w", err)
	}
	return &Device{cfg: cfg, res: resolutions[cfg.Resolution], chip: i2c.NewChip(bus, uint16(cfg.Address))}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature of the chip"}}
}

// Read implements drivers.Device: it gives the chip's latest conversion, which
// is at most a quarter of a second old.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	var mant int64
	var at time.Time
	err := d.chip.Do(ctx, func() error {
		t, err := d.sense()
		if err != nil {
			d.dev = nil
			return err
		}
		// 0.0625 °C is 625 × 10^-4; coarser settings end in zeros.
		mant, at = t, time.Now()
		return nil
	})
	if err != nil {
		return dst, fmt.Errorf("mcp9808: %w", err)
	}
	n, err := drivers.Num(mant, -4).Rescale(-d.res.decimals)
	if err != nil {
		return dst, fmt.Errorf("mcp9808: %w", err)
	}
	return append(dst, drivers.Sample{Channel: "temperature", Value: drivers.Decimal(n), Unit: "°C", Time: at}), nil
}

// sense returns the temperature in 10^-4 °C.
func (d *Device) sense() (int64, error) {
	if d.dev == nil {
		if err := d.setUp(); err != nil {
			return 0, err
		}
	}
	t, err := d.dev.SenseTemp()
	if err != nil {
		return 0, err
	}
	if t == physic.ZeroCelsius {
		// After a loss of power the temperature is zero until the first
		// conversion: look again after one.
		if err := d.chip.Sleep(d.res.convert + d.res.convert/4); err != nil {
			return 0, err
		}
		if t, err = d.dev.SenseTemp(); err != nil {
			return 0, err
		}
	}
	// The resolution is then back at its default, too.
	res, err := d.register8(regResolution)
	if err != nil {
		return 0, err
	}
	if res&3 != d.res.register {
		return 0, fmt.Errorf("resolution register reads 0x%02x; the chip lost its power or the bus is disturbed: %w", res, drivers.ErrProtocol)
	}
	c := int64(t-physic.ZeroCelsius) / int64(100*physic.MicroKelvin)
	if c < -41_0000 || c > 126_0000 {
		return 0, fmt.Errorf("reading %s is outside of what an MCP9808 can measure: %w", t, drivers.ErrProtocol)
	}
	return c, nil
}

func (d *Device) setUp() error {
	id, err := d.register16(regManufacturer)
	if err != nil {
		return err
	}
	dev, err := d.register16(regDevice)
	if err != nil {
		return err
	}
	if id != manufacturer || dev>>8 != deviceID {
		return fmt.Errorf("the chip at 0x%02x has identity 0x%04x 0x%04x and is no MCP9808: %w", d.cfg.Address, id, dev, drivers.ErrProtocol)
	}
	conf, err := d.register16(regConfig)
	if err != nil {
		return err
	}
	opts := d.res.opts
	opts.Addr = d.cfg.Address
	m, err := mcp9808.New(d.chip, &opts)
	if err != nil {
		return err
	}
	// A chip that slept holds an old temperature: wait for a conversion before
	// believing it.
	if conf&shutdown != 0 {
		if err := d.chip.Sleep(d.res.convert + d.res.convert/4); err != nil {
			return err
		}
	}
	d.dev = m
	return nil
}

func (d *Device) register8(reg byte) (byte, error) {
	var b [1]byte
	err := d.chip.Tx(uint16(d.cfg.Address), []byte{reg}, b[:])
	return b[0], err
}

func (d *Device) register16(reg byte) (uint16, error) {
	var b [2]byte
	err := d.chip.Tx(uint16(d.cfg.Address), []byte{reg}, b[:])
	return binary.BigEndian.Uint16(b[:]), err
}

// Close implements drivers.Device. The chip goes on converting (0.2 mA), so
// that the next program finds a fresh temperature.
func (d *Device) Close() error {
	d.chip.Close()
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
