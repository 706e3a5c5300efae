// Package pwm drives the kernel's PWM channels: fans, dimmers, valves, servos.
// Source: the kernel's Documentation/driver-api/pwm, "Using PWMs with the sysfs
// interface".
package pwm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/drivers"
)

// Config is the configuration of one PWM channel.
type Config struct {
	Chip     string        `yaml:"chip" doc:"name of the chip's device, the end of the link /sys/class/pwm/pwmchipN/device" example:"fe20c000.pwm"`
	Channel  int           `yaml:"channel" default:"0" min:"0" max:"63" doc:"channel on the chip"`
	Period   time.Duration `yaml:"period" default:"1ms" min:"100ns" max:"1s" doc:"period of the signal: 1ms is 1 kHz; fans want 40us, servos 20ms"`
	Inverted bool          `yaml:"inverted" default:"false" doc:"the output is on while the signal is low"`
	Safe     string        `yaml:"safe" default:"0" doc:"duty in % at start, at the end and whenever in doubt"`
	Smallest string        `yaml:"smallest" default:"0" doc:"smallest duty in % besides 0, for fans that do not start below it"`
	Largest  string        `yaml:"largest" default:"100" doc:"largest duty in %"`
}

// duties are the configured percentages in hundredths.
type duties struct{ safe, smallest, largest int64 }

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	_, err := c.duties()
	return err
}

func (c Config) duties() (d duties, err error) {
	if c.Chip == "" || strings.ContainsAny(c.Chip, "/\x00") {
		return d, fmt.Errorf("chip: %q is no name of a device", c.Chip)
	}
	if c.Period < 100*time.Nanosecond || c.Period > time.Second {
		return d, fmt.Errorf("period: %v is not in 100ns..1s", c.Period)
	}
	for _, x := range []struct {
		key, text string
		to        *int64
	}{{"safe", c.Safe, &d.safe}, {"smallest", c.Smallest, &d.smallest}, {"largest", c.Largest, &d.largest}} {
		n, err := drivers.ParseNumber(x.text)
		if err == nil {
			n, err = n.Rescale(-2)
		}
		if err != nil || n.Mant < 0 || n.Mant > 10000 {
			return d, fmt.Errorf("%s: %q is not a percentage", x.key, x.text)
		}
		*x.to = n.Mant
	}
	if d.smallest > d.largest || d.safe > d.largest || d.safe != 0 && d.safe < d.smallest {
		return d, errors.New("safe must be 0 or within smallest..largest")
	}
	return d, nil
}

// Device is one channel. It is safe for concurrent use.
type Device struct {
	cfg Config
	duties

	mu     sync.Mutex // guards the channel
	files  files
	there  bool  // false while the channel is away
	now    int64 // duty as commanded, in hundredths of a percent
	closed bool
}

// files are the kernel's files of one channel.
type files interface {
	// export makes them appear.
	export(Config) error
	read(name string) (string, error)
	write(name, text string) error
}

// Open takes the channel and puts it at its safe duty.
func Open(ctx context.Context, cfg Config) (*Device, error) { return open(&sysfs{root: "/"}, cfg) }

func open(f files, cfg Config) (*Device, error) {
	d := &Device{cfg: cfg, files: f}
	var err error
	if d.duties, err = cfg.duties(); err != nil {
		return nil, fmt.Errorf("pwm: %w", err)
	}
	if err := d.setUp(); err != nil {
		return nil, fmt.Errorf("pwm: %w", err)
	}
	return d, nil
}

// setUp exports the channel and makes it safe before it is switched on.
func (d *Device) setUp() error {
	if err := d.files.export(d.cfg); err != nil {
		return err
	}
	d.there = true
	// The duty must not be longer than the period at any moment.
	if err := d.put("duty_cycle", 0); err != nil {
		return err
	}
	if err := d.put("period", int64(d.cfg.Period)); err != nil {
		return err
	}
	polarity := "normal"
	if d.cfg.Inverted {
		polarity = "inversed"
	}
	if err := d.files.write("polarity", polarity); err != nil && (d.cfg.Inverted || !errors.Is(err, fs.ErrNotExist)) {
		if have, readErr := d.files.read("polarity"); readErr != nil || have != polarity {
			return d.lose(fmt.Errorf("polarity %s: %w", polarity, err))
		}
	}
	if err := d.duty(d.safe); err != nil {
		return err
	}
	return d.put("enable", 1)
}

