// Package ina219 reads Texas Instruments' INA219 (voltage, current, power of a
// DC line) over I2C through periph's driver. Source: TI SBOS448, chapter 8.
package ina219

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/ina219"

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
	_, err := c.opts()
	return err
}

func (c Config) opts() (*ina219.Opts, error) {
	if c.Address < 0x40 || c.Address > 0x4f {
		return nil, fmt.Errorf("address: 0x%02x is not in 0x40..0x4f", c.Address)
	}
	shunt, err := nano(c.Shunt)
	if err != nil || shunt <= 0 {
		return nil, fmt.Errorf("shunt: %q is not a resistance in Ω above 0", c.Shunt)
	}
	top, err := nano(c.MaxCurrent)
	if err != nil || top <= 0 {
		return nil, fmt.Errorf("max_current: %q is not a current in A above 0", c.MaxCurrent)
	}
	o := &ina219.Opts{Address: c.Address, SenseResistor: physic.ElectricResistance(shunt), MaxCurrent: physic.ElectricCurrent(top)}
	// The converter takes 320 mV at the shunt (8.5.1).
	if mv := float64(shunt) / 1e9 * float64(top) / 1e9 * 1e3; mv > 320 || mv < 5 {
		return nil, fmt.Errorf("max_current: %s A at %s Ω are %.0f mV; the chip measures up to 320 mV, and less than 5 mV wastes it", c.MaxCurrent, c.Shunt, mv)
	}
	return o, nil
}

// nano turns decimal text into units of 10^-9, as the library counts.
func nano(text string) (int64, error) {
	n, err := drivers.ParseNumber(text)
	if err != nil {
		return 0, err
	}
	n, err = n.Rescale(-9)
	return n.Mant, err
}

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	opts, err := cfg.opts()
	if err != nil {
		return nil, fmt.Errorf("ina219: %w", err)
	}
	return i2c.NewSensor("ina219", bus, cfg.Address, []drivers.Channel{
		{Name: "voltage", Kind: drivers.KindNumber, Unit: "V", Doc: "voltage of the line behind the shunt"},
		{Name: "current", Kind: drivers.KindNumber, Unit: "A", Doc: "current through the shunt"},
		{Name: "power", Kind: drivers.KindNumber, Unit: "W", Doc: "power of the line"},
	}, func(c *i2c.Chip) (i2c.Measure, error) { return setUp(c, opts) }), nil
}

const (
	regConfig      = 0
	regCalibration = 5
	powerOnConfig  = 0x399f
	workingConfig  = 0x1fff // what the library writes: 16 V range, 12 bits, 128 samples
	conversion     = 140 * time.Millisecond
)

var errPower = errors.New("the chip lost its power or the bus is disturbed")

func setUp(c *i2c.Chip, opts *ina219.Opts) (i2c.Measure, error) {
	if w, err := c.Word(regConfig); err != nil {
		return nil, err
	} else if w != powerOnConfig && w != workingConfig {
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
	dev, err := ina219.New(c, opts)
	if err != nil {
		return nil, err
	}
	cal, err := c.Word(regCalibration)
	if err != nil {
		return nil, err
	}
	if err := c.Sleep(conversion); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		pm, err := dev.Sense()
		if err != nil {
			return dst, fmt.Errorf("%w; is the current above max_current? %w", err, drivers.ErrProtocol)
		}
		// Without its calibration the chip gives a current of zero.
		switch w, err := c.Word(regCalibration); {
		case err != nil:
			return dst, err
		case w != cal || cal == 0:
			return dst, fmt.Errorf("calibration reads 0x%04x, not 0x%04x: %w: %w", w, cal, errPower, drivers.ErrProtocol)
		}
		now := time.Now()
		return append(dst,
			sample("voltage", "V", int64(pm.Voltage), -3, now),
			sample("current", "A", int64(pm.Current), -4, now),
			sample("power", "W", int64(pm.Power), -3, now),
		), nil
	}, nil
}

// sample rounds from 10^-9 to the decimals of the chip.
func sample(channel, unit string, nano int64, exp int, at time.Time) drivers.Sample {
	n, err := drivers.Num(nano, -9).Rescale(exp)
	if err != nil {
		return drivers.Sample{Channel: channel, Time: at, Err: err}
	}
	return drivers.Sample{Channel: channel, Value: drivers.Decimal(n), Unit: unit, Time: at}
}

// Slave is a simulated INA219. It is safe for concurrent use.
type Slave struct {
	// In V and A; set them before use.
	Voltage, Current drivers.Drift

	shunt float64 // Ω
	mu    sync.Mutex
	ptr   byte
	reg   [6]uint16
}

// Simulate returns a chip on a 12 V line with about 0.8 A.
func Simulate(c Config) i2c.Slave {
	s := &Slave{
		Voltage: drivers.Drift{Base: 12.6, Amplitude: 0.4, Period: 30 * time.Minute},
		Current: drivers.Drift{Base: 0.8, Amplitude: 0.4, Period: 4 * time.Minute, Phase: 0.3},
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
	s.reg = [6]uint16{powerOnConfig}
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w) > 0 {
		s.ptr = w[0] % 6
	}
	if len(w) >= 3 && (s.ptr == regConfig || s.ptr == regCalibration) {
		s.reg[s.ptr] = uint16(w[1])<<8 | uint16(w[2])
		if s.ptr == regConfig && w[1]&0x80 != 0 {
			s.reg = [6]uint16{powerOnConfig}
		}
	}
	now := time.Now()
	shunt := int(s.Current.At(now) * s.shunt / 10e-6) // 10 µV
	bus := int(s.Voltage.At(now)/4e-3 + 0.5)          // 4 mV
	current := shunt * int(s.reg[regCalibration]) / 4096
	s.reg[1], s.reg[2], s.reg[4] = uint16(int16(shunt)), uint16(bus<<3|2), uint16(int16(current))
	s.reg[3] = uint16(max(current*bus/5000, 0))
	for i := range r {
		r[i] = byte(s.reg[s.ptr] >> (8 * (1 - i%2)))
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
