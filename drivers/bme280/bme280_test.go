package bme280

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Bus: "sim", Address: 0x76, Oversampling: "1x"}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x76, Open, Simulate, config, i2c.Dead, i2c.Stuck)
}

// The simulated chip works with floating point formulas backwards, the reader
// with integer formulas forwards.
func TestSimulatedQuantitiesComeBack(t *testing.T) {
	for _, c := range []struct{ t, h, p float64 }{
		{21.5, 45, 1013.25}, {-10, 80, 980}, {60, 5, 700}, {0, 99, 1080}, {35, 0.5, 950},
	} {
		s := Simulate(config).(*Slave)
		s.Temperature = drivers.Drift{Base: c.t}
		s.Humidity = drivers.Drift{Base: c.h}
		s.Pressure = drivers.Drift{Base: c.p}
		d, _ := i2ctest.Open(t, 0x76, Open, config, s)
		got, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct{ v, tol float64 }{{c.t, 0.02}, {c.h, 0.1}, {c.p, 0.05}} {
			n, _ := got[i].Value.Number()
			if math.Abs(n.Float64()-want.v) > want.tol || n.Exp != -2 {
				t.Errorf("%s reads %v, simulated %v", got[i].Channel, got[i].Value, want.v)
			}
		}
	}
}

// BST-BMP280 3.12: the worked example, raw 519888 and 415148 with the
// calibration that the simulated chip carries, gives 25.08 °C and 100653 Pa.
func TestDataSheetExample(t *testing.T) {
	if f := fineTemperature(519888); f != 128422 {
		t.Errorf("t_fine %d, the data sheet says 128422", f)
	}
	if p := pressure(415148, 128422); math.Abs(p-100653.27) > 0.05 {
		t.Errorf("pressure %.2f, the data sheet says 100653.27", p)
	}
	// The reader's formulas on the example's raw values.
	s := Simulate(config).(*Slave)
	d, _ := i2ctest.Open(t, 0x76, Open, config, s)
	s.Temperature = drivers.Drift{Base: 25.0825}
	s.Pressure = drivers.Drift{Base: 1006.5327}
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Value.String() != "25.08" || got[2].Value.String() != "1006.53" {
		t.Errorf("reads %v °C and %v hPa, the data sheet says 25.08 °C and 1006.53 hPa", got[0].Value, got[2].Value)
	}
}

func TestBrownOutIsNoReading(t *testing.T) {
	s := Simulate(config).(*Slave)
	d, sim := i2ctest.Open(t, 0x76, Open, config, s)
	if _, err := d.Read(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	sim.SetFault(0x76, i2c.BrownOut)
	if got, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) || len(got) != 0 {
		t.Errorf("after a brown-out: %v, %v; want ErrProtocol", got, err)
	}
	if _, err := d.Read(t.Context(), nil); err != nil {
		t.Errorf("the chip was not set up again: %v", err)
	}
}

func TestNoiseIsNoReading(t *testing.T) {
	s := Simulate(config).(*Slave)
	d, sim := i2ctest.Open(t, 0x76, Open, config, s)
	sim.SetFault(0x76, i2c.Noise)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 20 {
		if got, err := d.Read(ctx, nil); err == nil {
			t.Errorf("a reading through noise: %v", got)
		}
	}
}

func TestStuckBusyBitEnds(t *testing.T) {
	s := Simulate(config).(*Slave)
	d, _ := i2ctest.Open(t, 0x76, Open, config, s)
	if _, err := d.Read(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	d, _ = i2ctest.Open(t, 0x76, Open, config, alwaysBusy{s})
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("error %v, want ErrTimeout", err)
	}
}

type alwaysBusy struct{ *Slave }

func (a alwaysBusy) Tx(w, r []byte) error {
	err := a.Slave.Tx(w, r)
	if len(w) == 1 && w[0] == regStatus {
		r[0] |= measuring
	}
	return err
}

func TestOtherChipIsRefused(t *testing.T) {
	s := Simulate(config).(*Slave)
	s.reg[regID] = idBMP280
	d, _ := i2ctest.Open(t, 0x76, Open, config, s)
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("error %v, want ErrProtocol", err)
	}
}

func TestMaxAge(t *testing.T) {
	cfg := config
	cfg.MaxAge = time.Hour
	s := Simulate(cfg).(*Slave)
	d, sim := i2ctest.Open(t, 0x76, Open, cfg, s)
	first, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sim.SetFault(0x76, i2c.Dead)
	again, err := d.Read(t.Context(), nil)
	if err != nil || again[0] != first[0] {
		t.Errorf("a young measurement was not given again: %v, %v", again, err)
	}
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []Config{{Address: 0x40, Oversampling: "1x"}, {Address: 0x76, Oversampling: "3x"}} {
		if _, err := Open(t.Context(), i2c.NewSim("sim"), c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
