package spi

import (
	"context"
	"errors"
	"testing"
	"time"

	"periph.io/x/conn/v3/physic"

	"postern/drivers"
)

func TestParse(t *testing.T) {
	for name, want := range map[string][2]int{"0.0": {0, 0}, "spidev1.2": {1, 2}, "/dev/spidev0.1": {0, 1}} {
		if b, c, err := parse(name); err != nil || b != want[0] || c != want[1] {
			t.Errorf("%s: %d %d %v", name, b, c, err)
		}
	}
	for _, name := range []string{"", "0", "0.", "-1.0", "spi0.0", "0.0.0"} {
		if b, c, err := parse(name); err == nil {
			t.Errorf("%q: %d %d", name, b, c)
		}
	}
	if _, err := Open("250.250"); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("a port that is not there: %v", err)
	}
}

type echo struct{}

func (echo) Tx(w, r []byte) error { copy(r, w); return nil }

func TestChip(t *testing.T) {
	sim := NewSim("sim", echo{})
	c, err := Connect("chip", sim, physic.MegaHertz, Mode0)
	if err != nil {
		t.Fatal(err)
	}
	do := func(ctx context.Context) (got []byte, err error) {
		err = c.Do(ctx, func() (err error) { got, err = c.Tx(1, 2); return err })
		return got, err
	}
	for f, want := range map[Fault]byte{Healthy: 2, Absent: 0xff, Shorted: 0} {
		sim.SetFault(f)
		if got, err := do(t.Context()); err != nil || got[1] != want {
			t.Errorf("fault %d: % x, %v", f, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := do(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled sleep: %v", err)
	}
	if err := c.Close(); err != nil || c.Close() != nil {
		t.Error(err)
	}
	if _, err := do(t.Context()); !errors.Is(err, drivers.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
