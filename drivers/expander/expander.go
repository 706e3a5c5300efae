// Package expander drives port expanders on I2C, which give a board further
// inputs and outputs: relay boards, opto-coupler boards, keypads. Sources:
// Microchip DS20001919 (MCP23008) and DS20001952 (MCP23017), chapter 3; NXP
// data sheets PCF8574 and PCF8575, chapter 8; TI SCPS233 (TCA9554) and SCPS200
// (TCA9555), chapter 8.
//
// It does not use periph's drivers: these switch a line to output before they
// give it a level, so that a relay may move when it is only being set up.
package expander

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// none stands for a register that a chip does not have.
const none = 0xff

// family is how a chip is spoken to. Chips of 16 lines have two registers in a
// row for each purpose, that of lines 0 to 7 first.
type family struct {
	lines int
	// Registers; a chip without them is written and read directly: its outputs
	// are what was written, and an input is an output that is high and weak.
	input, output, direction, polarity, pull byte
	// second are the other addresses that such chips come with.
	second int
}

var families = map[string]family{
	"mcp23008": {lines: 8, direction: 0x00, polarity: 0x01, pull: 0x06, input: 0x09, output: 0x0a},
	"mcp23017": {lines: 16, direction: 0x00, polarity: 0x02, pull: 0x0c, input: 0x12, output: 0x14},
	"tca9554":  {lines: 8, input: 0, output: 1, polarity: 2, direction: 3, pull: none, second: 0x38},
	"tca9555":  {lines: 16, input: 0, output: 2, polarity: 4, direction: 6, pull: none},
	"pcf8574":  {lines: 8, input: none, output: none, direction: none, polarity: none, pull: none, second: 0x38},
	"pcf8575":  {lines: 16, input: none, output: none, direction: none, polarity: none, pull: none},
}

// closing is how long Close tries to make the outputs safe.
const closing = time.Second

// Device is one expander. It is safe for concurrent use.
//
// Its outputs are safe from the first call on, after the chip lost its power,
// and from Close on. All lines of the chip are written at once, so that lines
// never pass through states that nobody wanted.
type Device struct {
	cfg    Config
	family family
	chip   *i2c.Chip
	inputs uint16 // lines that are inputs, used or not
	invert uint16 // lines whose on is low
	pulled uint16 // inputs with a resistor
	safe   uint16 // levels of the outputs when safe, as on the wire

	// Guarded by chip.Do.
	ready  bool   // the chip was set up
	doubt  bool   // since a fault: it may have lost its power, or not taken a write
	levels uint16 // of the outputs, as commanded
}

// Open returns the chip. Whether it is there shows when it is used.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*Device, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("expander: %w", err)
	}
	d := &Device{cfg: cfg, family: families[cfg.Chip], chip: i2c.NewChip(bus, uint16(cfg.Address)), inputs: 0xffff}
	for _, l := range cfg.Lines {
		bit := uint16(1) << l.Line
		if l.ActiveLow {
			d.invert |= bit
		}
		if l.PullUp {
			d.pulled |= bit
		}
		if l.Use == "output" {
			d.inputs &^= bit
			if (l.Safe == "on") != l.ActiveLow {
				d.safe |= bit
			}
		}
	}
	return d, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	cs := make([]drivers.Channel, len(d.cfg.Lines))
	for i, l := range d.cfg.Lines {
		c := drivers.Channel{Name: l.Name, Kind: drivers.KindBool, Doc: l.Doc}
		if l.Use == "output" {
			c.Writable, c.Safe = true, drivers.Bool(l.Safe == "on")
		}
		if c.Doc == "" {
			c.Doc = fmt.Sprintf("%s %d of the expander", l.Use, l.Line)
		}
		cs[i] = c
	}
	return cs
}

// Read implements drivers.Device. An output that is not where it was put gives
// an error and no state.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	var levels, commanded uint16
	var at time.Time
	err := d.chip.Do(ctx, func() (err error) {
		if err = d.usable(); err == nil {
			levels, err = d.pins()
		}
		commanded, at = d.levels, time.Now()
		return d.fault(err)
	})
	if err != nil {
		return dst, fmt.Errorf("expander: %w", err)
	}
	for _, l := range d.cfg.Lines {
		bit := uint16(1) << l.Line
		s := drivers.Sample{Channel: l.Name, Time: at}
		if l.Use == "output" && (levels^commanded)&bit != 0 {
			s.Err = d.mismatch(l, commanded&bit != 0)
		} else {
			s.Value = drivers.Bool((levels^d.invert)&bit != 0)
		}
		dst = append(dst, s)
	}
	return dst, nil
}

func (d *Device) mismatch(l Line, high bool) error {
	return fmt.Errorf("line %d does not read what it was set to (%s); look for a short circuit or another program: %w", l.Line, map[bool]string{true: "high", false: "low"}[high], drivers.ErrProtocol)
}

