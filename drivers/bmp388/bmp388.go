// Package bmp388 reads Bosch's BMP388 and its successor BMP390 (temperature,
// air pressure) over I2C. Formulas: Bosch's
// public BMP3 driver; checked with the octets and results of a sold chip.
package bmp388

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one BMP388.
type Config struct {
	Bus          string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address      int    `yaml:"address" default:"0x77" min:"0x76" max:"0x77" doc:"I2C address: 0x76 with SDO low, 0x77 with SDO high"`
	Oversampling string `yaml:"oversampling" default:"8x" oneof:"1x|2x|4x|8x|16x|32x" doc:"pressure measurements averaged for one reading; 8x takes 20 ms, 32x 70 ms"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Address != 0x76 && c.Address != 0x77 {
		return fmt.Errorf("address: 0x%02x is neither 0x76 nor 0x77", c.Address)
	}
	if c.osr() < 0 {
		return fmt.Errorf("oversampling: %q is none of 1x, 2x, 4x, 8x, 16x, 32x", c.Oversampling)
	}
	return nil
}

// osr is the content of the register: 2^osr measurements.
func (c Config) osr() int {
	for i, s := range [...]string{"1x", "2x", "4x", "8x", "16x", "32x"} {
		if s == c.Oversampling {
			return i
		}
	}
	return -1
}

// Registers (Bosch's BMP3 driver).
const (
	regID     = 0x00
	regStatus = 0x03
	regData   = 0x04 // pressure and temperature, 24 bits each, low octet first
	regPower  = 0x1b
	regOSR    = 0x1c
	regFilter = 0x1f
	regCal    = 0x31
	regCmd    = 0x7e

	idBMP388 = 0x50
	idBMP390 = 0x60

	dataReady  = 0x60 // of pressure and temperature
	enableBoth = 0x03
	forced     = 0x10 // one measurement
	resetWord  = 0xb6
)

// conversion is how long a measurement with one sample of temperature takes
// (3.9.2), with a tenth more for the chip's clock.
func conversion(osr int) time.Duration {
	return (234 + 392 + 313 + 2020*(1+1<<osr)) * time.Microsecond * 11 / 10
}

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bmp388: %w", err)
	}
	return i2c.NewSensor("bmp388", bus, cfg.Address, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip"},
		{Name: "pressure", Kind: drivers.KindNumber, Unit: "hPa", Doc: "air pressure at the place, not reduced to sea level"},
	}, func(c *i2c.Chip) (i2c.Measure, error) { return setUp(c, cfg) }), nil
}

func setUp(c *i2c.Chip, cfg Config) (i2c.Measure, error) {
	var id [1]byte
	if err := c.Ask(id[:], regID); err != nil {
		return nil, err
	}
	if id[0] != idBMP388 && id[0] != idBMP390 {
		return nil, fmt.Errorf("the chip at 0x%02x has identity 0x%02x and is neither BMP388 nor BMP390: %w", cfg.Address, id[0], drivers.ErrProtocol)
	}
	var b [21]byte
	if err := c.Ask(b[:], regCal); err != nil {
		return nil, err
	}
	cal, osr := calibrationOf(b), cfg.osr()
	// A program before, or the kernel's driver, may have left the chip measuring
	// by itself and averaging over many measurements.
	if err := c.Write(regPower, enableBoth); err != nil {
		return nil, err
	}
	if err := c.Sleep(5 * time.Millisecond); err != nil {
		return nil, err
	}
	if err := c.Write(regFilter, 0); err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		raw, err := measure(c, osr)
		if err != nil {
			return dst, err
		}
		t := cal.temperature(raw[1])
		p := cal.pressure(raw[0], t) / 100
		// The chip measures −40..85 °C and 300..1250 hPa; it still
		// gives something a little beyond.
		if t < -45 || t > 90 || p < 250 || p > 1300 {
			return dst, fmt.Errorf("reading %.2f °C, %.2f hPa is outside of what a BMP388 can measure: %w", t, p, drivers.ErrProtocol)
		}
		tn, _ := drivers.FromFloat(t, 2) // in range, see above
		pn, _ := drivers.FromFloat(p, 3)
		now := time.Now()
		return append(dst,
			drivers.Sample{Channel: "temperature", Value: drivers.Decimal(tn), Unit: "°C", Time: now},
			drivers.Sample{Channel: "pressure", Value: drivers.Decimal(pn), Unit: "hPa", Time: now},
		), nil
	}, nil
}

// measure starts one measurement and returns pressure and temperature as the
// converter gives them.
func measure(c *i2c.Chip, osr int) (raw [2]float64, err error) {
	if err := c.Write(regOSR, byte(osr)); err != nil {
		return raw, err
	}
	if err := c.Write(regPower, forced|enableBoth); err != nil {
		return raw, err
	}
	if err := c.Sleep(conversion(osr)); err != nil {
		return raw, err
	}
	var b [7]byte // status and data
	for try := 0; ; try++ {
		if err := c.Ask(b[:], regStatus); err != nil {
			return raw, err
		}
		if b[0]&dataReady == dataReady {
			break
		}
		if try == 20 {
			return raw, fmt.Errorf("the measurement does not end: %w", drivers.ErrTimeout)
		}
		if err := c.Sleep(time.Millisecond); err != nil {
			return raw, err
		}
	}
	// Disturbed octets on the bus show in registers that are known.
	var ctrl [2]byte
	if err := c.Ask(ctrl[:], regPower); err != nil {
		return raw, err
	}
	if ctrl != [2]byte{enableBoth, byte(osr)} {
		return raw, fmt.Errorf("control registers read % x; the chip lost its power or the bus is disturbed: %w", ctrl, drivers.ErrProtocol)
	}
	for i := range raw {
		raw[i] = float64(uint32(b[1+3*i]) | uint32(b[2+3*i])<<8 | uint32(b[3+3*i])<<16)
	}
	return raw, nil
}

// calibration holds the coefficients (9.1): those of temperature, and three
// polynomials of temperature for pressure.
type calibration struct {
	t           [3]float64
	offset      [4]float64
	sensitivity [4]float64
	square      [2]float64
	cube        float64
}

func calibrationOf(b [21]byte) calibration {
	u := func(i int) float64 { return float64(uint16(b[i]) | uint16(b[i+1])<<8) }
	s := func(i int) float64 { return float64(int16(uint16(b[i]) | uint16(b[i+1])<<8)) }
	c := func(i int) float64 { return float64(int8(b[i])) }
	return calibration{
		t:           [3]float64{u(0) * (1 << 8), u(2) / (1 << 30), c(4) / (1 << 48)},
		sensitivity: [4]float64{(s(5) - 1<<14) / (1 << 20), (s(7) - 1<<14) / (1 << 29), c(9) / (1 << 32), c(10) / (1 << 37)},
		offset:      [4]float64{u(11) * 8, u(13) / (1 << 6), c(15) / (1 << 8), c(16) / (1 << 15)},
		square:      [2]float64{s(17) / (1 << 48), c(19) / (1 << 48)},
		cube:        c(20) / (1 << 65),
	}
}

// temperature is in °C (9.2).
func (c calibration) temperature(raw float64) float64 {
	d := raw - c.t[0]
	return d*c.t[1] + d*d*c.t[2]
}

// pressure is in Pa at t °C (9.3).
func (c calibration) pressure(raw, t float64) float64 {
	poly := func(k [4]float64) float64 { return k[0] + t*(k[1]+t*(k[2]+t*k[3])) }
	return poly(c.offset) + raw*(poly(c.sensitivity)+raw*(c.square[0]+c.square[1]*t+raw*c.cube))
}

// Slave is a simulated BMP388 at the level of registers. It is safe for
// concurrent use.
type Slave struct {
	// In °C and hPa; set them before use.
	Temperature, Pressure drivers.Drift

	mu    sync.Mutex
	reg   [128]byte
	ptr   byte
	ready time.Time // when the running measurement ends; zero: none
}

// realCal is the calibration of a chip that was sold, see the test.
var realCal = [21]byte{
	0x23, 0x6b, 0x58, 0x49, 0xf6, 0x5c, 0xff, 0xce, 0xf4, 0x23, 0x00,
	0xea, 0x63, 0x6e, 0x79, 0xf3, 0xf6, 0xaa, 0x43, 0x12, 0xc4,
}

// Simulate returns a chip in a room at about 21 °C and 1013 hPa.
func Simulate(Config) i2c.Slave {
	s := &Slave{
		Temperature: drivers.Drift{Base: 21.3, Amplitude: 1.1, Period: 40 * time.Minute, Phase: 0.1},
		Pressure:    drivers.Drift{Base: 1013.1, Amplitude: 3, Period: 6 * time.Hour, Phase: 0.4},
	}
	s.PowerOn()
	return s
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset()
}

func (s *Slave) reset() {
	s.reg, s.ready = [128]byte{regID: idBMP388, regStatus: 0x10, regOSR: 0x02}, time.Time{}
	copy(s.reg[regCal:], realCal[:])
}

// Tx implements i2c.Slave: a write is pairs of register and value, a read
// begins at the register that was written last.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.ready.IsZero() && !now.Before(s.ready) {
		s.finish(now)
	}
	for i := 0; i+1 < len(w); i += 2 {
		switch reg, v := w[i]&0x7f, w[i+1]; {
		case reg == regCmd && v == resetWord:
			s.reset()
		case reg >= regPower && reg <= regPower+4:
			s.reg[reg] = v
			if reg == regPower && v&0x30 != 0 {
				s.reg[regStatus] &^= dataReady
				s.ready = now.Add(conversion(int(s.reg[regOSR] & 7)))
			}
		}
	}
	if len(w) > 0 {
		s.ptr = w[0]
	}
	for i := range r {
		r[i] = s.reg[s.ptr&0x7f]
		s.ptr++
	}
	return nil
}

// finish searches the raw values that the characteristic gives the quantities
// for: both fall or rise steadily.
func (s *Slave) finish(now time.Time) {
	c := calibrationOf(realCal)
	t := search(func(raw float64) bool { return c.temperature(raw) >= s.Temperature.At(now) })
	lin := c.temperature(float64(t))
	p := search(func(raw float64) bool { return c.pressure(raw, lin) <= s.Pressure.At(now)*100 })
	for i, v := range [2]int{p, t} {
		s.reg[regData+3*i], s.reg[regData+3*i+1], s.reg[regData+3*i+2] = byte(v), byte(v>>8), byte(v>>16)
	}
	s.reg[regStatus] |= dataReady
	s.ready = time.Time{}
	if s.reg[regPower]&0x30 == 0x30 {
		s.ready = now.Add(5 * time.Millisecond) // continuous
	} else {
		s.reg[regPower] &^= 0x30 // back to sleep
	}
}

// search returns the smallest 24-bit value for which at holds.
func search(at func(float64) bool) int {
	lo, hi := 0, 1<<24-1
	for lo < hi {
		if m := (lo + hi) / 2; at(float64(m)) {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo
}

var _ i2c.Resetter = (*Slave)(nil)
