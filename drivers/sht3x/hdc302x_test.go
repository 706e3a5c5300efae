package sht3x

import (
	"errors"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/i2c"
)

func TestHDC302x(t *testing.T) {
	cfg := HDC302xConfig{Bus: "sim", Address: 0x46}
	open := func(t *testing.T, slave i2c.Slave) (drivers.Device, *i2c.Sim) {
		sim := i2c.NewSim("sim")
		sim.Attach(0x46, slave)
		d, err := OpenHDC302x(t.Context(), sim, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return d, sim
	}
	for name, fault := range map[string]i2c.Fault{"dead": i2c.Dead, "noise": i2c.Noise} {
		t.Run(name, func(t *testing.T) {
			var sim *i2c.Sim
			drivertest.TestDevice(t, func(t *testing.T) (d drivers.Device) {
				d, sim = open(t, SimulateHDC302x(cfg))
				return d
			}, drivertest.Options{
				Break: func(broken bool) {
					sim.SetFault(0x46, i2c.Healthy)
					if broken {
						sim.SetFault(0x46, fault)
					}
				},
				Slow: func() { sim.SetLateness(2 * time.Second); sim.SetFault(0x46, i2c.Late) },
			})
		})
	}
	s := SimulateHDC302x(cfg).(*Slave)
	s.Temperature, s.Humidity = drivers.Drift{Base: -12.34}, drivers.Drift{Base: 67.89}
	d, _ := open(t, s)
	if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "-12.34" || got[1].Value.String() != "67.89" {
		t.Errorf("%v, %v", got, err)
	}
	d, _ = open(t, Simulate(Config{})) // an SHT3x does not know its maker
	if got, err := d.Read(t.Context(), nil); err == nil {
		t.Errorf("an SHT3x is read: %v", got)
	}
	d, _ = open(t, &Slave{room: aRoom(), maker: 0x1234})
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("another maker's: %v", err)
	}
	if _, err := OpenHDC302x(t.Context(), i2c.NewSim("sim"), HDC302xConfig{Address: 0x48}); err == nil {
		t.Error("address 0x48 is taken")
	}
}
