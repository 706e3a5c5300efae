package board

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/gpio"
)

// strip records what a lamp was told, with times in ms since the last one.
type strip struct {
	at   time.Time
	told []string
	err  error
}

func (s *strip) Set(on bool) error {
	now := time.Now()
	if s.at.IsZero() {
		s.at = now
	}
	s.told = append(s.told, fmt.Sprintf("%d%v", now.Sub(s.at).Milliseconds(), map[bool]string{true: "+", false: "-"}[on]))
	s.at = now
	return s.err
}

func (s *strip) Close() error { return nil }

func TestBlink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lamp := &strip{}
		signals := make(chan Signal)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { Blink(ctx, lamp, signals, nil); close(done) }()
		signals <- Claimable
		time.Sleep(2050 * time.Millisecond)
		signals <- Online
		signals <- Online
		time.Sleep(time.Hour) // steady: nothing is told
		signals <- Dark
		cancel()
		<-done
		want := "0- 0+ 100- 150+ 100- 1650+ 50+ 3600000- 0-"
		if got := strings.Join(lamp.told, " "); got != want {
			t.Errorf("told %s\nwant %s", got, want)
		}
	})
}

func TestBlinkReportsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lamp := &strip{err: errors.New("gone")}
		signals := make(chan Signal)
		ctx, cancel := context.WithCancel(t.Context())
		reports := 0
		done := make(chan struct{})
		go func() { Blink(ctx, lamp, signals, func(error) { reports++ }); close(done) }()
		signals <- Fault
		time.Sleep(5 * time.Second)
		cancel()
		<-done
		if reports != 1 || len(lamp.told) < 10 {
			t.Errorf("%d reports, told %d times", reports, len(lamp.told))
		}
	})
}

// The signals can be told apart, and only those that mean "look here" wake the
// processor more than ten times a second.
func TestRhythmsDiffer(t *testing.T) {
	seen := map[string]Signal{}
	for s := Dark; s <= Identify; s++ {
		times, on := s.rhythm()
		key := fmt.Sprint(times, on)
		if other, twice := seen[key]; twice {
			t.Errorf("%s looks like %s", s, other)
		}
		seen[key] = s
		if len(times)%2 != 0 {
			t.Errorf("%s ends on", s)
		}
		if s != Identify && slices.ContainsFunc(times, func(d time.Duration) bool { return d < 100*time.Millisecond }) {
			t.Errorf("%s is too quick: %v", s, times)
		}
	}
}

func TestLED(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "ACT")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	put("trigger", "none timer [mmc0] heartbeat\n")
	put("max_brightness", "255\n")
	put("brightness", "")
	l, err := openLED(root, "ACT")
	if err != nil || !strings.HasPrefix(get("trigger"), "none") {
		t.Fatalf("%v, trigger %q", err, get("trigger"))
	}
	if err := l.Set(true); err != nil || get("brightness") != "255" {
		t.Errorf("on: %v %q", err, get("brightness"))
	}
	put("brightness", "")
	if err := l.Set(false); err != nil || get("brightness") != "0" {
		t.Errorf("off: %v %q", err, get("brightness"))
	}
	put("trigger", "")
	if err := l.Close(); err != nil || get("trigger") != "mmc0" {
		t.Errorf("close: %v, trigger %q", err, get("trigger"))
	}
	if _, err := openLED(root, "PWR"); err == nil || !strings.Contains(err.Error(), `"ACT"`) {
		t.Errorf("no such LED: %v", err)
	}
	for _, name := range []string{"", "..", "../ACT", "a/b"} {
		if _, err := openLED(root, name); err == nil {
			t.Errorf("%q is an LED", name)
		}
	}
}

