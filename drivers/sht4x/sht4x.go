// Package sht4x reads Sensirion's SHT40, SHT41 and SHT45 (temperature and
// humidity) over I2C. Source: Sensirion SHT4x data sheet, version 6, chapter 4.
package sht4x

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one SHT4x.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x44" min:"0x44" max:"0x46" doc:"I2C address, part of the chip's order code"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Address < 0x44 || c.Address > 0x46 {
		return fmt.Errorf("address: 0x%02x is not in 0x44..0x46", c.Address)
	}
	return nil
}

// Commands (table 8).
const (
	cmdMeasure = 0xfd // with high precision, 8.3 ms
	cmdSerial  = 0x89
	cmdReset   = 0x94
)

// conversion is the maximum of a measurement with high precision (table 4).
const conversion = 9 * time.Millisecond

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sht4x: %w", err)
	}
	return i2c.NewSensor("sht4x", bus, cfg.Address, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
		{Name: "humidity", Kind: drivers.KindNumber, Unit: "%RH", Doc: "relative humidity"},
	}, setUp), nil
}

func setUp(c *i2c.Chip) (i2c.Measure, error) {
	// The serial number with its checksums tells an SHT4x from others there.
	if err := c.Write(cmdSerial); err != nil {
		return nil, err
	}
	if err := c.Sleep(time.Millisecond); err != nil {
		return nil, err
	}
	var b [6]byte
	if err := c.Ask(b[:]); err != nil {
		return nil, err
	}
	if _, err := i2c.CheckedWords(b[:], 2); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		if err := c.Write(cmdMeasure); err != nil {
			return dst, err
		}
		if err := c.Sleep(conversion); err != nil {
			return dst, err
		}
		var b [6]byte
		if err := c.Ask(b[:]); err != nil {
			return dst, err
		}
		w, err := i2c.CheckedWords(b[:], 2)
		if err != nil {
			return dst, err
		}
		now := time.Now()
		return append(dst,
			drivers.Sample{Channel: "temperature", Value: drivers.Decimal(temperature(w[0])), Unit: "°C", Time: now},
			drivers.Sample{Channel: "humidity", Value: drivers.Decimal(humidity(w[1])), Unit: "%RH", Time: now},
		), nil
	}, nil
}

// temperature is −45 + 175·s/65535 °C, humidity −6 + 125·s/65535 %RH cut to
// 0..100 (4.6), both at the chip's resolution of 0.01.
func temperature(s uint16) drivers.Number {
	return drivers.Num((17500*int64(s)*2+65535)/(2*65535)-4500, -2)
}

func humidity(s uint16) drivers.Number {
	return drivers.Num(min(max((12500*int64(s)*2+65535)/(2*65535)-600, 0), 10000), -2)
}

// Slave is a simulated SHT4x. It is safe for concurrent use.
type Slave struct {
	// In °C and %RH; set them before use.
	Temperature, Humidity drivers.Drift

	mu     sync.Mutex
	answer []byte
	ready  time.Time
}

// Simulate returns a chip in a room at about 21 °C and 45 %RH.
func Simulate(Config) i2c.Slave {
	return &Slave{
		Temperature: drivers.Drift{Base: 21.2, Amplitude: 1.4, Period: 35 * time.Minute, Phase: 0.2},
		Humidity:    drivers.Drift{Base: 45, Amplitude: 5, Period: 55 * time.Minute, Phase: 0.5},
	}
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = nil
}

// Tx implements i2c.Slave: a read before the answer is ready is not
// acknowledged.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(w) > 0 {
		s.ready = now
		switch w[0] {
		case cmdSerial:
			s.answer = i2c.AppendWords(nil, 0x0123, 0x4567)
		case cmdMeasure:
			s.answer = i2c.AppendWords(nil, raw((s.Temperature.At(now)+45)/175), raw((s.Humidity.At(now)+6)/125))
			s.ready = now.Add(8 * time.Millisecond)
		case cmdReset:
			s.answer = nil
		default:
			return syscall.EREMOTEIO
		}
	}
	if len(r) == 0 {
		return nil
	}
	if s.answer == nil || now.Before(s.ready) {
		return syscall.EREMOTEIO
	}
	copy(r, s.answer)
	s.answer = nil
	return nil
}

func raw(share float64) uint16 { return uint16(min(max(share*65535+0.5, 0), 65535)) }

var _ i2c.Resetter = (*Slave)(nil)
