// Package sps30 reads Sensirion's SPS30 (particulate matter) over I2C; its pin
// SEL is connected to ground. Checked with the sps30 driver of Linux 6.1 on the
// simulated chip.
package sps30

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

// Config is the configuration of one SPS30.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x69" min:"0x69" max:"0x69" doc:"I2C address, fixed"`
}

// Commands (6.3).
const (
	cmdStart   = 0x0010
	cmdStop    = 0x0104
	cmdReady   = 0x0202
	cmdRead    = 0x0300
	cmdVersion = 0xd100
	cmdStatus  = 0xd206 // from firmware 2.2
	cmdSerial  = 0xd033 // 32 characters; these two only others send
	cmdReset   = 0xd304

	asFloats = 0x0300 // argument of cmdStart
)

// Faults of the status register (4.4).
const (
	fanStands    = 1 << 4
	laserFails   = 1 << 5
	fanOffSpeed  = 1 << 21
	statusFaults = fanStands | laserFails | fanOffSpeed
)

// Pauses that the chip wants behind a command.
const (
	settle      = 5 * time.Millisecond
	settleStart = 20 * time.Millisecond
)

// The chip measures once a second; the first measurement may take twice that.
const (
	firstTakes = 2500 * time.Millisecond
	poll       = 20 * time.Millisecond
	tooOld     = 5 * time.Second
)

// ErrFault: the chip reports that its fan or laser does not work as it should.
var ErrFault = errors.New("fan or laser fails; clean the inlet or exchange the sensor")

