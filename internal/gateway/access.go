package gateway

import (
	"context"
	"sync"

	"postern/internal/node"
)

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
