package modbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/drivers"
)

// Device is one unit, described by its registers. It is safe for concurrent
// use.
type Device struct {
	cfg    Config
	unit   byte
	client *Client
	points []point
	byName map[string]int

	mu     sync.Mutex // guards the rest
	blocks []Block
	noMask bool // the unit does not know function 22
	closed bool

	bits sync.Mutex // held while a bit field is read, changed and written
}

// Open returns the unit. Whether it answers shows when it is read. The client
// stays open when the device is closed.
func Open(ctx context.Context, client *Client, cfg Config) (*Device, error) {
	points, err := compile(cfg.Registers)
	if err != nil {
		return nil, fmt.Errorf("modbus: unit %d: %w", cfg.Unit, err)
	}
	switch {
	case cfg.Unit < 0 || cfg.Unit > 255:
		return nil, fmt.Errorf("modbus: unit: %d is not in 0..255", cfg.Unit)
	case client.cfg.Transport != "tcp" && (cfg.Unit == 0 || cfg.Unit > 247):
		return nil, fmt.Errorf("modbus: unit: %d is no address of a unit on a serial line, 1 to 247 are", cfg.Unit)
	}
	cfg.MaxRegisters, cfg.MaxBits = cmp.Or(cfg.MaxRegisters, maxReadRegisters), cmp.Or(cfg.MaxBits, maxReadBits)
	if err := cfg.fits(points); err != nil {
		return nil, fmt.Errorf("modbus: %w", err)
	}
	d := &Device{cfg: cfg, unit: byte(cfg.Unit), client: client, points: points, byName: map[string]int{}}
	for i, p := range points {
		d.byName[p.Name] = i
	}
	d.blocks = plan(points, all(points), cfg)
	return d, nil
}

// Channels implements drivers.Describer: the registers in the order of the
// configuration.
func (d *Device) Channels() []drivers.Channel {
	cs := make([]drivers.Channel, len(d.points))
	for i := range d.points {
		cs[i] = d.points[i].channel()
	}
	return cs
}

// Plan returns the requests that the unit is read with.
func (d *Device) Plan() []Block {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.blocks)
}

// reading is what one Read got for one point.
type reading struct {
	regs []uint16
	bit  bool
	at   time.Time
	err  error
}

// Read implements drivers.Device. A unit that is silent, or whose line is gone,
// is an error of the device; a register that the unit refuses is an error of
// its channel.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	d.mu.Lock()
	closed, blocks := d.closed, d.blocks
	d.mu.Unlock()
	if closed {
		return dst, fmt.Errorf("modbus: %w", drivers.ErrClosed)
	}
	got := make([]reading, len(d.points))
	for _, b := range blocks {
		if err := d.readBlock(ctx, b, got); err != nil {
			return dst, err
		}
	}
	for i := range d.points {
		dst = append(dst, d.sample(i, got))
	}
	return dst, nil
}

// readBlock fills got; the error is one of the device.
func (d *Device) readBlock(ctx context.Context, b Block, got []reading) error {
	err := d.request(ctx, b, got)
	var ex Exception
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &ex) || ex == NoAnswer || ex == NoPath:
		return err
	case b.holes && (ex == IllegalAddress || ex == IllegalValue):
		return d.readAcross(ctx, b, got)
	}
	for _, i := range b.points {
		got[i].err = err
	}
	return nil
}

