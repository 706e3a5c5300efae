package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/disco"
)

// Places say where a registry or provisioning server was configured to be, in
// the order in which they are tried (XEP-0347 §3.4). Empty ones are left out.
type Places struct {
	Component string // address of a component
	Account   string // bare JID
	Subdomain string // of the own server's domain
	User      string // name of an account at the own server
	// Else are further candidates: the registry and the owner, when a
	// provisioning server is looked for.
	Else []jid.JID
	// Resolve returns the address of an account that answers requests, zero
	// while its presence is missing. nil: the account's own.
	Resolve func(jid.JID) jid.JID
}

// ErrNotFound says that nobody offers the service.
var ErrNotFound = errors.New("provisioning: no such service found: configure its address")

// Find returns the first place whose disco shows the feature, NS or
// NSDiscovery; after the places that are configured, the components of the own
// server are searched. An account that is not a contact cannot be asked and is
// passed over: befriend it first (0324-R59).
func Find(ctx context.Context, q disco.Querier, own jid.JID, feature string, p Places) (jid.JID, error) {
	list, err := p.candidates(own)
	if err != nil {
		return jid.JID{}, err
	}
	list = append(list, p.Else...)
	for _, j := range list {
		to := j
		if j.Localpart() != "" && p.Resolve != nil {
			if to = p.Resolve(j.Bare()); to.String() == "" {
				continue
			}
		}
		if offers(ctx, q, to, feature) {
			return j.Bare(), nil
		}
	}
	return searchComponents(ctx, q, own, feature)
}

// Accounts returns the accounts among the configured places, which must be
// contacts before they can be asked (0324-R59).
func (p Places) Accounts(own jid.JID) (list []jid.JID) {
	all, err := p.candidates(own)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(j jid.JID) bool { return j.Localpart() == "" })
}

func (p Places) candidates(own jid.JID) (list []jid.JID, err error) {
	add := func(text, local, domain string) {
		if text == "" || err != nil {
			return
		}
		j, e := jid.New(local, domain, "")
		if e != nil {
			err = fmt.Errorf("provisioning: %q: %w", text, e)
			return
		}
		list = append(list, j)
	}
	add(p.Component, "", p.Component)
	if p.Account != "" {
		j, e := xmpp.ParseJID(p.Account)
		if e != nil || j.Localpart() == "" {
			return nil, fmt.Errorf("provisioning: %q is not the JID of an account", p.Account)
		}
		list = append(list, j.Bare())
	}
	add(p.Subdomain, "", p.Subdomain+"."+own.Domainpart())
	add(p.User, p.User, own.Domainpart())
	return list, err
}

func offers(ctx context.Context, q disco.Querier, j jid.JID, feature string) bool {
	info, err := disco.AskInfo(ctx, q, j, "")
	return err == nil && info.Has(feature)
}

// maxComponents bounds a search.
const maxComponents = 64

// searchComponents asks the components of the own server (XEP-0324 §3.2).
func searchComponents(ctx context.Context, q disco.Querier, own jid.JID, feature string) (jid.JID, error) {
	info, err := disco.AskInfo(ctx, q, own.Domain(), "")
	if err != nil {
		return jid.JID{}, fmt.Errorf("%w: asking %s: %w", ErrNotFound, own.Domain(), err)
	}
	if !info.Has(disco.NSItems) {
		return jid.JID{}, ErrNotFound
	}
	items, err := disco.AskItems(ctx, q, own.Domain(), "")
	if err != nil {
		return jid.JID{}, fmt.Errorf("%w: asking %s: %w", ErrNotFound, own.Domain(), err)
	}
	for i, it := range items {
		if i == maxComponents || ctx.Err() != nil {
			break
		}
		// Whoever has an account could be in the list; a component has none.
		if it.Node == "" && it.JID.Localpart() == "" && offers(ctx, q, it.JID, feature) {
			return it.JID, nil
		}
	}
	return jid.JID{}, ErrNotFound
}
