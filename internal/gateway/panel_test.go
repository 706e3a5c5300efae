package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/board"
	"postern/control"
	"postern/drivers/gpio"
	"postern/internal/config"
	"postern/xmpp"
)

// bowl counts how often a watchdog was fed.
type bowl struct {
	mu     sync.Mutex
	fed    int
	closed bool
}

func (b *bowl) Feed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed++
	return nil
}
func (b *bowl) Time() time.Duration { return 40 * time.Second }
func (b *bowl) Close() error        { b.closed = true; return nil }
func (b *bowl) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fed
}

func panelOf(t *testing.T, cfg config.Board) *panel {
	t.Helper()
	g := &Gateway{log: slog.New(slog.DiscardHandler), control: new(control.Service), cfg: &config.Config{Board: cfg}, hw: newHardware(slog.New(slog.DiscardHandler))}
	g.cfg.State.Directory = t.TempDir()
	return newPanel(g)
}

func TestWatchdogIsFedOnlyWhileTheGatewayCanAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := panelOf(t, config.Board{Watchdog: "/dev/watchdog0", WatchdogTime: time.Minute})
		b := &bowl{}
		var hangs atomic.Bool
		p.alive = func() error {
			if hangs.Load() {
				return errors.New("hangs")
			}
			return nil
		}
		p.openWatchdog = func(path string, d time.Duration) (dog, error) {
			if path != "/dev/watchdog0" || d != time.Minute {
				t.Errorf("%s %v", path, d)
			}
			return b, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.run(ctx) }()
		time.Sleep(101 * time.Second)
		if n := b.count(); n != 10 { // a quarter of its time
			t.Errorf("fed %d times in 101 s", n)
		}
		hangs.Store(true)
		time.Sleep(5 * time.Minute)
		if n := b.count(); n != 10 {
			t.Errorf("fed %d times although the gateway hangs", n)
		}
		hangs.Store(false)
		time.Sleep(time.Minute)
		if n := b.count(); n <= 10 {
			t.Error("not fed any more")
		}
		cancel()
		if err := <-done; err != nil || !b.closed {
			t.Errorf("%v, closed %v", err, b.closed)
		}
	})
}

func TestMissingPartsHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := panelOf(t, config.Board{Watchdog: "/dev/w", Lamp: "ACT", Button: "chip:1", WatchdogTime: time.Minute})
		var tries atomic.Int32
		gone := errors.New("not there")
		p.openWatchdog = func(string, time.Duration) (dog, error) { tries.Add(1); return nil, gone }
		p.openLamp = func(string) (board.Lamp, error) { return nil, gone }
		p.openLine = func(string) (gpio.Line, error) { return nil, gone }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.run(ctx) }()
		time.Sleep(5*time.Minute + time.Second)
		if n := tries.Load(); n != 6 {
			t.Errorf("%d tries in five minutes", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFactoryReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := panelOf(t, config.Board{Button: "chip:1"})
		reset := make(chan struct{})
		line := gpio.NewSimLine("chip:1")
		line.Drive(gpio.High)
		p.openLine = func(string) (gpio.Line, error) { return line, nil }
		p.reset = func(context.Context) { close(reset) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.run(ctx) }()
		time.Sleep(time.Second)
		line.Drive(gpio.Low)
		time.Sleep(9 * time.Second)
		line.Drive(gpio.High) // not long enough
		time.Sleep(time.Second)
		select {
		case <-reset:
			t.Error("nine seconds reset it")
		default:
		}
		line.Drive(gpio.Low)
		<-reset
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The reset of the button does what postern decommission --force does: what is
// removed is in the log, and whoever runs the gateway builds it anew.
func TestFactoryResetDecommissions(t *testing.T) {
	var log lockedBuffer
	r := newRigLogging(t, provisioned("  server: {use: false}\n"), slog.New(slog.NewTextHandler(&log, nil)))
	r.factoryReset(t.Context())
	if err := r.waitRetired(t.Context()); !errors.Is(err, ErrDecommissioned) {
		t.Error(err)
	}
	for _, want := range []string{"by=button", "provisioning.claim 1", "becomes a new one"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// told keeps the last thing that a lamp was told.
type told struct{ set chan bool }

func (l told) Set(on bool) error { l.set <- on; return nil }
func (l told) Close() error      { return nil }

func TestLampFollowsTheGateway(t *testing.T) {
	r := newRig(t, basicConfig)
	p := newPanel(r.Gateway)
	// "ok" needs the session and every device, which the rig has.
	deadline := time.Now().Add(10 * time.Second)
	for p.signal(time.Now().Add(time.Hour)) != board.Online {
		if time.Now().After(deadline) {
			t.Fatalf("signal %s, phase %s, problems %q", p.signal(time.Now()), r.session.State().Phase, r.Status().Problems)
		}
		p.faultAt = time.Time{}
		time.Sleep(10 * time.Millisecond)
	}
	p.show(time.Minute)
	if s := p.signal(time.Now()); s != board.Identify {
		t.Errorf("after the button %s", s)
	}
	p.show(0)
	p.fault, p.faultAt = true, time.Now()
	if s := p.signal(time.Now()); s != board.Fault {
		t.Errorf("with a fault %s", s)
	}
	p.fault = false
	r.stop()
	if st := r.session.State().Phase; st != xmpp.Online {
		if s := p.signal(time.Now()); s != board.Buffering {
			t.Errorf("in phase %s: %s", st, s)
		}
	}
}

func TestLampIsDrivenByRun(t *testing.T) {
	p := panelOf(t, config.Board{Lamp: "ACT"})
	r := newRig(t, basicConfig)
	p.g = r.Gateway
	lamp := told{make(chan bool, 100)}
	p.openLamp = func(name string) (board.Lamp, error) { return lamp, nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.run(ctx) }()
	seen := []bool{<-lamp.set}
	for !slices.Contains(seen, true) {
		seen = append(seen, <-lamp.set)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
