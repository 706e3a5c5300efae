package provisioning

import (
	"context"
	"errors"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// List returns a page of a list of the owner's; see Page.
func (r Registry) List(ctx context.Context, p Page) (o Owned, err error) {
	err = r.get(ctx, p, func(c exi.Cursor) (err error) {
		o, err = ParseOwned(c)
		return err
	})
	return o, wrap("listing", err)
}

// ListAll returns a whole list, up to the given number of entries.
func (r Registry) ListAll(ctx context.Context, p Page, most int) (all Owned, err error) {
	for {
		o, err := r.List(ctx, p)
		if err != nil {
			return all, err
		}
		n := len(o.Things) + len(o.Rules) + len(o.Friends) + len(o.Questions)
		all.Things, all.Rules = append(all.Things, o.Things...), append(all.Rules, o.Rules...)
		all.Friends, all.Questions = append(all.Friends, o.Friends...), append(all.Questions, o.Questions...)
		p.Offset += n
		if all.More = o.More; !o.More || n == 0 || p.Offset >= most {
			return all, nil
		}
	}
}

func (r Registry) get(ctx context.Context, p xmpp.Payload, reply func(exi.Cursor) error) error {
	return r.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: r.Addr, Payload: p}, func(st *xmpp.Stanza) error { return reply(st.Child()) })
}

// ErrNoRanges: a service does not know rules with a range of values.
var ErrNoRanges = errors.New("the registry does not know ranges of values; it is older than this program")

// AddRule makes a rule and returns it with its number. A service that leaves
// the range out would allow too much: the rule is taken back then, with
// ErrNoRanges.
func (r Registry) AddRule(ctx context.Context, rule Rule) (made Rule, err error) {
	err = r.set(ctx, rule, func(st *xmpp.Stanza) (err error) {
		made, err = ParseRule(st.Child())
		return err
	})
	if err == nil && rule.Range != nil && made.Range == nil {
		err = errors.Join(ErrNoRanges, r.DropRule(ctx, made.ID))
	}
	return made, wrap("adding the rule", err)
}

// DropRule forgets a rule.
func (r Registry) DropRule(ctx context.Context, id string) error {
	return wrap("removing the rule", r.set(ctx, DropRule{id}, nil))
}

// May asks what a device would be answered about reading or control.
func (r Registry) May(ctx context.Context, device jid.JID, q Question) (a Answer, err error) {
	err = r.get(ctx, May{Device: device, Question: q}, func(c exi.Cursor) (err error) {
		for k := range c.Children() {
			a, err = ParseAnswer(k)
			return err
		}
		return bad("no answer to the question")
	})
	return a, wrap("asking", err)
}

// MayBeFriend asks what a device would be answered about a friend.
func (r Registry) MayBeFriend(ctx context.Context, device, who jid.JID) (yes bool, err error) {
	err = r.get(ctx, May{Device: device, Friend: true, Question: Question{JID: who}}, func(c exi.Cursor) error {
		for k := range c.Children() {
			f, err := ParseFriendship(k)
			yes = f.Result
			return err
		}
		return bad("no answer about friendship")
	})
	return yes, wrap("asking", err)
}

// Decide answers an open question.
func (r Registry) Decide(ctx context.Context, id, verdict string) error {
	return wrap("deciding", r.set(ctx, Decision{id, verdict}, nil))
}

// Offer offers a thing to somebody, or withdraws the offer where to is zero.
func (r Registry) Offer(ctx context.Context, thing jid.JID, node Ref, to jid.JID) error {
	return wrap("offering", r.set(ctx, Transfer{Ref: node, JID: thing, To: to}, nil))
}

// Accept takes a thing that was offered.
func (r Registry) Accept(ctx context.Context, thing jid.JID, node Ref) error {
	return wrap("accepting", r.set(ctx, Transfer{Ref: node, JID: thing, Accept: true}, nil))
}