// quantities are in the order of the answer (table of 4.3).
var quantities = [10]drivers.Channel{
	{Name: "pm1", Kind: drivers.KindNumber, Unit: "µg/m³", Doc: "mass of particles up to 1 µm"},
	{Name: "pm2-5", Kind: drivers.KindNumber, Unit: "µg/m³", Doc: "mass of particles up to 2.5 µm"},
	{Name: "pm4", Kind: drivers.KindNumber, Unit: "µg/m³", Doc: "mass of particles up to 4 µm"},
	{Name: "pm10", Kind: drivers.KindNumber, Unit: "µg/m³", Doc: "mass of particles up to 10 µm"},
	{Name: "number-0-5", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles up to 0.5 µm"},
	{Name: "number-1", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles up to 1 µm"},
	{Name: "number-2-5", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles up to 2.5 µm"},
	{Name: "number-4", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles up to 4 µm"},
	{Name: "number-10", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles up to 10 µm"},
	{Name: "typical-size", Kind: drivers.KindNumber, Unit: "µm", Doc: "typical size of the particles"},
}

// Open returns the chip. Whether it is there shows when it is read. The first
// Read starts fan and laser and takes one to two seconds; they go on running.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	return i2c.NewSensor("sps30", bus, 0x69, quantities[:], setUp), nil
}

func setUp(c *i2c.Chip) (i2c.Measure, error) {
	version, err := c.AskWords(cmdVersion, settle, 1)
	if err != nil {
		return nil, fmt.Errorf("firmware version: %w", err)
	}
	// It may be measuring in the other format; stopping one that stands does nothing.
	if err := c.Command(cmdStop, settleStart); err != nil {
		return nil, err
	}
	if err := c.Command(cmdStart, settleStart, asFloats); err != nil {
		return nil, err
	}
	s := &sensor{chip: c, hasStatus: version[0] >= 0x0202, until: time.Now().Add(firstTakes)}
	return s.measure, nil
}

type sensor struct {
	chip      *i2c.Chip
	hasStatus bool
	until     time.Time // when the first measurement must be there
	last      []drivers.Sample
	at        time.Time
}

func (s *sensor) measure(dst []drivers.Sample) ([]drivers.Sample, error) {
	for {
		ready, err := s.chip.AskWords(cmdReady, settle, 1)
		if err != nil {
			return dst, err
		}
		switch now := time.Now(); {
		case ready[0] == 1:
			// A fault is none of the bus: started anew for it, the fan would stop
			// and start with each reading, and not be looked at for 3 s.
			err := s.read()
			if errors.Is(err, ErrFault) {
				s.last, s.at = i2c.Without(nil, quantities[:], err), now
			} else if err != nil {
				return dst, err
			}
			return append(dst, s.last...), nil
		case s.last != nil && now.Sub(s.at) < tooOld:
			return append(dst, s.last...), nil
		case now.After(s.until):
			return dst, fmt.Errorf("it does not measure; it was reset or its supply of 5 V is too weak: %w", drivers.ErrTimeout)
		}
		if err := s.chip.Sleep(poll); err != nil {
			return dst, err
		}
	}
}

func (s *sensor) read() error {
	if s.hasStatus {
		w, err := s.chip.AskWords(cmdStatus, settle, 2)
		if err != nil {
			return err
		}
		if status := uint32(w[0])<<16 | uint32(w[1]); status&statusFaults != 0 {
			return fmt.Errorf("sps30: status 0x%08x: %w", status, ErrFault)
		}
	}
	w, err := s.chip.AskWords(cmdRead, settle, 2*len(quantities))
	if err != nil {
		return err
	}
	s.at = time.Now()
	s.last, err = decode(w, s.at)
	return err
}

// decode takes ten floats of two words each.
func decode(w []uint16, at time.Time) ([]drivers.Sample, error) {
	out := make([]drivers.Sample, 0, len(quantities))
	for i, q := range quantities {
		f := float64(math.Float32frombits(uint32(w[2*i])<<16 | uint32(w[2*i+1])))
		n, err := drivers.FromFloat(f, 2)
		if err != nil || f < 0 || f > 1e6 {
			return nil, fmt.Errorf("%s of %v is outside of what an SPS30 can measure: %w", q.Name, f, drivers.ErrProtocol)
		}
		out = append(out, drivers.Sample{Channel: q.Name, Value: drivers.Decimal(n), Unit: q.Unit, Time: at})
	}
	return out, nil
}

// Slave is a simulated SPS30. It is safe for concurrent use.
type Slave struct {
	// PM25 is the mass up to 2.5 µm in µg/m³, the others follow from it; Status
	// is the status register. Set them before use.
	PM25   drivers.Drift
	Status uint32

	mu     sync.Mutex
	period time.Duration
	next   time.Time // of a measurement; zero while stopped
	starts int
	answer i2c.Answer
}

// Simulate returns a sensor in a city's air.
func Simulate(Config) i2c.Slave {
	return &Slave{PM25: drivers.Drift{Base: 9, Amplitude: 4, Period: 3 * time.Hour, Phase: 0.3}, period: time.Second}
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.answer = time.Time{}, i2c.Answer{}
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(w) >= 2 {
		if err := s.command(uint16(w[0])<<8|uint16(w[1]), w[2:], now); err != nil {
			return err
		}
	}
	return s.answer.Take(now, r)
}

func (s *Slave) command(cmd uint16, args []byte, now time.Time) error {
	done := !s.next.IsZero() && !now.Before(s.next)
	switch cmd {
	case cmdVersion:
		s.answer.Set(now, 0x0202)
	case cmdSerial:
		s.answer.Set(now, make([]uint16, 16)...)
	case cmdStop, cmdReset:
		s.next = time.Time{}
	case cmdStart:
		if v, err := i2c.CheckedWords(args, 1); err != nil || v[0] != asFloats || !s.next.IsZero() {
			return syscall.EREMOTEIO
		}
		s.next = now.Add(s.period)
		s.starts++
	case cmdReady:
		s.answer.Set(now, map[bool]uint16{true: 1}[done])
	case cmdStatus:
		s.answer.Set(now, uint16(s.Status>>16), uint16(s.Status))
	case cmdRead:
		if !done {
			return syscall.EREMOTEIO
		}
		pm := s.PM25.At(now)
		var words []uint16
		for _, share := range [len(quantities)]float64{0.95, 1, 1.02, 1.03, 6.6, 7.6, 7.7, 7.71, 7.72, 0} {
			f := pm * share
			if share == 0 {
				f = 0.55
			}
			b := math.Float32bits(float32(f))
			words = append(words, uint16(b>>16), uint16(b))
		}
		s.answer.Set(now, words...)
		s.next = now.Add(s.period)
	default:
		return syscall.EREMOTEIO
	}
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
