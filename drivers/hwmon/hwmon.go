// Package hwmon reads the sensors that the kernel has drivers for and offers
// through hwmon: temperatures, voltages, currents, powers, humidities, fans and
// alarms. Source: the kernel's Documentation/hwmon/sysfs-interface.
package hwmon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"postern/drivers"
)

// Config is the configuration of one hwmon chip.
type Config struct {
	Chip string `yaml:"chip" doc:"name of the chip as in /sys/class/hwmon/hwmonN/name" example:"rpi_volt"`
}

const class = "sys/class/hwmon"

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

// sensor is one file.
type sensor struct {
	file    string
	digits  int
	channel drivers.Channel
}

// Device is one chip. It is safe for concurrent use.
type Device struct {
	root    fs.FS
	cfg     Config
	sensors []sensor
	closed  atomic.Bool
}

// Open finds the chip below root, the file system's root. Its channels are
// those that it has now.
func Open(ctx context.Context, root fs.FS, cfg Config) (*Device, error) {
	d := &Device{root: root, cfg: cfg}
	dir, err := d.dir()
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(root, dir)
	if err != nil {
		return nil, fmt.Errorf("hwmon: %s: %w", cfg.Chip, err)
	}
	for _, e := range entries {
		if m := inputFile.FindStringSubmatch(e.Name()); m != nil {
			d.add(dir, m)
		}
	}
	if len(d.sensors) == 0 {
		return nil, fmt.Errorf("hwmon: chip %s has nothing to read: %w", cfg.Chip, drivers.ErrGone)
	}
	sort.Slice(d.sensors, func(i, j int) bool { return d.sensors[i].channel.Name < d.sensors[j].channel.Name })
	return d, nil
}

// dir finds the chip by its name; its number changes from boot to boot.
func (d *Device) dir() (string, error) {
	entries, err := fs.ReadDir(d.root, class)
	if err != nil {
		return "", fmt.Errorf("hwmon: the kernel offers no chips: %w: %w", err, drivers.ErrGone)
	}
	var have []string
	for _, e := range entries {
		dir := path.Join(class, e.Name())
		name, _ := fs.ReadFile(d.root, path.Join(dir, "name"))
		n := strings.TrimSpace(string(name))
		if n == d.cfg.Chip {
			return dir, nil
		}
		have = append(have, n)
	}
	return "", fmt.Errorf("hwmon: no chip %q; there are %q: %w", d.cfg.Chip, have, drivers.ErrGone)
}

func (d *Device) add(dir string, m []string) {
	q := quantities[m[1]]
	s := sensor{file: m[0], digits: q.digits}
	label, _ := fs.ReadFile(d.root, path.Join(dir, m[1]+m[2]+"_label"))
	name := strings.Trim(plain.ReplaceAllString(strings.ToLower(strings.TrimSpace(string(label))), "-"), "-")
	if name == "" {
		name = m[2]
	}
	s.channel = drivers.Channel{Name: q.name + "-" + name, Kind: drivers.KindNumber, Unit: q.unit, Doc: q.doc}
	if text := strings.TrimSpace(string(label)); text != "" {
		s.channel.Doc += ", " + text
	}
	if m[3] != "input" {
		s.channel.Name += "-" + strings.ReplaceAll(m[3], "_", "-")
		s.channel.Kind, s.channel.Unit = drivers.KindBool, ""
		s.channel.Doc = "alarm of the " + s.channel.Doc
	}
	if slices.ContainsFunc(d.sensors, func(x sensor) bool { return x.channel.Name == s.channel.Name }) {
		s.channel.Name += "-" + m[2] // two have the same label
	}
	d.sensors = append(d.sensors, s)
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	cs := make([]drivers.Channel, len(d.sensors))
	for i, s := range d.sensors {
		cs[i] = s.channel
	}
	return cs
}

// Read implements drivers.Device.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	start := len(dst)
	dir, err := d.dir() // its number changes when the driver is bound anew
	if err != nil {
		return dst, err
	}
	for _, s := range d.sensors {
		switch {
		case ctx.Err() != nil:
			return dst[:start], context.Cause(ctx)
		case d.closed.Load():
			return dst[:start], fmt.Errorf("hwmon: %w", drivers.ErrClosed)
		}
		v, err := d.value(dir, s)
		sample := drivers.Sample{Channel: s.channel.Name, Value: v, Unit: s.channel.Unit, Time: time.Now()}
		if err != nil {
			sample.Value, sample.Unit = drivers.Value{}, ""
			sample.Err = fmt.Errorf("hwmon: %s %s: %w", d.cfg.Chip, s.file, err)
		}
		dst = append(dst, sample)
	}
	return dst, nil
}

func (d *Device) value(dir string, s sensor) (drivers.Value, error) {
	b, err := fs.ReadFile(d.root, path.Join(dir, s.file))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return drivers.Value{}, fmt.Errorf("%w: %w", err, drivers.ErrGone)
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN):
		return drivers.Value{}, fmt.Errorf("%w: %w", err, drivers.ErrTimeout)
	case err != nil:
		return drivers.Value{}, fmt.Errorf("%w: %w", err, drivers.ErrProtocol)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return drivers.Value{}, fmt.Errorf("%q is no whole number: %w", b[:min(len(b), 20)], drivers.ErrProtocol)
	}
	if s.channel.Kind == drivers.KindBool {
		return drivers.Bool(n != 0), nil
	}
	return drivers.Decimal(drivers.Num(n, -s.digits)), nil
}

// Close implements drivers.Device.
func (d *Device) Close() error {
	d.closed.Store(true)
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
