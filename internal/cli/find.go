package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/sensors"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/roster"
)

// Errors of finder.find.
var (
	// errOffline: the thing lets us see its presence and is not online.
	errOffline = errors.New("the thing is not online")
	// errPending: the thing has not answered the request to see its presence.
	errPending = errors.New("the thing has not answered the request to see its presence")
	// errRefused: the thing does not let us see its presence.
	errRefused = errors.New("the thing does not let this account see its presence")
	// errNoThing: the address is online and offers no sensor data.
	errNoThing = errors.New("what is online at the address is not a thing: it offers no sensor data")
)

// finder knows by presence where things are online. It is safe for concurrent
// use.
type finder struct {
	contacts *roster.Service
	session  roster.Session

	capabilities disco.Cache

	mu      sync.Mutex
	who     map[string]*news // of those asked for, by bare address
	changed chan struct{}    // closed at the next news
	ready   bool             // the roster is known
	made    int              // sessions that were new, not resumed
	failed  error            // why it is not
}

// news is what an account did, besides coming and going.
type news struct {
	asked   bool // by us, so that its request in return is granted
	refused bool
	err     *xmpp.Error // it cannot be reached
}

func newFinder() *finder {
	return &finder{who: map[string]*news{}, changed: make(chan struct{})}
}

// register takes presence and roster pushes for the account own. The operator
// must not draw messages that are meant for the operator's chat programs
// (RFC 6121 §4.7.2.3), hence the priority.
func (f *finder) register(m *xmpp.Mux, own jid.JID) (err error) {
	f.contacts, err = roster.New(roster.Config{
		Account: own, Priority: -1, OnItem: func(roster.Item) { f.tell() },
		Policy: func(_ context.Context, from jid.JID) roster.Decision {
			f.mu.Lock()
			defer f.mu.Unlock()
			if n := f.who[from.String()]; n != nil && n.asked {
				return roster.Accepted
			}
			return roster.Pending // for the operator's other programs
		},
		OnPresence: func(st *xmpp.Stanza, p roster.Presence, available bool) {
			f.note(p.From.Bare(), func(n *news) {
				if n.err = st.Err(); n.err != nil {
					n.err.Elem = exi.Cursor{} // gone when this returns
				}
				n.refused = n.refused && !available
			})
		},
		OnUnsubscribed: func(j jid.JID) { f.note(j, func(n *news) { n.refused = true }) },
	})
	if err == nil {
		f.contacts.Register(m)
	}
	return err
}

// note keeps what came of somebody who was asked for, and wakes who waits.
func (f *finder) note(bare jid.JID, set func(*news)) {
	f.mu.Lock()
	if n := f.who[bare.String()]; n != nil {
		set(n)
	}
	f.mu.Unlock()
	f.tell()
}

func (f *finder) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

// online fetches the roster and announces the operator.
func (f *finder) online(ctx context.Context, s roster.Session, resumed bool) {
	f.contacts.Bind(s)
	err := f.contacts.Online(ctx, resumed)
	f.mu.Lock()
	f.session, f.ready, f.failed = s, err == nil, err
	if !resumed {
		f.made++
	}
	f.mu.Unlock()
	f.tell()
}

// sessions counts those that were new, not resumed.
func (f *finder) sessions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

// news returns a channel that is closed at the next news of anybody.
func (f *finder) news() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// settle waits until the roster is known and the operator announced.
func (f *finder) settle(ctx context.Context) error {
	for {
		f.mu.Lock()
		ready, failed, changed := f.ready, f.failed, f.changed
		f.mu.Unlock()
		if ready || failed != nil {
			return failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// grant lets a thing see our presence, when it asks or has asked.
func (f *finder) grant(bare jid.JID) {
	f.mu.Lock()
	f.of(bare).asked = true
	f.mu.Unlock()
}

// of returns what is known of an account. mu is held.
func (f *finder) of(bare jid.JID) *news {
	n := f.who[bare.String()]
	if n == nil {
		n = &news{}
		f.who[bare.String()] = n
	}
	return n
}

// find returns the full JID at which a thing is online. A full JID is returned
// as it is. For a bare one the presence decides; when this account may not see
// it yet, find asks for it and waits for the answer (RFC 6121 §3.1). When
// several resources are online, the one that offers sensor data is taken.
func (f *finder) find(ctx context.Context, thing jid.JID) (jid.JID, error) {
	if thing.Resourcepart() != "" {
		return thing, nil
	}
	late := errOffline
	for asked := false; ; {
		f.mu.Lock()
		seen, ready, failed, changed := *f.of(thing), f.ready, f.failed, f.changed
		f.mu.Unlock()
		switch all := f.contacts.Resources(thing); {
		case len(all) > 0:
			return f.choose(ctx, all)
		case failed != nil:
			return jid.JID{}, failed
		case seen.err != nil:
			return jid.JID{}, seen.err
		case seen.refused:
			return jid.JID{}, errRefused
		case ready && !asked:
			asked = true
			if it, ok := f.contacts.Contact(thing); !ok || !it.To() {
				late = errPending
				f.note(thing, func(n *news) { n.asked = true })
				if err := f.contacts.Subscribe(ctx, thing); err != nil {
					return jid.JID{}, err
				}
				continue
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return jid.JID{}, late // that the time was up says nothing more
			}
			return jid.JID{}, fmt.Errorf("%w: %w", late, ctx.Err())
		}
	}
}

// choose takes the only address, or the first that offers sensor data: by the
// capabilities in its presence where they are known, else it is asked.
func (f *finder) choose(ctx context.Context, all []roster.Presence) (jid.JID, error) {
	if len(all) == 1 {
		return all[0].From, nil
	}
	var names []string
	for _, p := range all {
		if info, err := f.capabilities.Info(ctx, f.session, p.From, p.Caps); err == nil && info.Has(sensors.NS) {
			return p.From, nil
		}
		names = append(names, p.From.String())
	}
	return jid.JID{}, fmt.Errorf("%w (%s)", errNoThing, strings.Join(names, ", "))
}
