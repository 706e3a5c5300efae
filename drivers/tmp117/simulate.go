package tmp117

import (
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Slave is a simulated TMP117. It is safe for concurrent use.
type Slave struct {
	Temperature drivers.Drift // °C; set it before use

	mu      sync.Mutex
	pointer byte
	config  uint16
	result  uint16    // the latest conversion
	valid   time.Time // when the first one is done
}

// Simulate returns a chip at about 22 °C.
func Simulate(Config) i2c.Slave {
	s := &Slave{Temperature: drivers.Drift{Base: 22, Amplitude: 1.5, Period: 25 * time.Minute}}
	s.PowerOn()
	return s
}

// PowerOn implements i2c.Resetter.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pointer, s.config, s.result, s.valid = 0, continuously, 0x8000, time.Now().Add(firstResult-time.Millisecond)
}

// Tx implements i2c.Slave: the first octet that is written is the number of a
// register, of which two octets are written or read, the higher first.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w) > 0 {
		s.pointer = w[0]
	}
	if len(w) == 3 && s.pointer == regConfig {
		s.config = uint16(w[1])<<8 | uint16(w[2])
	}
	for i := range r {
		r[i] = byte(s.register(time.Now()) >> (8 * (1 - i%2)))
	}
	return nil
}

func (s *Slave) register(now time.Time) uint16 {
	switch {
	case s.pointer == regIdentity:
		return identity
	case s.pointer == regConfig:
		return s.config
	case s.pointer != regTemperature:
		return 0
	case s.config&0x0400 == 0 && !now.Before(s.valid): // it is not stopped
		s.result = uint16(int16(s.Temperature.At(now) * 128))
	}
	return s.result
}

var _ i2c.Resetter = (*Slave)(nil)
