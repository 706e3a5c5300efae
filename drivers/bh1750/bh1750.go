// Package bh1750 reads ROHM's BH1750FVI light sensor over I2C. Source: ROHM
// data sheet BH1750FVI, "Instruction Set Architecture" and "Measurement
// sequence example".
//
// It does not use periph's driver, whose power-on command is the reset.
package bh1750

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one BH1750.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x23" oneof:"0x23|0x5c" doc:"I2C address: 0x23 with ADDR low, 0x5c with ADDR high"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Address != 0x23 && c.Address != 0x5c {
		return fmt.Errorf("address: 0x%02x is neither 0x23 nor 0x5c", c.Address)
	}
	return nil
}

const (
	once     = 0x20 // wake up, measure once with a resolution of 1 lx, power down
	measures = 180 * time.Millisecond

	// Two commands set how long the chip measures, by their lower bits; 69 is
	// what it has from power-on, and what a count of 1/1.2 lx belongs to.
	timeHigh, timeLow = 0x40, 0x60
	timeDefault       = 69
)

// Open returns the chip. Whether it is there shows when it is read. A
// measurement takes 180 ms. The chip has no identity and no checksum, so that
// another chip at its address would be read as one.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bh1750: %w", err)
	}
	return i2c.NewSensor("bh1750", bus, cfg.Address, []drivers.Channel{
		{Name: "illuminance", Kind: drivers.KindNumber, Unit: "lx", Doc: "light that falls on the chip"},
	}, func(c *i2c.Chip) (i2c.Measure, error) {
		// A program before may have set another time; the chip keeps it.
		for _, cmd := range []byte{timeHigh | timeDefault>>5, timeLow | timeDefault&0x1f} {
			if err := c.Write(cmd); err != nil {
				return nil, err
			}
		}
		return func(dst []drivers.Sample) ([]drivers.Sample, error) { return measure(c, dst) }, nil
	}), nil
}

func measure(c *i2c.Chip, dst []drivers.Sample) ([]drivers.Sample, error) {
	if err := c.Write(once); err != nil {
		return dst, err
	}
	if err := c.Sleep(measures); err != nil {
		return dst, err
	}
	var b [2]byte
	if err := c.Ask(b[:]); err != nil {
		return dst, err
	}
	if b == [2]byte{0xff, 0xff} {
		return append(dst, drivers.Sample{Channel: "illuminance", Time: time.Now(), Err: fmt.Errorf("bh1750: brighter than the 54612 lx that the chip can count: %w", drivers.ErrRange)}), nil
	}
	// A count is 1/1.2 lx.
	tenths := (int64(b[0])<<8 | int64(b[1])) * 50
	return append(dst, drivers.Sample{
		Channel: "illuminance", Value: drivers.Decimal(drivers.Num((tenths+3)/6, -1)), Unit: "lx", Time: time.Now(),
	}), nil
}

// Slave is a simulated BH1750. It is safe for concurrent use.
type Slave struct {
	Illuminance drivers.Drift // lx; set it before use

	mu    sync.Mutex
	data  uint16
	next  uint16
	ready time.Time
	time  byte // measuring time; the chip counts in proportion to it
}

// Simulate returns a chip on a desk at about 420 lx.
func Simulate(Config) i2c.Slave {
	return &Slave{time: timeDefault, Illuminance: drivers.Drift{Base: 420, Amplitude: 160, Period: 35 * time.Minute, Phase: 0.1}}
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.next, s.time = 0, 0, timeDefault
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.ready.IsZero() && !now.Before(s.ready) {
		s.data, s.ready = s.next, time.Time{}
	}
	switch {
	case len(w) != 1:
	case w[0]&^7 == timeHigh:
		s.time = w[0]<<5 | s.time&0x1f
	case w[0]&^0x1f == timeLow:
		s.time = s.time&^0x1f | w[0]&0x1f
	case w[0] == once: // it wakes up for that
		counts := s.Illuminance.At(now) * 1.2 * float64(s.time) / timeDefault
		s.next = uint16(min(max(math.Round(counts), 0), math.MaxUint16))
		s.ready = now.Add(120 * time.Millisecond)
	}
	for i := range r {
		r[i] = byte(s.data >> (8 * (1 - i%2)))
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
