package bme280

import (
	"cmp"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Slave is a simulated BME280 at the level of registers: it holds calibration
// constants and converts the simulated quantities into what its converter
// would give, so that the compensation formulas of whoever reads it are put to
// work. It is safe for concurrent use.
type Slave struct {
	// The quantities in °C, %RH and hPa; set them before use.
	Temperature, Humidity, Pressure drivers.Drift

	id     byte // 0: a BME280
	mu     sync.Mutex
	reg    [256]byte
	ptr    byte
	ready  time.Time // when the running measurement ends
	latest bool      // the running measurement was put into the registers
}

// Simulate returns a chip in a room: about 21 °C, 45 %RH and 1013 hPa, slowly
// drifting.
func Simulate(Config) i2c.Slave {
	s := &Slave{
		Temperature: drivers.Drift{Base: 21.5, Amplitude: 1.2, Period: 30 * time.Minute},
		Humidity:    drivers.Drift{Base: 45, Amplitude: 4, Period: 50 * time.Minute, Phase: 0.3},
		Pressure:    drivers.Drift{Base: 1013.2, Amplitude: 3, Period: 6 * time.Hour, Phase: 0.6},
	}
	s.PowerOn()
	return s
}

// Registers of the simulated chip beyond those in bme280.go.
const (
	regStatus   = 0xf3
	regCtrlMeas = 0xf4
	regConfig   = 0xf5
	regData     = 0xf7
	regReset    = 0xe0
	resetWord   = 0xb6
	measuring   = 1 << 3
)

// Calibration of the simulated chip. The T and P words are the worked example
// of the BMP280 data sheet (BST-BMP280, 3.12), whose formulas the BME280
// shares; those of humidity are typical ones.
var (
	calibration = [12]int{27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000}
)

const (
	calH1 = 75
	calH2 = 370
	calH3 = 0
	calH4 = 313
	calH5 = 50
	calH6 = 30
)

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset()
}

func (s *Slave) reset() {
	s.reg = [256]byte{regID: cmp.Or(s.id, idBME280), 0xa1: calH1}
	for i, v := range calibration {
		s.reg[0x88+2*i], s.reg[0x89+2*i] = byte(v), byte(v>>8)
	}
	h := s.reg[0xe1:]
	h[0], h[1], h[2] = calH2&0xff, calH2>>8, calH3
	h[3], h[4], h[5], h[6] = calH4>>4, calH4&0xf|calH5&0xf<<4, calH5>>4, calH6
	copy(s.reg[regData:], []byte{0x80, 0, 0, 0x80, 0, 0, 0x80, 0}) // "skipped"
	s.ptr, s.latest = 0, true
}

// Tx implements i2c.Slave. A write is a register and its value, repeated; a
// read begins at the register of the last write and goes on upwards.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	if len(w) > 0 {
		s.ptr = w[0]
	}
	for i := 0; i+1 < len(w); i += 2 {
		s.write(w[i], w[i+1])
	}
	for i := range r {
		r[i] = s.reg[s.ptr]
		s.ptr++
	}
	return nil
}

func (s *Slave) write(reg, v byte) {
	switch reg {
	case regReset:
		if v == resetWord {
			s.reset()
		}
	case regCtrlHum, regConfig:
		s.reg[reg] = v
	case regCtrlMeas:
		s.reg[reg] = v
		if v&3 != 0 {
			s.ready, s.latest = time.Now().Add(s.duration()), false
			s.reg[regStatus] |= measuring
		}
	}
}

// duration is the data sheet's maximum (appendix B).
func (s *Slave) duration() time.Duration {
	d := 1250 * time.Microsecond
	if n := times(s.reg[regCtrlMeas] >> 5); n > 0 {
		d += time.Duration(n) * 2300 * time.Microsecond
	}
	for _, o := range []byte{s.reg[regCtrlMeas] >> 2, s.reg[regCtrlHum]} {
		if n := times(o); n > 0 {
			d += time.Duration(n)*2300*time.Microsecond + 575*time.Microsecond
		}
	}
	return d
}

func times(osrs byte) int {
	if osrs &= 7; osrs == 0 {
		return 0
	}
	return 1 << (min(osrs, 5) - 1)
}

// advance ends a measurement whose time has come.
func (s *Slave) advance() {
	if s.latest || time.Now().Before(s.ready) {
		return
	}
	now := time.Now()
	t, p, h := int32(0x80000), int32(0x80000), int32(0x8000)
	fine := int32(0)
	if times(s.reg[regCtrlMeas]>>5) > 0 {
		t = search(1<<20, func(raw int32) bool {
			return float64(fineTemperature(raw)) >= s.Temperature.At(now)*5120
		})
		fine = fineTemperature(t)
	}
	if times(s.reg[regCtrlMeas]>>2) > 0 {
		// More pressure, smaller raw value.
		p = search(1<<20, func(raw int32) bool { return pressure(raw, fine) <= s.Pressure.At(now)*100 })
	}
	if times(s.reg[regCtrlHum]) > 0 {
		h = search(1<<16, func(raw int32) bool { return humidity(raw, fine) >= s.Humidity.At(now) })
	}
	copy(s.reg[regData:], []byte{
		byte(p >> 12), byte(p >> 4), byte(p << 4),
		byte(t >> 12), byte(t >> 4), byte(t << 4),
		byte(h >> 8), byte(h),
	})
	s.reg[regStatus] &^= measuring
	if s.reg[regCtrlMeas]&3 != 3 {
		s.reg[regCtrlMeas] &^= 3 // forced mode falls back to sleep
		s.latest = true
	} else {
		s.ready = now.Add(time.Second)
	}
}

// search returns the smallest raw value for which at holds; at is monotonic.
func search(limit int32, at func(int32) bool) int32 {
	lo, hi := int32(0), limit-1
	for lo < hi {
		if m := (lo + hi) / 2; at(m) {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo
}

// The chip's characteristic in floating point (data sheet, appendix A): what
// the converter gives for a quantity is found by searching it. The reader uses
// the integer formulas, so the two check each other.

// fineTemperature is t_fine, 1/5120 °C.
func fineTemperature(raw int32) int32 {
	a := float64(raw)/16384 - float64(calibration[0])/1024
	b := float64(raw)/131072 - float64(calibration[0])/8192
	return int32(a*float64(calibration[1]) + b*b*float64(calibration[2]))
}

// pressure is in Pa.
func pressure(raw, fine int32) float64 {
	c := func(n int) float64 { return float64(calibration[2+n]) }
	a := float64(fine)/2 - 64000
	b := a*a*c(6)/32768 + a*c(5)*2
	b = b/4 + c(4)*65536
	d := (c(3)*a*a/524288 + c(2)*a) / 524288
	d = (1 + d/32768) * c(1)
	p := (1048576 - float64(raw) - b/4096) * 6250 / d
	return p + (c(9)*p*p/2147483648+p*c(8)/32768+c(7))/16
}

// humidity is in %RH.
func humidity(raw, fine int32) float64 {
	a := float64(fine) - 76800
	h := (float64(raw) - (calH4*64 + float64(calH5)/16384*a)) *
		(float64(calH2) / 65536 * (1 + float64(calH6)/67108864*a*(1+float64(calH3)/67108864*a)))
	return h * (1 - calH1*h/524288)
}

var _ i2c.Resetter = (*Slave)(nil)