// presses plays times of a button and returns what it told.
func presses(t *testing.T, play func(line *gpio.SimLine)) string {
	var got []string
	synctest.Test(t, func(t *testing.T) {
		line := gpio.NewSimLine("button")
		line.Drive(gpio.High)
		if play == nil {
			line.Drive(gpio.Low) // stuck
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		begin := time.Now()
		go func() {
			done <- Button(ctx, line, func(p Press) {
				got = append(got, fmt.Sprintf("%d@%.1f", p, time.Since(begin).Seconds()))
			})
		}()
		time.Sleep(time.Second)
		if play != nil {
			play(line)
		}
		time.Sleep(20 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v", err)
		}
	})
	return strings.Join(got, " ")
}

func hold(line *gpio.SimLine, d time.Duration) {
	line.Drive(gpio.Low)
	time.Sleep(d)
	line.Drive(gpio.High)
	time.Sleep(time.Second)
}

func TestButton(t *testing.T) {
	for name, c := range map[string]struct {
		play func(*gpio.SimLine)
		want string
	}{
		"short":  {func(l *gpio.SimLine) { hold(l, 200*time.Millisecond) }, "0@1.2"},
		"twice":  {func(l *gpio.SimLine) { hold(l, 100*time.Millisecond); hold(l, 100*time.Millisecond) }, "0@1.1 0@2.2"},
		"let go": {func(l *gpio.SimLine) { hold(l, 5*time.Second) }, "1@3.0 2@6.0"},
		"long":   {func(l *gpio.SimLine) { hold(l, 12*time.Second); hold(l, 100*time.Millisecond) }, "1@3.0 3@11.0 0@14.1"},
		"bounces": {func(l *gpio.SimLine) {
			for range 20 {
				l.Drive(gpio.Low)
				time.Sleep(2 * time.Millisecond)
				l.Drive(gpio.High)
				time.Sleep(2 * time.Millisecond)
			}
		}, ""},
		"stuck from the start": {nil, ""},
	} {
		if got := presses(t, c.play); got != c.want {
			t.Errorf("%s: told %q, want %q", name, got, c.want)
		}
	}
}

func TestButtonThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := gpio.NewSimLine("button")
		line.Drive(gpio.High)
		done := make(chan error, 1)
		go func() { done <- Button(t.Context(), line, func(Press) { t.Error("pressed") }) }()
		synctest.Wait()
		line.Fail(drivers.ErrGone)
		if err := <-done; !errors.Is(err, drivers.ErrGone) {
			t.Errorf("%v", err)
		}
	})
}

func TestWatchdogThatIsNone(t *testing.T) {
	if _, err := OpenWatchdog("/dev/no-such-watchdog", time.Minute); err == nil || !strings.Contains(err.Error(), "dtparam=watchdog=on") {
		t.Errorf("%v", err)
	}
	if _, err := OpenWatchdog("/dev/null", time.Minute); err == nil {
		t.Error("/dev/null is a watchdog")
	}
}

func TestDevice(t *testing.T) {
	var root fstest.MapFS
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		root = raspberry("Raspberry Pi 4 Model B Rev 1.4", "brcm,bcm2711")
		root["sys/class/hwmon/hwmon1/name"] = &fstest.MapFile{Data: []byte("rpi_volt\n")}
		root["sys/class/hwmon/hwmon1/in0_lcrit_alarm"] = &fstest.MapFile{Data: []byte("0\n")}
		root["sys/class/thermal/thermal_zone0/temp"] = &fstest.MapFile{Data: []byte("48312\n")}
		root["sys/class/watchdog/watchdog0/bootstatus"] = &fstest.MapFile{Data: []byte("32\n")}
		return openDevice(root, func() (bool, error) { return true, nil })
	}, drivertest.Options{})
	asked := 0
	d := openDevice(root, func() (bool, error) {
		if asked++; asked > 1 {
			return false, errors.New("not told")
		}
		return true, nil
	})
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, s := range got {
		text = append(text, fmt.Sprintf("%s=%s", s.Channel, s.Value))
		if (s.Err != nil) != (s.Channel == "clock-synchronised") {
			t.Errorf("%s: %v", s.Channel, s.Err)
		}
	}
	if s := strings.Join(text, " "); s != "model=Raspberry Pi 4 Model B Rev 1.4 reset-reason=watchdog clock-synchronised= temperature=48 under-voltage=false" {
		t.Errorf("%s", s)
	}
	// Where the clock cannot be asked from the start, there is no channel that
	// always fails.
	d = openDevice(root, func() (bool, error) { return false, errors.New("not permitted") })
	for _, c := range d.Channels() {
		if c.Name == "clock-synchronised" {
			t.Error("a channel for a clock that cannot be asked")
		}
	}
	if got, err := d.Read(t.Context(), nil); err != nil || len(got) != len(d.Channels()) {
		t.Errorf("%+v, %v", got, err)
	}
}
