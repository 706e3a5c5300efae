package node

import (
	"context"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"
)

// AllowList is Access by an owner and a list of grants, for sites without a
// provisioning server. Whoever is in neither is a stranger and is denied. An
// AllowList is immutable and safe for concurrent use.
type AllowList struct {
	owners map[string]bool
	grants map[string][]Grant // by bare JID, or by domain
}

// Grant gives one peer a right.
type Grant struct {
	// JID is a bare JID, or a bare domain for everybody whose account is there.
	JID     string
	Read    bool
	Control bool
	Scope   Scope // zero for everything
}

// NewAllowList checks and normalises the addresses (RFC 7622). Owners may do
// everything; an empty owner is left out.
func NewAllowList(owners []string, grants []Grant) (*AllowList, error) {
	a := &AllowList{owners: make(map[string]bool), grants: make(map[string][]Grant)}
	for _, o := range owners {
		if o == "" {
			continue
		}
		j, err := jid.Parse(o)
		if err != nil {
			return nil, fmt.Errorf("owner %q is not a JID: %w", o, err)
		}
		if j.Localpart() == "" || j.Resourcepart() != "" {
			return nil, fmt.Errorf("owner %q: give a bare JID such as owner@example.org", o)
		}
		a.owners[j.String()] = true
	}
	for _, g := range grants {
		j, err := jid.Parse(g.JID)
		if err != nil {
			return nil, fmt.Errorf("allowed JID %q: %w", g.JID, err)
		}
		if j.Resourcepart() != "" {
			return nil, fmt.Errorf("allowed JID %q: leave the resource %q out, it does not identify anybody", g.JID, j.Resourcepart())
		}
		a.grants[j.String()] = append(a.grants[j.String()], g)
	}
	return a, nil
}

// CanRead implements Access.
func (a *AllowList) CanRead(_ context.Context, r Request) (Decision, error) {
	return a.decide(r.Bare, func(g *Grant) bool { return g.Read }), nil
}

// CanControl implements Access.
func (a *AllowList) CanControl(_ context.Context, r Request) (Decision, error) {
	return a.decide(r.Bare, func(g *Grant) bool { return g.Control }), nil
}

// Known reports whether the bare JID is an owner or has any grant of its own
// or through its domain: what subscription policy asks.
func (a *AllowList) Known(bare string) bool {
	return a.owners[bare] || len(a.grants[bare]) > 0 || len(a.grants[domain(bare)]) > 0
}

// Owner reports whether the bare JID is an owner.
func (a *AllowList) Owner(bare string) bool { return a.owners[bare] }

func (a *AllowList) decide(bare string, right func(*Grant) bool) Decision {
	if bare == "" {
		return Decision{} // a stanza without a sender comes from our own server
	}
	if a.owners[bare] {
		return Everything()
	}
	var d Decision
	add := func(gs []Grant) {
		for i := range gs {
			if right(&gs[i]) {
				d.Scopes = append(d.Scopes, gs[i].Scope)
			}
		}
	}
	add(a.grants[bare])
	if dom := domain(bare); dom != bare {
		add(a.grants[dom])
	}
	return d
}

func domain(bare string) string {
	if i := strings.IndexByte(bare, '@'); i >= 0 {
		return bare[i+1:]
	}
	return bare
}
