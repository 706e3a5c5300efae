package provisioning

import (
	"context"
	"time"
)

// due reports whether the registry is still needed: somebody may claim a node,
// it must forget a KEY, or there is a question and what follows from it.
func (t *Thing) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.questions.open) > 0 || time.Now().Before(t.questions.attend) {
		return true
	}
	for _, n := range t.cfg.Nodes {
		c, _ := t.claims.get(n.Ref)
		switch {
		case n.SelfOwned:
			if c.Owner == "" && !t.registered[n.Ref] {
				return true
			}
		case c.Owner == "", !c.Blanked && !c.Removed:
			return true
		}
	}
	return false
}

// befriend makes or ends the friendship with a registry on an account. A
// component needs none (0347-R06).
func (t *Thing) befriend(ctx context.Context, friend bool) error {
	j := t.Registry()
	if t.cfg.Befriend == nil || j.Localpart() == "" {
		return nil
	}
	return t.cfg.Befriend(ctx, j, friend)
}

// How long an update waits for the presence of a registry that has just become
// a friend again.
const (
	registryWait = 30 * time.Second
	registryPoll = 200 * time.Millisecond
)

// awaitRegistry waits until the registry can be reached.
func (t *Thing) awaitRegistry(ctx context.Context) error {
	if t.Registry().String() == "" {
		return ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, registryWait)
	defer cancel()
	tick := time.NewTicker(registryPoll)
	defer tick.Stop()
	for {
		if to := t.cfg.Resolve(t.Registry()); to.String() != "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ErrUnreachable
		}
	}
}
