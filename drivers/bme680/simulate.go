package bme680

import (
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Slave is a simulated BME680 at the level of registers. It is safe for
// concurrent use.
type Slave struct {
	// In °C, %RH, hPa and Ω; set them before use.
	Temperature, Humidity, Pressure, Gas drivers.Drift
	// ColdHeater is a heater that does not reach its temperature.
	ColdHeater bool

	mu    sync.Mutex
	reg   [256]byte
	ptr   byte
	ready time.Time // when the running measurement ends; zero: none
}

// realCal is the calibration of a chip that was sold, see the test, in the
// order of the registers from 0x8a, 0xe1 and 0x00.
var realCal = [lenCal1 + lenCal2 + lenCal3]byte{
	0x65, 0x67, 3, 0, 0x41, 0x8f, 0xed, 0xd6, 88, 0, 0x8e, 0x1c, 0x7f, 0xff, 46, 30, 0, 0, 0x97, 0xf3, 0xb5, 0xf6, 30,
	0x40, 0x54, 0x2a, 0, 45, 20, 120, 0x9c, 0xb9, 0x65, 0x4e, 0x9f, 0xe2, 18,
	48, 0, 0x10, 0, 0,
}

// Simulate returns a chip in an office.
func Simulate(Config) i2c.Slave {
	s := &Slave{
		Temperature: drivers.Drift{Base: 22.4, Amplitude: 1.2, Period: 40 * time.Minute, Phase: 0.6},
		Humidity:    drivers.Drift{Base: 43, Amplitude: 5, Period: 70 * time.Minute, Phase: 0.2},
		Pressure:    drivers.Drift{Base: 1012.8, Amplitude: 3, Period: 6 * time.Hour, Phase: 0.9},
		Gas:         drivers.Drift{Base: 82000, Amplitude: 30000, Period: 2 * time.Hour},
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
	s.reg, s.ready = [256]byte{regID: idBME680}, time.Time{}
	copy(s.reg[regCal1:], realCal[:lenCal1])
	copy(s.reg[regCal2:], realCal[lenCal1:lenCal1+lenCal2])
	copy(s.reg[regCal3:], realCal[lenCal1+lenCal2:])
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
		switch reg, v := w[i], w[i+1]; {
		case reg == regReset && v == resetWord:
			s.reset()
		case reg >= 0x50 && reg <= 0x75:
			s.reg[reg] = v
			if reg == regCtrl && v&3 == once {
				s.start(now)
			}
		}
	}
	if len(w) > 0 {
		s.ptr = w[0]
	}
	for i := range r {
		r[i] = s.reg[s.ptr]
		s.ptr++
	}
	return nil
}

func (s *Slave) start(now time.Time) {
	s.reg[regData] = 0
	s.ready = now.Add(conversion)
	if s.reg[regCtrlGas]&runGas != 0 {
		t := s.reg[regWait0]
		s.ready = s.ready.Add(time.Duration(int(t&63)<<(t>>6*2)) * time.Millisecond)
	}
}

// finish searches the raw values that the characteristic gives the quantities
// for: each rises or falls steadily.
func (s *Slave) finish(now time.Time) {
	c := calibrationOf(realCal)
	t := search(1<<20, func(raw int64) bool {
		return float64(temperature(c.fine(raw))) >= s.Temperature.At(now)*100
	})
	fine := c.fine(t)
	p := search(1<<20, func(raw int64) bool { return float64(c.pressure(raw, fine)) <= s.Pressure.At(now)*100 })
	h := search(1<<16, func(raw int64) bool { return float64(c.humidity(raw, fine)) >= s.Humidity.At(now)*1000 })
	copy(s.reg[regData:], []byte{
		newData, 0, byte(p >> 12), byte(p >> 4), byte(p << 4), byte(t >> 12), byte(t >> 4), byte(t << 4),
		byte(h >> 8), byte(h), 0, 0, 0, 0, 0,
	})
	if s.reg[regCtrlGas]&runGas != 0 {
		s.gas(c, s.Gas.At(now))
	}
	s.reg[regCtrl] &^= 3 // back to sleep
	s.ready = time.Time{}
}

// gas takes the first range whose converter can show the resistance.
func (s *Slave) gas(c *calibration, ohms float64) {
	for scope := byte(15); ; scope-- {
		g := search(1<<10, func(raw int64) bool { return float64(c.gas(raw, scope)) <= ohms })
		if g == 0 && scope > 0 {
			continue
		}
		status := byte(g<<6) | gasValid | heatFirm | scope
		if s.ColdHeater {
			status &^= heatFirm
		}
		s.reg[regData+13], s.reg[regData+14] = byte(g>>2), status
		return
	}
}

// search returns the smallest value below limit for which at holds, or the
// greatest.
func search(limit int64, at func(int64) bool) int64 {
	lo, hi := int64(0), limit-1
	for lo < hi {
		if m := (lo + hi) / 2; at(m) {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo
}

var _ i2c.Resetter = (*Slave)(nil)
