package ds3231

import (
	"errors"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x68, Open, Simulate, Config{Address: 0x68}, i2c.Dead, i2c.Noise)
}

// Temperatures: 00011001 01 in registers 11h and 12h is +25.25 °C, and below
// zero. Times: binary coded decimals.
func TestRegisters(t *testing.T) {
	for _, c := range []struct {
		regs        [registers]byte
		temp, clock string
	}{
		{[registers]byte{0x56, 0x34, 0x12, 4, 0x29, 0x02, 0x24, 0x11: 0x19, 0x12: 0x40}, "25.25", "2024-02-29T12:34:56Z"},
		{[registers]byte{0, 0, 0x23, 7, 0x31, 0x12, 0x99, 0x11: 0xff, 0x12: 0xc0}, "-0.25", "2099-12-31T23:00:00Z"},
		{[registers]byte{0x01, 0x59, 0x40 | 0x12, 1, 0x01, 0x81, 0x00, 0x11: 0xd8}, "-40.00", "2100-01-01T00:59:01Z"},
		{[registers]byte{0x01, 0x59, 0x40 | 0x20 | 0x12, 1, 0x01, 0x01, 0x30, 0x11: 0x55}, "85.00", "2030-01-01T12:59:01Z"},
		{[registers]byte{0x01, 0x59, 0x40 | 0x20 | 0x11, 1, 0x01, 0x01, 0x30}, "0.00", "2030-01-01T23:59:01Z"},
	} {
		got, err := decode(nil, c.regs, time.Now())
		if err != nil || got[0].Value.String() != c.temp || got[1].Value.String() != c.clock {
			t.Errorf("% x: %v, %v", c.regs, got, err)
		}
	}
	for _, regs := range [][registers]byte{
		{},                                         // no day of the week
		{0x60, 0, 0, 1, 1, 1, 1},                   // seconds
		{0x0a, 0, 0, 1, 1, 1, 1},                   // no decimal digit
		{0, 0, 0x24, 1, 1, 1, 1},                   // hours
		{0, 0, 0x40, 1, 1, 1, 1},                   // hour 0 of 12
		{0, 0, 0, 1, 0x30, 0x02, 0x24},             // 30 February
		{0, 0, 0, 1, 1, 0x13, 1},                   // month
		{0, 0, 0, 1, 1, 1, 1, 0x12: 0x01},          // fixed bit
		{0, 0, 0, 1, 1, 1, 1, regStatus: 0x10},     // fixed bit
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, // an empty bus
	} {
		if got, err := decode(nil, regs, time.Now()); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("% x: %v, %v", regs, got, err)
		}
	}
}

func TestStoppedAndSet(t *testing.T) {
	s := Simulate(Config{}).(*Slave)
	d, sim := i2ctest.Open(t, 0x68, Open, Config{Address: 0x68}, s)
	s.Temperature = drivers.Drift{Base: -10.5}
	got, err := d.Read(t.Context(), nil)
	if err != nil || got[0].Value.String() != "-10.50" {
		t.Fatalf("%v, %v", got, err)
	}
	if at, _ := got[1].Value.Time(); time.Since(at).Abs() > 2*time.Second {
		t.Errorf("shows %v", at)
	}
	sim.SetFault(0x68, i2c.BrownOut)
	got, err = d.Read(t.Context(), nil)
	if err != nil || got[0].Err != nil || !errors.Is(got[1].Err, ErrStopped) {
		t.Fatalf("after the battery was away: %v, %v", got, err)
	}
	// As an operating system sets it: the time, and the flag is cleared.
	for _, w := range [][]byte{{0, 0x58, 0x59, 0x23, 3, 0x31, 0x12, 0x28}, {regStatus, 0}} {
		if err := sim.Tx(0x68, w, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, err = d.Read(t.Context(), nil); err != nil || got[1].Value.String()[:16] != "2028-12-31T23:59" {
		t.Errorf("after it was set: %v, %v", got, err)
	}
}
