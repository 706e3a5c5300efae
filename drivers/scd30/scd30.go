// Package scd30 reads Sensirion's SCD30 (carbon dioxide, temperature, humidity)
// over I2C. Source: Sensirion "Interface Description SCD30", chapter 1.4.
package scd30

import (
	"context"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one SCD30.
type Config struct {
	Bus      string        `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address  int           `yaml:"address" default:"0x61" min:"0x61" max:"0x61" doc:"I2C address, fixed"`
	Interval time.Duration `yaml:"measure_every" default:"2s" min:"2s" max:"30m" doc:"time between measurements; longer ones save power"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Interval < 2*time.Second || c.Interval > 30*time.Minute || c.Interval%time.Second != 0 {
		return fmt.Errorf("measure_every: %v is not a whole number of seconds from 2 s to 30 min", c.Interval)
	}
	return nil
}

// Commands.
const (
	cmdStart    = 0x0010 // argument: air pressure in mbar, 0: do not correct
	cmdInterval = 0x4600
	cmdReady    = 0x0202
	cmdRead     = 0x0300
	cmdVersion  = 0xd100
)

// settle is the pause that the chip wants between a command and its answer.
const settle = 4 * time.Millisecond

// channels are in the order of the answer.
var channels = [...]drivers.Channel{
	{Name: "co2", Kind: drivers.KindNumber, Unit: "ppm", Doc: "carbon dioxide in the air"},
	{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
	{Name: "humidity", Kind: drivers.KindNumber, Unit: "%RH", Doc: "relative humidity"},
}

// errEarly: the chip is all right and needs a while.
var errEarly = fmt.Errorf("scd30: the measurement is not done yet: %w", drivers.ErrTimeout)

// Open returns the chip. Whether it is there shows when it is read. Until the
// first measurement is done, which takes up to the interval, its channels have
// drivers.ErrTimeout; later Read gives the latest measurement.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("scd30: %w", err)
	}
	return i2c.NewSensor("scd30", bus, 0x61, channels[:], func(c *i2c.Chip) (i2c.Measure, error) { return setUp(c, cfg) }), nil
}

func setUp(c *i2c.Chip, cfg Config) (i2c.Measure, error) {
	if _, err := c.AskWords(cmdVersion, settle, 1); err != nil {
		return nil, fmt.Errorf("firmware version: %w", err)
	}
	if err := c.Command(cmdInterval, settle, uint16(cfg.Interval/time.Second)); err != nil {
		return nil, err
	}
	if err := c.Command(cmdStart, settle, 0); err != nil {
		return nil, err
	}
	var last []drivers.Sample
	at := time.Now() // of the latest, or of the start
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		ready, err := c.AskWords(cmdReady, settle, 1)
		if err != nil {
			return dst, err
		}
		switch {
		case ready[0] == 1:
			w, err := c.AskWords(cmdRead, settle, 6)
			if err != nil {
				return dst, err
			}
			at = time.Now()
			if last, err = decode(w, at); err != nil {
				return dst, err
			}
		case time.Since(at) > 3*cfg.Interval+time.Second:
			return dst, fmt.Errorf("no measurement since %v; it was reset: %w", time.Since(at).Round(time.Second), drivers.ErrTimeout)
		case last == nil:
			return i2c.Without(dst, channels[:], errEarly), nil
		}
		return append(dst, last...), nil
	}, nil
}

// decode takes three floats of two words each. A carbon dioxide of zero is none.
func decode(w []uint16, at time.Time) ([]drivers.Sample, error) {
	var out []drivers.Sample
	for i, q := range []struct {
		digits int
		lo, hi float64
	}{{1, 0, 40000}, {2, -40, 125}, {2, 0, 100}} {
		f := float64(math.Float32frombits(uint32(w[2*i])<<16 | uint32(w[2*i+1])))
		n, err := drivers.FromFloat(f, q.digits)
		if err != nil || f < q.lo || f > q.hi {
			return nil, fmt.Errorf("%s of %v is outside of what an SCD30 can measure: %w", channels[i].Name, f, drivers.ErrProtocol)
		}
		s := drivers.Sample{Channel: channels[i].Name, Value: drivers.Decimal(n), Unit: channels[i].Unit, Time: at}
		if i == 0 && n.Mant == 0 { // no air is without: the first measurement often gives it
			s = drivers.Sample{Channel: channels[i].Name, Time: at, Err: errEarly}
		}
		out = append(out, s)
	}
	return out, nil
}

// Slave is a simulated SCD30. It is safe for concurrent use.
type Slave struct {
	// In ppm, °C and %RH; set them before use.
	CO2, Temperature, Humidity drivers.Drift

	mu       sync.Mutex
	interval time.Duration
	next     time.Time // of a measurement; zero while stopped
	stored   int       // how often settings went to its memory
	answer   i2c.Answer
}

// Simulate returns a chip in a room with about 650 ppm that has been measuring
// for a while.
func Simulate(c Config) i2c.Slave {
	s := &Slave{
		CO2:         drivers.Drift{Base: 650, Amplitude: 180, Period: 40 * time.Minute},
		Temperature: drivers.Drift{Base: 22, Amplitude: 1, Period: 45 * time.Minute, Phase: 0.2},
		Humidity:    drivers.Drift{Base: 44, Amplitude: 5, Period: 65 * time.Minute, Phase: 0.4},
	}
	s.PowerOn()
	s.next = time.Now()
	return s
}

// PowerOn implements i2c.Resetter. The chip remembers that it was measuring;
// the first measurement takes an interval.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interval, s.answer = 2*time.Second, i2c.Answer{}
	s.next = time.Now().Add(s.interval)
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
	switch uint16(w[0])<<8 | uint16(w[1]) {
	case cmdVersion:
		s.answer.Set(now, 0x0342)
	case cmdInterval:
		v, err := i2c.CheckedWords(w[2:], 1)
		if err != nil {
			return syscall.EREMOTEIO
		}
		s.interval = time.Duration(v[0]) * time.Second
		s.stored++
	case cmdStart:
		if s.next.IsZero() {
			s.next = now.Add(s.interval)
		}
	case cmdReady:
		s.answer.Set(now, map[bool]uint16{true: 1}[done])
	case cmdRead:
		var words []uint16
		for _, q := range []drivers.Drift{s.CO2, s.Temperature, s.Humidity} {
			b := math.Float32bits(float32(q.At(now)))
			words = append(words, uint16(b>>16), uint16(b))
		}
		s.answer.Set(now, words...)
		s.next = now.Add(s.interval)
	default:
		return syscall.EREMOTEIO
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
