// Package aht20 reads ASAIR's AHT20 (temperature and humidity) over I2C
// through periph's driver. Source: ASAIR AHT20 product manual, chapter 5.
package aht20

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/aht20"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one AHT20.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x38" min:"0x38" max:"0x38" doc:"I2C address, fixed"`
}

const (
	cmdInit    = 0xbe
	cmdMeasure = 0xac

	busy       = 0x80
	calibrated = 0x08
)

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	return i2c.NewSensor("aht20", bus, 0x38, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
		{Name: "humidity", Kind: drivers.KindNumber, Unit: "%RH", Doc: "relative humidity"},
	}, setUp), nil
}

func setUp(c *i2c.Chip) (i2c.Measure, error) {
	dev, err := aht20.NewI2C(c, nil)
	if err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		var e physic.Env
		if err := dev.Sense(&e); err != nil {
			return dst, kind(err)
		}
		now := time.Now()
		t, h := centi(int64(e.Temperature-physic.ZeroCelsius), int64(physic.Kelvin)), centi(int64(e.Humidity), int64(physic.PercentRH))
		return append(dst,
			drivers.Sample{Channel: "temperature", Value: drivers.Decimal(t), Unit: "°C", Time: now},
			drivers.Sample{Channel: "humidity", Value: drivers.Decimal(h), Unit: "%RH", Time: now},
		), nil
	}, nil
}

// centi rounds n/unit to hundredths, the chip's resolution being 0.01 °C and
// 0.024 %RH.
func centi(n, unit int64) drivers.Number {
	step := unit / 100
	if n < 0 {
		return drivers.Num((n-step/2)/step, -2)
	}
	return drivers.Num((n+step/2)/step, -2)
}

// kind adds what the library's errors mean.
func kind(err error) error {
	var late *aht20.ReadTimeoutError
	var garbage *aht20.DataCorruptionError
	var reset *aht20.NotInitializedError
	switch {
	case errors.As(err, &late):
		return fmt.Errorf("%w: %w", err, drivers.ErrTimeout)
	case errors.As(err, &garbage), errors.As(err, &reset):
		return fmt.Errorf("%w: %w", err, drivers.ErrProtocol)
	}
	return err
}

// Slave is a simulated AHT20. It is safe for concurrent use.
type Slave struct {
	// In °C and %RH; set them before use.
	Temperature, Humidity drivers.Drift

	mu     sync.Mutex
	status byte
	data   [5]byte
	ready  time.Time
}

// Simulate returns a chip in a room at about 22 °C and 42 %RH.
func Simulate(Config) i2c.Slave {
	return &Slave{
		Temperature: drivers.Drift{Base: 22, Amplitude: 1.3, Period: 45 * time.Minute, Phase: 0.4},
		Humidity:    drivers.Drift{Base: 42, Amplitude: 5, Period: 70 * time.Minute},
	}
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = 0
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(w) == 3 && w[0] == cmdInit {
		s.status |= calibrated
	}
	if len(w) == 3 && w[0] == cmdMeasure {
		h := uint32(min(max(s.Humidity.At(now)/100, 0), 1) * (1<<20 - 1))
		t := uint32(min(max((s.Temperature.At(now)+50)/200, 0), 1) * (1<<20 - 1))
		s.data = [5]byte{byte(h >> 12), byte(h >> 4), byte(h<<4) | byte(t>>16), byte(t >> 8), byte(t)}
		s.ready = now.Add(75 * time.Millisecond)
	}
	frame := append([]byte{s.status | 0x10}, s.data[:]...)
	if now.Before(s.ready) {
		frame[0] |= busy
	}
	copy(r, append(frame, i2c.CRC8(frame...)))
	return nil
}

var _ i2c.Resetter = (*Slave)(nil)
