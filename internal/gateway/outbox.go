package gateway

import (
	"context"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/audit"
	"postern/internal/config"
	"postern/internal/local"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/sensors/events"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/receipts"
	"postern/xmpp/roster"
)

// openEvents opens what waits for subscribers, and their subscriptions.
func (g *Gateway) openEvents(mux *xmpp.Mux) error {
	c := &g.cfg.History
	var err error
	g.outbox, err = outbox.Open(outbox.Config{
		DB: g.db, Sender: g.session, Where: g.where, Receipts: g.givesReceipts, Access: deciding{g},
		Connected: func() bool { return g.session.State().Phase == xmpp.Online },
		Online:    c.Online, Offline: c.Offline, Alive: g.lastAlive,
		Logger: g.log.With("part", "outbox"),
	})
	if err != nil {
		return err
	}
	g.events, err = events.New(events.Config{
		Sensors: g.sensors, Outbox: g.outbox, Access: deciding{g}, History: g.history, DB: g.db, Sender: lateSession{g},
		Friend: g.follows, Subscribers: subscribers(g.cfg), Logger: g.log.With("part", "events"),
	})
	if err != nil {
		return err
	}
	g.events.Observe(g.live)
	g.outbox.Register(mux)
	g.events.Register(mux)
	return nil
}

// deciding asks for the rights in force.
type deciding struct{ g *Gateway }

// CanRead implements node.Access.
func (d deciding) CanRead(ctx context.Context, r node.Request) (node.Decision, error) {
	return d.g.decides().CanRead(ctx, r)
}

// CanControl implements node.Access.
func (d deciding) CanControl(ctx context.Context, r node.Request) (node.Decision, error) {
	return d.g.decides().CanControl(ctx, r)
}

// subscribers are those of a configuration.
func subscribers(cfg *config.Config) []events.Subscriber {
	var out []events.Subscriber
	for i := range cfg.Subscribers {
		c := &cfg.Subscribers[i]
		s := events.Subscriber{Bare: parseJID(c.JID).String(), Fields: c.Fields, Min: c.Min}
		for _, id := range c.Nodes {
			s.Nodes = append(s.Nodes, node.Ref{ID: id})
		}
		for _, what := range c.Send {
			s.Readings = s.Readings || what == "readings"
			s.Commands = s.Commands || what == "commands"
			s.Audit = s.Audit || what == "refusals"
		}
		out = append(out, s)
	}
	return out
}

// lastAlive is when the history was last committed before this run.
func (g *Gateway) lastAlive() time.Time {
	if g.history == nil {
		return time.Time{}
	}
	return g.history.Newest()
}

// where tells at which address an account can be sent to: the one that it
// subscribed from while that is online, else that with the highest priority.
func (g *Gateway) where(bare string) (full jid.JID, ok bool) {
	if g.roster == nil || g.events == nil || g.session.State().Phase != xmpp.Online {
		return full, false
	}
	j, err := jid.Parse(bare)
	if err != nil {
		return full, false
	}
	prefer := g.events.Full(bare)
	own := g.session.LocalAddr().String()
	for _, p := range g.roster.Resources(j) {
		switch p.From.String() {
		case own:
			continue
		case prefer:
			return p.From, true
		}
		if !ok {
			full, ok = p.From, true
		}
	}
	return full, ok
}

// givesReceipts tells whether the client at an address gives receipts.
func (g *Gateway) givesReceipts(ctx context.Context, full jid.JID) bool {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var caps disco.Caps
	for _, p := range g.roster.Resources(full.Bare()) {
		if p.From.Equal(full) {
			caps = p.Caps
		}
	}
	info, err := g.capabilities.Info(ctx, g.session, full, caps)
	return err == nil && info.Has(receipts.NS)
}

// seesPresence tells whether we are told when an account comes and goes.
func (g *Gateway) seesPresence(bare jid.JID) bool {
	if bare.String() == parseJID(g.config().Account.JID).Bare().String() {
		return true
	}
	it, ok := g.roster.Contact(bare)
	return ok && it.To()
}

// follows is seesPresence for who wants to subscribe: where it is false the
// account is asked for its presence, so that it can try again.
func (g *Gateway) follows(bare jid.JID) bool {
	if g.seesPresence(bare) {
		return true
	}
	if it, ok := g.roster.Contact(bare); ok && it.Ask {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := g.roster.Subscribe(ctx, bare); err != nil {
		g.log.Warn("a subscriber cannot be asked for its presence", "jid", bare.String(), "err", err)
	}
	return false
}

// askPresence asks the configuration's subscribers to show when they are
// online.
func (g *Gateway) askPresence(ctx context.Context) {
	for _, s := range subscribers(g.config()) {
		j := parseJID(s.Bare)
		if it, ok := g.roster.Contact(j); g.seesPresence(j) || ok && it.Ask {
			continue
		}
		if err := g.roster.Subscribe(ctx, j); err != nil && ctx.Err() == nil {
			g.log.Warn("a subscriber cannot be asked for its presence", "jid", s.Bare, "err", err)
		}
	}
}

// comesOrGoes follows the presence of contacts.
func (g *Gateway) comesOrGoes(st *xmpp.Stanza, p roster.Presence, available bool) {
	g.presence(st, p, available)
	bare := p.From.Bare().String()
	g.outbox.Wake(bare, available)
	if available {
		g.events.Came(bare)
	}
}

// noFriend ends what an account subscribed to: it does not see us any more, or
// we do not see it.
func (g *Gateway) noFriend(contact jid.JID) { g.events.Forget(contact.Bare().String()) }

// tellCommand tells subscribers what became of a command.
func (g *Gateway) tellCommand(r audit.Record) {
	if g.events == nil || r.Outcome == audit.Begun {
		return
	}
	c := events.Command{At: r.At, Origin: r.Origin, From: r.From, Outcome: r.Outcome, Error: r.Error}
	for _, n := range r.Nodes {
		c.Nodes = append(c.Nodes, node.Ref{ID: n})
	}
	for _, s := range r.Set {
		name, v, _ := strings.Cut(s, "=")
		c.Set = append(c.Set, events.Setting{Name: name, Value: v})
	}
	g.events.Tell(c)
}

// subscribersStatus shows the subscribers; nil where there are none.
func (g *Gateway) subscribersStatus() *local.Outbox {
	if g.outbox == nil {
		return nil
	}
	s := g.outbox.Status()
	if len(s.Subscribers) == 0 {
		return nil
	}
	out := &local.Outbox{Messages: s.Messages, Octets: s.Octets, Cap: s.Cap, Boot: g.outbox.Boot(), Subscribers: []local.Subscriber{}}
	if s.Err != nil {
		out.Error = s.Err.Error()
	}
	for i := range s.Subscribers {
		x := &s.Subscribers[i]
		l := local.Subscriber{
			JID: x.JID, Available: x.Available, Proof: "handed to the server", InFlight: x.InFlight, Octets: x.Octets,
			Delivered: x.Delivered, Resent: x.Resent, Dropped: x.Dropped, Trouble: x.Trouble, Waiting: map[string]int{},
		}
		if x.Receipts {
			l.Proof = "receipts"
		}
		for c, n := range x.Waiting {
			if n > 0 {
				l.Waiting[outbox.Class(c).String()] = n
			}
		}
		l.Missing, l.Since = g.events.Missing(x.JID)
		if !x.LastAt.IsZero() {
			l.Last = &x.LastAt
		}
		out.Subscribers = append(out.Subscribers, l)
	}
	return out
}
