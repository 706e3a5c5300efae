package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/internal/store"
	"postern/sensors"
	"postern/sensors/history"
	"postern/xmpp"
)

// Config says what a Service serves. Zero fields take the default in brackets.
type Config struct {
	Sensors *sensors.Service // required
	Outbox  *outbox.Outbox   // required
	Access  node.Access      // required
	// History gives what subscribers missed; nil: it is lost, and they are told.
	History *history.History
	// Sender tells who had a subscription that it has ended; nil: nobody does.
	Sender interface {
		Send(ctx context.Context, sts ...xmpp.Stanza) error
	}
	// DB is where subscriptions outlive the process; nil: nowhere.
	DB *store.DB
	// Friend tells whether the gateway sees an account's presence: one that it
	// cannot see coming and going cannot subscribe. Nil: it sees everybody's.
	Friend func(bare jid.JID) bool
	// Subscribers are those of the configuration.
	Subscribers []Subscriber
	PerAccount  int           // subscriptions by request of one account [16]
	Names       int           // nodes and fields named in one request [1000]
	Gather      time.Duration // how long readings are gathered for one message [50 ms]
	Now         func() time.Time
	Logger      *slog.Logger // nil discards
}

// Subscriber is an account that the configuration sends to, from the first
// start on and whatever it missed.
type Subscriber struct {
	Bare     string
	Nodes    []node.Ref // none: all
	Fields   []string   // none: all
	Min      time.Duration
	Readings bool // readings are sent
	Commands bool // what became of commands is sent
	Audit    bool // refused ones too
}

