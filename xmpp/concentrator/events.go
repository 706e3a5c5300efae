package concentrator

import (
	"context"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// kind is a kind of node event.
type kind uint8

const (
	nodeAdded kind = 1 << iota
	nodeUpdated
	nodeStatusChanged
	nodeRemoved
	nodeMovedUp
	nodeMovedDown
)

var kinds = [...]kind{nodeAdded, nodeUpdated, nodeStatusChanged, nodeRemoved, nodeMovedUp, nodeMovedDown}

// String returns the XEP's name of the event.
func (k kind) String() string {
	switch k {
	case nodeAdded:
		return "nodeAdded"
	case nodeUpdated:
		return "nodeUpdated"
	case nodeStatusChanged:
		return "nodeStatusChanged"
	case nodeRemoved:
		return "nodeRemoved"
	case nodeMovedUp:
		return "nodeMovedUp"
	}
	return "nodeMovedDown"
}

// event is a change of one node.
type event struct {
	at   time.Time
	kind kind
	node *node.Node // as it was or is
	tree *node.Tree // in which it stands
	info Info
}

// subscription is what one full JID wants of one source.
type subscription struct {
	to       jid.JID
	source   string
	kinds    kind
	params   bool
	messages bool
}

func subKey(full, source string) string { return full + "\x00" + source }

// wanted reads the flags of subscribe and unsubscribe, true by default.
func wanted(c exi.Cursor) (k kind) {
	for _, one := range kinds {
		on := true
		if v, given := c.Attr(attr(one.String())); given {
			on, _ = v.Bool()
		}
		if on {
			k |= one
		}
	}
	return k
}

// subscribe adds to what the requester is told (XEP-0326 §3.3). Subscribing
// twice adds kinds, never a second event (0326-R13).
func (r *request) subscribe(a *answer) {
	if !r.hasSource(a) {
		return
	}
	since, given, valid := timeOf(r.elem, "getEventsSince")
	if !valid {
		a.result = otherError
		return
	}
	s := r.svc
	k := wanted(r.elem)
	s.mu.Lock()
	defer s.mu.Unlock()
	if given && since.Before(s.since) { // 0326-R17
		a.result = notImplemented
		return
	}
	key := subKey(r.st.From.String(), r.source)
	sub := s.subs[key]
	if sub == nil {
		if len(s.subs) >= s.cfg.Limits.Subscriptions {
			a.result = otherError
			return
		}
		sub = &subscription{to: r.st.From, source: r.source}
	}
	sub.kinds |= k
	sub.params, sub.messages = r.params, r.messages
	if given { // 0326-R16: the past first
		var old []event
		for _, e := range s.past {
			if !e.at.Before(since) && e.kind&k != 0 && sourceOf(e.node.Ref) == r.source {
				old = append(old, e)
			}
		}
		s.send(s.runContext(), sub, &r.view, old)
	}
	s.subs[key] = sub
	select {
	case s.wake <- struct{}{}: // states are looked at from now on
	default:
	}
	if len(s.subs) == 1 {
		s.remember()
	}
}

// unsubscribe takes kinds away; without a subscription that is well, too
// (0326-R15).
func (r *request) unsubscribe(a *answer) {
	if !r.hasSource(a) {
		return
	}
	s := r.svc
	s.mu.Lock()
	defer s.mu.Unlock()
	key := subKey(r.st.From.String(), r.source)
	if sub := s.subs[key]; sub != nil {
		if sub.kinds &^= wanted(r.elem); sub.kinds == 0 {
			delete(s.subs, key)
		}
	}
}

func (s *Service) runContext() context.Context { return context.Background() }

// remember takes the present states as known: the first subscriber hears of
// changes from now on. s.mu is held.
func (s *Service) remember() {
	clear(s.states)
	for _, nd := range s.tree.Nodes() {
		s.states[nd.Ref] = s.cfg.Info(nd).State
	}
}

// Gone drops what a full JID subscribed to: it went offline (0326-R14).
func (s *Service) Gone(full jid.JID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, sub := range s.subs {
		if sub.to.Equal(full) {
			delete(s.subs, key)
		}
	}
}

// Offline drops all subscriptions: the gateway's own session is a new one.
func (s *Service) Offline() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.subs)
}

// Subscriptions returns how many there are.
func (s *Service) Subscriptions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs)
}

// bounced drops subscriptions of somebody whom events do not reach.
func (s *Service) bounced(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	s.Gone(st.From)
	return nil, nil
}

