package sps30

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

// every returns a chip that measures with that period.
func every(period time.Duration) *Slave {
	s := Simulate(Config{}).(*Slave)
	s.period = period
	return s
}

func open(t *testing.T, period time.Duration) (*i2c.Sim, *Slave, *i2c.Sensor) {
	s := every(period)
	d, sim := i2ctest.Open(t, 0x69, Open, Config{}, s)
	return sim, s, d
}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x69, Open, func(c Config) i2c.Slave { return every(10 * time.Millisecond) }, Config{}, i2c.Dead, i2c.Noise)
}

// The checksum's usual example, 0x92 for 0xbeef, which the
// tests of github.com/david-gherghita/sps30-i2c-rs (src/crc.rs) have as well;
// and the octets of a start with floats, 03 00 ac.
func TestChecksum(t *testing.T) {
	if got := i2c.AppendWords(nil, 0xbeef, asFloats); !bytes.Equal(got, []byte{0xbe, 0xef, 0x92, 0x03, 0x00, 0xac}) {
		t.Errorf("% x", got)
	}
}

func TestDecode(t *testing.T) {
	// IEEE 754: 12.5, 0.15625 and others whose octets are known.
	w := []uint16{
		0x4148, 0, 0x3e20, 0, 0x3f80, 0, 0x447a, 0, 0x4148, 0,
		0x4148, 0, 0x4148, 0, 0x4148, 0, 0x453b, 0x8000, 0x3f00, 0,
	}
	got, err := decode(w, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "12.50", 1: "0.16", 2: "1.00", 3: "1000.00", 8: "3000.00", 9: "0.50"} {
		if got[i].Value.String() != want {
			t.Errorf("%s is %v, want %s", got[i].Channel, got[i].Value, want)
		}
	}
	for _, bad := range []uint16{0x7fc0, 0xbf80, 0x7f80, 0x4f00} { // no number, −1, infinite, 2^31
		w[0] = bad
		if got, err := decode(w, time.Now()); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("%04x: %v, %v", bad, got, err)
		}
	}
}

func TestMeasurements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, s, d := open(t, time.Second)
		s.PM25 = drivers.Drift{Base: 12.5}
		begin := time.Now()
		first, err := d.Read(t.Context(), nil)
		if took := time.Since(begin); err != nil || took < time.Second || took > 1200*time.Millisecond {
			t.Fatalf("the first took %v: %v", took, err)
		}
		if first[1].Value.String() != "12.50" {
			t.Errorf("%v", first)
		}
		if again, err := d.Read(t.Context(), nil); err != nil || again[0] != first[0] {
			t.Errorf("between two measurements: %v, %v", again, err)
		}
		time.Sleep(2 * time.Second)
		if next, err := d.Read(t.Context(), nil); err != nil || !next[0].Time.After(first[0].Time) {
			t.Errorf("after the next one: %v, %v", next, err)
		}
		sim.SetFault(0x69, i2c.BrownOut)
		time.Sleep(10 * time.Second)
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrTimeout) {
			t.Errorf("a sensor that was reset: %v, %v", got, err)
		}
		if got, err := d.Read(t.Context(), nil); err != nil {
			t.Errorf("not started again: %v, %v", got, err)
		}
	})
}

func TestWornFan(t *testing.T) {
	for _, status := range []uint32{1 << 4, 1 << 5, 1 << 21} {
		_, s, d := open(t, time.Millisecond)
		s.Status = status
		for range 3 {
			got, err := d.Read(t.Context(), nil)
			if err != nil || len(got) != len(quantities) || !errors.Is(got[0].Err, ErrFault) || !errors.Is(got[9].Err, ErrFault) {
				t.Errorf("status %08x: %v, %v", status, got, err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if s.starts != 1 {
			t.Errorf("status %08x: the fan was started %d times", status, s.starts)
		}
		s.Status = 0
		time.Sleep(2 * time.Millisecond)
		if got, err := d.Read(t.Context(), nil); err != nil || got[0].Err != nil {
			t.Errorf("repaired: %v, %v", got, err)
		}
	}
}
