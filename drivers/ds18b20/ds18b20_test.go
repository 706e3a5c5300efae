package ds18b20

import (
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/onewire"
)

var config = Config{ID: "28-0316a2795aff"}

func TestDevice(t *testing.T) {
	var sim *onewire.Sim
	for name, fault := range map[string]onewire.Fault{
		"dead": onewire.Dead, "shorted": onewire.Shorted, "noise": onewire.Noise, "brown-out": onewire.BrownOut,
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				sim = onewire.NewSim()
				sim.Attach(config.ID, drivers.Drift{Base: 21.5})
				d, err := Open(t.Context(), sim, config)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{
				Break: func(broken bool) {
					sim.SetFault(config.ID, onewire.Healthy)
					if broken {
						sim.SetFault(config.ID, fault)
					}
				},
				Slow: func() { sim.SetFault(config.ID, onewire.Late) },
			})
		})
	}
}

func pad(raw int, conf byte) []byte {
	p := []byte{byte(raw), byte(raw >> 8), 0x4b, 0x46, conf, 0xff, 0x10, 0x10, 0}
	p[8] = onewire.CRC8(p[:8])
	return p
}

// The data sheet's table 1, and its resolutions.
func TestTemperature(t *testing.T) {
	for _, c := range []struct {
		raw  int
		conf byte
		want string
	}{
		{0x07d0, 0x7f, "125.0000"}, {0x0550, 0x7f, "85.0000"}, {0x0191, 0x7f, "25.0625"}, {0x00a2, 0x7f, "10.1250"},
		{0x0008, 0x7f, "0.5000"}, {0x0000, 0x7f, "0.0000"}, {0xfff8, 0x7f, "-0.5000"}, {0xff5e, 0x7f, "-10.1250"},
		{0xfe6f, 0x7f, "-25.0625"}, {0xfc90, 0x7f, "-55.0000"},
		{0x0191, 0x5f, "25.000"}, {0x0196, 0x3f, "25.25"}, {0x0199, 0x1f, "25.5"},
	} {
		if got, err := Temperature(pad(c.raw, c.conf)); err != nil || got.String() != c.want {
			t.Errorf("0x%04x: %v, %v; want %s", c.raw, got, err, c.want)
		}
	}
	for _, raw := range []int{0x07d1, 0xfc8f} {
		if got, err := Temperature(pad(raw, 0x7f)); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("0x%04x: %v, %v", raw, got, err)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, id := range []string{"", "28", "10-0316a2795aff", "28-0316A2795AFF"} {
		if err := (Config{ID: id}).Validate(); err == nil {
			t.Errorf("%q was accepted", id)
		}
	}
}
