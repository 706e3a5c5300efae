package gateway

import (
	"errors"
	"time"
)

// aliveTime is how long the rooms may take to show that they are not stuck.
const aliveTime = 2 * time.Second

// Alive returns nil when the gateway can still act: what commands and outputs
// wait for is free within two seconds. The service manager's watchdog is fed
// only then. It is safe for concurrent use.
func (g *Gateway) Alive() error { return g.aliveWithin(aliveTime) }

func (g *Gateway) aliveWithin(d time.Duration) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.mu.Lock()
		room := g.control
		g.mu.Unlock()
		room.Waiting()
	}()
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-done:
		return nil
	case <-limit.C:
		return errors.New("the outputs' room does not answer")
	}
}
