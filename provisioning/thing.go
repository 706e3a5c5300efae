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
	// ClockSane says when registering may begin. nil: at once.
	ClockSane func() bool
	// OnClaimed and OnDisowned are told after the change is on the disk. They
	// must not block.
	OnClaimed, OnDisowned func(r Ref, owner jid.JID)
	Now                   func() time.Time // nil: time.Now
	Logger                *slog.Logger     // nil discards
}

// Claim is what a thing knows about itself.
type Claim struct {
	Key     string `json:",omitempty"` // secret for the owner; gone once claimed
	Owner   string `json:",omitempty"` // bare JID; empty while unclaimed
	Private bool   `json:",omitempty"`
	Removed bool   `json:",omitempty"` // no longer in the registry (XEP-0347 §3.9)
	Blanked bool   `json:",omitempty"` // the registry has forgotten KEY
	Since   time.Time
}

var claimBucket = store.Bucket[Claim]{Name: "provisioning.claim"}

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

	changing sync.Mutex // held while a change is committed; before mu

	mu         sync.Mutex
	registry   jid.JID
	claims     map[Ref]Claim
	registered map[Ref]bool // in this session
	shut       bool         // see Shut
	withdrawn  map[Ref]bool // in this session, while it is shut
	online     bool
	failed     error // of the last attempt to register or update
}

// NewThing loads what is known, and makes the secrets that are missing.
func NewThing(cfg ThingConfig) (*Thing, error) {
	t := &Thing{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), registry: cfg.Registry.Bare(), claims: make(map[Ref]Claim), registered: make(map[Ref]bool), withdrawn: make(map[Ref]bool)}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.cfg.Now == nil {
		t.cfg.Now = time.Now
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
	return t, t.load()
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

func refKey(r Ref) string { return "n" + r.ID + "\x00" + r.Source + "\x00" + r.Cache }

func (t *Thing) load() error {
	return t.cfg.Store.Update(func(tx *store.Tx) error {
		for _, n := range t.cfg.Nodes {
			c, ok, err := claimBucket.Get(tx, refKey(n.Ref))
			if err != nil {
				return fmt.Errorf("provisioning: %w", err)
			}
			if !ok {
				c = t.fresh(n)
				if err := claimBucket.Put(tx, refKey(n.Ref), c); err != nil {
					return fmt.Errorf("provisioning: %w", err)
				}
			}
			t.claims[n.Ref] = c
		}
		return nil
	})
}

func (t *Thing) fresh(n Node) Claim {
	c := Claim{Since: t.cfg.Now().UTC()}
	if !n.SelfOwned {
		c.Key = NewKey()
	}
	return c
}

// Register takes the registry's notices.
func (t *Thing) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Set, NameClaimed, t.claimed)
	m.HandleFunc(xmpp.IQ, xmpp.Set, NameRemoved, t.removed)
	m.HandleFunc(xmpp.IQ, xmpp.Set, NameDisowned, t.disowned)
}

// Claim returns what is known about a node.
func (t *Thing) Claim(r Ref) (Claim, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.claims[r]
	return c, ok
}

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
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.claims[r]; c.Owner != "" {
		return c.Owner
	}
	return t.claims[Ref{}].Owner
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

