// Package sht3x reads Sensirion's SHT30, SHT31 and SHT35, SHT40, SHT41 and SHT45,
// and Texas Instruments' HDC302x (temperature and humidity), over I2C. Sources: Sensirion SHT3x-DIS data
// sheet, version 7, chapter 4, and SHT4x data sheet, version 6, chapter 4.
package sht3x

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one SHT3x.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x44" min:"0x44" max:"0x45" doc:"I2C address: 0x44 with ADDR low, 0x45 with ADDR high"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Address < 0x44 || c.Address > 0x45 {
		return fmt.Errorf("address: 0x%02x is not in 0x44..0x45", c.Address)
	}
	return nil
}

// Commands of two octets (chapter 4).
const (
	cmdMeasure = 0x2400 // once, with high repeatability, without clock stretching
	cmdStatus  = 0xf32d
	cmdBreak   = 0x3093 // ends measuring by itself
	cmdCool    = 0x3066 // switches the heater off
	cmdClear   = 0x3041 // the others only others send
	cmdReset   = 0x30a2
	cmdHeat    = 0x306d
	cmdEvery   = 0x2130 // one of those that let it measure by itself

	statusReset = 1 << 4  // there was a reset since the last clearing
	statusHeat  = 1 << 13 // the heater is on
)

// conversion is the maximum of a measurement with high repeatability (table
// 4), with some room.
const conversion = 16 * time.Millisecond

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sht3x: %w", err)
	}
	return i2c.NewSensor("sht3x", bus, cfg.Address, channels[:], setUp), nil
}

// channels are those of both families.
var channels = [...]drivers.Channel{
	{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
	{Name: "humidity", Kind: drivers.KindNumber, Unit: "%RH", Doc: "relative humidity"},
}

// setUp ends what a program before may have left: a chip that measures by
// itself does not take the command to measure once, and a heater warms it. One that
// has nothing to end may say so by not acknowledging.
func setUp(c *i2c.Chip) (i2c.Measure, error) {
	if err := c.Command(cmdBreak, time.Millisecond); err != nil && !errors.Is(err, drivers.ErrGone) {
		return nil, err
	}
	// The status with its checksum tells an SHT3x from others there.
	if _, err := c.AskWords(cmdStatus, 0, 1); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	if err := c.Command(cmdCool, 0); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		w, err := c.AskWords(cmdMeasure, conversion, 2)
		if err != nil {
			return dst, err
		}
		return samples(dst, temperature(w[0]), humidity(w[1])), nil
	}, nil
}

func samples(dst []drivers.Sample, t, h drivers.Number) []drivers.Sample {
	now := time.Now()
	for i, n := range [...]drivers.Number{t, h} {
		dst = append(dst, drivers.Sample{Channel: channels[i].Name, Value: drivers.Decimal(n), Unit: channels[i].Unit, Time: now})
	}
	return dst
}

// temperature is −45 + 175·s/65535 °C, humidity 100·s/65535 %RH (4.13), both
// at 0.01, which is the chip's resolution.
func temperature(s uint16) drivers.Number {
	return drivers.Num((17500*int64(s)*2+65535)/(2*65535)-4500, -2)
}

func humidity(s uint16) drivers.Number {
	return drivers.Num((10000*int64(s)*2+65535)/(2*65535), -2)
}

// room is the air around a simulated chip, in °C and %RH.
type room struct {
	Temperature, Humidity drivers.Drift
}

func aRoom() room {
	return room{
		Temperature: drivers.Drift{Base: 21.2, Amplitude: 1.4, Period: 35 * time.Minute, Phase: 0.2},
		Humidity:    drivers.Drift{Base: 45, Amplitude: 5, Period: 55 * time.Minute, Phase: 0.5},
	}
}

// Slave is a simulated SHT3x. It is safe for concurrent use.
type Slave struct {
	room // set it before use

	mu     sync.Mutex
	answer i2c.Answer
	status uint16
	busy   bool   // it measures by itself
	maker  uint16 // 0: it does not know
}

// Simulate returns a chip in a room at about 21 °C and 45 %RH.
func Simulate(Config) i2c.Slave { return &Slave{room: aRoom()} }

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.status, s.busy = i2c.Answer{}, statusReset, false
}

// Tx implements i2c.Slave: a read before the answer is ready is not
// acknowledged.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(w) >= 2 {
		cmd := uint16(w[0])<<8 | uint16(w[1])
		if s.busy && cmd == cmdMeasure {
			return syscall.EREMOTEIO
		}
		switch cmd {
		case cmdEvery:
			s.busy = true
		case cmdBreak:
			s.busy = false
		case cmdHeat:
			s.status |= statusHeat
		case cmdCool:
			s.status &^= statusHeat
		case cmdStatus:
			s.answer.Set(now, s.status)
		case cmdClear:
			s.answer, s.status = i2c.Answer{}, 0
		case cmdMeasure:
			s.answer.Set(now.Add(15*time.Millisecond), raw((s.Temperature.At(now)+45)/175), raw(s.Humidity.At(now)/100))
		case cmdMaker:
			if s.maker == 0 {
				return syscall.EREMOTEIO
			}
			s.answer.Set(now, s.maker)
		case cmdReset:
			s.answer, s.status = i2c.Answer{}, statusReset
		default:
			return syscall.EREMOTEIO
		}
	}
	return s.answer.Take(now, r)
}

func raw(share float64) uint16 { return uint16(min(max(share*65535+0.5, 0), 65535)) }

var _ i2c.Resetter = (*Slave)(nil)
