// Package scd4x reads Sensirion's SCD40 and SCD41 (carbon dioxide, temperature,
// humidity) over I2C. Source: Sensirion SCD4x data sheet, version 1.4, chapter
// 3.
//
// It does not use periph's driver, which waits for a measurement for up to six
// seconds without an end by a context.
package scd4x

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one SCD4x.
type Config struct {
	Bus      string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address  int    `yaml:"address" default:"0x62" min:"0x62" max:"0x62" doc:"I2C address, fixed"`
	LowPower bool   `yaml:"low_power" default:"false" doc:"measure every 30 s instead of every 5 s"`
	Pressure int    `yaml:"pressure" default:"0" max:"1200" doc:"usual air pressure at the place in hPa, from 700; 0 leaves what the chip has, 1013 unless set"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Pressure != 0 && (c.Pressure < 700 || c.Pressure > 1200) {
		return fmt.Errorf("pressure: %d is neither 0 nor in 700..1200", c.Pressure)
	}
	return nil
}

func (c Config) interval() time.Duration {
	if c.LowPower {
		return 30 * time.Second
	}
	return 5 * time.Second
}

// Commands that a measuring chip takes, and those that start it.
const (
	cmdStart    = 0x21b1
	cmdStartLow = 0x21ac
	cmdReady    = 0xe4b8
	cmdRead     = 0xec05
	cmdPressure = 0xe000
	cmdStop     = 0x3f86
)

// The pauses that the chip wants between a command and its answer, and behind
// cmdStop.
const (
	settle   = time.Millisecond
	stopping = 500 * time.Millisecond
)

var channels = [...]drivers.Channel{
	{Name: "co2", Kind: drivers.KindInt, Unit: "ppm", Doc: "carbon dioxide in the air"},
	{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature at the chip"},
	{Name: "humidity", Kind: drivers.KindNumber, Unit: "%RH", Doc: "relative humidity"},
}

// Open returns the chip. Whether it is there shows when it is read. Until the
// first measurement is done, which takes 5 s or 30 s, its channels have
// drivers.ErrTimeout; later Read gives the latest measurement.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("scd4x: %w", err)
	}
	m := &meter{interval: cfg.interval()}
	return i2c.NewSensor("scd4x", bus, 0x62, channels[:], func(c *i2c.Chip) (i2c.Measure, error) { return m.setUp(c, cfg) }), nil
}

// ready tells whether there is a measurement that was not read yet.
func ready(c *i2c.Chip) (bool, error) {
	w, err := c.AskWords(cmdReady, settle, 1)
	return err == nil && w[0]&0x07ff != 0, err
}

// setUp starts the chip. One that measures already, because only the gateway
// was restarted, does not acknowledge that, and goes on as it is: unless it was
// found not to measure, or with the other interval, and then it is stopped first.
func (m *meter) setUp(c *i2c.Chip, cfg Config) (i2c.Measure, error) {
	if m.late {
		if err := c.Command(cmdStop, stopping); err != nil {
			return nil, err
		}
		m.late = false
	}
	start := uint16(cmdStart)
	if cfg.LowPower {
		start = cmdStartLow
	}
	if err := c.Command(start, settle); err != nil {
		if !errors.Is(err, drivers.ErrGone) {
			return nil, err
		}
		if _, err := ready(c); err != nil {
			return nil, err
		}
	}
	if cfg.Pressure != 0 {
		if err := c.Command(cmdPressure, settle, uint16(cfg.Pressure)); err != nil {
			return nil, err
		}
	}
	m.since = time.Now()
	return func(dst []drivers.Sample) ([]drivers.Sample, error) { return m.measure(c, dst) }, nil
}

// meter keeps the latest measurement, also while the chip is set up anew.
type meter struct {
	interval time.Duration
	last     []drivers.Sample
	since    time.Time // when the latest was read, or the chip was started
	late     bool      // it has to be stopped before it is started
}

func (m *meter) measure(c *i2c.Chip, dst []drivers.Sample) ([]drivers.Sample, error) {
	done, err := ready(c)
	if err != nil {
		return dst, err
	}
	switch {
	case done:
		w, err := c.AskWords(cmdRead, settle, 3)
		if err != nil {
			return dst, err
		}
		m.since = time.Now()
		if m.last, err = decode(w, m.since); err != nil {
			return dst, err
		}
	case time.Since(m.since) > 3*m.interval:
		m.late = true
		return dst, fmt.Errorf("no measurement since %v; it is started again: %w", time.Since(m.since).Round(time.Second), drivers.ErrTimeout)
	case m.last == nil || time.Since(m.last[0].Time) > 3*m.interval:
		return i2c.Without(dst, channels[:], fmt.Errorf("scd4x: the measurement is not done yet: %w", drivers.ErrTimeout)), nil
	}
	return append(dst, m.last...), nil
}

func decode(w []uint16, at time.Time) ([]drivers.Sample, error) {
	if w[0] > 40000 {
		return nil, fmt.Errorf("co2 of %d ppm is outside of what an SCD4x can measure: %w", w[0], drivers.ErrProtocol)
	}
	t := (int64(w[1])*17500+math.MaxUint16/2)/math.MaxUint16 - 4500
	h := (int64(w[2])*10000 + math.MaxUint16/2) / math.MaxUint16
	return []drivers.Sample{
		{Channel: "co2", Value: drivers.Int(int32(w[0])), Unit: "ppm", Time: at},
		{Channel: "temperature", Value: drivers.Decimal(drivers.Num(t, -2)), Unit: "°C", Time: at},
		{Channel: "humidity", Value: drivers.Decimal(drivers.Num(h, -2)), Unit: "%RH", Time: at},
	}, nil
}

// Slave is a simulated SCD4x. It is safe for concurrent use.
type Slave struct {
	// In ppm, °C and %RH; set them before use.
	CO2, Temperature, Humidity drivers.Drift

	mu       sync.Mutex
	interval time.Duration
	next     time.Time // of a measurement; zero while idle
	pressure uint16
	answer   i2c.Answer
}

// Simulate returns a chip in a room with about 700 ppm that has been measuring
// for a while.
func Simulate(c Config) i2c.Slave {
	return &Slave{
		CO2:         drivers.Drift{Base: 700, Amplitude: 210, Period: 40 * time.Minute, Phase: 0.15},
		Temperature: drivers.Drift{Base: 23, Amplitude: 1, Period: 45 * time.Minute, Phase: 0.3},
		Humidity:    drivers.Drift{Base: 43, Amplitude: 5, Period: 65 * time.Minute, Phase: 0.5},
		interval:    c.interval(), next: time.Now(),
	}
}

// PowerOn implements i2c.Resetter: the chip is idle.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.answer, s.pressure = time.Time{}, i2c.Answer{}, 0
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(w) >= 2 {
		if err := s.command(w, now); err != nil {
			return err
		}
	}
	return s.answer.Take(now, r)
}

func (s *Slave) command(w []byte, now time.Time) error {
	done := !s.next.IsZero() && !now.Before(s.next)
	switch cmd := uint16(w[0])<<8 | uint16(w[1]); cmd {
	case cmdStart, cmdStartLow:
		if !s.next.IsZero() {
			return syscall.EREMOTEIO
		}
		s.interval = Config{LowPower: cmd == cmdStartLow}.interval()
		s.next = now.Add(s.interval)
	case cmdStop:
		s.next = time.Time{}
	case cmdReady:
		s.answer.Set(now, 0x8000|map[bool]uint16{true: 6}[done])
	case cmdRead:
		if !done {
			return syscall.EREMOTEIO
		}
		raw := func(share float64) uint16 { return uint16(math.Round(min(max(share, 0), 1) * math.MaxUint16)) }
		s.answer.Set(now, uint16(s.CO2.At(now)), raw((s.Temperature.At(now)+45)/175), raw(s.Humidity.At(now)/100))
		s.next = now.Add(s.interval)
	case cmdPressure:
		v, err := i2c.CheckedWords(w[2:], 1)
		if err != nil {
			return syscall.EREMOTEIO
		}
		s.pressure = v[0]
	default:
		return syscall.EREMOTEIO
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
