package provisioning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/store"
	"postern/xmpp"
)

// Session is the part of xmpp.Session that is used here.
type Session interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Node is what is registered as one thing: the device itself where Ref is
// zero, or a node behind it.
type Node struct {
	Ref
	SelfOwned bool
	// Tags describe it, without KEY, which is made here. No dynamic data
	// (0347-R07).
	Tags []Tag
}

// ThingConfig says what a Thing registers, and where. Session, Store and Nodes
// are needed.
type ThingConfig struct {
	Session  Session
	Store    *store.DB
	Registry jid.JID // zero until SetRegistry
	Nodes    []Node
	// Resolve returns the address that answers requests for Registry, zero
	// while it cannot be reached: for a registry on an account, the full
	// address from its presence. nil: the registry itself, a component.
	Resolve func(jid.JID) jid.JID
	// Befriend makes, or with false ends, the friendship with a registry on an
	// account: nothing else reaches it, and whoever has many things must not
	// keep them all as friends (0347-R57, R68). nil: the friendship stays.
	Befriend func(ctx context.Context, registry jid.JID, friend bool) error
	// AskEvery is after how long at most the registry is asked again whether the
	// owner still is one; 0: a day.
	AskEvery time.Duration
	// ClockSane says when registering may begin. nil: at once.
	ClockSane func() bool
	// OnClaimed and OnDisowned are told after the change is on the disk. They
	// must not block.
	OnClaimed, OnDisowned func(r Ref, owner jid.JID)
	Now                   func() time.Time // nil: time.Now
	Logger                *slog.Logger     // nil discards
}

// Thing is the device's side of XEP-0347. Its methods are safe for concurrent
// use.
//
//	        register           claimed
//	start ----------> unclaimed -----> claimed --removed--> claimed, not listed
//	                      ^               |                        |
//	                      +---disowned----+------------------------+
type Thing struct {
	cfg  ThingConfig
	log  *slog.Logger
	wake chan struct{}

	claims *claims

	mu         sync.Mutex
	registry   jid.JID
	registered map[Ref]bool // in this session
	shut       bool         // see Shut
	withdrawn  map[Ref]bool // in this session, while it is shut
	questions  questions
	online     bool
	failed     error // of the last attempt to register or update
}

// NewThing loads what is known, and makes the secrets that are missing.
func NewThing(cfg ThingConfig) (*Thing, error) {
	t := &Thing{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), registry: cfg.Registry.Bare(), registered: make(map[Ref]bool), withdrawn: make(map[Ref]bool), questions: questions{open: make(map[Ref]bool)}}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.cfg.Now == nil {
		t.cfg.Now = time.Now
	}
	if t.cfg.AskEvery <= 0 {
		t.cfg.AskEvery = askEvery
	}
	if t.cfg.Resolve == nil {
		t.cfg.Resolve = func(j jid.JID) jid.JID { return j }
	}
	if cfg.Store == nil || len(cfg.Nodes) == 0 {
		return nil, errors.New("provisioning: a thing needs a store and something to register")
	}
	for _, n := range cfg.Nodes {
		if _, ok := FindTag(n.Tags, KeyTag); ok {
			return nil, errors.New("provisioning: KEY is made here, leave it out of the tags")
		}
		if err := CheckTags(n.Tags); err != nil {
			return nil, fmt.Errorf("provisioning: tags of %q: %w", n.Ref.String(), err)
		}
		for _, g := range n.Tags {
			if numeric, ok := Predefined(g.Name); ok && numeric != g.Numeric { // 0347-R63
				return nil, fmt.Errorf("provisioning: tag %s is of the other kind in XEP-0347", g.Name)
			}
		}
	}
	var err error
	t.claims, err = loadClaims(cfg.Store, t.cfg.Now, cfg.Nodes)
	return t, err
}

// Registry is the registry in use, zero while none is known.
func (t *Thing) Registry() jid.JID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.registry
}

// SetRegistry sets the registry that was found. What is unclaimed is
// registered there.
func (t *Thing) SetRegistry(j jid.JID) {
	t.mu.Lock()
	changed := !t.registry.Equal(j.Bare())
	if changed {
		t.registry = j.Bare()
		clear(t.registered)
		clear(t.withdrawn)
	}
	t.mu.Unlock()
	if changed {
		t.poke()
	}
}

// Register takes the registry's notices.
func (t *Thing) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Set, NameClaimed, t.claimed)
	m.HandleFunc(xmpp.IQ, xmpp.Set, NameRemoved, t.removed)
	m.HandleFunc(xmpp.IQ, xmpp.Set, NameDisowned, t.disowned)
}

// Claim returns what is known about a node.
func (t *Thing) Claim(r Ref) (Claim, bool) { return t.claims.get(r) }

// Failure says why the last attempt to register or update did not succeed;
// empty when it did.
func (t *Thing) Failure() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		return ""
	}
	return t.failed.Error()
}

// Registered reports whether the registry has taken a node in this session.
func (t *Thing) Registered(r Ref) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.registered[r]
}

