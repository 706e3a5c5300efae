// Package tmp102 reads Texas Instruments' TMP102 thermometer over I2C through
// periph's driver. Source: TI SBOS397, chapter 7.
package tmp102

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/tmp102"

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
	conversion     = 35 * time.Millisecond
)

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("tmp102: %w", err)
	}
	return i2c.NewSensor("tmp102", bus, cfg.Address, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature of the chip"},
	}, func(c *i2c.Chip) (i2c.Measure, error) { return setUp(c, cfg) }), nil
}

func setUp(c *i2c.Chip, cfg Config) (i2c.Measure, error) {
	if err := check(c); err != nil {
		return nil, err
	}
	dev, err := tmp102.NewI2C(c, uint16(cfg.Address), nil)
	if err != nil {
		return nil, err
	}
	// The first conversion may still run; the register holds zero until then.
	if err := c.Sleep(conversion); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		var e physic.Env
		if err := dev.Sense(&e); err != nil {
			return dst, err
		}
		if err := check(c); err != nil {
			return dst, err
		}
		n := int64(e.Temperature-physic.ZeroCelsius) / int64(100*physic.MicroKelvin)
		if n < -56_0000 || n > 151_0000 {
			return dst, fmt.Errorf("reading %s is outside of what a TMP102 can measure: %w", e.Temperature, drivers.ErrProtocol)
		}
		return append(dst, drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(n, -4)), Unit: "°C", Time: time.Now()}), nil
	}, nil
}

// check looks at the bits of the configuration that every TMP102 has: it has
// no identity register.
func check(c *i2c.Chip) error {
	w, err := c.Word(regConfig)
	if err == nil && w&(fixedBits|0x000f) != fixedBits {
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
	}
	for i := range r {
		r[i] = byte(v >> (8 * (1 - i%2)))
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
