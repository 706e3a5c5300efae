package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"postern/board"
	"postern/drivers/gpio"
	"postern/internal/config"
	"postern/internal/node"
	"postern/xmpp"
)

// panel is what the board has for people who stand before it, and the hardware
// watchdog.
type panel struct {
	g     *Gateway
	cfg   config.Board
	place place

	// Replaced in tests.
	openLamp     func(name string) (board.Lamp, error)
	openLine     func(name string) (gpio.Line, error)
	openWatchdog func(path string, d time.Duration) (dog, error)
	alive        func() error
	reset        func(context.Context)

	mu       sync.Mutex
	identify time.Time // until when the lamp says which gateway it is
	faultAt  time.Time // when fault was found out
	fault    bool
}

// dog is a watchdog.
type dog interface {
	Feed() error
	Time() time.Duration
	Close() error
}

func newPanel(g *Gateway) *panel {
	return &panel{
		g: g, cfg: g.cfg.Board, place: g.hw.plant.place,
		openLamp: board.OpenLamp, openLine: gpio.Open, alive: g.Alive, reset: g.factoryReset,
		openWatchdog: func(path string, d time.Duration) (dog, error) {
			w, err := board.OpenWatchdog(path, d)
			if err != nil {
				return nil, err
			}
			return w, nil
		},
	}
}

// retryPanel is how long to wait for a lamp, button or watchdog that is not
// there.
const retryPanel = time.Minute

// run serves lamp, button and watchdog until ctx is done. What is missing is
// said once and tried again.
func (p *panel) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	start := func(name, what string, f func(context.Context) error) {
		if name == "" {
			return
		}
		wg.Go(func() {
			said := ""
			for ctx.Err() == nil {
				err := f(ctx)
				if err != nil && err.Error() != said && ctx.Err() == nil {
					said = err.Error()
					p.g.log.Error("a part of the board does not work; it is tried again", "part", what, "err", err)
				}
				select {
				case <-time.After(retryPanel):
				case <-ctx.Done():
				}
			}
		})
	}
	start(p.cfg.Lamp, "lamp", p.runLamp)
	start(p.cfg.Button, "button", p.runButton)
	start(p.cfg.Watchdog, "watchdog", p.runWatchdog)
	<-ctx.Done()
	return nil
}

// runWatchdog feeds the watchdog as long as the gateway can act.
func (p *panel) runWatchdog(ctx context.Context) error {
	w, err := p.openWatchdog(p.cfg.Watchdog, p.cfg.WatchdogTime)
	if err != nil {
		return err
	}
	p.g.log.Info("the hardware watchdog watches", "device", p.cfg.Watchdog, "time", w.Time())
	tick := time.NewTicker(max(w.Time()/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return w.Close()
		case <-tick.C:
		}
		if err := p.alive(); err != nil {
			p.g.log.Error("the hardware watchdog is not fed; it will reset this machine if that lasts", "err", err)
			continue
		}
		if err := w.Feed(); err != nil {
			return errors.Join(err, w.Close())
		}
	}
}

// runLamp shows how the gateway is.
func (p *panel) runLamp(ctx context.Context) error {
	name := p.cfg.Lamp
	if gpio.HeaderName(name) {
		var err error
		if name, err = p.place.line(name); err != nil {
			return err
		}
	}
	l, err := p.openLamp(name)
	if err != nil {
		return err
	}
	signals := make(chan board.Signal)
	var wg sync.WaitGroup
	blink, stop := context.WithCancel(ctx)
	wg.Go(func() {
		board.Blink(blink, l, signals, func(err error) { p.g.log.Warn("the lamp does not follow", "err", err) })
	})
	defer func() {
		stop()
		wg.Wait()
		if err := l.Close(); err != nil {
			p.g.log.Warn("the lamp is not given back", "err", err)
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case signals <- p.signal(time.Now()):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

const (
	identifyTime = time.Minute
	faultEvery   = 10 * time.Second // a fault is looked for no more often
	startingTime = time.Minute      // a gateway that never was online is starting for so long
)

// signal is what the lamp shows now.
func (p *panel) signal(now time.Time) board.Signal {
	p.mu.Lock()
	identify := now.Before(p.identify)
	look := now.Sub(p.faultAt) >= faultEvery
	if look {
		p.faultAt = now
	}
	p.mu.Unlock()
	if look {
		fault := p.g.faulty()
		p.mu.Lock()
		p.fault = fault
		p.mu.Unlock()
	}
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	st := p.g.session.State()
	switch {
	case identify:
		return board.Identify
	case fault, st.Phase == xmpp.Held:
		return board.Fault
	case st.Phase == xmpp.Online && p.g.claimable():
		return board.Claimable
	case st.Phase == xmpp.Online:
		return board.Online
	case p.g.session.Stats().Connects == 0 && now.Sub(p.g.started) < startingTime:
		return board.Booting
	}
	return board.Buffering
}

// faulty tells whether a device or the disk needs a person; the connection has
// signals of its own.
func (g *Gateway) faulty() bool {
	for _, problem := range g.Status().Problems {
		if !strings.HasPrefix(problem, "not connected") {
			return true
		}
	}
	return false
}

// claimable tells whether the gateway waits for an owner.
func (g *Gateway) claimable() bool {
	if g.pairing == nil || g.pairing.thing == nil {
		return false
	}
	var whole node.Ref
	return g.pairing.thing.Owner(whole) == "" && !g.pairing.cfg.SelfOwn && g.pairing.thing.Registered(whole)
}

// runButton serves the button.
func (p *panel) runButton(ctx context.Context) error {
	name, err := p.place.line(p.cfg.Button)
	if err != nil {
		return err
	}
	l, err := p.openLine(name)
	if err != nil {
		return err
	}
	err = board.Button(ctx, l, func(press board.Press) {
		switch press {
		case board.Short:
			p.show(identifyTime)
			p.g.log.Info("the button was pressed")
			if p.g.pairing != nil {
				p.g.pairing.services.look()
				p.g.pairing.window.open()
			}
		case board.Holding:
			p.show(board.LongPress)
			p.g.log.Warn("the button is held; a factory reset follows", "after", board.LongPress)
		case board.Let:
			p.show(0)
		case board.Long:
			p.reset(ctx)
		}
	})
	return errors.Join(err, l.Close())
}

// factoryReset decommissions as postern decommission --force does.
func (g *Gateway) factoryReset(ctx context.Context) {
	if _, err := g.decommission(ctx, true, "by", "button"); err != nil {
		g.log.Error("the factory reset failed; postern decommission on the machine says more", "err", err)
	}
}

// show lets the lamp identify the gateway for so long.
func (p *panel) show(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.identify = time.Now().Add(d)
}