func (d *Device) put(file string, n int64) error {
	if err := d.files.write(file, strconv.FormatInt(n, 10)); err != nil {
		return d.lose(fmt.Errorf("%s: %w", file, err))
	}
	return nil
}

func (d *Device) duty(hundredths int64) error {
	if err := d.put("duty_cycle", int64(d.cfg.Period)*hundredths/10000); err != nil {
		return err
	}
	d.now = hundredths
	return nil
}

// lose lets the next call set the channel up again.
func (d *Device) lose(err error) error {
	d.there = false
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; a udev rule must give the files to the user", err)
	}
	return fmt.Errorf("%w: %w", err, drivers.ErrGone)
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	return []drivers.Channel{{
		Name: "duty", Kind: drivers.KindNumber, Unit: "%", Doc: "share of time that the output is on", Writable: true,
		Min: drivers.Num(0, -2), Max: drivers.Num(d.largest, -2), HasMin: true, HasMax: true,
		Safe: drivers.Decimal(drivers.Num(d.safe, -2)),
	}}
}

func (d *Device) usable(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case d.closed:
		return drivers.ErrClosed
	case !d.there:
		return d.setUp() // back at its safe duty
	}
	return nil
}

// Read implements drivers.Device: it reads back what the kernel holds.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(ctx); err != nil {
		return dst, fmt.Errorf("pwm: %w", err)
	}
	var ns [2]int64
	for i, file := range []string{"duty_cycle", "period"} {
		text, err := d.files.read(file)
		if err == nil {
			ns[i], err = strconv.ParseInt(text, 10, 64)
		}
		if err != nil {
			return dst, fmt.Errorf("pwm: %w", d.lose(err))
		}
	}
	s := drivers.Sample{Channel: "duty", Time: time.Now()}
	if want := int64(d.cfg.Period) * d.now / 10000; ns[0] != want || ns[1] != int64(d.cfg.Period) {
		s.Err = fmt.Errorf("pwm: the kernel holds %d of %d ns, not %d of %d; another program drives the channel: %w", ns[0], ns[1], want, int64(d.cfg.Period), drivers.ErrProtocol)
	} else {
		s.Value, s.Unit = drivers.Decimal(drivers.Num(d.now, -2)), "%"
	}
	return append(dst, s), nil
}

// Set implements drivers.Setter.
func (d *Device) Set(ctx context.Context, channel string, v drivers.Value) error {
	if channel != "duty" {
		return fmt.Errorf("pwm: %q: %w", channel, drivers.ErrChannel)
	}
	n, ok := v.Number()
	if !ok {
		return fmt.Errorf("pwm: %v is no number: %w", v, drivers.ErrValue)
	}
	h, err := n.Rescale(-2)
	if err != nil || h.Cmp(n) != 0 || h.Mant < 0 || h.Mant > d.largest || h.Mant != 0 && h.Mant < d.smallest {
		return fmt.Errorf("pwm: %v %% is not 0 or within %s..%s in steps of 0.01: %w", v,
			drivers.Num(d.smallest, -2), drivers.Num(d.largest, -2), drivers.ErrValue)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(ctx); err != nil {
		return fmt.Errorf("pwm: %w", err)
	}
	if err := d.duty(h.Mant); err != nil {
		return fmt.Errorf("pwm: %w", err)
	}
	return nil
}

// Close implements drivers.Device: it moves to the safe duty and leaves the
// channel running there.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if !d.there {
		return nil
	}
	return d.duty(d.safe)
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
	_ drivers.Setter    = (*Device)(nil)
)