// Set implements drivers.Setter. It returns once the line reads back what was
// set.
func (d *Device) Set(ctx context.Context, channel string, v drivers.Value) error {
	l, err := d.output(channel)
	if err != nil {
		return err
	}
	on, ok := v.Bool()
	if !ok {
		return fmt.Errorf("expander: %s: %v is no boolean: %w", channel, v, drivers.ErrValue)
	}
	bit := uint16(1) << l.Line
	err = d.chip.Do(ctx, func() error {
		if err := d.usable(); err != nil {
			return d.fault(err)
		}
		to := d.levels &^ bit
		if on != l.ActiveLow {
			to |= bit
		}
		if err := d.write(to); err != nil {
			return d.fault(err)
		}
		d.levels = to
		got, err := d.pins()
		if err != nil {
			return d.fault(fmt.Errorf("read back: %w", err))
		}
		if (got^to)&bit != 0 {
			return d.mismatch(l, to&bit != 0)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("expander: %s: %w", channel, err)
	}
	return nil
}

func (d *Device) output(channel string) (Line, error) {
	for _, l := range d.cfg.Lines {
		if l.Name == channel && l.Use == "output" {
			return l, nil
		}
	}
	return Line{}, fmt.Errorf("expander: %q: %w", channel, drivers.ErrChannel)
}

// usable sets the chip up where it is not.
func (d *Device) usable() error {
	if !d.ready {
		return d.setUp()
	}
	lost, err := d.lostPower()
	if err == nil && lost { // once more: a disturbed octet must not move anything
		lost, err = d.lostPower()
	}
	if err != nil {
		return err
	}
	if lost {
		if err := d.setUp(); err != nil {
			return err
		}
		return fmt.Errorf("the chip had lost its power; its outputs are in their safe states now: %w", drivers.ErrProtocol)
	}
	d.doubt = false
	return nil
}

// lostPower tells whether the chip is no longer as it was set up. After a fault
// it also takes over what the chip has for its outputs.
//
// A chip without registers shows it by its levels alone, which are high from
// power-on. Without a fault before, one line that is not as commanded is a short
// circuit, and only all low ones together at the high level are a loss.
func (d *Device) lostPower() (bool, error) {
	f := d.family
	if f.direction == none {
		is, err := d.pins()
		low := ^d.levels &^ d.inputs & d.mask()
		return d.doubt && (is^d.levels)&^d.inputs&d.mask() != 0 || low != 0 && is&low == low, err
	}
	witness, want := f.direction, d.inputs
	if d.inputs&d.mask() == d.mask() && d.pulled != 0 {
		witness, want = f.pull, d.pulled
	}
	is, err := d.get(witness)
	if err != nil || (is^want)&d.mask() != 0 || !d.doubt {
		return (is^want)&d.mask() != 0, err
	}
	latch, err := d.get(f.output)
	if err == nil {
		d.levels = latch &^ d.inputs
	}
	return false, err
}

// setUp makes the outputs safe. Levels come before directions, so that no line
// is driven before it has the right level.
func (d *Device) setUp() error {
	f := d.family
	if f.pull != none {
		// Of the two layouts that the MCP23017 has, this one is meant. The first
		// write is no more than a disabled interrupt in the right layout.
		if err := d.chip.Write(0x05, 0); err != nil {
			return err
		}
		if f.lines == 16 {
			if err := d.chip.Write(0x0a, 0); err != nil {
				return err
			}
		}
	}
	if err := d.write(d.safe); err != nil {
		return err
	}
	for _, r := range []struct {
		reg   byte
		value uint16
	}{{f.polarity, 0}, {f.pull, d.pulled}, {f.direction, d.inputs}} {
		if r.reg == none {
			continue
		}
		if err := d.put(r.reg, r.value); err != nil {
			return err
		}
	}
	d.levels, d.ready, d.doubt = d.safe, true, false
	return nil
}

// fault notes that the chip may not be as it was.
func (d *Device) fault(err error) error {
	d.doubt = d.doubt || err != nil
	return err
}

func (d *Device) mask() uint16 { return 1<<d.family.lines - 1 }

// write gives the outputs their levels.
func (d *Device) write(levels uint16) error {
	if d.family.output == none {
		levels |= d.inputs // high, or they could not be read
	}
	return d.put(d.family.output, levels)
}

// pins reads the level of every line.
func (d *Device) pins() (uint16, error) { return d.get(d.family.input) }

func (d *Device) put(reg byte, v uint16) error {
	b := []byte{reg, byte(v), byte(v >> 8)}[:1+d.family.lines/8]
	if reg == none {
		b = b[1:]
	}
	return d.chip.Write(b...)
}

func (d *Device) get(reg byte) (v uint16, err error) {
	var b [2]byte
	if r := b[:d.family.lines/8]; reg == none {
		err = d.chip.Ask(r)
	} else {
		err = d.chip.Ask(r, reg)
	}
	return uint16(b[0]) | uint16(b[1])<<8, err
}

// Close implements drivers.Device: it makes the outputs safe and lets go of the
// chip.
func (d *Device) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	err := d.chip.Do(ctx, func() error {
		if !d.ready || d.inputs == 0xffff {
			return nil
		}
		return d.write(d.safe)
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
