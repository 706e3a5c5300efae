package provisioning

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/xmpp"
)

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
		t.questions.newSession(time.Now(), t.askSoon())
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
	delete(t.registered, r)
	t.withdrawn[r] = t.shut // it may have been opened meanwhile
	t.mu.Unlock()
	// A claim that came just before is one that the registry has forgotten with
	// the thing: kept here, nobody could end it.
	return t.forget(r)
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
		wait, timed := t.nextTime(time.Now())
		if again {
			if !timed || pause < wait {
				wait, timed = pause, true
			}
			pause = min(2*pause, lastPause)
		} else {
			pause = firstPause
		}
		var timer <-chan time.Time
		if timed {
			timer = time.After(wait)
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
	t.askWhenDue(time.Now())
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

// settle registers a node, blanks the KEY of one that was claimed, or asks
// whose it is.
func (t *Thing) settle(ctx context.Context, n Node) error {
	c, _ := t.Claim(n.Ref)
	t.mu.Lock()
	known, withdrawn, open := t.registered[n.Ref], t.withdrawn[n.Ref], t.questions.open[n.Ref]
	shut := t.shut && !n.SelfOwned
	t.mu.Unlock()
	switch {
	case c.Owner == "" && shut && withdrawn:
	case c.Owner == "" && shut:
		return t.withdraw(ctx, n.Ref)
	case c.Owner == "" && !known:
		return t.register(ctx, n, c)
	case c.Owner != "" && open:
		return t.askOwner(ctx, n.Ref)
	case c.Owner != "" && !c.Blanked && !c.Removed && !n.SelfOwned:
		return t.blank(ctx, n.Ref)
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
	if owner != nil {
		owner.Ref = n.Ref
		if err := t.setOwner(*owner); err != nil {
			return err
		}
	}
	t.mu.Lock()
	t.registered[n.Ref] = true
	t.mu.Unlock()
	return nil
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
		return t.listed(r, false)
	case err != nil:
		return fmt.Errorf("updating: %w", err)
	case gone:
		return t.forget(r)
	}
	return t.listed(r, true)
}

// listed notes whether the registry knows an owner's thing.
func (t *Thing) listed(r Ref, yes bool) error {
	_, err := t.claims.change(r, func(c *Claim) { c.Removed = !yes && c.Owner != "" })
	return err
}

// Unregister takes everything out of the registry. It is put in again by the
// next session, or after Reregister.
func (t *Thing) Unregister(ctx context.Context) error {
	if err := t.befriend(ctx, true); err != nil {
		return fmt.Errorf("unregistering: %w", err)
	}
	if err := t.awaitRegistry(ctx); err != nil {
		return fmt.Errorf("unregistering: %w", err)
	}
	var errs []error
	for _, n := range t.cfg.Nodes {
		if err := t.query(ctx, Notice{Name: NameUnregister, Ref: n.Ref}, nil); err != nil {
			errs = append(errs, fmt.Errorf("unregistering: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Reregister puts what is unclaimed into the registry again, after Unregister.
func (t *Thing) Reregister() {
	t.mu.Lock()
	clear(t.registered)
	t.mu.Unlock()
	t.poke()
}
