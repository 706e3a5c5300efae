// Package pms5003 reads Plantower's PMS5003, PMS7003 and PMSA003 (particulate
// matter) on a serial line. Checked with frames of real sensors from
// the tests of other programs.
package pms5003

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Config is the configuration of one sensor.
type Config struct {
	Serial  serial.Config `yaml:"serial" doc:"the serial port, at the sensor's fixed 9600 Bd"`
	Timeout time.Duration `yaml:"timeout" default:"4s" min:"100ms" max:"1m" doc:"how long a reading may take; the sensor sends every 0.2 to 2.3 s"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Timeout <= 0 {
		return errors.New("timeout: must be more than 0")
	}
	return c.Serial.Validate()
}

// frameSize is 42 4d, the length 28, 13 words of data and the sum of all that.
const frameSize = 32

var head = []byte{0x42, 0x4d, 0, frameSize - 4}

// quantities are words of the frame, counted from the fourth: masses in the
// atmosphere, and particles in a tenth of a litre.
var quantities = [...]drivers.Channel{
	{Name: "pm1", Kind: drivers.KindNumber, Unit: "µg/m³", Doc: "mass of particles up to 1 µm"},
	{Name: "pm2-5", Kind: drivers.KindNumber, Unit: "µg/m³", Doc: "mass of particles up to 2.5 µm"},
	{Name: "pm10", Kind: drivers.KindNumber, Unit: "µg/m³", Doc: "mass of particles up to 10 µm"},
	{Name: "number-over-0-3", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles beyond 0.3 µm"},
	{Name: "number-over-0-5", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles beyond 0.5 µm"},
	{Name: "number-over-1", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles beyond 1 µm"},
	{Name: "number-over-2-5", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles beyond 2.5 µm"},
	{Name: "number-over-5", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles beyond 5 µm"},
	{Name: "number-over-10", Kind: drivers.KindNumber, Unit: "1/cm³", Doc: "number of particles beyond 10 µm"},
}

// next takes the first frame out of buf. rest is what is not yet used; err
// tells of frames that were damaged.
func next(buf []byte) (frame, rest []byte, err error) {
	for {
		i := bytes.Index(buf, head)
		if i < 0 {
			return nil, buf[max(0, len(buf)-len(head)+1):], err
		}
		if buf = buf[i:]; len(buf) < frameSize {
			return nil, buf, err
		}
		if sum(buf[:frameSize-2]) == word(buf, frameSize-2) {
			return buf[:frameSize], buf[frameSize:], nil
		}
		err = fmt.Errorf("frame % x has a wrong sum; check the cable: %w", buf[:frameSize], drivers.ErrProtocol)
		buf = buf[len(head):]
	}
}

func word(b []byte, i int) uint16 { return uint16(b[i])<<8 | uint16(b[i+1]) }

func sum(b []byte) (s uint16) {
	for _, x := range b {
		s += uint16(x)
	}
	return s
}

func decode(dst []drivers.Sample, frame []byte, now time.Time) []drivers.Sample {
	for i, q := range quantities {
		v := drivers.Num(int64(word(frame, 10+2*i)), 0)
		if i >= 3 {
			v.Exp = -2 // from a tenth of a litre to a cubic centimetre
		}
		dst = append(dst, drivers.Sample{Channel: q.Name, Value: drivers.Decimal(v), Unit: q.Unit, Time: now})
	}
	return dst
}

// Device is one sensor. It is safe for concurrent use.
type Device struct {
	*serial.Front
	cfg  Config
	conn serial.Conn // used in Front.Do
}

// Open returns the sensor. It owns conn from then on, also when Open fails.
func Open(ctx context.Context, conn serial.Conn, cfg Config) (*Device, error) {
	if err := cfg.Validate(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("pms5003: %w", err)
	}
	return &Device{serial.NewFront("pms5003", conn), cfg, conn}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel { return quantities[:] }

// Read implements drivers.Device: it waits for the next frame.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	err := d.Do(ctx, func() error {
		frame, err := d.frame(ctx)
		if err == nil {
			dst = decode(dst, frame, time.Now())
		}
		return err
	})
	return dst, err
}

func (d *Device) frame(ctx context.Context) ([]byte, error) {
	if err := serial.Flush(d.conn); err != nil { // what waits is old
		return nil, err
	}
	var store [512]byte
	buf := store[:0]
	var damaged error
	for deadline := time.Now().Add(d.cfg.Timeout); ; {
		n, err := serial.Fetch(ctx, d.conn, store[len(buf):cap(buf)], deadline)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		frame, rest, bad := next(store[:len(buf)+n])
		if frame != nil {
			return frame, nil
		}
		if bad != nil {
			damaged = bad
		}
		buf = store[:copy(store[:], rest)] // shorter than a frame
		if err != nil || !time.Now().Before(deadline) {
			if damaged != nil {
				return nil, damaged
			}
			return nil, fmt.Errorf("no frame within %v; check the cable, and that its pins SET and RESET are high: %w", d.cfg.Timeout, drivers.ErrTimeout)
		}
	}
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
