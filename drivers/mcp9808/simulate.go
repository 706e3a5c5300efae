package mcp9808

import (
	"encoding/binary"
	"math"
	"sync"
	"syscall"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

const regTemperature = 0x05

// Slave is a simulated MCP9808 at the level of registers. It is safe for
// concurrent use.
type Slave struct {
	// Temperature in °C; set it before use.
	Temperature drivers.Drift

	mu        sync.Mutex
	pointer   byte
	config    uint16
	res       byte
	converted time.Time // from when on the temperature register is valid
	held      uint16    // temperature register while shut down
}

// Simulate returns a chip in a room at about 21 °C that has had power for a
// while.
func Simulate(Config) i2c.Slave {
	s := &Slave{Temperature: drivers.Drift{Base: 21.4, Amplitude: 1.5, Period: 40 * time.Minute}}
	s.PowerOn()
	s.converted = time.Time{}
	return s
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pointer, s.config, s.res, s.held = 0, 0, 3, 0
	s.converted = time.Now().Add(250 * time.Millisecond)
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w) > 0 {
		if s.pointer = w[0] & 0x0f; s.pointer > regResolution {
			return syscall.EREMOTEIO // reserved: no acknowledge
		}
		s.write(w[1:])
	}
	if len(r) == 0 {
		return nil
	}
	if s.pointer == regResolution {
		r[0] = s.res
		return nil
	}
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], s.read())
	for i := range r {
		r[i] = b[i%2]
	}
	return nil
}

func (s *Slave) write(v []byte) {
	switch {
	case s.pointer == regResolution && len(v) >= 1:
		s.res = v[0] & 3
	case s.pointer == regConfig && len(v) >= 2:
		c := binary.BigEndian.Uint16(v)
		if c&shutdown != 0 && s.config&shutdown == 0 {
			s.held = s.temperature()
		}
		if c&shutdown == 0 && s.config&shutdown != 0 {
			s.converted = time.Now().Add(s.conversion())
		}
		s.config = c
	}
}

func (s *Slave) conversion() time.Duration {
	return []time.Duration{30, 65, 130, 250}[s.res] * time.Millisecond
}

func (s *Slave) read() uint16 {
	switch s.pointer {
	case regConfig:
		return s.config
	case regTemperature:
		if s.config&shutdown != 0 {
			return s.held
		}
		return s.temperature()
	case regManufacturer:
		return manufacturer
	case regDevice:
		return deviceID << 8
	}
	return 0
}

// temperature is the register: bits 12..0 are two's complement of 1/16 °C, of
// which the setting of the resolution leaves the lower ones zero.
func (s *Slave) temperature() uint16 {
	if time.Now().Before(s.converted) {
		return s.held
	}
	t := int16(math.Round(s.Temperature.At(time.Now()) * 16))
	t &^= 1<<(3-s.res) - 1
	return uint16(t) & 0x1fff
}

var _ i2c.Resetter = (*Slave)(nil)
