package gpio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
)

var (
	contactConfig = ContactConfig{Line: "sim:door", Bias: "pull-up", Debounce: 5 * time.Millisecond, ActiveLow: true}
	relayConfig   = RelayConfig{Line: "sim:pump", Drive: "push-pull", Safe: "off"}
	errUnplugged  = errors.Join(drivers.ErrGone)
)

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"pinctrl-bcm2711:GPIO17":   {Chip: "pinctrl-bcm2711", Name: "GPIO17"},
		"gpio-sim.0-node0:3":       {Chip: "gpio-sim.0-node0", Offset: 3},
		"6000d000.gpio:1:LINE":     {Chip: "6000d000.gpio:1", Name: "LINE"},
		"raspberrypi-exp-gpio:0":   {Chip: "raspberrypi-exp-gpio"},
		"pinctrl-rp1:GPIO17 spare": {Chip: "pinctrl-rp1", Name: "GPIO17 spare"},
	} {
		got, err := ParseRef(s)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
		if got.String() != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
	for s, hint := range map[string]string{
		"17": "global GPIO number", "": "CHIPLABEL", "x": "CHIPLABEL", ":3": "CHIPLABEL", "x:": "CHIPLABEL",
		"gpiochip0:3": "number", "/dev/gpiochip0:3": "number", "x:70000": "offset",
	} {
		if _, err := ParseRef(s); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v, want a hint with %q", s, err, hint)
		}
	}
}

func TestOpenMissingChip(t *testing.T) {
	if _, err := Open("no-such-chip:1"); err == nil {
		t.Error("a line of a chip that is not there")
	}
}

func TestEdgesAlternate(t *testing.T) {
	var e Edges
	now := time.Now()
	e.add(1, true, now)
	e.add(5, false, now) // four were dropped: falling, rising, falling, rising, and this one
	if e.Rising != 3 || e.Falling != 3 {
		t.Errorf("%+v", e)
	}
	e.add(2, false, now)
	if e.Rising != 4 || e.Falling != 4 {
		t.Errorf("%+v", e)
	}
}

func TestContact(t *testing.T) {
	var line *SimLine
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		line = NewSimLine("door")
		line.Drive(High)
		c, err := OpenContact(t.Context(), line, contactConfig)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, drivertest.Options{Break: func(broken bool) {
		if broken {
			line.Fail(errUnplugged)
		} else {
			line.Fail(nil)
		}
	}})
}

func read(t *testing.T, d drivers.Device) []drivers.Sample {
	t.Helper()
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestContactCountsAndDebounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := NewSimLine("door")
		line.Drive(High)
		c, err := OpenContact(t.Context(), line, contactConfig)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 { // bounces: never stable for 5 ms
			line.Drive(Low)
			time.Sleep(time.Millisecond)
			line.Drive(High)
			time.Sleep(time.Millisecond)
		}
		if got := read(t, c); got[0].Value != drivers.Bool(false) || got[1].Value != drivers.Long(0) {
			t.Errorf("bounces count: %v %v", got[0].Value, got[1].Value)
		}
		for range 3 {
			line.Drive(Low)
			time.Sleep(6 * time.Millisecond)
			line.Drive(High)
			time.Sleep(6 * time.Millisecond)
		}
		line.Drive(Low)
		time.Sleep(6 * time.Millisecond)
		if got := read(t, c); got[0].Value != drivers.Bool(true) || got[1].Value != drivers.Long(4) {
			t.Errorf("state %v count %v, want true 4", got[0].Value, got[1].Value)
		}
		line.Fail(errUnplugged)
		if _, err := c.Read(t.Context(), nil); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("unplugged: %v", err)
		}
		line.Fail(nil)
		line.Drive(High)
		time.Sleep(6 * time.Millisecond)
		read(t, c)
		line.Drive(Low)
		time.Sleep(6 * time.Millisecond)
		if got := read(t, c); got[1].Value != drivers.Long(5) {
			t.Errorf("count %v after unplugging, want 5", got[1].Value)
		}
	})
}

func TestContactWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := NewSimLine("door")
		line.Drive(High)
		c, err := OpenContact(t.Context(), line, contactConfig)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		done := make(chan error)
		go func() {
			done <- c.Watch(ctx, func(s drivers.Sample) {
				seen = append(seen, s.Channel+" "+s.Value.String())
			})
		}()
		time.Sleep(10 * time.Millisecond)
		for _, l := range []Level{Low, High, Low} {
			line.Drive(l)
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
		want := "state true, count 1, state false, state true, count 2"
		if got := strings.Join(seen, ", "); got != want {
			t.Errorf("saw %s, want %s", got, want)
		}
		go func() { done <- c.Watch(t.Context(), func(drivers.Sample) {}) }()
		synctest.Wait()
		_ = c.Close()
		if err := <-done; !errors.Is(err, drivers.ErrClosed) {
			t.Errorf("Watch of a closed contact: %v", err)
		}
	})
}

