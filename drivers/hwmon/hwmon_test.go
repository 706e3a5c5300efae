package hwmon

import (
	"errors"
	"testing"
	"testing/fstest"

	"postern/drivers"
	"postern/drivers/sysfs/sysfstest"
)

func chip() fstest.MapFS {
	f := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return fstest.MapFS{
		class.Dir + "/hwmon0/name":             f("other\n"),
		class.Dir + "/hwmon3/name":             f("board\n"),
		class.Dir + "/hwmon3/temp1_input":      f("45277\n"),
		class.Dir + "/hwmon3/temp1_label":      f("CPU Core\n"),
		class.Dir + "/hwmon3/temp2_input":      f("-500\n"),
		class.Dir + "/hwmon3/in0_input":        f("5104\n"),
		class.Dir + "/hwmon3/in0_lcrit_alarm":  f("1\n"),
		class.Dir + "/hwmon3/power1_input":     f("1250000\n"),
		class.Dir + "/hwmon3/humidity1_input":  f("45012\n"),
		class.Dir + "/hwmon3/fan1_input":       f("1200\n"),
		class.Dir + "/hwmon3/temp1_max":        f("90000\n"),
		class.Dir + "/hwmon3/device/something": f("x"),
	}
}

func TestDevice(t *testing.T) { sysfstest.TestDevice(t, Open, Simulate, Config{Chip: "board"}) }

func TestValues(t *testing.T) {
	d, err := Open(t.Context(), chip(), Config{Chip: "board"})
	if err != nil {
		t.Fatal(err)
	}
	sysfstest.Values(t, d, map[string]string{
		"temperature-cpu-core": "45.277 °C", "temperature-2": "-0.500 °C", "voltage-0": "5.104 V",
		"voltage-0-lcrit-alarm": "true ", "power-1": "1.250000 W", "humidity-1": "45.012 %RH", "fan-1": "1200 rpm",
	})
}

func TestFaults(t *testing.T) {
	root := chip()
	d, err := Open(t.Context(), root, Config{Chip: "board"})
	if err != nil {
		t.Fatal(err)
	}
	root[class.Dir+"/hwmon3/fan1_input"].Data = []byte("fast")
	delete(root, class.Dir+"/hwmon3/in0_input")
	root[class.Dir+"/hwmon3/temp1_fault"] = &fstest.MapFile{Data: []byte("0\n")}
	root[class.Dir+"/hwmon3/temp2_fault"] = &fstest.MapFile{Data: []byte("1\n")}
	sysfstest.Errors(t, d, map[string]error{"fan-1": drivers.ErrProtocol, "voltage-0": drivers.ErrGone, "temperature-2": drivers.ErrProtocol})
	if _, err := Open(t.Context(), root, Config{Chip: "missing"}); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("a missing chip: %v", err)
	}
	if _, err := Open(t.Context(), root, Config{Chip: "other"}); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("a chip with nothing: %v", err)
	}
}