// readAcross replaces a block by ones without holes, because the unit does not
// let its unused addresses be read. This holds from then on.
func (d *Device) readAcross(ctx context.Context, b Block, got []reading) error {
	cfg := d.cfg
	cfg.MaxHole = 0
	parts := plan(d.points, b.points, cfg)
	d.mu.Lock()
	if i := slices.IndexFunc(d.blocks, func(x Block) bool { return x.holes && x.Table == b.Table && x.Address == b.Address }); i >= 0 {
		d.blocks = slices.Concat(d.blocks[:i], parts, d.blocks[i+1:])
	}
	d.mu.Unlock()
	for _, p := range parts {
		if err := d.readBlock(ctx, p, got); err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) request(ctx context.Context, b Block, got []reading) error {
	if b.Table.Bits() {
		bits, err := d.client.ReadBits(ctx, d.unit, b.Table, uint16(b.Address), b.Count)
		for _, i := range b.points {
			if err == nil {
				got[i].bit, got[i].at = bits[d.points[i].Address-b.Address], time.Now()
			}
		}
		return err
	}
	regs, err := d.client.ReadRegisters(ctx, d.unit, b.Table, uint16(b.Address), b.Count)
	for _, i := range b.points {
		if err == nil {
			p := &d.points[i]
			at := p.Address - b.Address
			got[i].regs, got[i].at = regs[at:at+p.size], time.Now()
		}
	}
	return err
}

func (d *Device) sample(i int, got []reading) drivers.Sample {
	p, r := &d.points[i], got[i]
	s := drivers.Sample{Channel: p.Name, Time: r.at, Err: r.err}
	if s.Err == nil {
		s.Value, s.Err = d.valueOf(p, r, got)
	}
	if s.Err != nil {
		s.Value = drivers.Value{}
		s.Err = fmt.Errorf("modbus: unit %d: %s: %w", d.unit, p.Name, s.Err)
		return s
	}
	s.Unit = p.Unit
	return s
}

func (d *Device) valueOf(p *point, r reading, got []reading) (drivers.Value, error) {
	if p.table.Bits() {
		return drivers.Bool(r.bit), nil
	}
	exp := int64(0)
	if p.scaleFrom >= 0 {
		from := got[p.scaleFrom]
		if from.err != nil {
			return drivers.Value{}, from.err
		}
		exp = int64(int16(d.points[p.scaleFrom].raw(from.regs)))
	}
	return p.value(r.regs, exp)
}

// Set implements drivers.Setter: it writes and reads back. When what is read
// back differs, the error is drivers.ErrProtocol, and the unit may or may not
// have taken the value.
func (d *Device) Set(ctx context.Context, channel string, v drivers.Value) error {
	i, ok := d.byName[channel]
	if !ok || !d.points[i].Writable {
		return fmt.Errorf("modbus: unit %d: %q: %w", d.unit, channel, drivers.ErrChannel)
	}
	p := &d.points[i]
	raw, err := p.encode(v)
	if err != nil {
		return fmt.Errorf("modbus: unit %d: %s: %w", d.unit, channel, err)
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return fmt.Errorf("modbus: %w", drivers.ErrClosed)
	}
	if err := d.write(ctx, p, raw); err != nil {
		return fmt.Errorf("%s: %w", channel, err)
	}
	return d.verify(ctx, p, raw)
}

func (d *Device) write(ctx context.Context, p *point, raw uint64) error {
	addr := uint16(p.Address)
	switch {
	case p.table == Coils:
		return d.client.WriteCoil(ctx, d.unit, addr, raw != 0)
	case p.width > 0:
		return d.writeBits(ctx, p, uint16(raw))
	case p.size == 1 && !p.Multiple:
		return d.client.WriteRegister(ctx, d.unit, addr, p.registers(raw)[0])
	}
	return d.client.WriteRegisters(ctx, d.unit, addr, p.registers(raw))
}

// writeBits changes a field and leaves the other bits alone: within the unit
// by function 22, or, where it has none, by reading and writing.
func (d *Device) writeBits(ctx context.Context, p *point, field uint16) error {
	d.bits.Lock()
	defer d.bits.Unlock()
	mask := uint16((1<<p.width)-1) << p.lo
	and, or := p.registers(uint64(^mask))[0], p.registers(uint64(field << p.lo))[0]
	d.mu.Lock()
	noMask := d.noMask
	d.mu.Unlock()
	if !noMask {
		err := d.client.MaskWrite(ctx, d.unit, uint16(p.Address), and, or)
		var ex Exception
		if !errors.As(err, &ex) || ex != IllegalFunction {
			return err
		}
		d.mu.Lock()
		d.noMask = true
		d.mu.Unlock()
	}
	old, err := d.client.ReadRegisters(ctx, d.unit, Holdings, uint16(p.Address), 1)
	if err != nil {
		return err
	}
	v := old[0]&and | or
	if p.Multiple {
		return d.client.WriteRegisters(ctx, d.unit, uint16(p.Address), []uint16{v})
	}
	return d.client.WriteRegister(ctx, d.unit, uint16(p.Address), v)
}

func (d *Device) verify(ctx context.Context, p *point, want uint64) error {
	var got uint64
	if p.table == Coils {
		bits, err := d.client.ReadBits(ctx, d.unit, Coils, uint16(p.Address), 1)
		if err != nil {
			return fmt.Errorf("%s: read back: %w", p.Name, err)
		}
		if bits[0] {
			got = 1
		}
	} else {
		regs, err := d.client.ReadRegisters(ctx, d.unit, Holdings, uint16(p.Address), p.size)
		if err != nil {
			return fmt.Errorf("%s: read back: %w", p.Name, err)
		}
		if got = p.raw(regs); p.width > 0 {
			got = got >> p.lo & (1<<p.width - 1)
		}
	}
	if got != want {
		return fmt.Errorf("modbus: unit %d: %s reads 0x%x after 0x%x was written: %w", d.unit, p.Name, got, want, drivers.ErrProtocol)
	}
	return nil
}

// Close implements drivers.Device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
	_ drivers.Setter    = (*Device)(nil)
)