// Apply replaces the tree and tells subscribers what changed.
func (s *Service) Apply(t *node.Tree) {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamps.Lock()
	defer s.stamps.Unlock()
	old := s.tree
	s.tree = t
	var es []event
	add := func(k kind, nd *node.Node, in *node.Tree) {
		es = append(es, event{at: now, kind: k, node: nd, tree: in, info: s.cfg.Info(nd)})
	}
	for _, was := range old.Nodes() {
		is := t.Node(was.Ref)
		// A node under another parent went and came (0326-R12).
		if is == nil || is.Parent != was.Parent {
			add(nodeRemoved, was, old)
			delete(s.changed, was.Ref)
			delete(s.states, was.Ref)
		}
	}
	for _, is := range t.Nodes() {
		was := old.Node(is.Ref)
		switch {
		case was == nil || was.Parent != is.Parent:
			add(nodeAdded, is, t)
			s.states[is.Ref] = es[len(es)-1].info.State
		case !alike(was, is):
			add(nodeUpdated, is, t)
		default:
			continue
		}
		s.changed[is.Ref] = now
	}
	s.publish(es)
}

// alike reports whether a node looks the same to a subscriber.
func alike(a, b *node.Node) bool {
	return a.Label == b.Label && a.Device == b.Device &&
		len(a.Fields) > 0 == (len(b.Fields) > 0) && len(a.Parameters) > 0 == (len(b.Parameters) > 0)
}

// publish keeps events and queues them for subscribers. s.mu is held.
func (s *Service) publish(es []event) {
	if len(es) == 0 {
		return
	}
	s.past = append(s.past, es...)
	if extra := len(s.past) - s.cfg.Limits.Past; extra > 0 {
		s.since = s.past[extra-1].at.Add(1) // what was before is not complete any more
		s.past = append([]event(nil), s.past[extra:]...)
	}
	if len(s.subs) == 0 {
		return
	}
	s.queue = append(s.queue, es...)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run tells subscribers of changes until ctx is done. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	look := time.NewTicker(s.cfg.Limits.Look)
	defer look.Stop()
	look.Stop() // nobody is subscribed yet
	looking := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			s.watchStates()
		case <-s.wake:
		}
		s.tell(ctx)
		s.mu.Lock()
		want := len(s.subs) > 0
		s.mu.Unlock()
		switch {
		case want && !looking:
			look.Reset(s.cfg.Limits.Look)
		case !want && looking:
			look.Stop()
		}
		looking = want
	}
}

// watchStates looks for changed states while there are subscribers.
func (s *Service) watchStates() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.subs) == 0 {
		return
	}
	now := s.cfg.Now()
	var es []event
	for _, nd := range s.tree.Nodes() {
		info := s.cfg.Info(nd)
		if s.states[nd.Ref] != info.State {
			s.states[nd.Ref] = info.State
			es = append(es, event{at: now, kind: nodeStatusChanged, node: nd, tree: s.tree, info: info})
		}
	}
	s.publish(es)
}

// tell sends what is queued to everybody who wants and may see it.
func (s *Service) tell(ctx context.Context) {
	s.mu.Lock()
	es := s.queue
	s.queue = nil
	subs := make([]*subscription, 0, len(s.subs))
	for _, sub := range s.subs {
		c := *sub
		subs = append(subs, &c)
	}
	s.mu.Unlock()
	if len(es) == 0 {
		return
	}
	for _, sub := range subs {
		v := s.look(ctx, sub.to, node.Request{})
		s.send(ctx, sub, &v, es)
	}
}

// perStanza bounds the events of one message.
const perStanza = 50

func (s *Service) send(ctx context.Context, sub *subscription, v *view, es []event) {
	var sts []xmpp.Stanza
	batch := &events{sub: sub}
	flush := func() {
		if len(batch.list) > 0 {
			sts = append(sts, xmpp.Stanza{Kind: xmpp.Message, To: sub.to, Payload: batch})
			batch = &events{sub: sub}
		}
	}
	for i := range es {
		e := &es[i]
		in := *v
		in.tree = e.tree
		if e.kind&sub.kinds == 0 || sourceOf(e.node.Ref) != sub.source || !in.sees(e.node) {
			continue
		}
		if batch.list = append(batch.list, seen{e, in}); len(batch.list) == perStanza {
			flush()
		}
	}
	flush()
	if len(sts) == 0 {
		return
	}
	if err := s.cfg.Sender.Send(ctx, sts...); err != nil {
		s.cfg.Logger.Debug("events not sent", "to", sub.to.String(), "err", err)
	}
}
