package mcp9808

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Bus: "sim", Address: 0x18, Resolution: "0.0625"}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x18, Open, Simulate, config, i2c.Dead, i2c.Stuck)
}

func at(t *testing.T, celsius float64, cfg Config) (*Device, *i2c.Sim) {
	t.Helper()
	sim := i2c.NewSim("sim")
	s := Simulate(cfg).(*Slave)
	s.Temperature = drivers.Drift{Base: celsius}
	sim.Attach(uint16(cfg.Address), s)
	d, err := Open(t.Context(), sim, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d, sim
}

func TestDigitsOfTheResolution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			celsius          float64
			resolution, want string
		}{
			{21.5, "0.0625", "21.5000"},
			{21.5625, "0.0625", "21.5625"},
			{-0.0625, "0.0625", "-0.0625"},
			{-40, "0.5", "-40.0"},
			{21.43, "0.5", "21.0"},
			{21.43, "0.25", "21.25"},
			{21.43, "0.125", "21.375"},
			{125, "0.125", "125.000"},
			{0, "0.25", "0.00"},
		} {
			cfg := config
			cfg.Resolution = c.resolution
			d, _ := at(t, c.celsius, cfg)
			time.Sleep(time.Second)
			got, err := d.Read(t.Context(), nil)
			if err != nil || got[0].Value.String() != c.want {
				t.Errorf("%v at %v: %v, %v; want %s", c.celsius, c.resolution, got, err, c.want)
			}
		}
	})
}

func TestPowerOnZeroIsNoReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sim := at(t, 21.5, config)
		for range 2 {
			sim.SetFault(0x18, i2c.BrownOut)
			got, err := d.Read(t.Context(), nil)
			if err != nil || got[0].Value.String() != "21.5000" {
				t.Errorf("right after power-on: %v, %v", got, err)
			}
		}
	})
}

func TestBrownOutAtOtherResolution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config
		cfg.Resolution = "0.5"
		d, sim := at(t, 21.43, cfg)
		if _, err := d.Read(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		sim.SetFault(0x18, i2c.BrownOut)
		time.Sleep(time.Second)
		if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("error %v, want ErrProtocol", err)
		}
		if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "21.0" {
			t.Errorf("the chip was not set up again: %v, %v", got, err)
		}
	})
}

func TestSleepingChipIsWokenAndWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sim := at(t, 21.5, config)
		time.Sleep(time.Second)
		if err := sim.Tx(0x18, []byte{regConfig, 0x01, 0x00}, nil); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := d.Read(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) < 250*time.Millisecond {
			t.Errorf("believed a temperature from before the sleep after %v", time.Since(start))
		}
	})
}

func TestOtherChipIsRefused(t *testing.T) { i2ctest.TestOther(t, 0x18, Open, config) }
