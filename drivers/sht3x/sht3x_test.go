package sht3x

import (
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Bus: "sim", Address: 0x44}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x44, Open, Simulate, config, i2c.Dead, i2c.Noise, i2c.Stuck)
}

func TestQuantities(t *testing.T) {
	for _, c := range []struct {
		t, h        float64
		wantT, want string
	}{
		{21.5, 45.25, "21.50", "45.25"}, {-40, 0, "-40.00", "0.00"}, {125, 100, "125.00", "100.00"}, {0, 50, "0.00", "50.00"},
	} {
		s := Simulate(config).(*Slave)
		s.Temperature, s.Humidity = drivers.Drift{Base: c.t}, drivers.Drift{Base: c.h}
		d, _ := i2ctest.Open(t, 0x44, Open, config, s)
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != c.wantT || got[1].Value.String() != c.want {
			t.Errorf("%v °C %v %%RH: %v, %v", c.t, c.h, got, err)
		}
	}
}

// The data sheet's ends of the scales.
func TestScale(t *testing.T) {
	if temperature(0).String() != "-45.00" || temperature(65535).String() != "130.00" {
		t.Errorf("%s to %s", temperature(0), temperature(65535))
	}
	if humidity(0).String() != "0.00" || humidity(65535).String() != "100.00" {
		t.Errorf("%s to %s", humidity(0), humidity(65535))
	}
}

// A program before let the chip measure by itself, with its heater on.
func TestModesOfAnother(t *testing.T) {
	for name, chip := range map[string]i2c.Slave{"sht3x": Simulate(config), "hdc302x": SimulateHDC302x(HDC302xConfig{})} {
		sim := i2c.NewSim("sim")
		sim.Attach(0x44, chip)
		for _, cmd := range []uint16{cmdEvery, cmdHeat} {
			if err := sim.Tx(0x44, []byte{byte(cmd >> 8), byte(cmd)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		d, err := Open(t.Context(), sim, config)
		if name == "hdc302x" {
			d, err = OpenHDC302x(t.Context(), sim, HDC302xConfig{Address: 0x44})
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		if status := chip.(*Slave).status; err != nil || status&statusHeat != 0 {
			t.Errorf("%s: %v, %v; status 0x%04x", name, got, err, status)
		}
	}
}

func TestOtherChipIsRefused(t *testing.T) {
	i2ctest.TestOther(t, 0x44, Open, config)
	if _, err := Open(t.Context(), i2c.NewSim("sim"), Config{Address: 0x76}); err == nil {
		t.Error("address 0x76 was accepted")
	}
}
