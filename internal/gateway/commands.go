package gateway

import (
	"context"

	"mellium.im/xmpp/jid"

	"postern/control/schedule"
	"postern/xmpp"
	"postern/xmpp/adhoc"
	"postern/xmpp/disco"
)

// newCommands makes the ad-hoc commands of the gateway, for its owner.
func (g *Gateway) newCommands() *adhoc.Service {
	return adhoc.New(adhoc.Config{Commands: g.schedules.Commands(g.isOwner, g.switchable)})
}

// isOwner tells whether somebody is the owner: the configuration's, or who
// claimed the gateway.
func (g *Gateway) isOwner(_ context.Context, from jid.JID) bool {
	bare := from.Bare().String()
	g.mu.Lock()
	owner := g.cfg.Access.Owner
	g.mu.Unlock()
	if o, err := jid.Parse(owner); err == nil && owner != "" && o.Bare().String() == bare {
		return true
	}
	return bare != "" && g.pairing.owner() == bare
}

// switchable lists the outputs that schedules can be made for.
func (g *Gateway) switchable() (out []schedule.Choice) {
	g.mu.Lock()
	t := g.tree
	g.mu.Unlock()
	for _, n := range t.Nodes() {
		for i := range n.Parameters {
			p := &n.Parameters[i]
			label := p.Label
			if label == "" {
				label = p.Name
			}
			out = append(out, schedule.Choice{Node: n.Ref, Parameter: p.Name, Label: n.Title() + ": " + label})
		}
	}
	return out
}

// discoItems answers disco#items: the commands under their node.
func (g *Gateway) discoItems(ctx context.Context, from jid.JID, node string) ([]disco.Item, error) {
	switch node {
	case "":
		return nil, nil
	case adhoc.NS:
		return g.commands.Items(ctx, from, g.session.State().JID), nil
	}
	return nil, xmpp.NewError(xmpp.ItemNotFound, "")
}

// discoInfo answers disco#info about nodes of the gateway.
func (g *Gateway) discoInfo(ctx context.Context, from jid.JID, node string) (disco.Info, error) {
	if info, ok, err := g.commands.Info(ctx, from, node); ok {
		return info, err
	}
	return disco.Info{}, xmpp.NewError(xmpp.ItemNotFound, "")
}