// change commits a claim and shows it then.
func (t *Thing) change(r Ref, f func(c *Claim)) (old Claim, err error) {
	t.changing.Lock()
	defer t.changing.Unlock()
	old, _ = t.Claim(r)
	c := old
	f(&c)
	if c == old {
		return old, nil
	}
	if c.Owner != old.Owner {
		c.Since = t.cfg.Now().UTC()
	}
	if err := t.cfg.Store.Update(func(tx *store.Tx) error { return claimBucket.Put(tx, refKey(r), c) }); err != nil {
		return old, fmt.Errorf("provisioning: the claim cannot be kept: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims[r] = c
	return old, nil
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
	return nil, t.setOwner(n)
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
	old, err := t.change(n.Ref, func(c *Claim) {
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
	_, err = t.change(n.Ref, func(c *Claim) { c.Removed = c.Owner != "" })
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
	old, err := t.change(r, func(c *Claim) {
		if c.Owner != "" {
			*c = t.fresh(n)
		}
	})
	if err != nil || old.Owner == "" {
		return err
	}
	t.log.Info("disowned", "owner", old.Owner, "node", r.String())
	t.mu.Lock()
	delete(t.registered, r)
	t.mu.Unlock()
	if t.cfg.OnDisowned != nil {
		t.cfg.OnDisowned(r, parse(old.Owner))
	}
	t.poke()
	return nil
}

func (t *Thing) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Online says that the session can be used; resumed that it is the former one.
func (t *Thing) Online(resumed bool) {
	t.mu.Lock()
	t.online = true
	if !resumed {
		clear(t.registered)
		clear(t.withdrawn)
	}
	t.mu.Unlock()
	t.poke()
}

// Offline says that there is no session.
func (t *Thing) Offline() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.online = false
}

// Shut keeps what has no owner out of the registry, so that nobody can claim
// it, until it is called again with false. What owns itself stays.
func (t *Thing) Shut(shut bool) {
	t.mu.Lock()
	changed := t.shut != shut
	t.shut = shut
	clear(t.withdrawn)
	t.mu.Unlock()
	if changed {
		t.poke()
	}
}

// withdraw takes one thing out of the registry, where a former session may
// have put it.
func (t *Thing) withdraw(ctx context.Context, r Ref) error {
	err := t.query(ctx, Notice{Name: NameUnregister, Ref: r}, nil)
	if err != nil && !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		return fmt.Errorf("unregistering: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.registered, r)
	t.withdrawn[r] = t.shut // it may have been opened meanwhile
	return nil
}

// Pauses between attempts to register.
const (
	firstPause = 5 * time.Second
	lastPause  = 15 * time.Minute
)

// Run registers what is unclaimed and keeps the registry up to date until ctx
// is done.
func (t *Thing) Run(ctx context.Context) error {
	pause := firstPause
	for {
		again := !t.work(ctx)
		var timer <-chan time.Time
		if again {
			timer = time.After(pause)
			pause = min(2*pause, lastPause)
		} else {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-timer:
		}
	}
}

// work does what is due; done is false when it must be tried again.
func (t *Thing) work(ctx context.Context) (done bool) {
	t.mu.Lock()
	ready := t.online && t.registry.String() != ""
	t.mu.Unlock()
	if !ready {
		return true // Online and SetRegistry wake
	}
	if t.cfg.ClockSane != nil && !t.cfg.ClockSane() {
		return false
	}
	var errs []error
	if t.due() {
		if err := t.befriend(ctx, true); err != nil {
			errs = append(errs, err)
		}
	}
	for _, n := range t.cfg.Nodes {
		if err := t.settle(ctx, n); err != nil {
			t.log.Warn("the registry", "node", n.Ref.String(), "err", err)
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 && !t.due() {
		if err := t.befriend(ctx, false); err != nil {
			errs = append(errs, err)
		}
	}
	t.mu.Lock()
	t.failed = errors.Join(errs...)
	t.mu.Unlock()
	return len(errs) == 0
}

// settle registers a node, or blanks the KEY of one that was claimed.
func (t *Thing) settle(ctx context.Context, n Node) error {
	c, _ := t.Claim(n.Ref)
	t.mu.Lock()
	known, withdrawn := t.registered[n.Ref], t.withdrawn[n.Ref]
	shut := t.shut && !n.SelfOwned
	t.mu.Unlock()
	switch {
	case c.Owner == "" && shut && withdrawn:
	case c.Owner == "" && shut:
		return t.withdraw(ctx, n.Ref)
	case c.Owner == "" && !known:
		return t.register(ctx, n, c)
	case c.Owner != "" && !c.Blanked && !c.Removed && !n.SelfOwned: // 0347-R37
		if err := t.update(ctx, n.Ref, []Tag{{Name: KeyTag}}); err != nil {
			return err
		}
		if now, _ := t.Claim(n.Ref); now.Owner != c.Owner {
			return nil
		}
		_, err := t.change(n.Ref, func(c *Claim) { c.Blanked = true })
		return err
	}
	return nil
}

// ErrUnreachable says that the registry cannot be asked.
var ErrUnreachable = errors.New("provisioning: the registry cannot be reached: its presence is missing")

func (t *Thing) query(ctx context.Context, p xmpp.Payload, reply func(*xmpp.Stanza) error) error {
	to := t.Registry()
	if to.String() != "" {
		to = t.cfg.Resolve(to)
	}
	if to.String() == "" {
		return ErrUnreachable
	}
	return t.cfg.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Set, To: to, Payload: p}, reply)
}

func (t *Thing) register(ctx context.Context, n Node, c Claim) error {
	var owner *Claimed
	err := t.query(ctx, Register{Ref: n.Ref, SelfOwned: n.SelfOwned, Tags: tagsWithKey(n, c)}, func(st *xmpp.Stanza) error {
		if st.Child().Name() != NameClaimed {
			return nil
		}
		got, err := ParseClaimed(st.Child())
		owner = &got
		return err
	})
	if err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	t.mu.Lock()
	t.registered[n.Ref] = true
	t.mu.Unlock()
	if owner == nil {
		return nil
	}
	owner.Ref = n.Ref
	return t.setOwner(*owner)
}

// Update changes tags in the registry, where an empty string removes one.
// Nothing is sent for a thing that is private, removed or unclaimed (0347-R27,
// R30).
func (t *Thing) Update(ctx context.Context, r Ref, tags []Tag) error {
	if c, ok := t.Claim(r); !ok || c.Private || c.Removed || c.Owner == "" {
		return nil
	}
	if err := t.befriend(ctx, true); err != nil {
		return fmt.Errorf("updating: %w", err)
	}
	if err := t.awaitRegistry(ctx); err != nil {
		return fmt.Errorf("updating: %w", err)
	}
	err := t.update(ctx, r, tags)
	if err == nil && !t.due() {
		err = t.befriend(ctx, false)
	}
	return err
}

func (t *Thing) update(ctx context.Context, r Ref, tags []Tag) error {
	gone := false
	err := t.query(ctx, Update{Ref: r, Tags: tags}, func(st *xmpp.Stanza) error {
		gone = st.Child().Name() == NameDisowned
		return nil
	})
	switch {
	case errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}): // 0347-R30
		_, err = t.change(r, func(c *Claim) { c.Removed = true })
		return err
	case err != nil:
		return fmt.Errorf("updating: %w", err)
	case gone:
		return t.forget(r)
	}
	return nil
}

// Unregister takes everything out of the registry.
func (t *Thing) Unregister(ctx context.Context) error {
	var errs []error
	for _, n := range t.cfg.Nodes {
		if err := t.query(ctx, Notice{Name: NameUnregister, Ref: n.Ref}, nil); err != nil {
			errs = append(errs, fmt.Errorf("unregistering: %w", err))
		}
	}
	return errors.Join(errs...)
}
