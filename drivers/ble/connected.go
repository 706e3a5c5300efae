package ble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/ble/gatt"
	"postern/drivers/ble/hci"
)

// ConnectedConfig is the configuration of one device that is connected to and
// read (GATT).
type ConnectedConfig struct {
	Bus             string           `yaml:"bus" doc:"name of the Bluetooth adapter in the section buses" example:"air"`
	Address         string           `yaml:"address" doc:"the device's address" example:"C4:7C:8D:00:11:33"`
	AddressType     string           `yaml:"address_type" default:"public" oneof:"public|random" doc:"kind of the address"`
	Timeout         time.Duration    `yaml:"timeout" default:"10s" min:"1s" max:"60s" doc:"how long connecting and reading may take together"`
	Characteristics []Characteristic `yaml:"characteristics" doc:"the values of the device, one channel each"`
}

// Characteristic is one value of a device.
type Characteristic struct {
	Name   string `yaml:"name" doc:"channel name: lower case letters, digits, hyphens" example:"temperature"`
	UUID   string `yaml:"uuid" doc:"UUID, short or long" example:"2a6e"`
	Type   string `yaml:"type" default:"int16" oneof:"bool|uint8|int8|uint16|int16|uint24|uint32|int32|string" doc:"how its octets are read, the lowest first"`
	At     int    `yaml:"at" default:"0" min:"0" max:"500" doc:"where in the value it begins"`
	Scale  string `yaml:"scale" default:"1" doc:"factor; its decimals are kept: 0.01 reads 2150 as 21.50" example:"0.01"`
	Unit   string `yaml:"unit,omitempty" doc:"unit of the scaled value" example:"°C"`
	Notify bool   `yaml:"notify" default:"false" doc:"stay connected and be told when it changes, instead of reading it"`
}

// sizes of the types in octets; a string takes what there is.
var sizes = map[string]int{"bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint24": 3, "uint32": 4, "int32": 4, "string": 0}

// value is a compiled Characteristic.
type value struct {
	Characteristic
	uuid    gatt.UUID
	scale   drivers.Number
	channel drivers.Channel
}

// Validate reports what the tags cannot express.
func (c ConnectedConfig) Validate() error {
	_, err := c.compile()
	return err
}

func (c ConnectedConfig) compile() (out []value, err error) {
	if _, err := ParseAddress(c.Address); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	if len(c.Characteristics) == 0 {
		return nil, errors.New("characteristics: none; name at least one")
	}
	for i, ch := range c.Characteristics {
		v := value{Characteristic: ch}
		fault := func(err error) error { return fmt.Errorf("characteristics[%d]: %w", i, err) }
		if v.uuid, err = gatt.ParseUUID(ch.UUID); err != nil {
			return nil, fault(err)
		}
		if v.scale, err = drivers.ParseNumber(ch.Scale); err != nil {
			return nil, fault(fmt.Errorf("scale: %w", err))
		}
		if _, ok := sizes[ch.Type]; !ok {
			return nil, fault(fmt.Errorf("type: there is no %q", ch.Type))
		}
		if ch.Name == "" || strings.Trim(ch.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			slices.ContainsFunc(out, func(o value) bool { return o.Name == ch.Name }) {
			return nil, fault(fmt.Errorf("name: %q is not lower case letters, digits and hyphens, or is there twice", ch.Name))
		}
		kind := drivers.KindNumber
		switch ch.Type {
		case "bool":
			kind = drivers.KindBool
		case "string":
			kind = drivers.KindString
		}
		v.channel = drivers.Channel{Name: ch.Name, Kind: kind, Unit: ch.Unit, Doc: "characteristic " + ch.UUID}
		out = append(out, v)
	}
	return out, nil
}

// decode reads a value out of the octets of its characteristic.
func (v value) decode(b []byte) (drivers.Value, error) {
	n := sizes[v.Type]
	if len(b) < v.At+n {
		return drivers.Value{}, fmt.Errorf("ble: %s: %d octets, %s at %d needs more: %w", v.Name, len(b), v.Type, v.At, drivers.ErrProtocol)
	}
	b = b[v.At:]
	if v.Type == "string" {
		return drivers.String(printable(b)), nil
	}
	var wide [8]byte
	copy(wide[:], b[:n])
	raw := int64(binary.LittleEndian.Uint64(wide[:]))
	switch v.Type {
	case "bool":
		return drivers.Bool(raw != 0), nil
	case "int8":
		raw = int64(int8(raw))
	case "int16":
		raw = int64(int16(raw))
	case "int32":
		raw = int64(int32(raw))
	}
	x, err := drivers.Num(raw, 0).Mul(v.scale)
	if err != nil {
		return drivers.Value{}, fmt.Errorf("ble: %s: %w", v.Name, err)
	}
	return drivers.Decimal(x), nil
}

// Connected is one device that is connected to. It is safe for concurrent use.
// Without notifications it is connected only while it is read.
type Connected struct {
	cfg    ConnectedConfig
	radio  *Radio
	values []value
	keep   bool // a value is notified

	news news

	reading sync.Mutex // one Read at a time

	mu     sync.Mutex
	link   *link
	told   map[string]drivers.Sample // by notifications
	closed bool
}

// link is a connection that is up.
type link struct {
	conn    *hci.Conn
	client  *gatt.Client
	handles map[string]gatt.Characteristic // by channel
}

// OpenConnected returns the device. Whether it answers shows when it is read.
func OpenConnected(_ context.Context, r *Radio, cfg ConnectedConfig) (*Connected, error) {
	values, err := cfg.compile()
	if err != nil {
		return nil, fmt.Errorf("ble-gatt: %w", err)
	}
	d := &Connected{cfg: cfg, radio: r, values: values, told: map[string]drivers.Sample{}, news: newNews()}
	d.keep = slices.ContainsFunc(values, func(v value) bool { return v.Notify })
	return d, nil
}

// Channels implements drivers.Describer.
func (d *Connected) Channels() []drivers.Channel {
	out := make([]drivers.Channel, len(d.values))
	for i, v := range d.values {
		out[i] = v.channel
	}
	return out
}

// Read implements drivers.Device.
func (d *Connected) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	d.reading.Lock()
	defer d.reading.Unlock()
	if err := ctx.Err(); err != nil {
		return dst, context.Cause(ctx)
	}
	d.mu.Lock()
	closed, l := d.closed, d.link
	d.mu.Unlock()
	if closed {
		return dst, fmt.Errorf("ble-gatt: %w", drivers.ErrClosed)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.Timeout, fmt.Errorf("ble-gatt: %s: %w", d.cfg.Address, drivers.ErrTimeout))
	defer cancel()
	if l != nil {
		out, err := d.sample(ctx, l, dst)
		if err == nil {
			return out, nil
		}
		d.drop(l) // it may be up again at once
	}
	out := dst
	err := d.radio.with(ctx, func(ctx context.Context, h *hci.Host) error {
		l, err := d.connect(ctx, h)
		if err != nil {
			return err
		}
		if out, err = d.sample(ctx, l, dst); err != nil || !d.keep {
			l.end()
			return err
		}
		d.mu.Lock()
		d.link = l
		closed := d.closed
		d.mu.Unlock()
		if closed {
			d.drop(l)
		}
		return nil
	})
	if err != nil {
		return dst, fmt.Errorf("ble-gatt: %s: %w", d.cfg.Address, err)
	}
	return out, nil
}

