package scd30

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Address: 0x61, Interval: 2 * time.Second}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x61, Open, Simulate, config, i2c.Dead, i2c.Noise)
}

// The interface description's example of an answer, with its checksums.
func TestExampleOfTheDescription(t *testing.T) {
	w, err := i2c.CheckedWords([]byte{
		0x43, 0xdb, 0xcb, 0x8c, 0x2e, 0x8f, 0x41, 0xd9, 0x70, 0xe7, 0xff, 0xf5, 0x42, 0x43, 0xbf, 0x3a, 0x1b, 0x74,
	}, 6)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(w, time.Now())
	if err != nil || got[0].Value.String() != "439.1" || got[1].Value.String() != "27.24" || got[2].Value.String() != "48.81" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Simulate(config).(*Slave)
		s.PowerOn()
		d, _ := i2ctest.Open(t, 0x61, Open, config, s)
		// The chip writes its settings to a memory that wears: once is enough.
		for range 3 {
			got, err := d.Read(t.Context(), nil)
			if err != nil || len(got) != 3 || !errors.Is(got[0].Err, drivers.ErrTimeout) || s.stored != 1 {
				t.Errorf("before the first measurement: %v, %v; set up %d times", got, err, s.stored)
			}
		}
		time.Sleep(3 * time.Second)
		first, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.Read(t.Context(), nil)
		if err != nil || again[0] != first[0] {
			t.Errorf("between two measurements: %v, %v", again, err)
		}
		time.Sleep(2 * time.Second)
		if next, err := d.Read(t.Context(), nil); err != nil || next[0].Time.Equal(first[0].Time) {
			t.Errorf("after the next one: %v, %v", next, err)
		}
		s.mu.Lock()
		s.next = time.Time{} // it stopped
		s.mu.Unlock()
		time.Sleep(10 * time.Second)
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrTimeout) {
			t.Errorf("a chip that stopped: %v, %v", got, err)
		}
		_, _ = d.Read(t.Context(), nil) // starts it
		time.Sleep(3 * time.Second)
		if got, err := d.Read(t.Context(), nil); err != nil {
			t.Errorf("not started again: %v, %v", got, err)
		}
	})
}

// As chips say it right after power-on: temperature and humidity are good.
func TestNoCarbonDioxide(t *testing.T) {
	got, err := decode([]uint16{0, 0, 0x41d9, 0x70e7, 0x4243, 0xbf3a}, time.Now())
	if err != nil || !errors.Is(got[0].Err, drivers.ErrTimeout) || got[0].Value.Kind() != drivers.KindNone || got[1].Value.String() != "27.18" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestConfigRefused(t *testing.T) {
	for _, d := range []time.Duration{0, time.Second, 2500 * time.Millisecond, time.Hour} {
		if (Config{Interval: d}).Validate() == nil {
			t.Errorf("%v was accepted", d)
		}
	}
}
