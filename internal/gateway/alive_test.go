package gateway

import (
	"testing"
	"time"

	"postern/control"
)

func TestAliveFindsALockThatIsHeld(t *testing.T) {
	g := &Gateway{control: new(control.Service)}
	if err := g.Alive(); err != nil {
		t.Error(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.aliveWithin(10*time.Millisecond) == nil {
		t.Error("a gateway whose state is locked for good passes as alive")
	}
}
