package board

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/drivers/gpio"
)

// Signal is what a lamp tells about the gateway.
type Signal uint8

// The signals, from what a person needs least to what comes first.
const (
	Dark      Signal = iota
	Online           // steady
	Booting          // even, quick
	Buffering        // on with short gaps: not connected, readings are kept
	Claimable        // two flashes: waits for an owner
	Fault            // three flashes: a device or the disk needs a person
	Identify         // very quick: it is this one
)

// String names a signal.
func (s Signal) String() string {
	names := [...]string{"dark", "online", "booting", "buffering", "claimable", "fault", "identify"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("signal %d", uint8(s))
}

// rhythm is how long the lamp is on, off, on, … and starts again. One that does
// not change has no times, so that nothing wakes the processor for it.
func (s Signal) rhythm() (times []time.Duration, on bool) {
	ms := func(list ...int) []time.Duration {
		out := make([]time.Duration, len(list))
		for i, n := range list {
			out[i] = time.Duration(n) * time.Millisecond
		}
		return out
	}
	switch s {
	case Online:
		return nil, true
	case Booting:
		return ms(250, 250), true
	case Buffering:
		return ms(1900, 100), true
	case Claimable:
		return ms(100, 150, 100, 1650), true
	case Fault:
		return ms(100, 150, 100, 150, 100, 1400), true
	case Identify:
		return ms(60, 60), true
	}
	return nil, false
}

// Lamp is something that can be on.
type Lamp interface {
	Set(on bool) error
	Close() error
}

// Blink shows the signals that come, the latest at a time, until ctx is done;
// then the lamp is dark. A lamp that fails is tried again with the next change;
// report, which may be nil, hears of the first failure in a row.
func Blink(ctx context.Context, l Lamp, signals <-chan Signal, report func(error)) {
	failed := false
	set := func(on bool) {
		err := l.Set(on)
		if err != nil && !failed && report != nil {
			report(err)
		}
		failed = err != nil
	}
	now := Dark
	times, on := now.rhythm()
	step := 0
	set(on)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			set(false)
			return
		case s := <-signals:
			if s == now {
				continue
			}
			now, step = s, 0
			times, on = now.rhythm()
			timer.Stop()
		case <-timer.C:
			step = (step + 1) % len(times)
			on = step%2 == 0
		}
		set(on)
		if len(times) > 0 {
			timer.Reset(times[step])
		}
	}
}

// OpenLamp opens an LED of the kernel by its name in /sys/class/leds, or a GPIO
// line by what gpio.Open takes. An LED is taken from the trigger that it has;
// Close gives it back.
func OpenLamp(name string) (Lamp, error) {
	if strings.Contains(name, ":") {
		// Names of LEDs have colons too ("green:status"): what is there decides.
		if _, err := os.Stat(filepath.Join("/sys/class/leds", name)); errors.Is(err, fs.ErrNotExist) {
			l, err := gpio.Open(name)
			if err != nil {
				return nil, err
			}
			if err := l.Output("push-pull", gpio.Low); err != nil {
				return nil, errors.Join(err, l.Close())
			}
			return lineLamp{l}, nil
		}
	}
	return openLED("/sys/class/leds", name)
}

type lineLamp struct{ gpio.Line }

// Set implements Lamp.
func (l lineLamp) Set(on bool) error { return l.Out(gpio.Level(on)) }

// led is an LED of the kernel (Documentation/leds/leds-class.rst).
type led struct {
	dir, trigger, bright string
}

func openLED(root, name string) (*led, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
		return nil, fmt.Errorf("board: %q is no name of an LED", name)
	}
	l := &led{dir: filepath.Join(root, name), bright: "1"}
	b, err := os.ReadFile(filepath.Join(l.dir, "trigger"))
	if errors.Is(err, fs.ErrNotExist) {
		have, _ := filepath.Glob(filepath.Join(root, "*"))
		for i := range have {
			have[i] = filepath.Base(have[i])
		}
		return nil, fmt.Errorf("board: there is no LED %q; there are %q", name, have)
	}
	if err != nil {
		return nil, fmt.Errorf("board: LED %s: %w", name, err)
	}
	// The trigger in force stands in brackets: none [mmc0] timer.
	if _, rest, ok := strings.Cut(string(b), "["); ok {
		l.trigger, _, _ = strings.Cut(rest, "]")
	}
	if b, err := os.ReadFile(filepath.Join(l.dir, "max_brightness")); err == nil {
		l.bright = strings.TrimSpace(string(b))
	}
	if err := l.write("trigger", "none"); err != nil {
		return nil, fmt.Errorf("board: LED %s: %w; the udev rules of the package give it to the group gpio", name, err)
	}
	return l, nil
}

func (l *led) write(file, text string) error {
	f, err := os.OpenFile(filepath.Join(l.dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Set implements Lamp.
func (l *led) Set(on bool) error {
	if on {
		return l.write("brightness", l.bright)
	}
	return l.write("brightness", "0")
}

// Close gives the LED back to its trigger.
func (l *led) Close() error {
	if l.trigger == "" {
		return nil
	}
	return l.write("trigger", l.trigger)
}
