package i2c

import (
	"context"
	"fmt"
	"time"

	"postern/drivers"
)

// Measure appends the samples of one measurement. It runs within Chip.Do.
type Measure func(dst []drivers.Sample) ([]drivers.Sample, error)

// Sensor makes a Device of a chip that is set up once and then measured: most
// chips are no more. After any fault it is set up anew, because it may have
// lost its power. It is safe for concurrent use.
type Sensor struct {
	name     string
	chip     *Chip
	channels []drivers.Channel
	setUp    func(*Chip) (Measure, error)

	measure Measure // guarded by chip.Do; nil until set up, and after a fault
}

// NewSensor returns the device of the chip at addr. channels are in the order
// of the samples; setUp runs within Chip.Do, checks what chip it is and
// returns how to measure.
func NewSensor(name string, bus Bus, addr int, channels []drivers.Channel, setUp func(*Chip) (Measure, error)) *Sensor {
	return &Sensor{name: name, chip: NewChip(bus, uint16(addr)), channels: channels, setUp: setUp}
}

// Without appends a sample for each channel that has err in place of a value: for
// a Measure of a chip that is all right and has nothing to say yet, or says that
// it is faulty. An error of Measure itself would have it set up anew.
func Without(dst []drivers.Sample, channels []drivers.Channel, err error) []drivers.Sample {
	now := time.Now()
	for _, c := range channels {
		dst = append(dst, drivers.Sample{Channel: c.Name, Time: now, Err: err})
	}
	return dst
}

// Channels implements drivers.Describer.
func (s *Sensor) Channels() []drivers.Channel { return s.channels }

// Read implements drivers.Device.
func (s *Sensor) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	out := dst
	err := s.chip.Do(ctx, func() (err error) {
		if s.measure == nil {
			if s.measure, err = s.setUp(s.chip); err != nil {
				s.measure = nil
				return err
			}
		}
		if out, err = s.measure(dst); err != nil {
			s.measure = nil
		}
		return err
	})
	if err != nil {
		return dst, fmt.Errorf("%s: %w", s.name, err)
	}
	return out, nil
}

// Close implements drivers.Device.
func (s *Sensor) Close() error {
	s.chip.Close()
	return nil
}

// Write sends b to the chip. It must be called within Do.
func (c *Chip) Write(b ...byte) error { return c.Tx(c.addr, b, nil) }

// Ask sends w and reads len(r) octets in one transaction, within Do.
func (c *Chip) Ask(r []byte, w ...byte) error { return c.Tx(c.addr, w, r) }

// Word reads a 16-bit register, high octet first, within Do.
func (c *Chip) Word(reg byte) (uint16, error) {
	var b [2]byte
	err := c.Ask(b[:], reg)
	return uint16(b[0])<<8 | uint16(b[1]), err
}

// CRC8 is the checksum over b with polynomial 0x31 and start value 0xff that
// Sensirion and ASAIR put behind their words (Sensirion SHT3x data sheet,
// 4.12).
func CRC8(b ...byte) byte {
	c := byte(0xff)
	for _, x := range b {
		c ^= x
		for range 8 {
			if c&0x80 != 0 {
				c = c<<1 ^ 0x31
			} else {
				c <<= 1
			}
		}
	}
	return c
}

// CheckedWords takes n words of two octets, each followed by its checksum.
func CheckedWords(b []byte, n int) ([]uint16, error) {
	if len(b) < 3*n {
		return nil, fmt.Errorf("%d octets are no %d words: %w", len(b), n, drivers.ErrProtocol)
	}
	words := make([]uint16, n)
	for i := range words {
		w := b[3*i:]
		if CRC8(w[0], w[1]) != w[2] {
			return nil, fmt.Errorf("word % x has a wrong checksum; check cable length and pull-ups: %w", w[:3], drivers.ErrProtocol)
		}
		words[i] = uint16(w[0])<<8 | uint16(w[1])
	}
	return words, nil
}

// AppendWords is the way back, for simulated chips.
func AppendWords(dst []byte, words ...uint16) []byte {
	for _, w := range words {
		h, l := byte(w>>8), byte(w)
		dst = append(dst, h, l, CRC8(h, l))
	}
	return dst
}

var (
	_ drivers.Device    = (*Sensor)(nil)
	_ drivers.Describer = (*Sensor)(nil)
)
