// Package ds18b20 reads the 1-Wire thermometers DS18B20 and MAX31820 through
// the kernel's w1 bus. Source: Maxim DS18B20 data sheet, 19-7487.
package ds18b20

import (
	"context"
	"encoding/binary"
	"fmt"

	"postern/drivers"
	"postern/drivers/onewire"
)

// Config is the configuration of one thermometer.
type Config struct {
	ID string `yaml:"rom" doc:"the kernel's name of the chip, its ROM code: family, hyphen, serial number" example:"28-0316a2795aff"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if err := onewire.CheckID(c.ID); err != nil {
		return fmt.Errorf("rom: %w", err)
	}
	if c.ID[:2] != "28" {
		return fmt.Errorf("rom: family %s is no DS18B20, whose names begin with 28", c.ID[:2])
	}
	return nil
}

// Device is one thermometer. It is safe for concurrent use.
type Device struct {
	cfg   Config
	meter *onewire.Meter
}

// Open returns the thermometer. Whether it is there shows when it is read.
func Open(ctx context.Context, bus onewire.Bus, cfg Config) (*Device, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("ds18b20: %w", err)
	}
	return &Device{cfg: cfg, meter: onewire.NewMeter(bus, cfg.ID)}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature of the probe"}}
}

// Read implements drivers.Device; a conversion takes up to 750 ms.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	pad, at, err := d.meter.Measure(ctx)
	if err != nil {
		return dst, fmt.Errorf("ds18b20: %w", err)
	}
	n, err := Temperature(pad)
	if err != nil {
		return dst, fmt.Errorf("ds18b20: %s: %w", d.cfg.ID, err)
	}
	return append(dst, drivers.Sample{Channel: "temperature", Value: drivers.Decimal(n), Unit: "°C", Time: at}), nil
}

// Temperature takes the temperature in °C out of a scratchpad, with the
// decimals of the chip's resolution:
//
//	0–1 temperature, low first | 2–3 alarms | 4 configuration 0RR11111 |
//	5 0xff | 6 reserved | 7 0x10 | 8 checksum
func Temperature(pad []byte) (drivers.Number, error) {
	if len(pad) != 9 || onewire.CRC8(pad) != 0 {
		return drivers.Number{}, fmt.Errorf("scratchpad % x has a wrong checksum; check the cable: %w", pad, drivers.ErrProtocol)
	}
	if pad[4]&0x9f != 0x1f { // a short circuit reads zeros, whose checksum is right
		return drivers.Number{}, fmt.Errorf("scratchpad % x is none; is the line shorted? %w", pad, drivers.ErrProtocol)
	}
	raw := int64(int16(binary.LittleEndian.Uint16(pad)))
	if raw == 0x0550 && pad[6] == 0x0c {
		return drivers.Number{}, fmt.Errorf("85 °C is the value of power-on; the chip lost its power during the conversion: %w", drivers.ErrProtocol)
	}
	if raw < -55*16 || raw > 125*16 {
		return drivers.Number{}, fmt.Errorf("raw temperature %d is outside of −55..125 °C: %w", raw, drivers.ErrProtocol)
	}
	bits := int(pad[4]>>5) & 3 // 0..3: 9 to 12 bits, steps of 0.5 to 0.0625 °C
	raw &^= 1<<(3-bits) - 1    // the lower bits are not defined
	return drivers.Num(raw*625, -4).Rescale(-1 - bits)
}

// Close implements drivers.Device.
func (d *Device) Close() error {
	d.meter.Close()
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)

// Identity implements drivers.Identifier: the ROM code is on the chip's bus and
// nowhere else in the world.
func (d *Device) Identity() []drivers.Fact {
	return []drivers.Fact{{Name: "serial-number", Value: d.cfg.ID, Doc: "ROM code of the chip"}}
}
