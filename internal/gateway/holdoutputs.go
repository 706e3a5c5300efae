package gateway

import (
	"context"
	"errors"
	"time"

	"postern/control"
	"postern/drivers"
	"postern/drivers/gpio"
	"postern/internal/config"
)

// heldOutput finds the one output of a node that is held across a restart.
func heldOutput(n *config.Node) (cfg gpio.RelayConfig, channel string, ok bool) {
	c, isRelay := n.Config.(*gpio.RelayConfig)
	if !isRelay {
		return cfg, "", false
	}
	for channel, r := range n.Rules {
		if r.Restart == "hold" {
			return *c, channel, true
		}
	}
	return *c, "", false
}

// safeLevel is the level of a relay's safe state.
func safeLevel(c gpio.RelayConfig) gpio.Level { return gpio.Level((c.Safe == "on") != c.ActiveLow) }

// heldRef returns the line of an output that is held, and its configuration.
func (g *Gateway) heldRef(o control.Output) (ref string, c gpio.RelayConfig, ok bool) {
	g.mu.Lock()
	cfg, t := g.cfg, g.tree
	g.mu.Unlock()
	n, nd := nodeOf(cfg, o.Node.ID), t.Node(o.Node)
	if n == nil || nd == nil {
		return "", c, false
	}
	c, channel, ok := heldOutput(n)
	if p := nd.Parameter(o.Parameter); !ok || p == nil || p.TargetChannel() != channel {
		return "", c, false
	}
	if d := g.hw.get(n.ID); d == nil || d.simulated { // simulated lines end with the process
		return "", c, false
	}
	ref, err := g.hw.plant.line(c.Line)
	return ref, c, err == nil
}

// stays reports whether an output is not moved when the gateway stops.
func (g *Gateway) stays(o control.Output) bool {
	ref, _, ok := g.heldRef(o)
	return ok && g.hw.plant.held.holds(ref)
}

// resumeHeld tells the control room about outputs that go on as they were.
func (g *Gateway) resumeHeld() (resumed func(control.Output) bool) {
	on := map[control.Output]bool{}
	for _, o := range g.control.Outputs() {
		ref, _, ok := g.heldRef(o.Output)
		if !ok {
			continue
		}
		was, ok := g.hw.plant.held.resumed(ref)
		if !ok {
			continue
		}
		value, err := g.levelOf(o.Node.ID)
		if err != nil {
			g.log.Error("a held output cannot be read; it is made safe", "output", o.Output.String(), "err", err)
			continue
		}
		on[o.Output] = true
		g.log.Info("an output goes on as it was", "output", o.Output.String(), "value", value.String(), "stopped_for", g.hw.plant.held.paused)
		if was.Set {
			g.control.Resume(o.Output, value, time.Now().Add(-time.Duration(was.Age)), control.Origin(was.Origin), was.From)
		}
	}
	return func(o control.Output) bool { return on[o] }
}

func (g *Gateway) levelOf(node string) (v drivers.Value, err error) {
	d := g.hw.get(node)
	if d == nil {
		return v, errors.New("the device is not open")
	}
	samples, err := d.Read(context.Background(), nil)
	switch {
	case err != nil:
		return v, err
	case len(samples) != 1:
		return v, errors.New("the device does not tell its state")
	}
	return samples[0].Value, samples[0].Err
}

// leaveHeld leaves what is held to the next process. Nothing moves any more.
func (g *Gateway) leaveHeld() {
	lines := map[string]heldLine{}
	for _, o := range g.control.Outputs() {
		ref, c, ok := g.heldRef(o.Output)
		if !ok || !g.hw.plant.held.holds(ref) {
			continue
		}
		l := heldLine{Config: wiring(c), Origin: string(o.By), From: o.From}
		since := o.Since
		if o.Active { // its longest time goes on counting from there, whatever failed since
			since = o.ActiveSince
		}
		if l.Set = !since.IsZero(); l.Set {
			l.Age = int64(time.Since(since))
		}
		lines[ref] = l
	}
	if err := g.hw.plant.held.leave(lines); err != nil {
		g.log.Error("an output cannot be held across the restart and is made safe", "err", err)
	}
}
