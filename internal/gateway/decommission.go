package gateway

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/config"
	"postern/internal/local"
	"postern/internal/store"
	"postern/xmpp"
)

// ErrDecommissioned ends Run when the gateway is to become a new one: its store
// is closed then and can be rebuilt with store.Rebuild.
var ErrDecommissioned = errors.New("decommissioned")

// StorePath is where a configuration's gateway keeps its state.
func StorePath(cfg *config.Config) (string, error) {
	dir, err := StateDirectory(cfg.State.Directory, "postern")
	return filepath.Join(dir, "postern.db"), err
}

// decommissionHandlers serve the local door.
func (g *Gateway) decommissionHandlers() map[string]local.Handler {
	return map[string]local.Handler{
		"POST /v1/decommission": g.decommissionDoor,
		"POST /v1/former":       func(context.Context, *local.Request) (any, error) { return g.opt.Former, nil },
	}
}

// tellTime bounds what is told to registry and server; the local door gives a
// request five seconds.
const tellTime = 4 * time.Second

// decommissionDoor is the local door's way to decommission. Its answer is
// written while the rooms end.
func (g *Gateway) decommissionDoor(ctx context.Context, r *local.Request) (any, error) {
	var req local.DecommissionRequest
	if err := r.Body(&req); err != nil {
		return nil, err
	}
	return g.decommission(ctx, req.Force, "uid", r.Peer.UID, "pid", r.Peer.PID)
}

// decommission takes leave of registry and contacts, logs what is removed, and
// ends Run with ErrDecommissioned: whoever runs the gateway builds its state
// anew then. Without force nothing happens unless the registry was told. by is
// for the log.
func (g *Gateway) decommission(ctx context.Context, force bool, by ...any) (local.Decommissioned, error) {
	d := local.Decommissioned{Held: []local.Held{}, Owners: []string{}, Friends: []string{}}
	var err error
	if d.Store, err = StorePath(g.opt.Config); err != nil {
		return d, err
	}
	parts, err := g.db.Contents()
	if err != nil && !errors.Is(err, store.ErrDamaged) && !force {
		return d, err
	}
	var removed []string
	for _, p := range parts {
		d.Held = append(d.Held, local.Held{Name: p.Name, Entries: p.Keys})
		removed = append(removed, fmt.Sprintf("%s %d", p.Name, p.Keys))
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	if err := g.takeLeave(ctx, &d); err != nil {
		if d.Error = err.Error(); !force {
			if g.pairing != nil && g.pairing.thing != nil {
				g.pairing.thing.Reregister() // the registry may have forgotten it
			}
			return d, &local.Error{Status: local.StatusConflict, Text: d.Error + "; nothing was removed"}
		}
	}
	g.log.Warn("decommissioned: this gateway becomes a new one", append(by,
		"removed", strings.Join(removed, ", "), "owners", d.Owners, "friends", d.Friends, "registry", d.Registry, "untold", d.Error)...)
	g.retire.Do(func() { close(g.retired) })
	return d, nil
}

// waitRetired is the part of Run that ends it.
func (g *Gateway) waitRetired(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.retired:
		return ErrDecommissioned
	}
}

// takeLeave makes the registry forget the gateway, and its account its
// contacts: a later owner must not meet the friends of an earlier one.
func (g *Gateway) takeLeave(ctx context.Context, d *local.Decommissioned) error {
	if g.pairing != nil && g.pairing.thing != nil {
		t := g.pairing.thing
		for _, n := range registered(g.pairing.cfg) {
			if c, _ := t.Claim(n.Ref); c.Owner != "" {
				d.Owners = append(d.Owners, c.Owner)
			}
		}
		known := t.Registry().String()
		switch {
		case known == "" && len(d.Owners) == 0:
		case g.session.State().Phase != xmpp.Online:
			return errors.New("the gateway is not connected, so the registry cannot be told to forget it")
		default:
			if err := t.Unregister(ctx); err != nil {
				return fmt.Errorf("the registry %s does not forget the gateway: %w", known, err)
			}
			d.Registry = known
		}
	}
	if g.session.State().Phase != xmpp.Online {
		return nil
	}
	for _, c := range g.roster.Contacts() {
		if g.access.get().Known(c.JID.Bare().String()) {
			continue // the configuration names it
		}
		if err := g.dropContact(ctx, c.JID); err != nil {
			return fmt.Errorf("the contact %s is not removed: %w", c.JID, err)
		}
		d.Friends = append(d.Friends, c.JID.Bare().String())
	}
	return nil
}

// dropContact removes a contact and ends both subscriptions (RFC 6121 §2.5).
func (g *Gateway) dropContact(ctx context.Context, j jid.JID) error {
	const ns = "jabber:iq:roster"
	p := xmpp.PayloadFunc(func(e *exi.Doc) {
		e.Start(exi.N(ns, "query"))
		e.Start(exi.N(ns, "item"))
		e.Attr(exi.N("", "jid"), exi.Str(j.Bare().String()))
		e.Attr(exi.N("", "subscription"), exi.Str("remove"))
		e.End()
		e.End()
	})
	return g.session.Query(ctx, xmpp.Stanza{Type: xmpp.Set, Payload: p}, nil)
}
