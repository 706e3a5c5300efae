package board

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postern/drivers"
)

// Config is the configuration of the board as a device.
type Config struct{}

// Device offers what the board says about itself as readings. It is safe for
// concurrent use.
type Device struct {
	root  fs.FS
	board Board
	clock func() (synchronised bool, err error) // nil: it cannot be asked here
	first Health

	mu     sync.Mutex
	closed bool
}

// Open looks what the board says. Channels are fixed from then on.
func Open(_ context.Context, _ Config) (*Device, error) {
	root := os.DirFS("/")
	return openDevice(root, func() (bool, error) { return ClockSynchronised(root) }), nil
}

func openDevice(root fs.FS, clock func() (bool, error)) *Device {
	if _, err := clock(); err != nil {
		clock = nil // a channel that could never be read would be a fault for ever
	}
	return &Device{root: root, board: Detect(root), clock: clock, first: ReadHealth(root)}
}

// ClockSynchronised tells whether a time service keeps the kernel's clock
// (adjtimex(2)). Where a service may not ask the kernel, because ProtectClock
// forbids it, systemd-timesyncd tells, if it runs.
func ClockSynchronised(root fs.FS) (bool, error) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	if err == nil {
		return state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0, nil
	}
	if _, e := fs.Stat(root, "run/systemd/timesync"); e == nil {
		_, e = fs.Stat(root, "run/systemd/timesync/synchronized")
		return e == nil, nil
	}
	return false, fmt.Errorf("board: clock: %w", err)
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	cs := []drivers.Channel{
		{Name: "model", Kind: drivers.KindString, Doc: "what the board calls itself"},
		{Name: "reset-reason", Kind: drivers.KindString, Doc: "what started the machine, as far as its hardware tells: watchdog, power-on, restart, under-voltage, overheat and others, or unknown"},
	}
	if d.clock != nil {
		cs = append(cs, drivers.Channel{Name: "clock-synchronised", Kind: drivers.KindBool, Doc: "a time service keeps the clock"})
	}
	if d.first.Celsius != nil {
		cs = append(cs, drivers.Channel{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "hottest thermal zone"})
	}
	if d.first.UnderVoltage != nil {
		cs = append(cs, drivers.Channel{Name: "under-voltage", Kind: drivers.KindBool, Doc: "the supply was too low since the start"})
	}
	return cs
}

// Read implements drivers.Device.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	if ctx.Err() != nil {
		return dst, context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return dst, fmt.Errorf("board: %w", drivers.ErrClosed)
	}
	h, now := ReadHealth(d.root), time.Now()
	gone := fmt.Errorf("board: the kernel no longer tells it: %w", drivers.ErrGone)
	for _, c := range d.Channels() {
		s := drivers.Sample{Channel: c.Name, Unit: c.Unit, Time: now}
		switch c.Name {
		case "model":
			s.Value = drivers.String(d.board.Model)
			if d.board.Model == "" {
				s.Value = drivers.String("unknown")
			}
		case "clock-synchronised":
			var ok bool
			if ok, s.Err = d.clock(); s.Err == nil {
				s.Value = drivers.Bool(ok)
			}
		case "reset-reason":
			s.Value = drivers.String("unknown")
			if h.ResetReason != "" {
				s.Value = drivers.String(h.ResetReason)
			}
		case "temperature":
			if s.Err = gone; h.Celsius != nil {
				s.Value, s.Err = drivers.Decimal(drivers.Num(int64(*h.Celsius), 0)), nil
			}
		case "under-voltage":
			if s.Err = gone; h.UnderVoltage != nil {
				s.Value, s.Err = drivers.Bool(*h.UnderVoltage), nil
			}
		}
		dst = append(dst, s)
	}
	return dst, nil
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
)
