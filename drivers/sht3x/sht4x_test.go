package sht3x

import (
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config4 = SHT4xConfig{Bus: "sim", Address: 0x44}

func TestSHT4xDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x44, OpenSHT4x, SimulateSHT4x, config4, i2c.Dead, i2c.Noise, i2c.Stuck)
}

func TestSHT4xQuantities(t *testing.T) {
	for _, c := range []struct {
		t, h        float64
		wantT, want string
	}{
		{21.5, 45.25, "21.50", "45.25"}, {-40, 0, "-40.00", "0.00"}, {125, 100, "125.00", "100.00"}, {0, 50, "0.00", "50.00"},
	} {
		s := SimulateSHT4x(config4).(*SHT4xSlave)
		s.Temperature, s.Humidity = drivers.Drift{Base: c.t}, drivers.Drift{Base: c.h}
		d, _ := i2ctest.Open(t, 0x44, OpenSHT4x, config4, s)
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != c.wantT || got[1].Value.String() != c.want {
			t.Errorf("%v °C %v %%RH: %v, %v", c.t, c.h, got, err)
		}
	}
}

// The data sheet's ends of the scales.
func TestSHT4xScale(t *testing.T) {
	if temperature(0).String() != "-45.00" || temperature(65535).String() != "130.00" {
		t.Errorf("%s to %s", temperature(0), temperature(65535))
	}
	if humidity4(0).String() != "0.00" || humidity4(65535).String() != "100.00" {
		t.Errorf("%s to %s", humidity4(0), humidity4(65535))
	}
}

func TestSHT4xOtherChipIsRefused(t *testing.T) {
	i2ctest.TestOther(t, 0x44, OpenSHT4x, config4)
	if _, err := OpenSHT4x(t.Context(), i2c.NewSim("sim"), SHT4xConfig{Address: 0x76}); err == nil {
		t.Error("address 0x76 was accepted")
	}
}
