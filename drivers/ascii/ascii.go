// Package ascii reads instruments that talk in lines of text over a serial
// port: scales, multimeters, weather stations. Regular expressions pick the
// values out of the lines.
package ascii

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Device is one instrument. It is safe for concurrent use.
type Device struct {
	cfg    Config
	fields []field
	conn   serial.Conn
	lines  *serial.Lines

	turn chan struct{} // holds one token: the right to use conn and lines
	mu   sync.Mutex
	done bool
}

// Open returns the instrument. It owns conn from then on, also when Open fails.
func Open(ctx context.Context, conn serial.Conn, cfg Config) (*Device, error) {
	fields, err := cfg.compile()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ascii: %w", err)
	}
	return &Device{cfg: cfg, fields: fields, conn: conn, lines: serial.NewLines(conn, cfg.End), turn: make(chan struct{}, 1)}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	cs := make([]drivers.Channel, len(d.fields))
	for i, f := range d.fields {
		cs[i] = drivers.Channel{Name: f.Name, Kind: drivers.KindNumber, Unit: f.Unit, Doc: f.Doc}
		if f.Type == "text" {
			cs[i].Kind = drivers.KindString
		}
		if f.Doc == "" {
			cs[i].Doc = "value of " + f.Pattern
		}
	}
	return cs
}

func (d *Device) closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// Read implements drivers.Device: it sends the request, if there is one, and
// reads lines until each field was in one of them. Fields that did not come in
// time have drivers.ErrTimeout; when none came, the device has.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return dst, context.Cause(ctx)
	}
	if d.closed() {
		return dst, fmt.Errorf("ascii: %w", drivers.ErrClosed)
	}
	defer serial.Interrupt(ctx, d.conn)()
	if err := d.ask(); err != nil {
		return dst, fmt.Errorf("ascii: %w", err)
	}
	samples := make([]drivers.Sample, len(d.fields))
	missing, damaged := len(d.fields), error(nil)
	for deadline := time.Now().Add(d.cfg.Timeout); missing > 0; {
		line, err := d.lines.Next(ctx, deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return dst, fmt.Errorf("ascii: %w", err)
		}
		if d.cfg.Checksum == "nmea" {
			if line, err = serial.CheckNMEA(line); err != nil {
				damaged = err
				continue
			}
		}
		for i, f := range d.fields {
			if samples[i].Channel == "" && f.take(line, &samples[i]) {
				missing--
			}
		}
	}
	if missing == len(d.fields) {
		if damaged != nil {
			return dst, fmt.Errorf("ascii: %w", damaged)
		}
		return dst, fmt.Errorf("ascii: no line with a value within %v: %w", d.cfg.Timeout, drivers.ErrTimeout)
	}
	for i, f := range d.fields {
		if samples[i].Channel == "" {
			samples[i] = drivers.Sample{Channel: f.Name, Time: time.Now(), Err: fmt.Errorf("ascii: no line with %s: %w", f.Name, drivers.ErrTimeout)}
		}
	}
	return append(dst, samples...), nil
}

// ask forgets what came before and sends the request. Without a request the
// lines that wait are the newest there are.
func (d *Device) ask() error {
	if d.cfg.Request == "" {
		return nil
	}
	if err := d.lines.Forget(); err != nil {
		return err
	}
	_, err := d.conn.Write([]byte(d.cfg.Request))
	return err
}

// take fills s when the line has the field.
func (f field) take(line string, s *drivers.Sample) bool {
	m := f.re.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	*s = drivers.Sample{Channel: f.Name, Time: time.Now()}
	v, err := f.value(strings.TrimSpace(m[1]))
	if err != nil {
		s.Err = fmt.Errorf("ascii: %s: %.40q: %w", f.Name, m[1], errors.Join(err, drivers.ErrProtocol))
		return true
	}
	s.Value, s.Unit = v, f.Unit
	return true
}

func (f field) value(text string) (drivers.Value, error) {
	switch f.Type {
	case "text":
		return drivers.String(text), nil
	case "hex":
		n, err := strconv.ParseInt(text, 16, 64)
		if err != nil {
			return drivers.Value{}, err
		}
		v, err := drivers.Num(n, 0).Mul(f.scale)
		return drivers.Decimal(v), err
	}
	n, err := drivers.ParseNumber(text)
	if err == nil {
		n, err = n.Mul(f.scale)
	}
	return drivers.Decimal(n), err
}

// Close implements drivers.Device.
func (d *Device) Close() error {
	d.mu.Lock()
	done := d.done
	d.done = true
	d.mu.Unlock()
	if done {
		return nil
	}
	return d.conn.Close()
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
