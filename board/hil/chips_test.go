package hil

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/board/hil/agent"
	"postern/drivers"
	"postern/drivers/bh1750"
	"postern/drivers/bme280"
	"postern/drivers/bme680"
	"postern/drivers/ds3231"
	"postern/drivers/i2c"
	"postern/drivers/scd4x"
	"postern/drivers/sps30"
)

// TestHILKernelDrivers lets the kernel's own drivers read the simulated chips
// and compares what they make of the registers with what ours make of them.
func TestHILKernelDrivers(t *testing.T) {
	bme := bme680.Simulate(bme680.Config{}).(*bme680.Slave)
	bme.Temperature, bme.Humidity = drivers.Drift{Base: 21.37}, drivers.Drift{Base: 58.2}
	bme.Pressure, bme.Gas = drivers.Drift{Base: 987.65}, drivers.Drift{Base: 123456}
	dust := sps30.Simulate(sps30.Config{}).(*sps30.Slave)
	dust.PM25 = drivers.Drift{Base: 12.34}
	clock := ds3231.Simulate(ds3231.Config{}).(*ds3231.Slave)
	clock.Temperature = drivers.Drift{Base: -3.25}
	light := bh1750.Simulate(bh1750.Config{}).(*bh1750.Slave)
	light.Illuminance = drivers.Drift{Base: 432.1}
	air := scd4x.Simulate(scd4x.Config{}).(*scd4x.Slave)
	air.CO2 = drivers.Drift{Base: 812}
	old := bme280.SimulateBMP180(bme280.BMP180Config{}).(*bme280.Slave180)
	old.Temperature, old.Pressure = drivers.Drift{Base: 18.6}, drivers.Drift{Base: 954.32}
	chips := map[uint16]i2c.Slave{0x76: bme, 0x69: dust, 0x68: clock, 0x23: light, 0x62: air, 0x77: old}
	outputs := outputChips()
	all := maps.Clone(chips)
	maps.Copy(all, outputs)
	g := Boot(t, Options{Modules: []string{
		"i2c-virtio", "bme680-i2c", "sps30-i2c", "bh1750", "scd4x", "bmp280-i2c", "gpio-pcf857x", "pinctrl-mcp23s08_i2c", "pwm-pca9685",
	}, Chips: all})
	t.Run("outputs", func(t *testing.T) { kernelOutputs(t, g, outputs) })

	g.Write("/sys/bus/i2c/devices/i2c-0/new_device", "bme680 0x76")
	g.Write("/sys/bus/i2c/devices/i2c-0/new_device", "sps30 0x69")
	g.Write("/sys/bus/i2c/devices/i2c-0/new_device", "ds3231 0x68")
	g.Write("/sys/bus/i2c/devices/i2c-0/new_device", "bh1750 0x23")
	g.Write("/sys/bus/i2c/devices/i2c-0/new_device", "scd40 0x62")
	g.Write("/sys/bus/i2c/devices/i2c-0/new_device", "bmp180 0x77")
	kernel := func(dir string, numbers int, file string) float64 {
		t.Helper()
		var last string
		for i := range numbers {
			a, err := g.ask(agent.Request{Op: "read", Path: fmt.Sprintf("/sys/bus/i2c/devices/"+dir+"/"+file, i)}, 20*time.Second)
			if v, bad := strconv.ParseFloat(strings.TrimSpace(a.Text), 64); err == nil && bad == nil {
				return v
			}
			last = fmt.Sprint(a, err)
		}
		t.Fatalf("the kernel has no %s of %s: %s\n%s", file, dir, last, g.log.tail(15))
		return 0
	}
	theirs := map[string]float64{
		"temperature": kernel("0-0076/iio:device%d", 3, "in_temp_input") / 1000,
		"humidity":    kernel("0-0076/iio:device%d", 3, "in_humidityrelative_input"),
		"pressure":    kernel("0-0076/iio:device%d", 3, "in_pressure_input") * 10, // from kPa
		"gas":         kernel("0-0076/iio:device%d", 3, "in_resistance_input"),
		"pm1":         kernel("0-0069/iio:device%d", 3, "in_massconcentration_pm1_input"),
		"pm10":        kernel("0-0069/iio:device%d", 3, "in_massconcentration_pm10_input"),
		"crystal":     kernel("0-0068/hwmon/hwmon%d", 4, "temp1_input") / 1000,
		"illuminance": kernel("0-0023/iio:device%d", 6, "in_illuminance_raw") * kernel("0-0023/iio:device%d", 6, "in_illuminance_scale"),
		"co2":         kernel("0-0062/iio:device%d", 6, "in_concentration_co2_raw"),
		"old":         kernel("0-0077/iio:device%d", 6, "in_temp_input") / 1000,
		"old-hPa":     kernel("0-0077/iio:device%d", 6, "in_pressure_input") * 10,
		"time":        kernel("0-0068/rtc/rtc%d", 3, "since_epoch"),
	}
	ours := readAll(t, chips)
	for name, within := range map[string]float64{
		"temperature": 0.011, "humidity": 0.011, "pressure": 0.011, "gas": 1, "pm1": 0.011, "pm10": 0.011, "crystal": 0, "time": 60,
		"illuminance": 0.9, "co2": 0, "old": 0, "old-hPa": 0.011,
	} {
		t.Logf("%s: the kernel reads %v, we read %v", name, theirs[name], ours[name])
		if math.Abs(theirs[name]-ours[name]) > within {
			t.Errorf("%s: the kernel reads %v, we read %v", name, theirs[name], ours[name])
		}
	}
}

// readAll reads the chips with our drivers.
func readAll(t *testing.T, chips map[uint16]i2c.Slave) map[string]float64 {
	sim := i2c.NewSim("sim")
	for addr, s := range chips {
		sim.Attach(addr, s)
	}
	ours := map[string]float64{}
	read := func(rename map[string]string, d drivers.Device, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range got {
			n, _ := s.Value.Number()
			v := n.Float64()
			if at, ok := s.Value.Time(); ok {
				v = float64(at.Unix())
			}
			if to, ok := rename[s.Channel]; ok {
				s.Channel = to
			}
			ours[s.Channel] = v
		}
	}
	b, err := bme680.Open(t.Context(), sim, bme680.Config{Address: 0x76, HeaterTemp: 320, HeaterTime: 150 * time.Millisecond, Temperature: 25})
	read(nil, b, err)
	p, err := sps30.Open(t.Context(), sim, sps30.Config{Address: 0x69})
	read(nil, p, err)
	c, err := ds3231.Open(t.Context(), sim, ds3231.Config{Address: 0x68})
	read(map[string]string{"temperature": "crystal"}, c, err)
	l, err := bh1750.Open(t.Context(), sim, bh1750.Config{Address: 0x23})
	read(nil, l, err)
	a, err := scd4x.Open(t.Context(), sim, scd4x.Config{Address: 0x62})
	time.Sleep(5100 * time.Millisecond) // the kernel took the last measurement
	read(map[string]string{"temperature": "air", "humidity": "air-humidity"}, a, err)
	o, err := bme280.OpenBMP180(t.Context(), sim, bme280.BMP180Config{Address: 0x77, Oversampling: "8x"})
	read(map[string]string{"temperature": "old", "pressure": "old-hPa"}, o, err)
	return ours
}