func TestRelay(t *testing.T) {
	var line *SimLine
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		line = NewSimLine("pump")
		r, err := OpenRelay(t.Context(), line, relayConfig)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}, drivertest.Options{Break: func(broken bool) {
		if broken {
			line.Fail(errUnplugged)
		} else {
			line.Fail(nil)
		}
	}})
}

func levels(l *SimLine) string {
	var b strings.Builder
	for _, m := range l.History() {
		b.WriteString(m.Level.String()[:1])
	}
	return b.String()
}

func TestRelayMovesOnlyWhenItMust(t *testing.T) {
	for _, c := range []struct {
		name, safe string
		activeLow  bool
		want       string // levels: open, on, on again, off, close
	}{
		{"safe off", "off", false, "LHL"},
		{"safe on", "on", false, "HLH"},
		{"active low", "off", true, "HLH"},
		{"active low, safe on", "on", true, "LHL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := NewSimLine("pump")
			cfg := relayConfig
			cfg.Safe, cfg.ActiveLow = c.safe, c.activeLow
			r, err := OpenRelay(t.Context(), line, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(line.History()); n != 1 {
				t.Fatalf("%d moves on open, want the first one", n)
			}
			if got := read(t, r); got[0].Value != drivers.Bool(c.safe == "on") {
				t.Errorf("reads %v after open", got[0].Value)
			}
			for _, on := range []bool{true, true, false} {
				if err := r.Set(t.Context(), "state", drivers.Bool(on)); err != nil {
					t.Fatal(err)
				}
				if got := read(t, r); got[0].Value != drivers.Bool(on) {
					t.Errorf("reads %v after it was set to %v", got[0].Value, on)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if got := levels(line); got != c.want {
				t.Errorf("moves %s, want %s", got, c.want)
			}
		})
	}
}

func TestRelayReadBack(t *testing.T) {
	line := NewSimLine("pump")
	r, err := OpenRelay(t.Context(), line, relayConfig)
	if err != nil {
		t.Fatal(err)
	}
	line.Short(true) // to low
	if err := r.Set(t.Context(), "state", drivers.Bool(true)); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("set against a short circuit: %v", err)
	}
	if got := read(t, r); !errors.Is(got[0].Err, drivers.ErrProtocol) || got[0].Value.Kind() != drivers.KindNone {
		t.Errorf("read against a short circuit: %v %v", got[0].Value, got[0].Err)
	}
	line.Short(false)
	if got := read(t, r); got[0].Value != drivers.Bool(true) {
		t.Errorf("reads %v, %v", got[0].Value, got[0].Err)
	}
}

func TestRelayIsSafeAfterUnplugging(t *testing.T) {
	line := NewSimLine("pump")
	r, err := OpenRelay(t.Context(), line, relayConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Set(t.Context(), "state", drivers.Bool(true)); err != nil {
		t.Fatal(err)
	}
	line.Fail(errUnplugged)
	if _, err := r.Read(t.Context(), nil); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("unplugged: %v", err)
	}
	line.Fail(nil)
	if got := read(t, r); got[0].Value != drivers.Bool(false) {
		t.Errorf("reads %v after it came back, want its safe state", got[0].Value)
	}
	if l, output := line.Driven(); l != Low || !output {
		t.Errorf("the line is at %v, output %v", l, output)
	}
}

func TestResumeRelayDoesNotMove(t *testing.T) {
	line := NewSimLine("pump")
	if err := line.Output("push-pull", High); err != nil {
		t.Fatal(err)
	}
	r, err := ResumeRelay(t.Context(), line, relayConfig)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, r); got[0].Value != drivers.Bool(true) || levels(line) != "H" {
		t.Errorf("reads %v, moves %s", got[0].Value, levels(line))
	}
}

func TestConfigRefusedClosesTheLine(t *testing.T) {
	line := NewSimLine("x")
	if _, err := OpenContact(t.Context(), line, ContactConfig{Line: "17", Bias: "as-is"}); err == nil {
		t.Error("a global GPIO number was accepted")
	}
	if _, err := line.Level(); !errors.Is(err, drivers.ErrClosed) {
		t.Errorf("the line is still open: %v", err)
	}
	line.Reopen()
	if _, err := OpenRelay(t.Context(), line, RelayConfig{Line: "a:b", Drive: "push-pull", Safe: "maybe"}); err == nil {
		t.Error("safe: maybe was accepted")
	}
	if len(line.History()) != 0 {
		t.Error("a refused configuration moved the line")
	}
}

func TestPeriphView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := NewSimLine("x")
		if err := line.In(0, 0); err != nil {
			t.Fatal(err)
		}
		go func() { time.Sleep(time.Second); line.Drive(High) }()
		if !line.WaitForEdge(-1) {
			t.Error("waited for ever and saw no edge")
		}
		if line.Read() != High {
			t.Error("reads low")
		}
		if line.WaitForEdge(time.Second) {
			t.Error("an edge twice")
		}
	})
}