// Owner returns the bare JID of a node's owner; that of the device itself owns
// what has no owner of its own. Empty for nobody.
func (t *Thing) Owner(r Ref) string {
	if c, _ := t.claims.get(r); c.Owner != "" {
		return c.Owner
	}
	c, _ := t.claims.get(Ref{})
	return c.Owner
}

// Code returns the claim code of a node; ok is false once it is claimed, and
// for a node that owns itself.
func (t *Thing) Code(r Ref) (c Code, ok bool) {
	n, found := t.node(r)
	claim, _ := t.Claim(r)
	if !found || claim.Owner != "" || claim.Key == "" {
		return c, false
	}
	return Code{Tags: tagsWithKey(n, claim), Registry: t.Registry()}, true
}

func tagsWithKey(n Node, c Claim) []Tag {
	tags := slices.Clone(n.Tags)
	if c.Key != "" {
		tags = append(tags, Tag{Name: KeyTag, Value: c.Key})
	}
	return tags
}

func (t *Thing) node(r Ref) (Node, bool) {
	for _, n := range t.cfg.Nodes {
		if n.Ref == r {
			return n, true
		}
	}
	return Node{}, false
}

// notice checks who sends a notice and about what (0347-R25).
func (t *Thing) notice(st *xmpp.Stanza, r Ref) error {
	if !t.isRegistry(st.From) {
		t.log.Warn("a registry's notice of somebody else", "from", st.From.String(), "notice", st.Child().Name().Value().Local)
		return xmpp.NewError(xmpp.Forbidden, "")
	}
	if _, ok := t.node(r); !ok {
		return xmpp.NewError(xmpp.ItemNotFound, "")
	}
	return nil
}

func (t *Thing) claimed(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	if err := t.sender(st); err != nil {
		return nil, err
	}
	n, err := ParseClaimed(st.Child())
	if err != nil {
		return nil, err
	}
	if err := t.notice(st, n.Ref); err != nil {
		return nil, err
	}
	if err := t.setOwner(n); err != nil {
		// The registry may not say it again: asked, it does (0347-R11).
		t.Reregister()
		return nil, err
	}
	return nil, nil
}

// sender refuses notices of others before anything of them is read.
func (t *Thing) sender(st *xmpp.Stanza) error {
	if t.isRegistry(st.From) {
		return nil
	}
	return t.notice(st, Ref{})
}

// isRegistry reports whether an address speaks for the registry. None does
// while it is not known.
func (t *Thing) isRegistry(j jid.JID) bool {
	r := t.Registry()
	return r.String() != "" && j.Bare().Equal(r)
}

// setOwner takes the registry's word about the owner (0347-R12).
func (t *Thing) setOwner(n Claimed) error {
	owner := n.JID.Bare().String()
	old, err := t.claims.change(n.Ref, func(c *Claim) {
		c.Owner, c.Private, c.Removed, c.Key = owner, n.Private, false, ""
		if n.Private {
			c.Blanked = true // nobody sees it there, and no updates are due (0347-R27)
		}
	})
	if err != nil {
		return err
	}
	t.poke()
	if old.Owner == owner {
		return nil
	}
	t.log.Info("claimed", "owner", owner, "node", n.Ref.String())
	if old.Owner != "" && t.cfg.OnDisowned != nil {
		t.cfg.OnDisowned(n.Ref, parse(old.Owner)) // the registry's notice about that was missed
	}
	if t.cfg.OnClaimed != nil {
		t.cfg.OnClaimed(n.Ref, n.JID.Bare())
	}
	return nil
}

func parse(s string) jid.JID { j, _ := jid.Parse(s); return j }

func (t *Thing) removed(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	n, err := t.parseNotice(st)
	if err != nil {
		return nil, err
	}
	_, err = t.claims.change(n.Ref, func(c *Claim) { c.Removed = c.Owner != "" })
	return nil, err
}

func (t *Thing) parseNotice(st *xmpp.Stanza) (Notice, error) {
	if err := t.sender(st); err != nil {
		return Notice{}, err
	}
	n, err := ParseNotice(st.Child())
	if err != nil {
		return n, err
	}
	return n, t.notice(st, n.Ref)
}

func (t *Thing) disowned(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	n, err := t.parseNotice(st)
	if err != nil {
		return nil, err
	}
	return nil, t.forget(n.Ref)
}

// forget ends an ownership: the thing gets a new secret and registers again
// (0347-R34).
func (t *Thing) forget(r Ref) error {
	n, _ := t.node(r)
	old, err := t.claims.change(r, func(c *Claim) {
		if c.Owner != "" {
			*c = t.claims.fresh(n)
		}
	})
	if err != nil || old.Owner == "" {
		return err
	}
	t.log.Info("disowned", "owner", old.Owner, "node", r.String())
	t.mu.Lock()
	delete(t.registered, r)
	delete(t.questions.open, r)
	t.mu.Unlock()
	if t.cfg.OnDisowned != nil {
		t.cfg.OnDisowned(r, parse(old.Owner))
	}
	t.poke()
	return nil
}