func (c Config) checked() (Config, error) {
	switch {
	case c.Sensors == nil:
		return c, errors.New("events: Config.Sensors is missing")
	case c.Outbox == nil:
		return c, errors.New("events: Config.Outbox is missing")
	case c.Access == nil:
		return c, errors.New("events: Config.Access is missing")
	}
	if c.PerAccount <= 0 {
		c.PerAccount = 16
	}
	if c.Names <= 0 {
		c.Names = 1000
	}
	if c.Gather <= 0 {
		c.Gather = 50 * time.Millisecond
	}
	if c.Friend == nil {
		c.Friend = func(jid.JID) bool { return true }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Service keeps subscriptions and makes their events. Make one with New, let it
// observe the latest readings, register it, and run it beside the outbox.
type Service struct {
	cfg  Config
	wake chan struct{}

	qmu     sync.Mutex
	changes []live.Change
	arrived []string // accounts that came online
	lost    uint64   // changes that the queue had no room for

	mu      sync.Mutex
	subs    map[string]*subscription
	order   uint64
	routes  map[node.Ref][]*subscription // by node: one of each account
	removed []string
	ended   []ending
	saving  []*subscription // written, but not known to be on the disk
	repairs uint64          // of the store, that it has got everything again after

	fulls atomic.Pointer[map[string]string] // address by account
}

// queueMost bounds the changes that wait for the runner.
const queueMost = 20_000

var bucket = store.Bucket[stored]{Name: "events"}

// New returns a Service with the subscriptions of the store and the
// configuration. It starts nothing.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, wake: make(chan struct{}, 1), subs: make(map[string]*subscription)}
	if err := s.load(); err != nil {
		return nil, err
	}
	cfg.Outbox.Use(s)
	s.reroute()
	return s, nil
}

// load reads the store, and takes over what the configuration says now.
func (s *Service) load() error {
	now := s.cfg.Now()
	if s.cfg.DB != nil {
		s.repairs = s.cfg.DB.Repairs()
		err := s.cfg.DB.View(func(tx *store.Tx) error {
			for e := range bucket.All(tx, "") {
				if e.Err != nil {
					s.cfg.Logger.Warn("a subscription is lost", "err", e.Err)
					s.removed = append(s.removed, e.Key)
					continue
				}
				sub := e.Value.restored(e.Key, now)
				s.order = max(s.order, sub.order)
				s.subs[sub.id] = sub
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	wanted := map[string]bool{}
	for i := range s.cfg.Subscribers {
		c := &s.cfg.Subscribers[i]
		wanted[c.Bare] = true
		if err := s.cfg.Outbox.Subscribe(c.Bare); err != nil {
			return err
		}
		id := "config " + c.Bare
		if !c.Readings {
			continue
		}
		sub := s.subs[id]
		if sub == nil {
			sub = &subscription{id: id, bare: c.Bare, dirty: true}
			s.subs[id] = sub
		}
		sub.configured = true
		sub.req = Request{Types: node.All &^ node.Historical, Nodes: c.Nodes, Min: c.Min, Keep: true}
		for _, name := range c.Fields {
			sub.req.Fields = append(sub.req.Fields, Field{Name: name})
		}
		sub.prepare()
	}
	for id, sub := range s.subs {
		if len(id) > 7 && id[:7] == "config " && !sub.configured {
			s.drop(sub) // the configuration no longer has it
			continue
		}
		wanted[sub.bare] = true
		if err := s.cfg.Outbox.Subscribe(sub.bare); err != nil {
			s.cfg.Logger.Warn("a subscription is dropped", "of", sub.bare, "err", err)
			s.drop(sub)
		}
	}
	for _, x := range s.cfg.Outbox.Status().Subscribers {
		if !wanted[x.JID] {
			s.cfg.Outbox.Unsubscribe(x.JID)
		}
	}
	return nil
}

// drop removes a subscription. mu is held.
func (s *Service) drop(sub *subscription) {
	delete(s.subs, sub.id)
	s.removed = append(s.removed, sub.id)
}

// Observe follows the latest readings until cancel is called.
func (s *Service) Observe(l *live.Store) (cancel func()) { return l.Observe(s.changed) }

// changed queues a change; it must not block.
func (s *Service) changed(c live.Change) {
	s.qmu.Lock()
	if len(s.changes) < queueMost {
		s.changes = append(s.changes, c)
	} else {
		s.lost++
	}
	first := len(s.changes) == 1
	s.qmu.Unlock()
	if first {
		s.kick()
	}
}

func (s *Service) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Came says that an account is available now, or with another client.
func (s *Service) Came(bare string) {
	s.qmu.Lock()
	if len(s.arrived) < queueMost {
		s.arrived = append(s.arrived, bare)
	}
	s.qmu.Unlock()
	s.kick()
}

// Forget removes the subscriptions of an account that is no friend any more
// (proto-XEP, removal of friendships), and tells it. Those of the configuration
// stay.
func (s *Service) Forget(bare string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if sub.bare == bare && !sub.configured {
			s.end(sub)
		}
	}
	s.settle(bare)
}

// settle ends what depends on removed subscriptions of an account. mu is held.
func (s *Service) settle(bare string) {
	s.reroute()
	for _, sub := range s.subs {
		if sub.bare == bare {
			s.cfg.Outbox.Changed(true)
			return
		}
	}
	for i := range s.cfg.Subscribers {
		if s.cfg.Subscribers[i].Bare == bare {
			return
		}
	}
	s.cfg.Outbox.Unsubscribe(bare)
}

// Applied follows a change of the nodes.
func (s *Service) Applied() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reroute()
}

// reroute finds out which subscription holds for which node. mu is held.
func (s *Service) reroute() {
	list := make([]*subscription, 0, len(s.subs))
	for _, sub := range s.subs {
		list = append(list, sub)
	}
	// The latest first: for each account and node it is the one that holds.
	slices.SortFunc(list, func(a, b *subscription) int {
		switch {
		case a.order > b.order:
			return -1
		case a.order < b.order:
			return 1
		}
		return 0
	})
	s.routes = make(map[node.Ref][]*subscription)
	fulls := make(map[string]string)
	defer s.fulls.Store(&fulls)
	for _, sub := range list {
		if sub.full != "" && fulls[sub.bare] == "" {
			fulls[sub.bare] = sub.full
		}
		sub.nodes = nil
		nodes, _ := s.cfg.Sensors.Covered(sub.req.Nodes)
		for _, n := range nodes {
			if slices.ContainsFunc(s.routes[n], func(o *subscription) bool { return o.bare == sub.bare && o.configured == sub.configured }) {
				continue
			}
			s.routes[n] = append(s.routes[n], sub)
			sub.nodes = append(sub.nodes, n)
		}
	}
}

// Missing tells whether readings that a subscriber missed wait in the history,
// and from when on.
func (s *Service) Missing(bare string) (missing bool, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if ms, ok := sub.earliest(); ok && sub.bare == bare && (!missing || time.UnixMilli(ms).Before(since)) {
			missing, since = true, time.UnixMilli(ms)
		}
	}
	return missing, since
}

// Full is the address that an account subscribed from last; empty where there
// is none. It takes no lock: the outbox asks while it holds its own.
func (s *Service) Full(bare string) string {
	if m := s.fulls.Load(); m != nil {
		return (*m)[bare]
	}
	return ""
}

// Register adds the service's handlers to m.
func (s *Service) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameSubscribe, s.subscribe)
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameUnsubscribe, s.unsubscribe)
	// The schema does not say get; other requests that change something are set.
	m.HandleFunc(xmpp.IQ, xmpp.Set, nameSubscribe, s.subscribe)
	m.HandleFunc(xmpp.IQ, xmpp.Set, nameUnsubscribe, s.unsubscribe)
}

// Run makes events until ctx is done. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			timer.Reset(s.cfg.Gather)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
		case <-timer.C:
		}
		timer.Reset(s.pass(ctx))
	}
}

// Save implements outbox.Source. What was not confirmed is written again.
func (s *Service) Save(tx *store.Tx) (saved func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.saving {
		sub.dirty = true
	}
	s.saving = nil
	// A store that was repaired may have lost what it had.
	repairs := s.cfg.DB.Repairs()
	all := repairs != s.repairs
	removed := len(s.removed)
	for _, id := range s.removed {
		if s.subs[id] == nil {
			if err := bucket.Delete(tx, id); err != nil {
				return nil, err
			}
		}
	}
	for _, sub := range s.subs {
		if !sub.dirty && !all {
			continue
		}
		if err := bucket.Put(tx, sub.id, sub.stored()); err != nil {
			return nil, err
		}
		s.saving = append(s.saving, sub)
		sub.dirty = false
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saving, s.removed, s.repairs = nil, s.removed[removed:], repairs
	}, nil
}

// Unsaved implements outbox.Source.
func (s *Service) Unsaved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.removed)+len(s.saving) > 0 {
		return true
	}
	for _, sub := range s.subs {
		if sub.dirty {
			return true
		}
	}
	return false
}
