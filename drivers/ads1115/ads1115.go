// Package ads1115 reads Texas Instruments' ADS1115, a converter for four
// voltages, over I2C. periph's driver waits the nominal time of a conversion
// and then takes what is there, which with a slow oscillator (the data sheet
// allows 10 %) is the input before; this one asks whether the conversion is
// done. Source: TI SBAS444, chapter 9.
package ads1115

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one ADS1115.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x48" min:"0x48" max:"0x4b" doc:"I2C address, set by the pin ADDR"`
	Range   string `yaml:"range" default:"4.096" oneof:"6.144|4.096|2.048|1.024|0.512|0.256" doc:"largest voltage in V; inputs must stay below the supply all the same"`
}

// ranges: bits of the configuration, and the size of a step in 10^-10 V (table 3: the
// range by 2^15, which 10^-8 V would cut by 0.03 % in the smaller ones).
var ranges = map[string]struct {
	bits uint16
	step int64
}{
	"6.144": {0, 1875000}, "4.096": {1, 1250000}, "2.048": {2, 625000}, "1.024": {3, 312500}, "0.512": {4, 156250}, "0.256": {5, 78125},
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Address < 0x48 || c.Address > 0x4b {
		return fmt.Errorf("address: 0x%02x is not in 0x48..0x4b", c.Address)
	}
	if _, ok := ranges[c.Range]; !ok {
		return fmt.Errorf("range: %q is none of 6.144, 4.096, 2.048, 1.024, 0.512, 0.256", c.Range)
	}
	return nil
}

const (
	regConversion = 0
	regConfig     = 1

	start      = 1 << 15 // written: begin; read: no conversion is running
	muxSingle  = 4 << 12 // input 0 against ground
	singleShot = 1 << 8
	rate128    = 4 << 5
	noCompare  = 3
	nominal    = 7812 * time.Microsecond
)

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("ads1115: %w", err)
	}
	var channels []drivers.Channel
	for i := range 4 {
		channels = append(channels, drivers.Channel{
			Name: fmt.Sprintf("voltage-%d", i), Kind: drivers.KindNumber, Unit: "V", Doc: fmt.Sprintf("voltage of input %d against ground", i),
		})
	}
	return i2c.NewSensor("ads1115", bus, cfg.Address, channels, func(c *i2c.Chip) (i2c.Measure, error) {
		return func(dst []drivers.Sample) ([]drivers.Sample, error) {
			for i, ch := range channels {
				v, err := convert(c, cfg, uint16(i))
				switch {
				case err == nil:
					dst = append(dst, drivers.Sample{Channel: ch.Name, Value: drivers.Decimal(v), Unit: "V", Time: time.Now()})
				case errors.Is(err, drivers.ErrRange): // of this input alone
					dst = append(dst, drivers.Sample{Channel: ch.Name, Time: time.Now(), Err: fmt.Errorf("ads1115: %w", err)})
				default:
					return dst, err
				}
			}
			return dst, nil
		}, nil
	}), nil
}

func convert(c *i2c.Chip, cfg Config, input uint16) (drivers.Number, error) {
	r := ranges[cfg.Range]
	conf := start | muxSingle + input<<12 | r.bits<<9 | singleShot | rate128 | noCompare
	if err := c.Write(regConfig, byte(conf>>8), byte(conf)); err != nil {
		return drivers.Number{}, err
	}
	if err := c.Sleep(nominal); err != nil {
		return drivers.Number{}, err
	}
	for tries := 0; ; tries++ {
		w, err := c.Word(regConfig)
		switch {
		case err != nil:
			return drivers.Number{}, err
		case w|start != conf:
			return drivers.Number{}, fmt.Errorf("configuration reads 0x%04x, not 0x%04x; the chip lost its power or is none: %w", w, conf, drivers.ErrProtocol)
		case w&start != 0:
			raw, err := c.Word(regConversion)
			if err != nil {
				return drivers.Number{}, err
			}
			if raw == 0x7fff || raw == 0x8000 {
				return drivers.Number{}, fmt.Errorf("input %d is beyond the range of %s V: %w", input, cfg.Range, drivers.ErrRange)
			}
			// To 1 µV: a step is at least 7.8 µV.
			return drivers.Num(int64(int16(raw))*r.step, -10).Rescale(-6)
		case tries == 10:
			return drivers.Number{}, fmt.Errorf("the conversion does not end: %w", drivers.ErrTimeout)
		}
		if err := c.Sleep(time.Millisecond); err != nil {
			return drivers.Number{}, err
		}
	}
}

// Slave is a simulated ADS1115. It is safe for concurrent use.
type Slave struct {
	Inputs [4]drivers.Drift // V; set them before use
	// Slow makes the oscillator slower than nominal, by the data sheet at most
	// 10 %.
	Slow float64

	mu    sync.Mutex
	ptr   byte
	conf  uint16
	value uint16
	ready time.Time
	next  uint16
}

// Simulate returns a chip with four voltages between 0.5 and 2 V.
func Simulate(Config) i2c.Slave {
	s := &Slave{}
	for i := range s.Inputs {
		s.Inputs[i] = drivers.Drift{Base: 0.5 + 0.5*float64(i), Amplitude: 0.1, Period: 10 * time.Minute, Phase: 0.25 * float64(i)}
	}
	s.PowerOn()
	return s
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conf, s.value, s.ready = 0x0583, 0, time.Time{}
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	running := now.Before(s.ready)
	if !running {
		s.value = s.next
	}
	if len(w) > 0 {
		s.ptr = w[0] & 3
	}
	if len(w) >= 3 && s.ptr == regConfig {
		v := uint16(w[1])<<8 | uint16(w[2])
		s.conf = v &^ start
		if v&start != 0 {
			s.next, running = s.convert(v, now), true
			s.ready = now.Add(time.Duration(float64(nominal) * (1 + s.Slow)))
		}
	}
	v := s.value
	if s.ptr == regConfig {
		if v = s.conf; !running {
			v |= start
		}
	}
	for i := range r {
		r[i] = byte(v >> (8 * (1 - i%2)))
	}
	return nil
}

func (s *Slave) convert(conf uint16, now time.Time) uint16 {
	full := []float64{6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256}[conf>>9&7]
	if conf>>12&4 == 0 {
		return 0 // differences are not simulated
	}
	x := math.Round(s.Inputs[conf>>12&3].At(now) / full * 32768)
	return uint16(int16(min(max(x, -32768), 32767)))
}

var _ i2c.Resetter = (*Slave)(nil)
