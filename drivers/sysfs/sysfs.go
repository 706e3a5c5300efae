// Package sysfs makes devices of what the kernel offers below /sys: it finds
// them by their names, because their numbers change from boot to boot, and
// reads their files. A simulated tree of such files comes with it.
package sysfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"postern/drivers"
)

// Class is one class of the kernel's devices.
type Class struct {
	Driver string // begins the errors: "hwmon"
	Dir    string // where its devices are: "sys/class/hwmon"
	Prefix string // of the names of their folders; empty: any
	// Sensors returns what a device has to read, given its folder.
	Sensors func(d Dir) ([]Sensor, error)
}

// Sensor is one channel and how it is read.
type Sensor struct {
	Channel drivers.Channel
	File    string // the main one, for errors
	Read    func(d Dir) (drivers.Value, error)
}

// Dir is the folder of a device.
type Dir struct {
	Root fs.FS
	Path string
}

// Text reads a file, without white space around it. Errors are drivers.ErrGone
// for a file or device that is not there, drivers.ErrTimeout for a device that
// did not answer the kernel, else drivers.ErrProtocol.
func (d Dir) Text(file string) (string, error) {
	b, err := fs.ReadFile(d.Root, path.Join(d.Path, file))
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	kind := drivers.ErrProtocol
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		kind = drivers.ErrGone
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EBUSY):
		kind = drivers.ErrTimeout
	}
	return "", fmt.Errorf("%w: %w", err, kind)
}

// Number reads a decimal number.
func (d Dir) Number(file string) (drivers.Number, error) {
	text, err := d.Text(file)
	if err != nil {
		return drivers.Number{}, err
	}
	n, err := drivers.ParseNumber(text)
	if err != nil {
		return n, fmt.Errorf("%.20q is no number: %w", text, drivers.ErrProtocol)
	}
	return n, nil
}

// Files lists the names in the folder.
func (d Dir) Files() ([]string, error) {
	entries, err := fs.ReadDir(d.Root, d.Path)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Device is one device of a class. It is safe for concurrent use.
type Device struct {
	class   *Class
	root    fs.FS
	name    string
	sensors []Sensor
	closed  atomic.Bool
}

// Open finds the device of that name below root, the file system's root. Its
// channels, in the order of their names, are those that it has now.
func (c *Class) Open(root fs.FS, name string) (*Device, error) {
	d := &Device{class: c, root: root, name: name}
	dir, err := d.dir()
	if err != nil {
		return nil, err
	}
	if d.sensors, err = c.Sensors(dir); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.Driver, name, err)
	}
	if len(d.sensors) == 0 {
		return nil, fmt.Errorf("%s: %s has nothing to read: %w", c.Driver, name, drivers.ErrGone)
	}
	sort.Slice(d.sensors, func(i, j int) bool { return d.sensors[i].Channel.Name < d.sensors[j].Channel.Name })
	return d, nil
}

// dir finds the folder of the device.
func (d *Device) dir() (Dir, error) {
	names, err := Dir{d.root, d.class.Dir}.Files()
	if err != nil {
		return Dir{}, fmt.Errorf("%s: the kernel offers no devices of this kind in /%s: %w: %w", d.class.Driver, d.class.Dir, err, drivers.ErrGone)
	}
	var have []string
	for _, n := range names {
		if !strings.HasPrefix(n, d.class.Prefix) {
			continue
		}
		dir := Dir{d.root, path.Join(d.class.Dir, n)}
		name, _ := dir.Text("name") // without one it is another device
		if name == d.name {
			return dir, nil
		}
		have = append(have, name)
	}
	return Dir{}, fmt.Errorf("%s: no device %q; there are %q: %w", d.class.Driver, d.name, have, drivers.ErrGone)
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	cs := make([]drivers.Channel, len(d.sensors))
	for i, s := range d.sensors {
		cs[i] = s.Channel
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
			return dst[:start], fmt.Errorf("%s: %w", d.class.Driver, drivers.ErrClosed)
		}
		v, err := s.Read(dir)
		sample := drivers.Sample{Channel: s.Channel.Name, Value: v, Unit: s.Channel.Unit, Time: time.Now()}
		if err != nil {
			sample.Value, sample.Unit = drivers.Value{}, ""
			sample.Err = fmt.Errorf("%s: %s %s: %w", d.class.Driver, d.name, s.File, err)
		}
		dst = append(dst, sample)
	}
	return dst, nil
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
