package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/config"
	"postern/internal/local"
	"postern/internal/node"
	"postern/provisioning"
	"postern/xmpp"
	"postern/xmpp/roster"
)

// pairing is the part of the gateway that is provisioned: whose it is, and who
// is asked about others.
type pairing struct {
	g        *Gateway
	cfg      *config.Provisioning
	services *services
	thing    *provisioning.Thing  // nil when nothing is registered
	access   *provisioning.Access // nil when nobody is asked
	tokens   *provisioning.Tokens // with access
	trust    chan struct{}        // the servers have changed
	window   *window              // nil: it can be claimed at any time
}

// openPairing builds the rooms of the section provisioning, if it is used.
func (g *Gateway) openPairing() error {
	cfg := &g.cfg.Provisioning
	if !cfg.Use || !cfg.Registry.Use && !cfg.Server.Use {
		return nil
	}
	p := &pairing{g: g, cfg: cfg, trust: make(chan struct{}, 1)}
	p.services = &services{g: g, cfg: cfg, owner: p.owner, use: p.use, again: make(chan struct{}, 1)}
	if err := p.services.load(); err != nil {
		return err
	}
	log := g.log.With("part", "provisioning")
	var err error
	if cfg.Registry.Use {
		p.thing, err = provisioning.NewThing(provisioning.ThingConfig{
			Session: lateSession{g}, Store: g.db, Registry: parseJID(p.services.trusted().Registry), Nodes: registered(cfg),
			Resolve: g.resolve, ClockSane: clockSane, Logger: log,
			OnClaimed: p.claimed, OnDisowned: p.disowned, Befriend: p.befriend,
		})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
		p.window = newWindow(g, p.thing)
	}
	// An ownership that ended without this being kept takes its trust with it.
	if err := p.services.change(func(*trusted) {}); err != nil {
		g.log.Warn("what was trusted", "err", err)
	}
	if cfg.Server.Use {
		p.tokens, err = provisioning.NewTokens(provisioning.TokensConfig{
			Session: lateSession{g}, Store: g.db, Name: parseJID(g.cfg.Account.JID).String(), Resolve: g.resolve, Logger: log,
		})
		if err != nil {
			return err
		}
		ac := provisioning.AccessConfig{
			Session: lateSession{g}, Store: g.db, Servers: parseJIDs(p.services.trusted().Servers), Resolve: g.resolve, Local: g.access,
			CheckFriends: cfg.Server.CheckFriends, CacheSize: cfg.Server.Remember, CacheAge: cfg.Server.RememberFor,
			Timeout: cfg.Server.Timeout, Tokens: p.tokens, Logger: log, OnChanged: g.rightsChanged,
		}
		if ac.CacheSize == 0 {
			ac.CacheSize = -1
		}
		if p.thing != nil {
			ac.Owner = p.thing.Owner
		}
		if p.access, err = provisioning.NewAccess(ac); err != nil {
			return err
		}
	}
	g.pairing = p
	return nil
}

// lateSession is the gateway's session, which is made after the rooms.
type lateSession struct{ g *Gateway }

// Send implements provisioning.Session.
func (l lateSession) Send(ctx context.Context, sts ...xmpp.Stanza) error {
	return l.g.session.Send(ctx, sts...)
}

// Query implements provisioning.Session.
func (l lateSession) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	return l.g.session.Query(ctx, st, reply)
}

func parseJID(s string) jid.JID { j, _ := jid.Parse(s); return j } // it was checked when it was kept

func parseJIDs(list []string) (out []jid.JID) {
	for _, s := range list {
		if j, err := jid.Parse(s); err == nil {
			out = append(out, j)
		}
	}
	return out
}

