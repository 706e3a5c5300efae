package pca9685

import (
	"sync"

	"postern/drivers/i2c"
)

// Slave is a simulated PCA9685. It is safe for concurrent use.
type Slave struct {
	mu      sync.Mutex
	reg     [256]byte
	pointer byte
	seen    func(duties [16]int)
}

// Simulate returns a chip that was just switched on.
func Simulate(Config) i2c.Slave {
	s := new(Slave)
	s.PowerOn()
	return s
}

// PowerOn implements i2c.Resetter: the chip sleeps and all outputs are off.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg, s.pointer = [256]byte{}, 0
	s.reg[mode1], s.reg[mode2], s.reg[prescale] = asleep|1, totemPole, 0x1e
	for i := range 16 {
		s.reg[led0+4*i+3] = wholly
	}
	s.tell()
}

// Watch calls f with the duties of all outputs in steps of 4096, now and after
// each transaction.
func (s *Slave) Watch(f func(duties [16]int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = f
	s.tell()
}

// Duties returns what the outputs do, in steps of 4096; all are off in sleep.
func (s *Slave) Duties() [16]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.duties()
}

// Frequency returns that of the outputs in Hz.
func (s *Slave) Frequency() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return oscillator / steps / float64(int(s.reg[prescale])+1)
}

func (s *Slave) duties() (out [16]int) {
	if s.reg[mode1]&asleep != 0 {
		return out
	}
	for i := range out {
		r := s.reg[led0+4*i:]
		on, off := int(r[0])|int(r[1]&0x0f)<<8, int(r[2])|int(r[3]&0x0f)<<8
		switch {
		case r[3]&wholly != 0:
		case r[1]&wholly != 0:
			out[i] = steps
		default:
			out[i] = (off - on + steps) % steps
		}
	}
	return out
}

func (s *Slave) tell() {
	if s.seen != nil {
		s.seen(s.duties())
	}
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, b := range w {
		if i == 0 {
			s.pointer = b
			continue
		}
		// The frequency changes in sleep only.
		if s.pointer != prescale || s.reg[mode1]&asleep != 0 {
			s.reg[s.pointer] = b
		}
		s.next()
	}
	for i := range r {
		r[i] = s.reg[s.pointer]
		s.next()
	}
	s.tell()
	return nil
}

func (s *Slave) next() {
	if s.reg[mode1]&autoIncrement != 0 {
		s.pointer++
	}
}

var _ i2c.Resetter = (*Slave)(nil)
