package expander

import (
	"sync"
	"syscall"

	"postern/drivers/i2c"
)

// Slave is a simulated expander. It is safe for concurrent use.
type Slave struct {
	family family

	mu      sync.Mutex
	reg     [32]byte
	pointer byte
	outside uint16 // levels that inputs get from outside
	seen    func(driven, levels uint16)
}

// Simulate returns a chip whose inputs are pulled high.
func Simulate(c Config) i2c.Slave {
	s := &Slave{family: families[c.Chip], outside: 0xffff}
	s.PowerOn()
	return s
}

// PowerOn implements i2c.Resetter: all lines are inputs.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg, s.pointer = [32]byte{}, 0
	f := s.family
	switch {
	case f.direction == none:
		s.reg[0], s.reg[1] = 0xff, 0xff
	case f.pull == none: // the latches of the TCA chips are high
		s.set(f.output, 0xffff)
		fallthrough
	default:
		s.set(f.direction, 0xffff)
	}
	s.tell()
}

// Feed puts the lines that are inputs at these levels.
func (s *Slave) Feed(levels uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outside = levels
}

// Watch calls f with the lines that are driven and their levels, now and after
// each octet that is written.
func (s *Slave) Watch(f func(driven, levels uint16)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = f
	s.tell()
}

// Driven returns the lines that are outputs, and the levels of all lines.
func (s *Slave) Driven() (driven, levels uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.driven()
}

func (s *Slave) set(reg byte, v uint16) {
	s.reg[reg] = byte(v)
	if s.family.lines == 16 {
		s.reg[reg+1] = byte(v >> 8)
	}
}

func (s *Slave) value(reg byte) uint16 {
	v := uint16(s.reg[reg])
	if s.family.lines == 16 {
		v |= uint16(s.reg[reg+1]) << 8
	}
	return v
}

func (s *Slave) driven() (driven, levels uint16) {
	mask := uint16(1)<<s.family.lines - 1
	if s.family.direction == none {
		latch := s.value(0)
		return ^latch & mask, latch & s.outside & mask
	}
	driven = ^s.value(s.family.direction) & mask
	return driven, (s.value(s.family.output)&driven | s.outside&^driven) & mask
}

func (s *Slave) tell() {
	if s.seen != nil {
		s.seen(s.driven())
	}
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.family.direction == none {
		s.direct(w, r)
		return nil
	}
	for i, b := range w {
		if i == 0 {
			if int(b) >= len(s.reg) {
				return syscall.EREMOTEIO
			}
			s.pointer = b
			continue
		}
		s.reg[s.pointer] = b
		s.next()
		s.tell()
	}
	_, levels := s.driven()
	s.set(s.family.input, levels)
	for i := range r {
		r[i] = s.reg[s.pointer]
		s.next()
	}
	return nil
}

// direct is a chip without registers: octets are the levels, over and over.
func (s *Slave) direct(w, r []byte) {
	n := s.family.lines / 8
	for i, b := range w {
		s.reg[i%n] = b
		if i%n == n-1 {
			s.tell()
		}
	}
	_, levels := s.driven()
	for i := range r {
		r[i] = byte(levels >> (8 * (i % n)))
	}
}

// next moves on as the chips do: through all registers, or within the pair.
func (s *Slave) next() {
	switch {
	case s.family.pull != none:
		s.pointer = (s.pointer + 1) % byte(len(s.reg))
	case s.family.lines == 16:
		s.pointer ^= 1
	}
}

var _ i2c.Resetter = (*Slave)(nil)