// registered lists what is registered: the gateway and the nodes that stand
// for themselves.
func registered(cfg *config.Provisioning) []provisioning.Node {
	nodes := []provisioning.Node{{SelfOwned: cfg.SelfOwn, Tags: tagList(cfg.Tags)}}
	for _, t := range cfg.Things {
		nodes = append(nodes, provisioning.Node{Ref: node.Ref{ID: t.Node}, SelfOwned: t.SelfOwn, Tags: tagList(t.Tags)})
	}
	return nodes
}

// tagList makes tags of the configuration's; those that XEP-0347 lists as
// numbers are numbers.
func tagList(tags config.Tags) (out []provisioning.Tag) {
	for name, value := range tags {
		numeric, _ := provisioning.Predefined(name)
		out = append(out, provisioning.Tag{Name: name, Numeric: numeric, Value: strings.TrimSpace(value)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// checkTag is the check of a tag in the configuration.
func checkTag(name, value string) error {
	if provisioning.FoldTag(name) == provisioning.KeyTag {
		return errors.New("KEY is made by the gateway: leave it out")
	}
	numeric, _ := provisioning.Predefined(name)
	err := provisioning.Tag{Name: name, Numeric: numeric, Value: strings.TrimSpace(value)}.Check()
	var e *xmpp.Error
	if errors.As(err, &e) {
		return errors.New(e.Text)
	}
	return err
}

// resolve returns where a service answers requests: for an account, the first
// resource of its presence.
func (g *Gateway) resolve(j jid.JID) jid.JID {
	if j.Localpart() == "" {
		return j
	}
	if rs := g.roster.Resources(j); len(rs) > 0 {
		return rs[0].From
	}
	return jid.JID{}
}

// owner is who claimed the gateway as a whole; empty for nobody, and where
// nothing is registered, or paired at all.
func (p *pairing) owner() string {
	if p == nil || p.thing == nil {
		return ""
	}
	return p.thing.Owner(node.Ref{})
}

// claimed and disowned are called by the thing after the change is on the
// disk; what follows from it needs the network and is done by run.
func (p *pairing) claimed(r node.Ref, _ jid.JID) { p.changedHands(r) }
func (p *pairing) disowned(r node.Ref, o jid.JID) {
	p.services.disowned()
	p.changedHands(r)
	p.leave(o)
}

// changedHands forgets what was learned under the former owner (0324-R44).
func (p *pairing) changedHands(node.Ref) {
	p.g.rightsChanged()
	if p.access == nil {
		return
	}
	if err := p.access.Forget(); err != nil {
		p.g.log.Error("remembered permissions are not forgotten", "err", err)
	}
}

// leave ends the friendship with a former owner, unless something else is its.
func (p *pairing) leave(owner jid.JID) {
	bare := owner.Bare().String()
	if p.g.access.get().Known(bare) {
		return
	}
	for _, n := range registered(p.cfg) {
		if c, _ := p.thing.Claim(n.Ref); c.Owner == bare {
			return
		}
	}
	st := xmpp.Stanza{Kind: xmpp.Presence, Type: "unsubscribed", To: owner.Bare()}
	if err := p.g.session.Send(context.Background(), st); err != nil {
		p.g.log.Warn("the friendship with the former owner is not ended", "owner", bare, "err", err)
	}
}

// online runs whenever the session can be used, after the roster.
func (p *pairing) online(ctx context.Context, resumed bool) {
	if p.thing != nil {
		p.thing.Online(resumed)
	}
	if p.access != nil && !resumed {
		if err := p.access.Online(ctx); err != nil && ctx.Err() == nil {
			p.g.log.Warn("the provisioning server was not told that we are here", "err", err)
		}
	}
	p.services.look()
}

// run keeps the rooms going and looks for services until ctx is done.
func (p *pairing) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if p.thing != nil {
		wg.Go(func() { _ = p.thing.Run(ctx) }) // returns nil
		wg.Go(func() { p.window.run(ctx) })
	}
	if p.access != nil {
		wg.Go(func() {
			if err := p.access.Run(ctx); err != nil {
				p.g.log.Warn("remembered permissions are not kept", "err", err)
			}
		})
		wg.Go(func() { _ = p.tokens.Run(ctx) }) // returns nil
		wg.Go(func() { p.fetchTokens(ctx) })
	}
	return p.services.run(ctx)
}

// fetchTokens gets a token of each provisioning server. The first one needs a
// key pair, which a slow board makes in the background.
func (p *pairing) fetchTokens(ctx context.Context) {
	pause := firstSearch
	for {
		if ctx.Err() != nil {
			return
		}
		left := !p.tokensFetched(ctx)
		var timer <-chan time.Time
		if left {
			timer = time.After(pause)
			pause = min(2*pause, time.Hour)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.trust:
			pause = firstSearch
		case <-timer:
		}
	}
}

// tokensFetched reports whether nothing is left to fetch. A server that gives
// no tokens is left alone.
func (p *pairing) tokensFetched(ctx context.Context) bool {
	servers := p.access.Servers()
	if err := p.tokens.Drop(servers); err != nil {
		p.g.log.Warn("tokens of others are not forgotten", "err", err)
	}
	for _, j := range servers {
		if p.tokens.Own(j) != "" {
			continue
		}
		if err := p.g.session.WaitOnline(ctx); err != nil {
			return false
		}
		_, err := p.tokens.Fetch(ctx, j)
		var e *xmpp.Error
		switch {
		case err == nil:
			p.g.log.Info("the provisioning server gave a token", "server", j.String())
		case errors.As(err, &e) && e.Type != xmpp.Wait:
			p.g.log.Info("the provisioning server gives no token", "server", j.String(), "err", err)
		default:
			return false
		}
	}
	return true
}

// use takes what is trusted from the search for it.
func (p *pairing) use(ctx context.Context, t trusted) error {
	if p.thing != nil && t.Registry != "" {
		p.thing.SetRegistry(parseJID(t.Registry))
	}
	if p.access == nil {
		return nil
	}
	before := p.access.Servers()
	err := p.access.SetServers(parseJIDs(t.Servers))
	if slices.EqualFunc(before, p.access.Servers(), jid.JID.Equal) {
		return err
	}
	p.g.log.Info("services are trusted", "registry", t.Registry, "provisioning", t.Servers)
	// Where this is lost with the session, the next one says it.
	if err := p.access.Online(ctx); err != nil && ctx.Err() == nil {
		p.g.log.Warn("the provisioning server was not told that we are here", "err", err)
	}
	select {
	case p.trust <- struct{}{}:
	default:
	}
	return err
}

// befriend makes or ends the friendship with a registry on an account. One that
// is the provisioning server, too, is asked all the time and stays a friend.
func (p *pairing) befriend(ctx context.Context, registry jid.JID, friend bool) error {
	c, known := p.g.roster.Contact(registry)
	switch {
	case friend && known && (c.To() || c.Ask):
		return nil
	case friend:
		return p.g.roster.Subscribe(ctx, registry)
	case !known || p.access != nil && slices.ContainsFunc(p.access.Servers(), registry.Equal):
		return nil
	}
	return p.g.dropContact(ctx, registry)
}

// presence looks again when an account that may be a service has come.
func (p *pairing) presence(_ *xmpp.Stanza, pr roster.Presence, available bool) {
	if !available {
		return
	}
	bare := pr.From.Bare()
	if p.thing != nil && p.thing.Registry().Equal(bare) {
		p.thing.Online(true) // it can be reached now
	}
	for _, at := range []config.Place{p.cfg.Registry.Place, p.cfg.Server.Place} {
		if at.Address == bare.String() || at.User != "" && at.User == bare.Localpart() {
			p.services.look()
		}
	}
}

// policy decides about subscription requests.
func (p *pairing) policy(then roster.Policy) roster.Policy {
	return func(ctx context.Context, from jid.JID) roster.Decision {
		bare := from.Bare()
		if p.thing != nil && p.thing.Registry().Equal(bare) {
			return roster.Accepted
		}
		if p.g.access.get().Known(bare.String()) {
			return roster.Accepted
		}
		if p.access == nil {
			if p.owner() == bare.String() {
				return roster.Accepted // 0347-R26
			}
			return then(ctx, from)
		}
		return p.access.Policy(then)(ctx, from)
	}
}

// status shows the pairing.
func (p *pairing) status() *local.Provisioning {
	out := &local.Provisioning{Servers: []string{}, Things: p.things(false)}
	if p.access != nil {
		for _, j := range p.access.Servers() {
			out.Servers = append(out.Servers, j.String())
		}
	}
	if p.thing != nil {
		out.Registry = p.thing.Registry().String()
		out.Window = p.window.status()
	}
	out.Error = p.services.failure()
	return out
}

// things lists what is registered, with the claim codes where they are asked
// for.
func (p *pairing) things(codes bool) []local.Claiming {
	out := []local.Claiming{}
	if p.thing == nil {
		return out
	}
	for _, n := range registered(p.cfg) {
		c, _ := p.thing.Claim(n.Ref)
		lc := local.Claiming{
			Node: n.ID, Source: n.Source, Cache: n.Cache, Owner: c.Owner, SelfOwned: n.SelfOwned, Private: c.Private, Removed: c.Removed,
			Registered: c.Owner != "" && !c.Removed || p.thing.Registered(n.Ref), Since: c.Since, Tags: []local.Tag{},
		}
		for _, t := range n.Tags {
			lc.Tags = append(lc.Tags, local.Tag{Name: t.Name, Value: t.Value, Numeric: t.Numeric})
		}
		if code, ok := p.thing.Code(n.Ref); ok && codes {
			lc.Code, lc.URI = code.String(), code.URI()
		}
		out = append(out, lc)
	}
	return out
}

// registerPairing takes the notices of registry and provisioning server.
func (g *Gateway) registerPairing(mux *xmpp.Mux) {
	if g.pairing == nil {
		return
	}
	if t := g.pairing.thing; t != nil {
		t.Register(mux)
	}
	if a := g.pairing.access; a != nil {
		a.Register(mux)
	}
}

func (g *Gateway) runPairing(ctx context.Context) error {
	if g.pairing == nil {
		<-ctx.Done()
		return nil
	}
	return g.pairing.run(ctx)
}

// friends is who may see the gateway's presence.
func (g *Gateway) friends() roster.Policy {
	if g.pairing == nil {
		return g.subscription
	}
	return g.pairing.policy(g.subscription)
}

// presence is told when a contact's resource comes or goes.
func (g *Gateway) presence(st *xmpp.Stanza, p roster.Presence, available bool) {
	if !available {
		g.concentrator.Gone(p.From) // 0326-R14
	}
	if g.pairing != nil {
		g.pairing.presence(st, p, available)
	}
}

// pairingDoor tells whose the gateway is, or how it is claimed.
func (g *Gateway) pairingDoor(context.Context, *local.Request) (any, error) {
	if g.pairing == nil || g.pairing.thing == nil {
		return nil, &local.Error{Status: local.StatusConflict, Text: "this gateway does not register: write provisioning: {use: true} into its configuration"}
	}
	out := local.Pairing{Account: parseJID(g.config().Account.JID).String(), Registry: g.pairing.thing.Registry().String(), Things: g.pairing.things(true)}
	switch conn := g.session.State(); {
	case out.Registry == "" && g.pairing.services.failure() != "":
		out.Error = g.pairing.services.failure()
	case conn.Phase != xmpp.Online:
		out.Error = "the gateway is not connected: " + conn.Phase.String()
		if conn.Err != nil {
			out.Error += ": " + conn.Err.Error()
		}
	case out.Registry == "":
		out.Error = "no thing registry is found yet"
	default:
		out.Error = g.pairing.thing.Failure()
	}
	return out, nil
}
