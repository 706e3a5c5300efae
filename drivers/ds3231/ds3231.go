// Package ds3231 reads Maxim's DS3231 (real-time clock with its thermometer)
// over I2C. It never sets the clock: that is the work of the operating system.
// Checked with the ds1307 driver of Linux 6.1 on the simulated registers.
package ds3231

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one DS3231.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x68" min:"0x68" max:"0x68" doc:"I2C address, fixed; where the kernel has the chip as its clock, use hwmon for the temperature"`
}

// Registers. All 19 are read at once, so that the time is of one moment.
const (
	regHours  = 0x02
	regStatus = 0x0f
	regTemp   = 0x11
	registers = 0x13

	stopped = 0x80 // status: the oscillator stopped, the time is not valid
)

// fixed are the bits that always read 0; they tell the chip from others that
// are at this address, and a disturbed bus from a working one.
var fixed = [registers]byte{
	0: 0x80, 1: 0x80, regHours: 0x80, 3: 0xf8, 4: 0xc0, 5: 0x60, regStatus: 0x70, regTemp + 1: 0x3f,
}

// ErrStopped: the clock lost its supply and battery, and was not set since.
var ErrStopped = errors.New("the clock was stopped; check its battery and set it (hwclock --systohc)")

// Open returns the chip. Whether it is there shows when it is read. The time
// is taken for UTC, as Linux keeps it. A clock that was stopped has no time,
// but ErrStopped.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	return i2c.NewSensor("ds3231", bus, 0x68, []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature of the clock's crystal, measured every 64 s"},
		{Name: "time", Kind: drivers.KindTime, Doc: "what the clock shows, taken for UTC"},
	}, func(c *i2c.Chip) (i2c.Measure, error) {
		return func(dst []drivers.Sample) ([]drivers.Sample, error) {
			var b [registers]byte
			if err := c.Ask(b[:], 0); err != nil {
				return dst, err
			}
			return decode(dst, b, time.Now())
		}, nil
	}), nil
}

func decode(dst []drivers.Sample, b [registers]byte, now time.Time) ([]drivers.Sample, error) {
	for i, m := range fixed {
		if b[i]&m != 0 {
			return dst, fmt.Errorf("register 0x%02x reads 0x%02x; this is no DS3231 or the bus is disturbed: %w", i, b[i], drivers.ErrProtocol)
		}
	}
	clock := drivers.Sample{Channel: "time", Time: now}
	switch at, ok := when(b); {
	case b[regStatus]&stopped != 0:
		clock.Err = fmt.Errorf("ds3231: %w", ErrStopped)
	case !ok:
		return dst, fmt.Errorf("registers % x are no time: %w", b[:7], drivers.ErrProtocol)
	default:
		clock.Value = drivers.Time(at)
	}
	quarters := int64(int16(uint16(b[regTemp])<<8|uint16(b[regTemp+1]))) >> 6
	return append(dst,
		drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(quarters*25, -2)), Unit: "°C", Time: now},
		clock,
	), nil
}

// when takes the time out of the registers. The century bit is that of the
// years from 2100, as Linux has it.
func when(b [registers]byte) (time.Time, bool) {
	ok := true
	num := func(v byte) int {
		ok = ok && v&0xf <= 9 && v>>4 <= 9
		return int(v>>4)*10 + int(v&0xf)
	}
	hour := 0
	if h := b[regHours]; h&0x40 == 0 {
		hour = num(h)
	} else { // 12 hours and half of the day
		hour = num(h & 0x1f)
		ok = ok && hour >= 1 && hour <= 12
		if hour %= 12; h&0x20 != 0 {
			hour += 12
		}
	}
	year := 2000 + num(b[6]) + int(b[5]>>7)*100
	month, day, minute, second := num(b[5]&0x1f), num(b[4]), num(b[1]), num(b[0])
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// What Date had to carry over, as the 31st of February, was no time.
	return t, ok && b[3] != 0 && t.Second() == second && t.Minute() == minute && t.Hour() == hour && t.Day() == day && int(t.Month()) == month
}

// Slave is a simulated DS3231 that shows the time of the machine and can be
// set. It is safe for concurrent use.
type Slave struct {
	// In °C; set it before use.
	Temperature drivers.Drift

	mu     sync.Mutex
	reg    [registers]byte // but for time and temperature
	offset time.Duration   // from the time of the machine
	ptr    int
}

// Simulate returns a clock in a cabinet at about 27 °C.
func Simulate(Config) i2c.Slave {
	return &Slave{Temperature: drivers.Drift{Base: 27, Amplitude: 3, Period: 90 * time.Minute, Phase: 0.7}}
}

// PowerOn implements i2c.Resetter: supply and battery were away.
func (s *Slave) PowerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg = [registers]byte{0x0e: 0x1c, regStatus: stopped}
	s.offset = time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
}

// Tx implements i2c.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show()
	for i, v := range w {
		if i == 0 {
			s.ptr = int(v) % registers
			continue
		}
		if s.ptr == regStatus {
			v &= s.reg[regStatus] | 0x7f // the flag can only be cleared
		}
		if s.ptr < regTemp {
			s.reg[s.ptr] = v &^ fixed[s.ptr]
		}
		s.ptr = (s.ptr + 1) % registers
	}
	if len(w) > 1 && w[0] < 7 {
		if at, ok := when(s.reg); ok {
			s.offset = time.Until(at)
		}
	}
	for i := range r {
		r[i] = s.reg[s.ptr]
		s.ptr = (s.ptr + 1) % registers
	}
	return nil
}

// show puts time and temperature into the registers.
func (s *Slave) show() {
	now := time.Now()
	at := now.Add(s.offset).UTC()
	bcd := func(n int) byte { return byte(n/10<<4 | n%10) }
	y := at.Year() - 2000
	copy(s.reg[:], []byte{
		bcd(at.Second()), bcd(at.Minute()), bcd(at.Hour()), byte(at.Weekday()) + 1,
		bcd(at.Day()), bcd(int(at.Month())) | byte(y/100)<<7, bcd(y % 100),
	})
	t := int(s.Temperature.At(now)*4+1024.5) - 1024 // quarters, rounded
	s.reg[regTemp], s.reg[regTemp+1] = byte(t>>2), byte(t<<6)
}

var _ i2c.Resetter = (*Slave)(nil)
