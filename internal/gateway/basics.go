package gateway

import (
	"context"
	"slices"
	"time"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/exi"
	"postern/sensors"
	"postern/sensors/events"
	"postern/xmpp"
	"postern/xmpp/concentrator"
	"postern/xmpp/disco"
	"postern/xmpp/entitytime"
	"postern/xmpp/ping"
	"postern/xmpp/roster"
	"postern/xmpp/version"
)

// software names this software in entity capabilities (XEP-0115 §4).
const software = "https://postern.example/"

// registerBasics adds what every XMPP entity serves: discovery, ping, version,
// time, roster and subscriptions.
func (g *Gateway) registerBasics(mux *xmpp.Mux) error {
	ping.Register(mux)
	version.Register(mux, version.Software{Name: "Postern", Version: release(g.opt.Version)})
	entitytime.Register(mux, entitytime.Clock{Sane: clockSane})
	d := disco.New(disco.Config{
		Software:   software,
		Identities: []disco.Identity{{Category: "client", Type: "bot", Name: "Postern"}},
		Features:   slices.Concat(sensors.Features(), control.Features(), events.Features(), concentrator.Features()),
		Items:      g.discoItems,
		Info:       g.discoInfo,
	})
	d.Register(mux)
	g.commands = g.newCommands()
	g.commands.Register(mux)
	account, err := jid.Parse(g.cfg.Account.JID)
	if err != nil {
		return err
	}
	g.roster, err = roster.New(roster.Config{
		Session: g.session, Account: account, Policy: g.friends(), OnPresence: g.comesOrGoes, OnUnsubscribed: g.noFriend,
		Presence: func() xmpp.Payload {
			caps, err := d.Caps()
			if err != nil {
				g.log.Error("capabilities cannot be told", "err", err)
				return nothing
			}
			return caps
		},
		Logger: g.log.With("part", "roster"),
	})
	if err != nil {
		return err
	}
	g.roster.Register(mux)
	return nil
}

// nothing is an empty payload.
var nothing = xmpp.PayloadFunc(func(*exi.Doc) {})

// release cuts the commit off a version.
func release(v string) string {
	for i, c := range v {
		if c == '+' || c == '-' {
			return v[:i]
		}
	}
	return v
}

// subscription decides who may see the gateway's presence: whoever the access
// list knows, and others as the configuration says.
func (g *Gateway) subscription(_ context.Context, from jid.JID) roster.Decision {
	if g.access.get().Known(from.Bare().String()) {
		return roster.Accepted
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cfg.Access.Ask == "keep" {
		return roster.Pending
	}
	return roster.Refused
}

// online runs whenever the session can be used.
func (g *Gateway) online(ctx context.Context, _ *xmpp.Session, resumed bool) {
	if !resumed {
		g.concentrator.Offline()
	}
	if err := g.roster.Online(ctx, resumed); err != nil && ctx.Err() == nil {
		g.log.Warn("roster and presence", "err", err)
	}
	if g.pairing != nil {
		g.pairing.online(ctx, resumed)
	}
	if !resumed {
		g.askPresence(ctx)
	}
	g.outbox.Online(resumed)
}

// clockSane tells whether the wall clock can be believed: boards without a
// battery start in the past.
func clockSane() bool { return time.Now().Year() >= 2025 }
