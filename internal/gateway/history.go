package gateway

import (
	"context"

	"postern/drivers"
	"postern/internal/config"
	"postern/internal/local"
	"postern/internal/node"
	"postern/sensors/history"
	"postern/xmpp"
)

// openHistory opens the history, unless it is switched off. A gateway measures
// and switches without a past, too.
func (g *Gateway) openHistory() {
	c := &g.cfg.History
	if !c.Keep {
		return
	}
	g.setPolicies(g.cfg)
	log := g.log.With("part", "history")
	h, err := history.Open(history.Config{
		DB: g.db, Connected: func() bool { return g.session.State().Phase == xmpp.Online },
		Online: c.Online, Offline: c.Offline,
		Raw: c.Readings, Minute: c.Minutes, Hour: c.Hours, Cap: int64(c.Megabytes) << 20,
		Policy: g.policy, ClockSane: clockSane, Logger: log,
	})
	if err != nil {
		log.Error("the history cannot be opened; the gateway goes on without", "err", err)
		return
	}
	g.history = h
	h.Observe(g.live)
}

// runHistory commits readings while the gateway runs.
func (g *Gateway) runHistory(ctx context.Context) error {
	if g.history == nil {
		<-ctx.Done()
		return nil
	}
	return g.history.Run(ctx)
}

// endHistory commits what came last.
func (g *Gateway) endHistory() error {
	if g.history == nil {
		return nil
	}
	return g.history.Flush()
}

// fieldKey names a field as the history sees it.
type fieldKey struct {
	ref  node.Ref
	name string
}

// setPolicies takes over what the configuration says about the history of
// single fields.
func (g *Gateway) setPolicies(cfg *config.Config) {
	all := make(map[fieldKey]history.Policy)
	for _, f := range auditNodes().Fields {
		all[fieldKey{auditNode, f.Name}] = history.Policy{Off: true} // kept in the audit itself
	}
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		for channel, f := range n.Fields {
			if f.History == nil {
				continue
			}
			name := f.Name
			if name == "" {
				name = channel
			}
			all[fieldKey{node.Ref{ID: n.ID}, name}] = policyOf(f.History)
		}
	}
	computedPolicies(cfg, all)
	g.policies.Store(&all)
}

func policyOf(f *config.FieldHistory) history.Policy {
	num := func(s string) drivers.Number {
		n, _ := drivers.ParseNumber(s) // its format was checked; empty is zero
		return n
	}
	return history.Policy{
		Off: !f.Keep, Absolute: num(f.Deadband), Percent: num(f.Percent).Float64(), Min: f.Min, Max: f.Max,
	}
}

func (g *Gateway) policy(ref node.Ref, name string) history.Policy {
	return (*g.policies.Load())[fieldKey{ref, name}]
}

// historyStatus shows the history; nil when there is none.
func (g *Gateway) historyStatus() *local.History {
	if g.history == nil {
		return nil
	}
	s := g.history.Status()
	out := &local.History{
		Series: s.Series, Pending: s.Pending, Cap: s.Cap,
		Readings: s.Octets[0], RollUps: s.Octets[1] + s.Octets[2] + s.Octets[3],
		Taken: s.Samples, Dropped: s.Dropped, Expired: s.Expired, Lost: s.Lost, Damaged: s.Damaged,
		LossOnline: s.Online.Seconds(), LossOffline: s.Offline.Seconds(),
	}
	if !s.LastCommit.IsZero() {
		out.Committed = &s.LastCommit
	}
	if s.Err != nil {
		out.Error = s.Err.Error()
	}
	return out
}
