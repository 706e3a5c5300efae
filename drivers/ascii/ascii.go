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
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Device is one instrument. It is safe for concurrent use.
type Device struct {
	*serial.Front
	cfg    Config
	fields []field
	conn   serial.Conn // this and lines are used in Front.Do
	lines  *serial.Lines
}

// Open returns the instrument. It owns conn from then on, also when Open fails.
func Open(ctx context.Context, conn serial.Conn, cfg Config) (*Device, error) {
	fields, err := cfg.compile()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ascii: %w", err)
	}
	return &Device{serial.NewFront("ascii", conn), cfg, fields, conn, serial.NewLines(conn, cfg.End)}, nil
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

// Read implements drivers.Device: it sends the request, if there is one, and
// reads lines until each field was in one of them. Fields that did not come in
// time have drivers.ErrTimeout; when none came, the device has.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	err := d.Do(ctx, func() error {
		if err := d.ask(); err != nil {
			return err
		}
		samples, err := d.listen(ctx)
		dst = append(dst, samples...)
		return err
	})
	return dst, err
}

// listen returns a sample for each field, or none and an error.
func (d *Device) listen(ctx context.Context) ([]drivers.Sample, error) {
	samples, err := d.waiting(ctx)
	if err != nil {
		return nil, err
	}
	missing, damaged := 0, error(nil)
	for _, s := range samples {
		if s.Channel == "" {
			missing++
		}
	}
	for deadline := time.Now().Add(d.cfg.Timeout); missing > 0; {
		line, err := d.lines.Next(ctx, deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err == nil {
			var n int
			n, err = d.cfg.take(line, d.fields, samples)
			missing -= n
			if err != nil {
				damaged = err
				continue
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if missing == len(d.fields) {
		if damaged != nil {
			return nil, damaged
		}
		return nil, fmt.Errorf("no line with a value within %v: %w", d.cfg.Timeout, drivers.ErrTimeout)
	}
	for i, f := range d.fields {
		if samples[i].Channel == "" {
			samples[i] = drivers.Sample{Channel: f.Name, Time: time.Now(), Err: fmt.Errorf("ascii: no line with %s: %w", f.Name, drivers.ErrTimeout)}
		}
	}
	return samples, nil
}

// What an instrument that speaks by itself said since the last reading waits in
// the kernel's buffer, which drops what comes when it is full. A line that waits
// is there at once.
const (
	bufferSize = 4000
	atOnce     = 5 * time.Millisecond
)

// waiting takes the lines that wait; the newest one with a field counts. With a
// line a reading, they would be older from reading to reading. Where so many wait
// that some may be lost, all are dropped, and the line that is cut by that.
func (d *Device) waiting(ctx context.Context) ([]drivers.Sample, error) {
	newest := make([]drivers.Sample, len(d.fields))
	if d.cfg.Request != "" { // then nothing waits
		return newest, nil
	}
	for octets := 0; octets < bufferSize; {
		line, err := d.lines.Next(ctx, time.Now().Add(atOnce))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return newest, nil
		}
		if err != nil {
			return nil, err
		}
		octets += len(line) + len(d.cfg.End)
		samples := make([]drivers.Sample, len(d.fields))
		_, _ = d.cfg.take(line, d.fields, samples) // a damaged one is passed over
		for i, s := range samples {
			if s.Channel != "" {
				newest[i] = s
			}
		}
	}
	if err := d.lines.Forget(); err != nil {
		return nil, err
	}
	_, err := d.lines.Next(ctx, time.Now().Add(d.cfg.Timeout))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return make([]drivers.Sample, len(d.fields)), err
}

// take fills the samples of the fields that a line has and that were not in an
// earlier one, and returns how many. An error is of a damaged line.
func (c Config) take(line string, fields []field, samples []drivers.Sample) (n int, err error) {
	if c.Checksum == "nmea" {
		if line, err = serial.CheckNMEA(line); err != nil {
			return 0, err
		}
	}
	for i, f := range fields {
		if samples[i].Channel == "" && f.take(line, &samples[i]) {
			n++
		}
	}
	return n, nil
}

// ask forgets what came before and sends the request, where there is one.
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

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
