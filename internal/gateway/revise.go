package gateway

import "context"

// rightsChanged makes runRevise look at what goes on. It does not block.
func (g *Gateway) rightsChanged() {
	select {
	case g.rights <- struct{}{}:
	default:
	}
}

// runRevise ends read-outs and subscriptions of those who may not read any
// more what they are sent, each time that rights have changed: an owner gave
// the gateway up, a rule ended, a friendship did, the configuration changed.
func (g *Gateway) runRevise(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.rights:
		}
		g.sensors.Revise(ctx)
		g.events.Revise(ctx)
	}
}
