// Package pca9685 drives NXP's PCA9685, sixteen PWM outputs on I2C: dimmers,
// fans, valves, servos. Source: NXP data sheet PCA9685, chapter 7.
//
// It does not use periph's driver, which switches all outputs off whenever it
// is opened: outputs have safe states of their own here, that hold at once.
package pca9685

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one PCA9685.
type Config struct {
	Bus       string   `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address   int      `yaml:"address" default:"0x40" min:"0x40" max:"0x7f" doc:"I2C address, set by the pins A0 to A5"`
	Frequency int      `yaml:"frequency" default:"1000" min:"24" max:"1526" doc:"of all outputs, in Hz: servos want 50, lamps 200 and more"`
	Inverted  bool     `yaml:"inverted" default:"false" doc:"outputs are on while their signal is low"`
	OpenDrain bool     `yaml:"open_drain" default:"false" doc:"outputs only pull down, for lamps that hang on the supply"`
	Outputs   []Output `yaml:"outputs" doc:"the outputs in use, one channel each; others stay off"`
}

// Output is one output of the chip.
type Output struct {
	Output   int    `yaml:"output" min:"0" max:"15" doc:"number of the output"`
	Name     string `yaml:"name" doc:"channel name: lower case letters, digits, hyphens" example:"dimmer"`
	Safe     string `yaml:"safe" default:"0" doc:"duty in % at start, at the end and whenever in doubt"`
	Smallest string `yaml:"smallest" default:"0" doc:"smallest duty in % besides 0"`
	Largest  string `yaml:"largest" default:"100" doc:"largest duty in %"`
	Doc      string `yaml:"doc,omitempty" doc:"what it is, in a few words"`
}

// output is an Output with its percentages in hundredths.
type output struct {
	Output
	safe, smallest, largest int64
}

var channelName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	_, err := c.outputs()
	return err
}

func (c Config) outputs() ([]output, error) {
	switch {
	case c.Address < 0x40 || c.Address > 0x7f:
		return nil, fmt.Errorf("address: 0x%02x is not in 0x40..0x7f", c.Address)
	case c.Address == 0x70:
		return nil, errors.New("address: 0x70 is where all such chips answer; solder another one")
	case c.Frequency < 24 || c.Frequency > 1526:
		return nil, fmt.Errorf("frequency: %d is not in 24..1526", c.Frequency)
	case len(c.Outputs) == 0:
		return nil, errors.New("outputs: name at least one")
	}
	outs := make([]output, len(c.Outputs))
	numbers, names := map[int]bool{}, map[string]bool{}
	for i, o := range c.Outputs {
		var err error
		if outs[i], err = o.check(); err != nil {
			return nil, fmt.Errorf("outputs[%d]: %w", i, err)
		}
		if numbers[o.Output] || names[o.Name] {
			return nil, fmt.Errorf("outputs[%d]: output %d or name %q is there twice", i, o.Output, o.Name)
		}
		numbers[o.Output], names[o.Name] = true, true
	}
	return outs, nil
}

func (o Output) check() (out output, err error) {
	out.Output = o
	switch {
	case o.Output < 0 || o.Output > 15:
		return out, fmt.Errorf("output: %d is not in 0..15", o.Output)
	case len(o.Name) > 64 || !channelName.MatchString(o.Name):
		return out, fmt.Errorf("name: %q is not lower case letters, digits and hyphens", o.Name)
	}
	for _, x := range []struct {
		key, text string
		to        *int64
	}{{"safe", o.Safe, &out.safe}, {"smallest", o.Smallest, &out.smallest}, {"largest", o.Largest, &out.largest}} {
		n, err := drivers.ParseNumber(x.text)
		if err == nil {
			n, err = n.Rescale(-2)
		}
		if err != nil || n.Mant < 0 || n.Mant > full {
			return out, fmt.Errorf("%s: %q is not a percentage", x.key, x.text)
		}
		*x.to = n.Mant
	}
	if out.smallest > out.largest || !out.allows(out.safe) {
		return out, errors.New("safe must be 0 or within smallest..largest, and smallest not above largest")
	}
	return out, nil
}

// allows tells whether a duty may be set.
func (o output) allows(duty int64) bool {
	return duty == 0 || duty >= o.smallest && duty <= o.largest
}

const full = 10000 // hundredths of a percent

// Registers and their bits.
const (
	mode1    = 0x00
	mode2    = 0x01
	led0     = 0x06 // four octets per output: ON low, high, OFF low, high
	prescale = 0xfe

	autoIncrement = 0x20
	asleep        = 0x10
	inverted      = 0x10
	totemPole     = 0x04
	wholly        = 0x10 // in a high octet: on or off for the whole period

	oscillator = 25_000_000 // Hz
	steps      = 4096
	waking     = 500 * time.Microsecond
	// closing is how long Close tries to make the outputs safe.
	closing = time.Second
)

// Device is one chip. It is safe for concurrent use.
type Device struct {
	cfg     Config
	outputs []output
	chip    *i2c.Chip

	// Guarded by chip.Do.
	ready bool
	now   [16]int64 // duties as commanded, in hundredths of a percent
}

// Open returns the chip. Whether it is there shows when it is used.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*Device, error) {
	outs, err := cfg.outputs()
	if err != nil {
		return nil, fmt.Errorf("pca9685: %w", err)
	}
	return &Device{cfg: cfg, outputs: outs, chip: i2c.NewChip(bus, uint16(cfg.Address))}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	cs := make([]drivers.Channel, len(d.outputs))
	for i, o := range d.outputs {
		cs[i] = drivers.Channel{
			Name: o.Name, Kind: drivers.KindNumber, Unit: "%", Doc: o.Doc, Writable: true,
			Min: drivers.Num(0, -2), Max: drivers.Num(o.largest, -2), HasMin: true, HasMax: true,
			Safe: drivers.Decimal(drivers.Num(o.safe, -2)),
		}
		if o.Doc == "" {
			cs[i].Doc = fmt.Sprintf("share of time that output %d is on", o.Output.Output)
		}
	}
	return cs
}

// wire is what an output's four registers hold for a duty.
func wire(duty int64) [4]byte {
	switch off := (duty*steps + full/2) / full; {
	case off <= 0:
		return [4]byte{3: wholly}
	case off >= steps:
		return [4]byte{1: wholly}
	default:
		return [4]byte{2: byte(off), 3: byte(off >> 8)}
	}
}

func (d *Device) mode2() byte {
	m := byte(totemPole)
	if d.cfg.OpenDrain {
		m = 0
	}
	if d.cfg.Inverted {
		m |= inverted
	}
	return m
}

func (d *Device) prescale() byte {
	return byte((oscillator+steps*d.cfg.Frequency/2)/(steps*d.cfg.Frequency) - 1)
}

// setUp makes the outputs safe. Only a chip that sleeps, or has another
// frequency, is stopped for it: that takes a millisecond with all outputs off.
func (d *Device) setUp() error {
	var have [1]byte
	if err := d.chip.Ask(have[:], mode1); err != nil {
		return err
	}
	awake := have[0]&asleep == 0
	if err := d.chip.Ask(have[:], prescale); err != nil {
		return err
	}
	awake = awake && have[0] == d.prescale()
	if !awake {
		if err := d.chip.Write(mode1, autoIncrement|asleep); err != nil {
			return err
		}
		if err := d.chip.Write(prescale, d.prescale()); err != nil {
			return err
		}
	}
	if err := d.chip.Write(mode2, d.mode2()); err != nil {
		return err
	}
	if err := d.chip.Write(mode1, autoIncrement|map[bool]byte{false: asleep}[awake]); err != nil {
		return err
	}
	if err := d.makeSafe(); err != nil {
		return err
	}
	if !awake {
		if err := d.chip.Write(mode1, autoIncrement); err != nil {
			return err
		}
		if err := d.chip.Sleep(waking); err != nil {
			return err
		}
	}
	d.ready = true
	return nil
}

func (d *Device) makeSafe() error {
	for _, o := range d.outputs {
		if err := d.put(o, o.safe); err != nil {
			return err
		}
	}
	return nil
}

// put writes the four registers of an output in one transaction: the chip
// takes them over together.
func (d *Device) put(o output, duty int64) error {
	w := wire(duty)
	if err := d.chip.Write(led0+4*byte(o.Output.Output), w[0], w[1], w[2], w[3]); err != nil {
		return err
	}
	d.now[o.Output.Output] = duty
	return nil
}

func (d *Device) get(o output) (w [4]byte, err error) {
	return w, d.chip.Ask(w[:], led0+4*byte(o.Output.Output))
}

// usable sets the chip up where it is not; one that lost its power sleeps.
func (d *Device) usable() error {
	if !d.ready {
		return d.setUp()
	}
	for range 2 { // twice: a disturbed octet must not move anything
		var have [1]byte
		if err := d.chip.Ask(have[:], mode1); err != nil {
			return err
		}
		if have[0]&(autoIncrement|asleep) == autoIncrement {
			return nil
		}
	}
	if err := d.setUp(); err != nil {
		return err
	}
	return fmt.Errorf("the chip had lost its power; its outputs have their safe duties now: %w", drivers.ErrProtocol)
}

// Read implements drivers.Device: it reads back what the chip holds.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	out := dst
	err := d.chip.Do(ctx, func() error {
		if err := d.usable(); err != nil {
			return err
		}
		for _, o := range d.outputs {
			w, err := d.get(o)
			if err != nil {
				return err
			}
			s := drivers.Sample{Channel: o.Name, Time: time.Now()}
			if duty := d.now[o.Output.Output]; w == wire(duty) {
				s.Value, s.Unit = drivers.Decimal(drivers.Num(duty, -2)), "%"
			} else {
				s.Err = fmt.Errorf("the chip holds % x, not % x; another program drives it: %w", w, wire(duty), drivers.ErrProtocol)
			}
			out = append(out, s)
		}
		return nil
	})
	if err != nil {
		return dst, fmt.Errorf("pca9685: %w", err)
	}
	return out, nil
}

// Set implements drivers.Setter. It returns once the chip reads back what was
// set.
func (d *Device) Set(ctx context.Context, channel string, v drivers.Value) error {
	o, err := d.find(channel)
	if err != nil {
		return err
	}
	given, ok := v.Number()
	if !ok {
		return fmt.Errorf("pca9685: %s: %v is no number: %w", channel, v, drivers.ErrValue)
	}
	n, err := given.Rescale(-2)
	if err != nil || n.Cmp(given) != 0 || !o.allows(n.Mant) {
		return fmt.Errorf("pca9685: %s: %v %% is not 0 or within %s..%s in steps of 0.01: %w", channel, v, drivers.Num(o.smallest, -2), drivers.Num(o.largest, -2), drivers.ErrValue)
	}
	err = d.chip.Do(ctx, func() error {
		if err := d.usable(); err != nil {
			return err
		}
		if err := d.put(o, n.Mant); err != nil {
			return err
		}
		w, err := d.get(o)
		if err == nil && w != wire(n.Mant) {
			err = fmt.Errorf("the chip holds % x after % x was written: %w", w, wire(n.Mant), drivers.ErrProtocol)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("pca9685: %s: %w", channel, err)
	}
	return nil
}

func (d *Device) find(channel string) (output, error) {
	for _, o := range d.outputs {
		if o.Name == channel {
			return o, nil
		}
	}
	return output{}, fmt.Errorf("pca9685: %q: %w", channel, drivers.ErrChannel)
}

// Close implements drivers.Device: it gives the outputs their safe duties and
// lets go of the chip, which goes on with them.
func (d *Device) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	err := d.chip.Do(ctx, func() error {
		if !d.ready {
			return nil
		}
		return d.makeSafe()
	})
	d.chip.Close()
	if errors.Is(err, drivers.ErrClosed) {
		return nil
	}
	return err
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
	_ drivers.Setter    = (*Device)(nil)
)
