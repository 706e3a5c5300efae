package sht3x

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// SHT4xConfig is the configuration of one SHT4x.
type SHT4xConfig struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x44" min:"0x44" max:"0x46" doc:"I2C address, part of the chip's order code"`
}

// Validate reports what the tags cannot express.
func (c SHT4xConfig) Validate() error {
	if c.Address < 0x44 || c.Address > 0x46 {
		return fmt.Errorf("address: 0x%02x is not in 0x44..0x46", c.Address)
	}
	return nil
}

// Commands (table 8).
const (
	cmdMeasure4 = 0xfd // with high precision, 8.3 ms
	cmdSerial4  = 0x89
	cmdReset4   = 0x94
)

// conversion4 is the maximum of a measurement with high precision (table 4).
const conversion4 = 9 * time.Millisecond

// OpenSHT4x returns the chip. Whether it is there shows when it is read.
func OpenSHT4x(ctx context.Context, bus i2c.Bus, cfg SHT4xConfig) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sht4x: %w", err)
	}
	return i2c.NewSensor("sht4x", bus, cfg.Address, channels[:], setUp4), nil
}

func setUp4(c *i2c.Chip) (i2c.Measure, error) {
	// The serial number with its checksums tells an SHT4x from others there.
	if _, err := ask4(c, cmdSerial4, time.Millisecond); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		w, err := ask4(c, cmdMeasure4, conversion4)
		if err != nil {
			return dst, err
		}
		return samples(dst, temperature(w[0]), humidity4(w[1])), nil
	}, nil
}

// ask4 sends a command of one octet, waits and reads two words.
func ask4(c *i2c.Chip, cmd byte, pause time.Duration) ([]uint16, error) {
	if err := c.Write(cmd); err != nil {
		return nil, err
	}
	if err := c.Sleep(pause); err != nil {
		return nil, err
	}
	return c.Words(2)
}

// humidity4 is −6 + 125·s/65535 %RH cut to 0..100 (4.6), at 0.01; the
// temperature is that of an SHT3x.
func humidity4(s uint16) drivers.Number {
	return drivers.Num(min(max((12500*int64(s)*2+65535)/(2*65535)-600, 0), 10000), -2)
}

// SHT4xSlave is a simulated SHT4x. It is safe for concurrent use.
type SHT4xSlave struct {
	room // set it before use

	mu     sync.Mutex
	answer i2c.Answer
}

// SimulateSHT4x returns a chip in a room at about 21 °C and 45 %RH.
func SimulateSHT4x(SHT4xConfig) i2c.Slave { return &SHT4xSlave{room: aRoom()} }

// PowerOn implements i2c.Resetter.
func (s *SHT4xSlave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = i2c.Answer{}
}

// Tx implements i2c.Slave: a read before the answer is ready is not
// acknowledged.
func (s *SHT4xSlave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(w) > 0 {
		switch w[0] {
		case cmdSerial4:
			s.answer.Set(now, 0x0123, 0x4567)
		case cmdMeasure4:
			s.answer.Set(now.Add(8*time.Millisecond), raw((s.Temperature.At(now)+45)/175), raw((s.Humidity.At(now)+6)/125))
		case cmdReset4:
			s.answer = i2c.Answer{}
		default:
			return syscall.EREMOTEIO
		}
	}
	return s.answer.Take(now, r)
}

var _ i2c.Resetter = (*SHT4xSlave)(nil)
