package provisioning

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"postern/xmpp"
)

// A thing that missed a notice, because it was away or has ended the friendship
// with a registry on an account, asks whether its owner still is one: it blanks
// its KEY anew, which changes nothing, and which a registry answers by
// "disowned" where nobody owns the thing (XEP-0347 §3.10).

// askEvery is the default of ThingConfig.AskEvery.
const askEvery = 24 * time.Hour

// askSoon is within which time of a new session a thing asks, at a chance
// moment, and for how long a registry on an account then stays a friend, so that
// it can tell what it could not before, and disown works: ten minutes.
func (t *Thing) askSoon() time.Duration { return t.cfg.AskEvery / 144 }

// questions are which nodes the registry is to be asked about. Thing.mu guards
// them. Times are of the monotonic clock: the wall clock may jump.
type questions struct {
	next   time.Time // when to ask about all; zero until there is a session
	open   map[Ref]bool
	attend time.Time // until when a registry on an account stays a friend
}

// newSession makes the next question come soon. Chance spreads those of many
// things whose server was away.
func (q *questions) newSession(now time.Time, within time.Duration) {
	if soon := now.Add(rand.N(within)); q.next.IsZero() || soon.Before(q.next) {
		q.next = soon
	}
}

// askWhenDue opens the questions whose time has come.
func (t *Thing) askWhenDue(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := &t.questions
	if now.After(q.attend) {
		q.attend = time.Time{}
	}
	if q.next.IsZero() || now.Before(q.next) {
		return
	}
	q.next = now.Add(t.cfg.AskEvery - rand.N(t.cfg.AskEvery/4))
	for _, n := range t.cfg.Nodes {
		if c, _ := t.claims.get(n.Ref); c.Owner != "" && !n.SelfOwned {
			q.open[n.Ref] = true
		}
	}
}

// nextTime is when there is something to do without a reason from outside, as a
// time from now; ok is false where there is nothing.
func (t *Thing) nextTime(now time.Time) (d time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.online || t.registry.String() == "" {
		return 0, false // Online and SetRegistry wake
	}
	for _, at := range []time.Time{t.questions.next, t.questions.attend} {
		if left := at.Sub(now); !at.IsZero() && (!ok || left < d) {
			d, ok = left, true
		}
	}
	return max(d, 0) + time.Millisecond, ok
}

// askOwner asks about one node. A registry that refuses would say the same
// again at once.
func (t *Thing) askOwner(ctx context.Context, r Ref) error {
	err := t.blank(ctx, r)
	if e := new(xmpp.Error); errors.As(err, &e) && !passing(e) {
		t.log.Warn("the registry does not say whether the owner still is one", "node", r.String(), "err", err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("asking about the owner: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.questions.open, r)
	if t.registry.Localpart() != "" {
		t.questions.attend = time.Now().Add(t.askSoon())
	}
	return nil
}

// passing reports whether an error may be another one in a while.
func passing(e *xmpp.Error) bool {
	switch e.Condition {
	case xmpp.ServiceUnavailable, xmpp.RecipientUnavailable, xmpp.RemoteServerNotFound, xmpp.RemoteServerTimeout:
		return true
	}
	return e.Type == xmpp.Wait
}

// blank makes the registry forget a node's KEY (0347-R37).
func (t *Thing) blank(ctx context.Context, r Ref) error {
	asked, _ := t.Claim(r)
	if err := t.update(ctx, r, []Tag{{Name: KeyTag}}); err != nil {
		return err
	}
	_, err := t.claims.change(r, func(c *Claim) {
		if c.sameOwner(asked) {
			c.Blanked = true
		}
	})
	return err
}
