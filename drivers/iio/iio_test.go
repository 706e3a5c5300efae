package iio

import (
	"errors"
	"testing"
	"testing/fstest"

	"postern/drivers"
	"postern/drivers/sysfs/sysfstest"
)

func device() fstest.MapFS {
	f := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	dir := class.Dir + "/iio:device1/"
	return fstest.MapFS{
		class.Dir + "/iio:device0/name":                 f("other\n"),
		dir + "name":                                    f("combo\n"),
		dir + "in_temp_input":                           f("21530\n"),
		dir + "in_pressure_input":                       f("101.325000000\n"),
		dir + "in_humidityrelative_input":               f("45012\n"),
		dir + "in_voltage0_raw":                         f("12345\n"),
		dir + "in_voltage1_raw":                         f("-2\n"),
		dir + "in_voltage_scale":                        f("0.125000000\n"),
		dir + "in_voltage1_scale":                       f("2.000000000\n"),
		dir + "in_voltage0_offset":                      f("5\n"),
		dir + "in_accel_x_raw":                          f("100\n"),
		dir + "in_accel_scale":                          f("0.009810000\n"),
		dir + "in_illuminance_raw":                      f("7\n"),
		dir + "in_illuminance_input":                    f("12.345\n"),
		dir + "in_voltage_sampling_frequency_available": f("8 16\n"),
		dir + "in_unknownthing_raw":                     f("1\n"),
	}
}

func TestDevice(t *testing.T) { sysfstest.TestDevice(t, Open, Simulate, Config{Device: "combo"}) }

func TestValues(t *testing.T) {
	d, err := Open(t.Context(), device(), Config{Device: "combo"})
	if err != nil {
		t.Fatal(err)
	}
	sysfstest.Values(t, d, map[string]string{
		"temperature": "21.530 °C", "pressure": "1013.25 hPa", "humidity": "45.012 %RH",
		"voltage-0": "1.543750 V", "voltage-1": "-0.004 V", "acceleration-x": "0.98100 m/s²", "illuminance": "12.345 lx",
	})
}

func TestFaults(t *testing.T) {
	root := device()
	d, err := Open(t.Context(), root, Config{Device: "combo"})
	if err != nil {
		t.Fatal(err)
	}
	root[class.Dir+"/iio:device1/in_temp_input"].Data = []byte("warm")
	root[class.Dir+"/iio:device1/in_accel_scale"].Data = []byte("?")
	delete(root, class.Dir+"/iio:device1/in_voltage0_raw")
	sysfstest.Errors(t, d, map[string]error{"temperature": drivers.ErrProtocol, "acceleration-x": drivers.ErrProtocol, "voltage-0": drivers.ErrGone})
	for _, name := range []string{"missing", "other"} {
		if _, err := Open(t.Context(), root, Config{Device: name}); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
