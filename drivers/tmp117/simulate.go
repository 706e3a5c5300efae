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
	valid   time.Time // when the first conversion is done
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
	s.pointer, s.valid = 0, time.Now().Add(firstResult-time.Millisecond)
}

// Tx implements i2c.Slave: the first octet that is written is the number of a
// register, of which two octets are read, the higher first.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w) > 0 {
		s.pointer = w[0]
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
	case s.pointer != regTemperature:
		return 0
	case now.Before(s.valid):
		return 0x8000
	}
	return uint16(int16(s.Temperature.At(now) * 128))
}

var _ i2c.Resetter = (*Slave)(nil)
