package thing

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// Errors of Find.
var (
	// ErrOffline: the thing lets us see its presence and is not online.
	ErrOffline = errors.New("the thing is not online")
	// ErrPending: the thing has not answered the request to see its presence.
	ErrPending = errors.New("the thing has not answered the request to see its presence")
	// ErrRefused: the thing does not let us see its presence.
	ErrRefused = errors.New("the thing does not let this account see its presence")
	// ErrNoThing: the address is online and offers no sensor data.
	ErrNoThing = errors.New("what is online at the address is not a thing: it offers no sensor data")
)

// contact is what presence told about an account, guarded by Client.mu.
type contact struct {
	online  map[string]jid.JID // by resource
	refused bool
	failed  *xmpp.Error
	asked   bool // by us, so that its request in return is granted
	changed chan struct{}
}

func (c *Client) contact(bare jid.JID) *contact {
	k := key(bare)
	ct := c.seen[k]
	if ct == nil {
		ct = &contact{online: map[string]jid.JID{}, changed: make(chan struct{})}
		c.seen[k] = ct
	}
	return ct
}

// maxContacts bounds the accounts whose presence is kept.
const maxContacts = 1000

func (c *Client) presence(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	bare := st.From.Bare()
	c.mu.Lock()
	if len(c.seen) >= maxContacts && c.seen[key(bare)] == nil {
		c.mu.Unlock()
		return nil, nil
	}
	ct := c.contact(bare)
	grant := false
	switch st.Type {
	case "":
		ct.online[st.From.Resourcepart()] = st.From
		ct.refused, ct.failed = false, nil
	case "unavailable":
		delete(ct.online, st.From.Resourcepart())
	case "unsubscribed":
		ct.refused = true
	case "subscribe":
		grant = ct.asked
	case xmpp.TypeError:
		ct.failed = st.Err()
	}
	close(ct.changed)
	ct.changed = make(chan struct{})
	c.mu.Unlock()
	if grant {
		return nil, c.s.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence, Type: "subscribed", To: bare})
	}
	return nil, nil
}

// Changed returns a channel that is closed at the next news of a thing's
// presence.
func (c *Client) Changed(thing jid.JID) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.contact(thing.Bare()).changed
}

// Online reports whether a full address is known to be online.
func (c *Client) Online(full jid.JID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.contact(full.Bare()).online[full.Resourcepart()]
	return ok
}

// Forget drops what is known of who is online, as after the loss of a session.
func (c *Client) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ct := range c.seen {
		clear(ct.online)
	}
}

// Find returns the full JID at which a thing is online. A full JID is
// returned as it is. For a bare one the presence decides; when this account
// may not see it yet, Find asks for it and waits for the answer (RFC 6121
// §3.1). The session must have sent its own presence. When several resources
// are online, the one that offers sensor data is taken.
func (c *Client) Find(ctx context.Context, thing jid.JID) (jid.JID, error) {
	if thing.Resourcepart() != "" {
		return thing, nil
	}
	sees, err := c.subscribed(ctx, thing)
	if err != nil {
		return jid.JID{}, err
	}
	if !sees {
		if err := c.ask(ctx, thing); err != nil {
			return jid.JID{}, err
		}
	}
	for {
		c.mu.Lock()
		ct := c.contact(thing)
		all, refused, failed, changed := ct.list(), ct.refused, ct.failed, ct.changed
		c.mu.Unlock()
		switch {
		case len(all) > 0:
			return c.choose(ctx, all)
		case failed != nil:
			return jid.JID{}, failed
		case refused:
			return jid.JID{}, ErrRefused
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if sees {
				return jid.JID{}, fmt.Errorf("%w: %w", ErrOffline, ctx.Err())
			}
			return jid.JID{}, fmt.Errorf("%w: %w", ErrPending, ctx.Err())
		}
	}
}

func (ct *contact) list() []jid.JID {
	var all []jid.JID
	for _, j := range ct.online {
		all = append(all, j)
	}
	sort.Slice(all, func(i, k int) bool { return all[i].Resourcepart() < all[k].Resourcepart() })
	return all
}

const nsRoster = "jabber:iq:roster"

// subscribed asks the roster whether this account sees the thing's presence.
func (c *Client) subscribed(ctx context.Context, thing jid.JID) (bool, error) {
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(exi.N(nsRoster, "query"), exi.Value{})
	})}
	sees := false
	err := c.s.Query(ctx, st, func(st *xmpp.Stanza) error {
		for item := range st.Child().Children() {
			sub := attr(item, "subscription")
			if j, err := jid.Parse(attr(item, "jid")); err == nil && j.Equal(thing) {
				sees = sub == "to" || sub == "both"
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("roster: %w", err)
	}
	return sees, nil
}

func (c *Client) ask(ctx context.Context, thing jid.JID) error {
	c.mu.Lock()
	c.contact(thing).asked = true
	c.mu.Unlock()
	return c.s.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence, Type: "subscribe", To: thing})
}

const nsDiscoInfo = "http://jabber.org/protocol/disco#info"

// choose takes the only address, or the first that offers sensor data.
func (c *Client) choose(ctx context.Context, all []jid.JID) (jid.JID, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	for _, j := range all {
		if ok, err := c.offers(ctx, j, NSData); err == nil && ok {
			return j, nil
		}
	}
	var names []string
	for _, j := range all {
		names = append(names, j.String())
	}
	return jid.JID{}, fmt.Errorf("%w (%s)", ErrNoThing, strings.Join(names, ", "))
}

// offers asks for a feature (XEP-0030).
func (c *Client) offers(ctx context.Context, j jid.JID, feature string) (bool, error) {
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: j, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(exi.N(nsDiscoInfo, "query"), exi.Value{})
	})}
	found := false
	err := c.s.Query(ctx, st, func(st *xmpp.Stanza) error {
		for f := range st.Child().Children() {
			found = found || attr(f, "var") == feature
		}
		return nil
	})
	return found, err
}
