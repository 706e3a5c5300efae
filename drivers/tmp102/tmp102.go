// Package tmp102 reads Texas Instruments' TMP102 thermometer over I2C. Source:
// TI SBOS397, chapter 7.
//
// It does not use periph's driver, which leaves a chip in the extended mode and
// then gives half of the temperature.
package tmp102

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one TMP102.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x48" min:"0x48" max:"0x4b" doc:"I2C address, set by the pin ADD0"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Address < 0x48 || c.Address > 0x4b {
		return fmt.Errorf("address: 0x%02x is not in 0x48..0x4b", c.Address)
	}
	return nil
}

const (
	regTemperature = 0
	regConfig      = 1
	powerOnConfig  = 0x60a0 // 12 bits, 4 Hz (table 9)
	fixedBits      = 0x6000 // resolution, read-only ones
	modeBits       = 0x0110 // asleep; extended to 13 bits
	conversion     = 35 * time.Millisecond
)

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("tmp102: %w", err)
	}
	return i2c.NewSensor("tmp102", bus, cfg.Address, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature of the chip"},
	}, setUp), nil
}

func setUp(c *i2c.Chip) (i2c.Measure, error) {
	if err := check(c, 0); err != nil {
		return nil, err
	}
	// A program before may have left it asleep or in the extended mode.
	if err := c.Write(regConfig, powerOnConfig>>8, powerOnConfig&0xff); err != nil {
		return nil, err
	}
	// The first conversion may still run; the register holds zero until then.
	if err := c.Sleep(conversion); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		w, err := c.Word(regTemperature)
		if err != nil {
			return dst, err
		}
		if err := check(c, modeBits); err != nil {
			return dst, err
		}
		n := int64(int16(w) >> 4) // 0.0625 °C
		if w&0xf != 0 || n < -56*16 {
			return dst, fmt.Errorf("reading 0x%04x is none that a TMP102 can give: %w", w, drivers.ErrProtocol)
		}
		return append(dst, drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(n*625, -4)), Unit: "°C", Time: time.Now()}), nil
	}, nil
}

// check looks at the bits of the configuration that every TMP102 has: it has
// no identity register. Those of zero must be 0.
func check(c *i2c.Chip, zero uint16) error {
	w, err := c.Word(regConfig)
	if err == nil && w&(fixedBits|0x000f|zero) != fixedBits {
		err = fmt.Errorf("configuration 0x%04x is none of a TMP102: %w", w, drivers.ErrProtocol)
	}
	return err
}

// Slave is a simulated TMP102. It is safe for concurrent use.
type Slave struct {
	Temperature drivers.Drift // °C; set it before use

	mu      sync.Mutex
	pointer byte
	reg     [4]uint16
	valid   time.Time
}

// Simulate returns a chip at about 23 °C.
func Simulate(Config) i2c.Slave {
	s := &Slave{Temperature: drivers.Drift{Base: 23, Amplitude: 2, Period: 25 * time.Minute, Phase: 0.7}}
	s.PowerOn()
	return s
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg = [4]uint16{0, powerOnConfig, 0x4b00, 0x5000}
	s.valid = time.Now().Add(26 * time.Millisecond)
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w) > 0 {
		s.pointer = w[0] & 3
	}
	if len(w) >= 3 && s.pointer != regTemperature {
		v := uint16(w[1])<<8 | uint16(w[2])
		if s.pointer == regConfig {
			v = v&^fixedBits | fixedBits
		}
		s.reg[s.pointer] = v
	}
	v := s.reg[s.pointer]
	if s.pointer == regTemperature && !time.Now().Before(s.valid) {
		v = uint16(int16(math.Round(s.Temperature.At(time.Now())*16))) << 4
		if s.reg[regConfig]&0x0010 != 0 {
			v = uint16(int16(v)>>1)&^7 | 1 // extended
		}
	}
	for i := range r {
		r[i] = byte(v >> (8 * (1 - i%2)))
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
