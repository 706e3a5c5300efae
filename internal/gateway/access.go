package gateway

import (
	"context"
	"sync"

	"postern/internal/node"
	"postern/provisioning"
)

// decides is who decides about reading and switching.
func (g *Gateway) decides() node.Access { return private{g.grants(), g.owns} }

// private keeps the audit to the gateway's owner, whatever else is granted.
type private struct {
	node.Access
	owns func(bare string) bool
}

// CanRead implements node.Access.
func (p private) CanRead(ctx context.Context, r node.Request) (node.Decision, error) {
	d, err := p.Access.CanRead(ctx, r)
	if !p.owns(r.Bare) {
		d.Except = append(d.Except, auditNode)
	}
	return d, err
}

// owns reports whether the gateway belongs to the account: the configuration
// says so, or it was claimed.
func (g *Gateway) owns(bare string) bool {
	if bare == "" {
		return false
	}
	if g.access.get().Owner(bare) {
		return true
	}
	return g.pairing.owner() == bare
}

func (g *Gateway) grants() node.Access {
	if g.pairing == nil {
		return g.access
	}
	if g.pairing.access != nil {
		return g.pairing.access
	}
	return ownerAccess{g.pairing.thing, g.access}
}

// ownerAccess lets the owner do everything, beside what the list says.
type ownerAccess struct {
	thing *provisioning.Thing
	list  *accessSwitch
}

// CanRead implements node.Access.
func (o ownerAccess) CanRead(ctx context.Context, r node.Request) (node.Decision, error) {
	d, err := o.list.CanRead(ctx, r)
	return o.owned(d, r), err
}

// CanControl implements node.Access.
func (o ownerAccess) CanControl(ctx context.Context, r node.Request) (node.Decision, error) {
	d, err := o.list.CanControl(ctx, r)
	return o.owned(d, r), err
}

func (o ownerAccess) owned(d node.Decision, r node.Request) node.Decision {
	more := provisioning.OwnerScopes(o.thing.Owner, r)
	return node.Decision{Scopes: append(more, d.Scopes...)}
}

// accessSwitch is the access list in force, which a reload replaces.
type accessSwitch struct {
	mu   sync.RWMutex
	list *node.AllowList
}

func (a *accessSwitch) get() *node.AllowList {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.list
}

func (a *accessSwitch) set(l *node.AllowList) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = l
}

// CanRead implements node.Access.
func (a *accessSwitch) CanRead(ctx context.Context, r node.Request) (node.Decision, error) {
	return a.get().CanRead(ctx, r)
}

// CanControl implements node.Access.
func (a *accessSwitch) CanControl(ctx context.Context, r node.Request) (node.Decision, error) {
	return a.get().CanControl(ctx, r)
}
