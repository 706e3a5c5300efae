package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/node"
)

// applyTimeout bounds each step of a reload.
const applyTimeout = 10 * time.Second

// Reload replaces the running configuration. What is the same in both keeps
// running: devices that did not change are not closed, the session is never
// touched. A line or port is exclusive, so changed devices close before their
// successors open. When the new configuration cannot be run, the old one is
// put back and the error returned.
//
// Changes of account, server, local, board, provisioning, state, history and log take
// a restart; they are refused, so that nobody believes they were in force.
func (g *Gateway) Reload(ctx context.Context, cfg *config.Config) error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	g.mu.Lock()
	old := g.cfg
	g.mu.Unlock()
	if s := needRestart(old, cfg); len(s) > 0 {
		return fmt.Errorf("changes of %s take a restart of the gateway", strings.Join(s, ", "))
	}
	list, err := accessOf(cfg)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	if err := g.replace(ctx, cfg); err != nil {
		if back := g.replace(ctx, old); back != nil {
			return errors.Join(err, fmt.Errorf("and the old configuration cannot be put back: %w", back))
		}
		return fmt.Errorf("%w; the old configuration is in force", err)
	}
	g.access.set(list)
	g.rightsChanged() // what apply told came before the new list
	g.log.Info("the changed configuration is in force", "config", cfg.File, "nodes", len(cfg.Nodes))
	return nil
}

// needRestart names the changed sections that a running gateway cannot follow.
func needRestart(a, b *config.Config) []string {
	var out []string
	for _, s := range []struct {
		name string
		a, b any
	}{
		{"account", a.Account, b.Account}, {"server", a.Server, b.Server}, {"local", a.Local, b.Local}, {"board", a.Board, b.Board},
		{"provisioning", a.Provisioning, b.Provisioning}, {"state", a.State, b.State}, {"history", a.History, b.History}, {"subscribers", a.Subscribers, b.Subscribers}, {"log", a.Log, b.Log},
	} {
		if !reflect.DeepEqual(s.a, s.b) {
			out = append(out, s.name)
		}
	}
	return out
}

// replace goes from the open devices to those of cfg: first the rooms let go
// of what changes, then it is closed, then the new is opened and handed out.
func (g *Gateway) replace(ctx context.Context, cfg *config.Config) error {
	kept := *cfg
	kept.Nodes = nil
	keep := map[string]bool{}
	for i := range cfg.Nodes {
		if n := cfg.Nodes[i]; g.hw.same(cfg, &n) {
			keep[n.ID] = true
			if n.Parent != "" && !g.hw.same(cfg, nodeOf(cfg, n.Parent)) {
				n.Parent = "" // its parent is changed and missing for this moment
			}
			kept.Nodes = append(kept.Nodes, n)
		}
	}
	if err := g.apply(ctx, &kept, true); err != nil {
		return err
	}
	if err := g.hw.close(func(id string, _ *opened) bool { return !keep[id] }); err != nil {
		g.log.Warn("a device was not closed cleanly", "err", err)
	}
	// What a device said that is gone must not stand for its successor.
	g.live.Forget(func(r node.Ref) bool { return keep[r.ID] })
	g.hw.plant.use(cfg.Buses)
	for i := range cfg.Nodes {
		if n := &cfg.Nodes[i]; !keep[n.ID] {
			if err := g.hw.open(ctx, cfg, n); err != nil {
				return err
			}
		}
	}
	if err := g.apply(ctx, cfg, false); err != nil {
		return err
	}
	g.showTree()
	g.live.Forget(func(r node.Ref) bool { return nodeOf(cfg, r.ID) != nil })
	return nil
}

func nodeOf(cfg *config.Config, id string) *config.Node {
	for i := range cfg.Nodes {
		if cfg.Nodes[i].ID == id {
			return &cfg.Nodes[i]
		}
	}
	return nil
}

// apply hands nodes and devices of cfg, all open, to the rooms; passing says
// that others follow at once.
func (g *Gateway) apply(ctx context.Context, cfg *config.Config, passing bool) error {
	t, err := tree(cfg, g.hw)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	setup := g.controlSetup(cfg, t)
	setup.Passing = passing
	if err := g.control.Apply(ctx, setup); err != nil {
		return err
	}
	if err := g.sensors.Apply(ctx, g.sensorSetup(cfg, t)); err != nil {
		return err
	}
	if err := g.computed.Apply(computations(cfg)); err != nil {
		return err
	}
	g.setPolicies(cfg)
	g.events.Applied()
	g.schedules.Move(placeOf(cfg.Site))
	g.mu.Lock()
	g.cfg, g.tree = cfg, t
	g.constants.Store(t)
	g.mu.Unlock()
	g.rightsChanged()
	return nil
}
