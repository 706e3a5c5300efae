package aht20

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x38, Open, Simulate, Config{}, i2c.Dead, i2c.Noise)
}

func TestQuantitiesAndBrownOut(t *testing.T) {
	for _, c := range []struct {
		t, h        float64
		wantT, want string
	}{{21.5, 45.25, "21.50", "45.25"}, {-40, 0, "-40.00", "0.00"}, {85, 100, "85.00", "100.00"}} {
		s := Simulate(Config{}).(*Slave)
		s.Temperature, s.Humidity = drivers.Drift{Base: c.t}, drivers.Drift{Base: c.h}
		d, sim := i2ctest.Open(t, 0x38, Open, Config{}, s)
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != c.wantT || got[1].Value.String() != c.want {
			t.Errorf("%v °C %v %%RH: %v, %v", c.t, c.h, got, err)
		}
		sim.SetFault(0x38, i2c.BrownOut)
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("after a brown-out: %v, %v", got, err)
		}
		if _, err := d.Read(t.Context(), nil); err != nil {
			t.Errorf("the chip was not set up again: %v", err)
		}
	}
}
