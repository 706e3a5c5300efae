package provisioning

import (
	"context"
	"fmt"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
)

// Querier is the part of xmpp.Session that an owner's commands use.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Registry is an owner's and a searcher's view of a thing registry. Refusals
// are *xmpp.Error: item-not-found also stands for things of others.
type Registry struct {
	Session Querier
	Addr    jid.JID
}

func (r Registry) set(ctx context.Context, p xmpp.Payload, reply func(*xmpp.Stanza) error) error {
	return r.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Set, To: r.Addr, Payload: p}, reply)
}

// Claim claims the thing with exactly these tags, usually those of a Code, and
// returns its address.
func (r Registry) Claim(ctx context.Context, m Mine) (c Claimed, err error) {
	err = r.set(ctx, m, func(st *xmpp.Stanza) (err error) {
		c, err = ParseClaimed(st.Child())
		return err
	})
	if err != nil {
		return c, fmt.Errorf("claiming: %w", err)
	}
	return c, nil
}

// Remove takes an own thing out of the registry; it stays the owner's.
func (r Registry) Remove(ctx context.Context, thing jid.JID, node Ref) error {
	return wrap("removing", r.set(ctx, Notice{Name: NameRemove, JID: thing, Ref: node}, nil))
}

// Disown gives an own thing up. The thing must be online: not-allowed says
// that it is not.
func (r Registry) Disown(ctx context.Context, thing jid.JID, node Ref) error {
	return wrap("disowning", r.set(ctx, Notice{Name: NameDisown, JID: thing, Ref: node}, nil))
}

// Update changes tags of an own thing; an empty string removes one.
func (r Registry) Update(ctx context.Context, thing jid.JID, node Ref, tags []Tag) error {
	return wrap("updating", r.set(ctx, Update{JID: thing, Ref: node, Tags: tags}, nil))
}

// Search finds public things. Found.More says that a greater Offset shows
// further ones.
func (r Registry) Search(ctx context.Context, s Search) (f Found, err error) {
	err = r.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: r.Addr, Payload: s}, func(st *xmpp.Stanza) (err error) {
		f, err = ParseFound(st.Child())
		return err
	})
	return f, wrap("searching", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
