// Package iio reads the converters and sensors that the kernel has drivers for
// and offers through Industrial I/O. Source: the kernel's
// Documentation/ABI/testing/sysfs-bus-iio.
package iio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"postern/drivers"
)

// Config is the configuration of one IIO device.
type Config struct {
	Device string `yaml:"device" doc:"name of the device as in /sys/bus/iio/devices/iio:deviceN/name" example:"bme280"`
}

const bus = "sys/bus/iio/devices"

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

// sensor is one channel: the file of its value, and those of what to do with it.
type sensor struct {
	file          string
	scale, offset []string // the first of these that exists counts
	input         bool     // the file holds the result already
	shift         int
	channel       drivers.Channel
}

// Device is one IIO device. It is safe for concurrent use.
type Device struct {
	root    fs.FS
	cfg     Config
	sensors []sensor
	closed  atomic.Bool
}

// Open finds the device below root, the file system's root. Its channels are
// those that it has now.
func Open(ctx context.Context, root fs.FS, cfg Config) (*Device, error) {
	d := &Device{root: root, cfg: cfg}
	dir, err := d.dir()
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(root, dir)
	if err != nil {
		return nil, fmt.Errorf("iio: %s: %w", cfg.Device, err)
	}
	for _, e := range entries {
		if m := valueFile.FindStringSubmatch(e.Name()); m != nil {
			d.add(m)
		}
	}
	if len(d.sensors) == 0 {
		return nil, fmt.Errorf("iio: device %s has nothing to read: %w", cfg.Device, drivers.ErrGone)
	}
	sort.Slice(d.sensors, func(i, j int) bool { return d.sensors[i].channel.Name < d.sensors[j].channel.Name })
	return d, nil
}

// dir finds the device by its name; its number changes from boot to boot.
func (d *Device) dir() (string, error) {
	entries, err := fs.ReadDir(d.root, bus)
	if err != nil {
		return "", fmt.Errorf("iio: the kernel offers no devices: %w: %w", err, drivers.ErrGone)
	}
	var have []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "iio:device") {
			continue
		}
		dir := path.Join(bus, e.Name())
		name, _ := fs.ReadFile(d.root, path.Join(dir, "name"))
		n := strings.TrimSpace(string(name))
		if n == d.cfg.Device {
			return dir, nil
		}
		have = append(have, n)
	}
	return "", fmt.Errorf("iio: no device %q; there are %q: %w", d.cfg.Device, have, drivers.ErrGone)
}

// add takes in_TYPE[INDEX][_MODIFIER]_raw or _input. A channel that has both
// is read by input.
func (d *Device) add(m []string) {
	q, ok := quantities[m[1]]
	if !ok {
		return
	}
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
	s := sensor{
		file: m[0], input: m[4] == "input", shift: q.shift,
		scale: []string{one + "_scale", all + "_scale"}, offset: []string{one + "_offset", all + "_offset"},
		channel: drivers.Channel{Name: name, Kind: drivers.KindNumber, Unit: q.unit, Doc: q.doc},
	}
	i := slices.IndexFunc(d.sensors, func(x sensor) bool { return x.channel.Name == name })
	switch {
	case i < 0:
		d.sensors = append(d.sensors, s)
	case s.input:
		d.sensors[i] = s
	}
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
			return dst[:start], fmt.Errorf("iio: %w", drivers.ErrClosed)
		}
		n, err := d.value(dir, s)
		sample := drivers.Sample{Channel: s.channel.Name, Value: drivers.Decimal(n), Unit: s.channel.Unit, Time: time.Now()}
		if err != nil {
			sample.Value, sample.Unit = drivers.Value{}, ""
			sample.Err = fmt.Errorf("iio: %s %s: %w", d.cfg.Device, s.file, err)
		}
		dst = append(dst, sample)
	}
	return dst, nil
}

func (d *Device) value(dir string, s sensor) (drivers.Number, error) {
	n, err := d.number(path.Join(dir, s.file))
	if err != nil {
		return n, err
	}
	if !s.input {
		if offset, ok, err := d.first(dir, s.offset); err != nil {
			return n, err
		} else if ok {
			if n, err = n.Add(offset); err != nil {
				return n, err
			}
		}
		if scale, ok, err := d.first(dir, s.scale); err != nil {
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
func (d *Device) first(dir string, files []string) (n drivers.Number, ok bool, err error) {
	for _, f := range files {
		n, err = d.number(path.Join(dir, f))
		if !errors.Is(err, drivers.ErrGone) {
			return n, err == nil, err
		}
	}
	return drivers.Number{}, false, nil
}

// number reads a number and drops the zeros behind its decimals, of which the
// kernel writes nine.
func (d *Device) number(name string) (drivers.Number, error) {
	b, err := fs.ReadFile(d.root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return drivers.Number{}, fmt.Errorf("%w: %w", err, drivers.ErrGone)
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EBUSY):
		return drivers.Number{}, fmt.Errorf("%w: %w", err, drivers.ErrTimeout)
	case err != nil:
		return drivers.Number{}, fmt.Errorf("%w: %w", err, drivers.ErrProtocol)
	}
	n, err := drivers.ParseNumber(string(b))
	if err != nil {
		return n, fmt.Errorf("%w: %w", err, drivers.ErrProtocol)
	}
	for n.Exp < 0 && n.Mant%10 == 0 {
		n.Mant, n.Exp = n.Mant/10, n.Exp+1
	}
	return n, nil
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
