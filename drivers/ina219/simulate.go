package ina219

import (
	"math"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Slave is a simulated INA219 or INA226. It is safe for concurrent use.
type Slave struct {
	// In V and A; set them before use.
	Voltage, Current drivers.Drift

	family   family
	resistor float64           // Ω
	powerOn  map[byte]uint16   // registers at power-on
	over     func(over uint16) // puts the flag of an overflow, 1 or 0, into reg

	mu  sync.Mutex
	ptr byte
	reg map[byte]uint16
}

// Simulate returns a chip on a 12 V line with about 0.8 A.
func Simulate(c Config) i2c.Slave {
	s := newSlave(ina219, c.Shunt, map[byte]uint16{regConfig: powerOnConfig})
	s.Voltage = drivers.Drift{Base: 12.6, Amplitude: 0.4, Period: 30 * time.Minute}
	s.Current = drivers.Drift{Base: 0.8, Amplitude: 0.4, Period: 4 * time.Minute, Phase: 0.3}
	s.over = func(over uint16) { s.reg[regBus] |= 2 | over*overflow } // and a conversion is done
	return s
}

// SimulateINA226 returns a chip on a 24 V line with about 0.4 A.
func SimulateINA226(c INA226Config) i2c.Slave {
	s := newSlave(ina226, c.Shunt, map[byte]uint16{regConfig: powerOnConfig226, regMaker: maker, regDie: die})
	s.Voltage = drivers.Drift{Base: 24.1, Amplitude: 0.3, Period: 20 * time.Minute}
	s.Current = drivers.Drift{Base: 0.4, Amplitude: 0.2, Period: 3 * time.Minute, Phase: 0.6}
	s.over = func(over uint16) { s.reg[regMask] = over * overflow226 }
	return s
}

func newSlave(f family, shunt string, powerOn map[byte]uint16) *Slave {
	s := &Slave{family: f, resistor: 0.1, powerOn: powerOn}
	if n, err := drivers.ParseNumber(shunt); err == nil {
		s.resistor = n.Float64()
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
	s.reg = map[byte]uint16{}
	for reg, v := range s.powerOn {
		s.reg[reg] = v
	}
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w) > 0 {
		s.ptr = w[0]
	}
	if len(w) >= 3 && (s.ptr == regConfig || s.ptr == regCalibration) {
		s.reg[s.ptr] = uint16(w[1])<<8 | uint16(w[2])
		if s.ptr == regConfig && w[1]&0x80 != 0 {
			s.reset()
		}
	}
	s.measure(time.Now())
	for i := range r {
		r[i] = byte(s.reg[s.ptr] >> (8 * (1 - i%2)))
	}
	return nil
}

func (s *Slave) measure(now time.Time) {
	f, limit := s.family, float64(s.family.full)
	shunt := min(max(math.Round(s.Current.At(now)*s.resistor/f.shunt), -limit), limit)
	bus := math.Round(s.Voltage.At(now) / f.bus.Float64())
	if f.name == "ina219" && s.reg[regConfig]&0x2000 == 0 {
		bus = min(bus, 4000) // set to 16 V
	}
	current := math.Trunc(shunt * float64(s.reg[regCalibration]) / math.Round(f.constant/f.shunt))
	s.reg[regShunt], s.reg[regBus] = uint16(int16(shunt)), uint16(bus)<<f.shift
	s.reg[regCurrent] = uint16(int16(min(max(current, -32768), 32767)))
	s.reg[regPower] = uint16(math.Abs(current) * bus / math.Round(float64(f.power)/f.bus.Float64()))
	s.over(map[bool]uint16{true: 1}[math.Abs(current) > 32767])
}

var _ i2c.Resetter = (*Slave)(nil)
