// Package hwmon reads the sensors that the kernel has drivers for and offers
// through hwmon: temperatures, voltages, currents, powers, humidities, fans and
// alarms. Source: the kernel's Documentation/hwmon/sysfs-interface.
package hwmon

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/drivers"
	"postern/drivers/sysfs"
)

// Config is the configuration of one hwmon chip.
type Config struct {
	Chip string `yaml:"chip" doc:"name of the chip as in /sys/class/hwmon/hwmonN/name" example:"rpi_volt"`
}

var class = sysfs.Class{Driver: "hwmon", Dir: "sys/class/hwmon", Sensors: sensors}

// quantity is what files of one prefix mean: digits are the decimals of the
// kernel's integers.
type quantity struct {
	name   string
	unit   string
	digits int
	doc    string
}

var quantities = map[string]quantity{
	"temp":     {"temperature", "°C", 3, "temperature"},
	"in":       {"voltage", "V", 3, "voltage"},
	"curr":     {"current", "A", 3, "current"},
	"power":    {"power", "W", 6, "power"},
	"energy":   {"energy", "J", 6, "energy"},
	"humidity": {"humidity", "%RH", 3, "relative humidity"},
	"fan":      {"fan", "rpm", 0, "speed of the fan"},
}

var (
	inputFile = regexp.MustCompile(`^(temp|in|curr|power|energy|humidity|fan)([0-9]+)_(input|alarm|lcrit_alarm|crit_alarm)$`)
	plain     = regexp.MustCompile(`[^a-z0-9]+`)
)

// Open finds the chip below root, the file system's root. Its channels are
// those that it has now.
func Open(ctx context.Context, root fs.FS, cfg Config) (*sysfs.Device, error) {
	return class.Open(root, cfg.Chip)
}

// Simulate returns a file system with a chip of the configured name that has
// one sensor of each quantity, without labels.
func Simulate(cfg Config) fs.FS {
	return class.NewSim(cfg.Chip, map[string]sysfs.Value{
		"temp1_input":     {Drift: drivers.Drift{Base: 47000, Amplitude: 6000, Period: 10 * time.Minute}},
		"in0_input":       {Drift: drivers.Drift{Base: 5050, Amplitude: 60, Period: 3 * time.Minute}},
		"in0_lcrit_alarm": {},
		"curr1_input":     {Drift: drivers.Drift{Base: 620, Amplitude: 90, Period: 4 * time.Minute}},
		"power1_input":    {Drift: drivers.Drift{Base: 3100000, Amplitude: 400000, Period: 4 * time.Minute}},
		"humidity1_input": {Drift: drivers.Drift{Base: 45000, Amplitude: 5000, Period: 20 * time.Minute}},
		"fan1_input":      {Drift: drivers.Drift{Base: 1200, Amplitude: 150, Period: 5 * time.Minute}},
	})
}

func sensors(dir sysfs.Dir) ([]sysfs.Sensor, error) {
	files, err := dir.Files()
	var out []sysfs.Sensor
	for _, f := range files {
		if m := inputFile.FindStringSubmatch(f); m != nil {
			out = append(out, sensor(dir, m, out))
		}
	}
	return out, err
}

// sensor is that of one file, named so that it differs from the others.
func sensor(dir sysfs.Dir, m []string, others []sysfs.Sensor) sysfs.Sensor {
	q := quantities[m[1]]
	label, _ := dir.Text(m[1] + m[2] + "_label") // most have none
	name := strings.Trim(plain.ReplaceAllString(strings.ToLower(label), "-"), "-")
	if name == "" {
		name = m[2]
	}
	c := drivers.Channel{Name: q.name + "-" + name, Kind: drivers.KindNumber, Unit: q.unit, Doc: q.doc}
	if label != "" {
		c.Doc += ", " + label
	}
	alarm := m[3] != "input"
	if alarm {
		c.Name += "-" + strings.ReplaceAll(m[3], "_", "-")
		c.Kind, c.Unit = drivers.KindBool, ""
		c.Doc = "alarm of the " + c.Doc
	}
	if slices.ContainsFunc(others, func(x sysfs.Sensor) bool { return x.Channel.Name == c.Name }) {
		c.Name += "-" + m[2] // two have the same label
	}
	return sysfs.Sensor{Channel: c, File: m[0], Read: func(dir sysfs.Dir) (drivers.Value, error) {
		// The chip's driver knows that a probe is open or shorted; what the chip
		// measures then is some number all the same.
		if fault, _ := dir.Text(m[1] + m[2] + "_fault"); !alarm && fault != "" && fault != "0" {
			return drivers.Value{}, fmt.Errorf("the kernel reports a fault of the probe (%s%s_fault): %w", m[1], m[2], drivers.ErrProtocol)
		}
		text, err := dir.Text(m[0])
		if err != nil {
			return drivers.Value{}, err
		}
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return drivers.Value{}, fmt.Errorf("%.20q is no whole number: %w", text, drivers.ErrProtocol)
		case alarm:
			return drivers.Bool(n != 0), nil
		}
		return drivers.Decimal(drivers.Num(n, -q.digits)), nil
	}}
}
