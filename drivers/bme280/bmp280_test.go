package bme280

import (
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

func TestBMP280(t *testing.T) {
	cfg := BMP280Config{Address: 0x77, Oversampling: "1x"}
	var sim *i2c.Sim
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		sim = i2c.NewSim("sim")
		sim.Attach(0x77, SimulateBMP280(cfg))
		d, err := OpenBMP280(t.Context(), sim, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}, drivertest.Options{
		Break: func(broken bool) {
			sim.SetFault(0x77, i2c.Healthy)
			if broken {
				sim.SetFault(0x77, i2c.Dead)
			}
		},
		Slow: func() { sim.SetLateness(2 * time.Second); sim.SetFault(0x77, i2c.Late) },
	})
}

func TestBMP280Values(t *testing.T) {
	s := SimulateBMP280(BMP280Config{}).(*Slave)
	s.Temperature, s.Pressure = drivers.Drift{Base: 25.0825}, drivers.Drift{Base: 1006.5327}
	d, sim := i2ctest.Open(t, 0x76, OpenBMP280, BMP280Config{Address: 0x76, Oversampling: "16x"}, s)
	got, err := d.Read(t.Context(), nil)
	if err != nil || got[0].Value.String() != "25.08" || got[1].Value.String() != "1006.53" {
		t.Errorf("%v, %v", got, err)
	}
	sim.Attach(0x76, Simulate(config))
	if d, err = OpenBMP280(t.Context(), sim, BMP280Config{Address: 0x76, Oversampling: "1x"}); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(t.Context(), nil); err == nil {
		t.Errorf("a BME280 was taken for a BMP280: %v", got)
	}
}
