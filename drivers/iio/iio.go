// Package iio reads the converters and sensors that the kernel has drivers for
// and offers through Industrial I/O. Source: the kernel's
// Documentation/ABI/testing/sysfs-bus-iio.
package iio

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern/drivers"
	"postern/drivers/sysfs"
)

// Config is the configuration of one IIO device.
type Config struct {
	Device string `yaml:"device" doc:"name of the device as in /sys/bus/iio/devices/iio:deviceN/name" example:"bme280"`
}

var class = sysfs.Class{Driver: "iio", Dir: "sys/bus/iio/devices", Prefix: "iio:device", Sensors: sensors}

// quantity is what channels of one type mean: the kernel's unit of
// (raw + offset) × scale, brought to the unit that people use by a power of
// ten.
type quantity struct {
	name, unit string
	shift      int
	doc        string
}

var quantities = map[string]quantity{
	"voltage":          {"voltage", "V", -3, "voltage"},
	"current":          {"current", "A", -3, "current"},
	"power":            {"power", "W", -3, "power"},
	"temp":             {"temperature", "°C", -3, "temperature"},
	"humidityrelative": {"humidity", "%RH", -3, "relative humidity"},
	"pressure":         {"pressure", "hPa", 1, "air pressure"}, // the kernel counts kPa
	"illuminance":      {"illuminance", "lx", 0, "illuminance"},
	"intensity":        {"intensity", "", 0, "light, without unit"},
	"resistance":       {"resistance", "Ω", 0, "resistance"},
	"proximity":        {"proximity", "", 0, "proximity, without unit"},
	"accel":            {"acceleration", "m/s²", 0, "acceleration"},
	"anglvel":          {"rotation", "rad/s", 0, "speed of rotation"},
	"magn":             {"magnetic", "G", 0, "magnetic flux density"},
	"concentration":    {"concentration", "%", 0, "concentration"},
	"distance":         {"distance", "m", 0, "distance"},
}

var (
	valueFile = regexp.MustCompile(`^in_([a-z]+)([0-9]*)(?:_([a-z0-9]+))?_(raw|input)$`)
	nameLike  = regexp.MustCompile(`[^a-z0-9]+`)
)

// source is the file of a value, and those of what to do with it.
type source struct {
	file          string
	scale, offset []string // the first of these that exists counts
	input         bool     // the file holds the result already
	shift         int
}

// Open finds the device below root, the file system's root. Its channels are
// those that it has now.
func Open(ctx context.Context, root fs.FS, cfg Config) (*sysfs.Device, error) {
	return class.Open(root, cfg.Device)
}

// Simulate returns a file system with a device of the configured name that
// measures temperature, humidity, air pressure, light and two voltages.
func Simulate(cfg Config) fs.FS {
	return class.NewSim(cfg.Device, map[string]sysfs.Value{
		"in_temp_input":             {Drift: drivers.Drift{Base: 21500, Amplitude: 1500, Period: 20 * time.Minute}},
		"in_humidityrelative_input": {Drift: drivers.Drift{Base: 45000, Amplitude: 4000, Period: 30 * time.Minute}},
		"in_pressure_input":         {Drift: drivers.Drift{Base: 101.3, Amplitude: 0.6, Period: 3 * time.Hour}, Decimals: 6},
		"in_illuminance_input":      {Drift: drivers.Drift{Base: 320, Amplitude: 200, Period: 15 * time.Minute}},
		"in_voltage0_raw":           {Drift: drivers.Drift{Base: 13200, Amplitude: 2400, Period: 2 * time.Minute}},
		"in_voltage1_raw":           {Drift: drivers.Drift{Base: 7200, Amplitude: 800, Period: 5 * time.Minute}},
		"in_voltage_scale":          {Drift: drivers.Drift{Base: 0.125}, Decimals: 9},
	})
}

// sensors takes the files in_TYPE[INDEX][_MODIFIER]_raw or _input. A channel
// that has both is read by input.
func sensors(dir sysfs.Dir) ([]sysfs.Sensor, error) {
	files, err := dir.Files()
	var out []sysfs.Sensor
	for _, f := range files {
		m := valueFile.FindStringSubmatch(f)
		if m == nil || quantities[m[1]].name == "" {
			continue
		}
		s := sensor(m)
		switch i := slices.IndexFunc(out, func(x sysfs.Sensor) bool { return x.Channel.Name == s.Channel.Name }); {
		case i < 0:
			out = append(out, s)
		case m[4] == "input":
			out[i] = s
		}
	}
	return out, err
}

func sensor(m []string) sysfs.Sensor {
	q := quantities[m[1]]
	one := "in_" + m[1] + m[2]
	if m[3] != "" {
		one += "_" + m[3]
	}
	all := "in_" + m[1]
	name := q.name
	for _, part := range []string{m[2], m[3]} {
		if part != "" {
			name += "-" + strings.Trim(nameLike.ReplaceAllString(part, "-"), "-")
		}
	}
	from := source{
		file: m[0], input: m[4] == "input", shift: q.shift,
		scale: []string{one + "_scale", all + "_scale"}, offset: []string{one + "_offset", all + "_offset"},
	}
	return sysfs.Sensor{
		Channel: drivers.Channel{Name: name, Kind: drivers.KindNumber, Unit: q.unit, Doc: q.doc}, File: m[0],
		Read: func(dir sysfs.Dir) (drivers.Value, error) {
			n, err := from.number(dir)
			return drivers.Decimal(n), err
		},
	}
}

func (s source) number(dir sysfs.Dir) (drivers.Number, error) {
	n, err := number(dir, s.file)
	if err != nil {
		return n, err
	}
	if !s.input {
		if offset, ok, err := first(dir, s.offset); err != nil {
			return n, err
		} else if ok {
			if n, err = n.Add(offset); err != nil {
				return n, err
			}
		}
		if scale, ok, err := first(dir, s.scale); err != nil {
			return n, err
		} else if ok {
			if n, err = n.Mul(scale); err != nil {
				return n, err
			}
		}
	}
	n.Exp += int32(s.shift)
	if n.Exp > 0 {
		return n.Rescale(0)
	}
	return n, nil
}

// first reads the first file that exists.
func first(dir sysfs.Dir, files []string) (n drivers.Number, ok bool, err error) {
	for _, f := range files {
		n, err = number(dir, f)
		if !errors.Is(err, drivers.ErrGone) {
			return n, err == nil, err
		}
	}
	return drivers.Number{}, false, nil
}

// number reads a number and drops the zeros behind its decimals, of which the
// kernel writes nine.
func number(dir sysfs.Dir, file string) (drivers.Number, error) {
	n, err := dir.Number(file)
	for n.Exp < 0 && n.Mant%10 == 0 {
		n.Mant, n.Exp = n.Mant/10, n.Exp+1
	}
	return n, err
}
