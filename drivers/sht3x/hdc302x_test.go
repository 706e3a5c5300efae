package sht3x

import (
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

func TestHDC302x(t *testing.T) {
	cfg := HDC302xConfig{Bus: "sim", Address: 0x46}
	i2ctest.TestChip(t, 0x46, OpenHDC302x, SimulateHDC302x, cfg, i2c.Dead, i2c.Noise)
	i2ctest.TestOther(t, 0x46, OpenHDC302x, cfg, &Slave{room: aRoom(), maker: 0x1234})
	s := SimulateHDC302x(cfg).(*Slave)
	s.Temperature, s.Humidity = drivers.Drift{Base: -12.34}, drivers.Drift{Base: 67.89}
	d, _ := i2ctest.Open(t, 0x46, OpenHDC302x, cfg, s)
	if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "-12.34" || got[1].Value.String() != "67.89" {
		t.Errorf("%v, %v", got, err)
	}
	d, _ = i2ctest.Open(t, 0x46, OpenHDC302x, cfg, Simulate(Config{})) // an SHT3x does not know its maker
	if got, err := d.Read(t.Context(), nil); err == nil {
		t.Errorf("an SHT3x is read: %v", got)
	}
	if _, err := OpenHDC302x(t.Context(), i2c.NewSim("sim"), HDC302xConfig{Address: 0x48}); err == nil {
		t.Error("address 0x48 is taken")
	}
}
