package scd4x

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Bus: "sim", Address: 0x62}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x62, Open, Simulate, config, i2c.Dead, i2c.Stuck, i2c.Noise)
}

// TestWorkedExample has the data sheet's (3.5.2): 500 ppm, 25 °C, 37 %RH.
func TestWorkedExample(t *testing.T) {
	w, err := i2c.CheckedWords([]byte{0x01, 0xf4, 0x33, 0x66, 0x67, 0xa2, 0x5e, 0xb9, 0x3c}, 3)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(w, time.Now())
	if err != nil || got[0].Value.String() != "500" || got[1].Value.String() != "25.00" || got[2].Value.String() != "37.00" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := decode([]uint16{40001, 0, 0}, time.Now()); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("%v", err)
	}
}

// TestLife: from its power supply to the first measurement, the same
// measurement again, the next one, a restart of the gateway, a lost supply.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Simulate(config).(*Slave)
		s.CO2 = drivers.Drift{Base: 812}
		s.PowerOn()
		sim := i2c.NewSim("sim")
		sim.Attach(0x62, s)
		d := opened(t, sim, Config{Bus: "sim", Address: 0x62, Pressure: 950})
		if got, err := d.Read(t.Context(), nil); err != nil || len(got) != 3 || !errors.Is(got[0].Err, drivers.ErrTimeout) {
			t.Fatalf("before the first measurement: %v, %v", got, err)
		}
		if s.pressure != 950 {
			t.Errorf("pressure %d", s.pressure)
		}
		time.Sleep(5 * time.Second)
		first := read(t, d)
		time.Sleep(time.Second)
		if again := read(t, d); again.Time != first.Time || again.Value.String() != "812" {
			t.Errorf("a second later: %+v after %+v", again, first)
		}
		time.Sleep(5 * time.Second)
		if next := read(t, d); !next.Time.After(first.Time) {
			t.Errorf("no new measurement: %+v", next)
		}
		d = opened(t, sim, config) // it measures already
		time.Sleep(5 * time.Second)
		read(t, d)
		s.PowerOn()
		for started := time.Now(); ; time.Sleep(time.Second) {
			if got, err := d.Read(t.Context(), nil); err == nil && got[0].Err == nil && got[0].Time.After(started.Add(time.Second)) {
				break
			}
			if time.Since(started) > time.Minute {
				t.Fatal("it was not started again")
			}
		}
	})
}

// A chip that another program lets measure every 30 s is brought to 5 s.
func TestIntervalOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Simulate(config).(*Slave)
		s.PowerOn()
		sim := i2c.NewSim("sim")
		sim.Attach(0x62, s)
		if err := sim.Tx(0x62, []byte{cmdStartLow >> 8, cmdStartLow & 0xff}, nil); err != nil {
			t.Fatal(err)
		}
		d := opened(t, sim, config)
		good := 0
		for range 60 {
			if got, err := d.Read(t.Context(), nil); err == nil && got[0].Err == nil {
				good++
			}
			time.Sleep(time.Second)
		}
		if s.interval != 5*time.Second || good < 35 {
			t.Errorf("%d good readings in a minute, every %v", good, s.interval)
		}
	})
}

func opened(t *testing.T, sim *i2c.Sim, cfg Config) *i2c.Sensor {
	t.Helper()
	d, err := Open(t.Context(), sim, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t *testing.T, d *i2c.Sensor) drivers.Sample {
	t.Helper()
	got, err := d.Read(t.Context(), nil)
	if err != nil || len(got) != 3 || got[0].Err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	return got[0]
}

func TestConfig(t *testing.T) {
	if _, err := Open(t.Context(), i2c.NewSim("sim"), Config{Pressure: 500}); err == nil {
		t.Error("500 hPa are taken")
	}
}
