// Package nmea reads satellite receivers (GPS and others) that send NMEA 0183
// sentences by themselves: position, speed, course, time.
package nmea

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

// Config is the configuration of one receiver.
type Config struct {
	Serial  serial.Config `yaml:"serial" doc:"the serial port; 9600 Bd is usual"`
	Timeout time.Duration `yaml:"timeout" default:"3s" min:"100ms" max:"1m" doc:"how long a position may take; receivers send one a second"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Timeout <= 0 {
		return errors.New("timeout: must be more than 0")
	}
	return c.Serial.Validate()
}

// ErrNoFix: the receiver works and has no position.
var ErrNoFix = errors.New("no position; the antenna needs a free sky")

// Fix is what one GGA and one RMC sentence of a second say. Numbers keep the
// digits of the receiver where decimals allow it: angles have seven.
type Fix struct {
	Quality    int // 0: none
	Satellites int
	Lat, Lon   drivers.Number // °, north and east positive
	Altitude   drivers.Number // m above sea level
	Speed      drivers.Number // kn
	Course     drivers.Number // °, from true north
	Time       time.Time      // UTC
	hasAlt     bool
	hasSpeed   bool
	hasCourse  bool
}

// Parse takes one sentence without its checksum into f and tells which it was,
// GGA or RMC; others are passed over with "".
func (f *Fix) Parse(sentence string) (kind string, err error) {
	v := strings.Split(sentence, ",")
	if len(v[0]) != 5 { // two letters of the talker, three of the sentence
		return "", nil
	}
	switch v[0][2:] {
	case "GGA":
		return "GGA", f.gga(v)
	case "RMC":
		return "RMC", f.rmc(v)
	}
	return "", nil
}

func bad(v []string, what string) error {
	return fmt.Errorf("nmea: %s: %s is wrong: %w", v[0], what, drivers.ErrProtocol)
}

// gga: time, lat, N/S, lon, E/W, quality, satellites, HDOP, altitude, M, …
func (f *Fix) gga(v []string) (err error) {
	if len(v) < 10 {
		return bad(v, "number of fields")
	}
	if f.Quality, err = strconv.Atoi(v[6]); err != nil || f.Quality < 0 {
		return bad(v, "quality")
	}
	f.Satellites = 0
	if v[7] != "" {
		if f.Satellites, err = strconv.Atoi(v[7]); err != nil || f.Satellites < 0 {
			return bad(v, "number of satellites")
		}
	}
	if f.Quality == 0 {
		return nil
	}
	if err := f.position(v, v[2:6]); err != nil {
		return err
	}
	if f.hasAlt = v[9] != ""; f.hasAlt {
		if f.Altitude, err = drivers.ParseNumber(v[9]); err != nil {
			return bad(v, "altitude")
		}
	}
	return nil
}

// rmc: time, status, lat, N/S, lon, E/W, speed, course, date, …
func (f *Fix) rmc(v []string) (err error) {
	if len(v) < 10 {
		return bad(v, "number of fields")
	}
	f.Time, f.hasSpeed, f.hasCourse = time.Time{}, false, false
	var at time.Time
	if v[1] != "" && v[9] != "" {
		hms, _, _ := strings.Cut(v[1], ".")
		if at, err = time.Parse("020106150405", v[9]+hms); err != nil {
			return bad(v, "time")
		}
	}
	if v[2] != "A" { // then the time is that of the receiver's own clock, from 1980 on without a battery
		return nil
	}
	f.Time = at
	if err := f.position(v, v[3:7]); err != nil {
		return err
	}
	if f.hasSpeed = v[7] != ""; f.hasSpeed {
		if f.Speed, err = drivers.ParseNumber(v[7]); err != nil {
			return bad(v, "speed")
		}
	}
	if f.hasCourse = v[8] != ""; f.hasCourse {
		if f.Course, err = drivers.ParseNumber(v[8]); err != nil {
			return bad(v, "course")
		}
	}
	return nil
}

func (f *Fix) position(v, p []string) (err error) {
	if f.Lat, err = angle(p[0], p[1], "N", "S", 90); err != nil {
		return bad(v, "latitude")
	}
	if f.Lon, err = angle(p[2], p[3], "E", "W", 180); err != nil {
		return bad(v, "longitude")
	}
	return nil
}

// angle turns dddmm.mmmm into degrees with seven decimals (about 1 cm).
func angle(text, side, plus, minus string, limit int64) (drivers.Number, error) {
	whole, _, _ := strings.Cut(text, ".")
	if len(whole) < 3 || len(text) > 16 || strings.ContainsAny(text, "+-eE") || side != plus && side != minus {
		return drivers.Number{}, drivers.ErrProtocol
	}
	deg, err := strconv.ParseInt(whole[:len(whole)-2], 10, 32)
	if err != nil || deg > limit {
		return drivers.Number{}, drivers.ErrProtocol
	}
	minutes, err := drivers.ParseNumber(text[len(whole)-2:])
	if err != nil || minutes.Cmp(drivers.Num(60, 0)) >= 0 {
		return drivers.Number{}, drivers.ErrProtocol
	}
	m, err := minutes.Rescale(-8)
	if err != nil {
		return drivers.Number{}, drivers.ErrProtocol
	}
	n := drivers.Num(deg*1e7+(m.Mant+300)/600, -7) // 10^-8 minutes: 600 are 10^-7 degrees
	if n.Cmp(drivers.Num(limit, 0)) > 0 {
		return drivers.Number{}, drivers.ErrProtocol
	}
	if side == minus {
		n.Mant = -n.Mant
	}
	return n, nil
}

// Device is one receiver. It is safe for concurrent use.
type Device struct {
	*serial.Front
	cfg   Config
	lines *serial.Lines // used in Front.Do
}

// Open returns the receiver. It owns conn from then on, also when Open fails.
func Open(ctx context.Context, conn serial.Conn, cfg Config) (*Device, error) {
	if err := cfg.Validate(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("nmea: %w", err)
	}
	return &Device{serial.NewFront("nmea", conn), cfg, serial.NewLines(conn, "\n")}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	n := func(name, unit, doc string) drivers.Channel {
		return drivers.Channel{Name: name, Kind: drivers.KindNumber, Unit: unit, Doc: doc}
	}
	return []drivers.Channel{
		n("latitude", "°", "latitude, north is positive"),
		n("longitude", "°", "longitude, east is positive"),
		n("altitude", "m", "height above sea level"),
		n("speed", "kn", "speed over ground"),
		n("course", "°", "course over ground, from true north"),
		{Name: "satellites", Kind: drivers.KindInt, Doc: "satellites in use"},
		{Name: "time", Kind: drivers.KindTime, Doc: "time of the satellites, UTC"},
	}
}

// Read implements drivers.Device: it waits for the next GGA and RMC sentence.
// Without a fix the positions have ErrNoFix.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	err := d.Do(ctx, func() error {
		if err := d.lines.Forget(); err != nil { // what waits is old
			return err
		}
		fix, err := d.fix(ctx)
		if err == nil {
			dst = fix.append(dst, time.Now())
		}
		return err
	})
	return dst, err
}

func (d *Device) fix(ctx context.Context) (Fix, error) {
	var f Fix
	var damaged error
	seen := map[string]bool{}
	for deadline := time.Now().Add(d.cfg.Timeout); !seen["GGA"] || !seen["RMC"]; {
		line, err := d.lines.Next(ctx, deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if damaged != nil {
				return f, damaged
			}
			return f, fmt.Errorf("no GGA and RMC sentence within %v; check the speed: %w", d.cfg.Timeout, drivers.ErrTimeout)
		}
		if err != nil {
			return f, err
		}
		if !strings.HasPrefix(line, "$") {
			continue
		}
		body, err := serial.CheckNMEA(line)
		if err == nil {
			var kind string
			if kind, err = f.Parse(body); err == nil {
				seen[kind] = true
			}
		}
		if err != nil {
			damaged = err
		}
	}
	return f, nil
}

func (f Fix) append(dst []drivers.Sample, now time.Time) []drivers.Sample {
	add := func(name, unit string, n drivers.Number, has bool) {
		s := drivers.Sample{Channel: name, Time: now}
		if has && f.Quality > 0 {
			s.Value, s.Unit = drivers.Decimal(n), unit
		} else {
			s.Err = fmt.Errorf("nmea: %s: %w", name, ErrNoFix)
		}
		dst = append(dst, s)
	}
	add("latitude", "°", f.Lat, true)
	add("longitude", "°", f.Lon, true)
	add("altitude", "m", f.Altitude, f.hasAlt)
	add("speed", "kn", f.Speed, f.hasSpeed)
	add("course", "°", f.Course, f.hasCourse)
	dst = append(dst, drivers.Sample{Channel: "satellites", Value: drivers.Int(int32(min(f.Satellites, 1000))), Time: now})
	s := drivers.Sample{Channel: "time", Value: drivers.Time(f.Time), Time: now}
	if f.Time.IsZero() {
		s.Value, s.Err = drivers.Value{}, fmt.Errorf("nmea: time: %w", ErrNoFix)
	}
	return append(dst, s)
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
