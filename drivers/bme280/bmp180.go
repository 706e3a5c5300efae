package bme280

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/bmxx80"

	"postern/drivers"
	"postern/drivers/i2c"
)

// BMP180Config is the configuration of one BMP180 or BMP085, the forerunners of
// the BMP280. Source: BST-BMP180 data sheet, chapter 3.
type BMP180Config struct {
	Bus          string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address      int    `yaml:"address" default:"0x77" min:"0x77" max:"0x77" doc:"I2C address, fixed"`
	Oversampling string `yaml:"oversampling" default:"4x" oneof:"1x|2x|4x|8x" doc:"measurements averaged for one reading; 4x takes 18 ms, 8x 30 ms"`
}

const (
	idBMP180      = 0x55
	regControl180 = 0xf4
	regData180    = 0xf6
)

// OpenBMP180 returns the chip. Whether it is there shows when it is read.
func OpenBMP180(ctx context.Context, bus i2c.Bus, cfg BMP180Config) (*i2c.Sensor, error) {
	o, ok := oversamplings[cfg.Oversampling]
	if !ok || o == bmxx80.O16x {
		return nil, fmt.Errorf("bmp180: oversampling: %q is none of 1x, 2x, 4x, 8x", cfg.Oversampling)
	}
	return i2c.NewSensor("bmp180", bus, 0x77, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
		{Name: "pressure", Kind: drivers.KindNumber, Unit: "hPa", Doc: "air pressure at the place, not reduced to sea level"},
	}, func(c *i2c.Chip) (i2c.Measure, error) { return setUpBMP180(c, o) }), nil
}

func setUpBMP180(c *i2c.Chip, o bmxx80.Oversampling) (i2c.Measure, error) {
	if err := isBMP180(c); err != nil {
		return nil, err
	}
	dev, err := bmxx80.NewI2C(c, 0x77, &bmxx80.Opts{Temperature: o, Pressure: o})
	if err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		e := physic.Env{}
		if err := dev.Sense(&e); err != nil {
			return dst, err
		}
		// Disturbed octets on the bus show in a register that is known.
		if err := isBMP180(c); err != nil {
			return dst, err
		}
		if err := plausible(e); err != nil {
			return dst, err
		}
		now := time.Now()
		return append(dst,
			drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(int64(e.Temperature-physic.ZeroCelsius)/int64(100*physic.MilliKelvin), -1)), Unit: "°C", Time: now},
			drivers.Sample{Channel: "pressure", Value: drivers.Decimal(drivers.Num(divRound(int64(e.Pressure), int64(physic.Pascal)), -2)), Unit: "hPa", Time: now},
		), nil
	}, nil
}

func isBMP180(c *i2c.Chip) error {
	var id [1]byte
	err := c.Ask(id[:], regID)
	if err == nil && id[0] != idBMP180 {
		err = fmt.Errorf("the chip at 0x77 has identity 0x%02x and is no BMP180 (0x58 is a BMP280, 0x60 a BME280): %w", id[0], drivers.ErrProtocol)
	}
	return err
}

// calibration180 is the worked example of the data sheet (3.5): AC1 to AC6, B1,
// B2, MB, MC, MD.
var calibration180 = [11]int{408, -72, -14383, 32741, 32757, 23153, 6190, 4, -32768, -8711, 2868}

// Slave180 is a simulated BMP180 at the level of registers. It is safe for
// concurrent use.
type Slave180 struct {
	// In °C and hPa; set them before use.
	Temperature, Pressure drivers.Drift

	mu     sync.Mutex
	ptr    byte
	data   [3]byte
	result [3]byte
	ready  time.Time
}

// SimulateBMP180 returns a chip in a room at about 21 °C and 1010 hPa.
func SimulateBMP180(BMP180Config) i2c.Slave {
	return &Slave180{
		Temperature: drivers.Drift{Base: 21, Amplitude: 1.4, Period: 32 * time.Minute},
		Pressure:    drivers.Drift{Base: 1010, Amplitude: 3, Period: 6 * time.Hour, Phase: 0.2},
	}
}

// PowerOn implements i2c.Resetter.
func (s *Slave180) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.ready = [3]byte{0x80}, time.Time{}
}

// Tx implements i2c.Slave.
func (s *Slave180) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.ready.IsZero() && !now.Before(s.ready) {
		s.data, s.ready = s.result, time.Time{}
	}
	if len(w) > 0 {
		s.ptr = w[0]
	}
	if len(w) == 2 && w[0] == regControl180 {
		s.convert(w[1], now)
	}
	for i := range r {
		r[i] = s.register(s.ptr + byte(i))
	}
	return nil
}

func (s *Slave180) register(n byte) byte {
	switch {
	case n == regID:
		return idBMP180
	case n >= 0xaa && n < 0xaa+22:
		var b [2]byte
		binary.BigEndian.PutUint16(b[:], uint16(calibration180[(n-0xaa)/2]))
		return b[n&1]
	case n >= regData180 && n < regData180+3:
		return s.data[n-regData180]
	}
	return 0
}

// convert does what the data sheet's formulas undo: it looks for the raw value
// whose compensation is the quantity.
func (s *Slave180) convert(control byte, now time.Time) {
	ut := find(65535, func(ut int64) bool { return float64(temperature180(b5(ut)))/10 >= s.Temperature.At(now) })
	if control == 0x2e {
		s.result, s.ready = [3]byte{byte(ut >> 8), byte(ut)}, now.Add(4500*time.Microsecond)
		return
	}
	oss := uint(control >> 6)
	up := find(1<<(16+oss)-1, func(up int64) bool { return float64(pressure180(up, b5(ut), oss)) >= 100*s.Pressure.At(now) })
	v := up << (8 - oss)
	s.result, s.ready = [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}, now.Add(time.Duration(1500+3000<<oss)*time.Microsecond)
}

// find returns the smallest n up to limit that is enough.
func find(limit int64, enough func(n int64) bool) int64 {
	lo, hi := int64(0), limit
	for lo < hi {
		if mid := (lo + hi) / 2; enough(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

func b5(ut int64) int64 {
	c := calibration180
	x1 := (ut - int64(c[5])) * int64(c[4]) >> 15
	if x1+int64(c[10]) <= 0 {
		return -1 << 31 // below what the chip can measure
	}
	return x1 + int64(c[9])<<11/(x1+int64(c[10]))
}

// temperature180 is in 0.1 °C.
func temperature180(b5 int64) int64 { return (b5 + 8) >> 4 }

// pressure180 is in Pa.
func pressure180(up, b5 int64, oss uint) int64 {
	c := calibration180
	b6 := b5 - 4000
	square := b6 * b6 >> 12
	b3 := ((int64(c[0])*4+(int64(c[7])*square>>11+int64(c[1])*b6>>11))<<oss + 2) / 4
	x3 := (int64(c[2])*b6>>13 + int64(c[6])*square>>16 + 2) >> 2
	b4 := int64(c[3]) * (x3 + 32768) >> 15
	p := (up - b3) * (50000 >> oss) * 2 / b4
	x1 := (p >> 8) * (p >> 8) * 3038 >> 16
	return p + (x1-7357*p>>16+3791)>>4
}

var _ i2c.Resetter = (*Slave180)(nil)