func (d *Connected) connect(ctx context.Context, h *hci.Host) (*link, error) {
	addr, err := ParseAddress(d.cfg.Address)
	if err != nil {
		return nil, err
	}
	conn, err := h.Connect(ctx, addr, d.cfg.AddressType == "random")
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, handles: map[string]gatt.Characteristic{}}
	l.client = gatt.New(conn, func(handle uint16, b []byte) { d.notified(l, handle, b) })
	list, err := l.client.Characteristics(ctx)
	if err != nil {
		l.end()
		return nil, err
	}
	d.mu.Lock()
	for _, v := range d.values {
		if c, err := gatt.Find(list, v.uuid); err == nil {
			l.handles[v.Name] = c
		}
	}
	d.mu.Unlock()
	for _, v := range d.values {
		c, ok := l.handles[v.Name]
		if !v.Notify || !ok {
			continue
		}
		if err := l.client.Subscribe(ctx, c); err != nil {
			l.end()
			return nil, err
		}
	}
	return l, nil
}

func (l *link) end() {
	l.client.Close()
	_ = l.conn.Close() // it may have ended already
}

// drop ends a connection and forgets what it told.
func (d *Connected) drop(l *link) {
	d.mu.Lock()
	if d.link == l {
		d.link = nil
		clear(d.told)
	}
	d.mu.Unlock()
	l.end()
}

// sample reads all values over a connection. The first value that is notified
// may not have come yet: then it is read too, if the device lets it be.
func (d *Connected) sample(ctx context.Context, l *link, dst []drivers.Sample) ([]drivers.Sample, error) {
	for _, v := range d.values {
		s := drivers.Sample{Channel: v.Name, Time: time.Now()}
		c, ok := l.handles[v.Name]
		d.mu.Lock()
		told, was := d.told[v.Name]
		d.mu.Unlock()
		switch {
		case !ok:
			s.Err = fmt.Errorf("ble-gatt: %s has no characteristic %s: %w", d.cfg.Address, v.UUID, drivers.ErrChannel)
		case v.Notify && was && l.conn.Err() == nil:
			s = told
		default:
			b, err := l.client.Read(ctx, c)
			if errors.Is(err, gatt.ErrRefused) {
				s.Err = err
			} else if err != nil {
				return dst, err
			} else if s.Value, s.Err = v.decode(b); s.Err == nil {
				s.Unit, s.Time = v.Unit, time.Now()
			}
		}
		dst = append(dst, s)
	}
	return dst, nil
}

// notified takes what the device told by itself; it runs on the client's
// goroutine.
func (d *Connected) notified(l *link, handle uint16, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.values {
		if c, ok := l.handles[v.Name]; !ok || c.Handle != handle {
			continue
		}
		x, err := v.decode(b)
		s := drivers.Sample{Channel: v.Name, Value: x, Time: time.Now(), Err: err}
		if err == nil {
			s.Unit = v.Unit
		}
		d.told[v.Name] = s
		d.news.tell(s)
	}
}

// Watch implements drivers.Watcher.
func (d *Connected) Watch(ctx context.Context, changed func(drivers.Sample)) error {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return fmt.Errorf("ble-gatt: %w", drivers.ErrClosed)
	}
	return d.news.deliver(ctx, changed)
}

// Close implements drivers.Device.
func (d *Connected) Close() error {
	d.mu.Lock()
	d.closed = true
	l := d.link
	d.mu.Unlock()
	if l != nil {
		d.drop(l)
	}
	return nil
}

var (
	_ drivers.Device    = (*Connected)(nil)
	_ drivers.Describer = (*Connected)(nil)
	_ drivers.Watcher   = (*Connected)(nil)
)
