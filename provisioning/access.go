package provisioning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/roster"
)

// AccessConfig says whom Access asks. Session is needed, and Store where the
// cache shall survive a restart.
type AccessConfig struct {
	Session Session
	Store   *store.DB
	// Servers are trusted; one grant is enough (0324-R46). None: only the owner
	// and Local decide. SetServers changes them.
	Servers []jid.JID
	// Resolve returns the address that answers requests for a server, zero
	// while it cannot be reached: for one on an account, the full address from
	// its presence (0324-R03). nil: the server itself, a component.
	Resolve func(jid.JID) jid.JID
	// Owner returns the bare JID of a node's owner, usually Thing.Owner. The
	// owner may do everything (0347-D24). nil: there is none.
	Owner func(Ref) string
	// Local grants rights beside the servers, such as those configured. nil: none.
	Local node.Access
	// Tokens answers and passes on challenges of the tokens that requests carry.
	// nil: challenges are refused.
	Tokens *Tokens
	// CheckFriends asks isFriend before a recommendation is followed (0324-R28).
	CheckFriends bool

	// OnChanged is told when what was allowed may not be any more: a server
	// cleared the cache, or it was forgotten. It must not block.
	OnChanged func()

	CacheSize int           // answers kept; 0: 1024, negative: no cache
	CacheAge  time.Duration // 0: until the server clears them
	Timeout   time.Duration // for an answer; 0: 10 s
	// SaveEvery is how often the cache is written; 0: 10 min. It is also
	// written when Run ends, and what was cleared is gone at once.
	SaveEvery time.Duration
	Now       func() time.Time // nil: time.Now
	Logger    *slog.Logger     // nil discards
}

// Access asks provisioning servers who may read and set (XEP-0324). It is a
// node.Access that fails closed: without an answer, only what is cached counts.
// Its methods are safe for concurrent use.
type Access struct {
	cfg   AccessConfig
	log   *slog.Logger
	cache *cache
	jobs  chan Recommend

	mu      sync.Mutex
	servers []jid.JID            // bare; the slice is replaced, never changed
	heard   map[string]time.Time // when a server answered last, by bare JID
}

var _ node.Access = (*Access)(nil)

// controlWindow is how long ago a server must have answered for a cached yes
// to count for control (0324-D15).
const controlWindow = time.Minute

// NewAccess loads the cache.
func NewAccess(cfg AccessConfig) (*Access, error) {
	if cfg.Session == nil {
		return nil, errors.New("provisioning: access needs a session")
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 1024
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.SaveEvery == 0 {
		cfg.SaveEvery = 10 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(j jid.JID) jid.JID { return j }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Access{cfg: cfg, log: cfg.Logger, jobs: make(chan Recommend, 64), heard: make(map[string]time.Time)}
	a.servers = bareAll(cfg.Servers)
	a.cache = newCache(max(cfg.CacheSize, 0), cfg.CacheAge, cfg.Store)
	if err := a.cache.load(a.serves); err != nil {
		// The cache only saves questions.
		a.log.Warn("the permissions kept cannot be read", "err", err)
	}
	return a, nil
}

// Register takes what provisioning servers send.
func (a *Access) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Set, NameClearCache, a.clear)
	m.HandleFunc(xmpp.IQ, xmpp.Get, NameClearCache, a.clear) // before version 0.3
	if a.cfg.Tokens != nil {
		a.cfg.Tokens.Register(m)
	} else {
		m.HandleFunc(xmpp.IQ, xmpp.Get, NameTokenChallenge, a.challenge)
	}
	m.HandleFunc(xmpp.Message, "*", NameFriend, a.recommended)
	m.HandleFunc(xmpp.Message, "*", NameUnfriend, a.recommended)
}

func bareAll(list []jid.JID) (out []jid.JID) {
	for _, j := range list {
		if b := j.Bare(); !slices.ContainsFunc(out, b.Equal) {
			out = append(out, b)
		}
	}
	return out
}

// Servers returns the trusted servers.
func (a *Access) Servers() []jid.JID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.servers)
}

func (a *Access) trusted() []jid.JID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.servers
}

// SetServers replaces the trusted servers. When they differ from those before,
// everything cached is forgotten first (0324-R44). An error says that it is
// still on the disk; the new servers are in force all the same.
func (a *Access) SetServers(list []jid.JID) error {
	now := bareAll(list)
	old := a.trusted()
	if len(old) == len(now) && !slices.ContainsFunc(now, func(j jid.JID) bool { return !slices.ContainsFunc(old, j.Equal) }) {
		return nil
	}
	err := a.cache.clear()
	a.mu.Lock()
	a.servers = now
	a.mu.Unlock()
	a.changed()
	return err
}

func (a *Access) changed() {
	if a.cfg.OnChanged != nil {
		a.cfg.OnChanged()
	}
}

// serves reports whether an address is that of a trusted server (0324-D12).
func (a *Access) serves(bare string) bool {
	return slices.ContainsFunc(a.trusted(), func(j jid.JID) bool { return j.String() == bare })
}

// CanRead implements node.Access.
func (a *Access) CanRead(ctx context.Context, r node.Request) (node.Decision, error) {
	return a.decide(ctx, r, false)
}

// CanControl implements node.Access.
func (a *Access) CanControl(ctx context.Context, r node.Request) (node.Decision, error) {
	return a.decide(ctx, r, true)
}

// local is what is granted beside the servers.
func (a *Access) local(ctx context.Context, r node.Request, control bool) (node.Decision, error) {
	switch {
	case a.cfg.Local == nil:
		return node.Decision{}, nil
	case control:
		return a.cfg.Local.CanControl(ctx, r)
	}
	return a.cfg.Local.CanRead(ctx, r)
}

// decide asks, in this order, whose the thing is, what is granted here, and the
// servers, until all of the request is allowed.
func (a *Access) decide(ctx context.Context, r node.Request, control bool) (d node.Decision, err error) {
	if r.Bare == "" {
		return d, nil // a stanza without a sender comes from our own server
	}
	d, all := a.byOwner(r)
	if all {
		return d, nil
	}
	l, err := a.local(ctx, r, control)
	if err != nil {
		return d, err
	}
	d.Scopes = append(d.Scopes, l.Scopes...)
	if l.Grants(r) {
		return d, nil
	}
	scopes, err := a.askAll(ctx, r, control)
	d.Scopes = append(d.Scopes, scopes...)
	if !d.Denied() || err == nil {
		return d, nil
	}
	if busy := new(xmpp.Error); errors.As(err, &busy) && busy.Condition == xmpp.ResourceConstraint {
		return node.Decision{}, busy
	}
	a.log.Warn("no provisioning server answers", "requester", r.Bare, "err", err)
	return node.Decision{}, xmpp.NewError(xmpp.RemoteServerTimeout, "the provisioning server does not answer").WithType(xmpp.Wait)
}

// byOwner allows what the requester owns; all says that nothing is left to
// ask about.
func (a *Access) byOwner(r node.Request) (d node.Decision, all bool) {
	if a.cfg.Owner == nil {
		return d, false
	}
	d.Scopes = OwnerScopes(a.cfg.Owner, r)
	return d, len(d.Scopes) > 0 && (len(d.Scopes[0].Nodes) == 0 || len(d.Scopes[0].Nodes) == len(r.Nodes))
}

// OwnerScopes is what a requester may do as an owner (0347-D24): everything
// where the device itself is the requester's, else its nodes among those of
// the request.
func OwnerScopes(owner func(Ref) string, r node.Request) []node.Scope {
	switch {
	case r.Bare == "":
		return nil
	case owner(Ref{}) == r.Bare:
		return []node.Scope{{}}
	}
	var own []Ref
	for _, n := range r.Nodes {
		if owner(n) == r.Bare {
			own = append(own, n)
		}
	}
	if len(own) == 0 {
		return nil
	}
	return []node.Scope{{Nodes: own}}
}

// askAll asks all servers at the same time and unites what they allow
// (0324-R45, R46).
func (a *Access) askAll(ctx context.Context, r node.Request, control bool) (scopes []node.Scope, err error) {
	q := Question{Control: control, Nodes: r.Nodes, Names: r.Fields, Types: r.Types,
		ServiceToken: tokens(r.ServiceToken), DeviceToken: tokens(r.DeviceToken), UserToken: tokens(r.UserToken)}
	if control {
		q.Names, q.Types, q.Ranges = r.Parameters, 0, true
	}
	if q.JID, err = jid.Parse(r.Bare); err != nil {
		return nil, fmt.Errorf("provisioning: requester %q: %w", r.Bare, err)
	}
	if t := a.cfg.Tokens; t != nil && q.ServiceToken+q.DeviceToken+q.UserToken != "" {
		if from, err := jid.Parse(r.From); err == nil {
			t.Came(from, q.ServiceToken, q.DeviceToken, q.UserToken)
		}
	}
	servers := a.trusted()
	answers := make([]Answer, len(servers))
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		if i == len(servers)-1 {
			answers[i], errs[i] = a.ask(ctx, server, q)
			break
		}
		wg.Go(func() { answers[i], errs[i] = a.ask(ctx, server, q) })
	}
	wg.Wait()
	for i := range answers {
		if errs[i] == nil {
			if s, ok := scope(q, answers[i]); ok {
				scopes = append(scopes, s)
			}
		}
	}
	return scopes, errors.Join(errs...)
}

// tokens writes several tokens of a kind with one space between them
// (0324-R19, D20).
func tokens(s string) string { return strings.Join(SplitTokens(s), " ") }

// scope is what an answer allows of a question (0324-R31 to R36, D8 to D11):
// lists narrow, what was not asked for is ignored.
func scope(q Question, a Answer) (s node.Scope, ok bool) {
	if !a.Result {
		return s, false
	}
	none := false
	s.Nodes = q.Nodes
	if len(a.Nodes) > 0 {
		s.Nodes = a.Nodes
		if len(q.Nodes) > 0 {
			s.Nodes = slices.DeleteFunc(slices.Clone(q.Nodes), func(n Ref) bool {
				return !slices.ContainsFunc(a.Nodes, func(p Ref) bool { return p.Matches(n) })
			})
		}
		none = len(s.Nodes) == 0
	}
	names := q.Names
	if len(a.Names) > 0 {
		names = a.Names
		if len(q.Names) > 0 {
			names = slices.DeleteFunc(slices.Clone(q.Names), func(n string) bool { return !slices.Contains(a.Names, n) })
		}
		none = none || len(names) == 0
	}
	if q.Control {
		s.Parameters, s.Values = names, a.Values
		return s, !none
	}
	s.Fields, s.Types = names, q.Types
	if a.Types != 0 {
		if s.Types = a.Types; q.Types != 0 {
			s.Types &= q.Types
		}
		none = none || s.Types == 0
	}
	return s, !none
}

// ask returns one server's answer, from the cache where that is allowed.
func (a *Access) ask(ctx context.Context, server jid.JID, q Question) (Answer, error) {
	name := server.String()
	key := cacheKey(name, q)
	now := a.cfg.Now()
	got, hit, gen := a.cache.get(key, now)
	if hit && (!q.Control || !got.Result || a.fresh(name, now)) {
		return got, nil
	}
	to := a.cfg.Resolve(server)
	if to.String() == "" {
		return Answer{}, fmt.Errorf("provisioning: %s cannot be reached: its presence is missing", server)
	}
	if err := xmpp.Detach(ctx); err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	if a.cfg.Tokens != nil {
		a.cfg.Tokens.Passed(server, q.ServiceToken, q.DeviceToken, q.UserToken)
	}
	err := a.cfg.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: q}, func(st *xmpp.Stanza) (err error) {
		got, err = ParseAnswer(st.Child())
		return err
	})
	if err == nil && (got.Control != q.Control || !got.JID.Equal(q.JID.Bare())) {
		err = errors.New("the answer is about something else")
	}
	if err != nil {
		return Answer{}, fmt.Errorf("provisioning: asking %s: %w", server, err)
	}
	a.heardFrom(name)
	a.cache.put(name, key, got, a.cfg.Now(), gen)
	return got, nil
}

func (a *Access) heardFrom(server string) {
	now := a.cfg.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard[server] = now
}

func (a *Access) fresh(server string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.heard[server]
	return ok && now.Sub(t) <= controlWindow
}

// cleared acknowledges clearCache.
type cleared struct{}

// AppendEvents writes the element.
func (cleared) AppendEvents(d *exi.Doc) { d.Element(NameClearCacheResponse, exi.Value{}) }

// clear empties the cache for a trusted server, on the disk too, before it
// acknowledges (0324-R40, R41).
func (a *Access) clear(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	server := st.From.Bare().String()
	if !a.serves(server) {
		a.log.Warn("clearCache of somebody else", "from", st.From.String())
		return nil, xmpp.NewError(xmpp.Forbidden, "")
	}
	if err := a.cache.clear(); err != nil {
		return nil, err
	}
	a.heardFrom(server)
	a.changed()
	return cleared{}, nil
}

// challenge refuses token challenges: this device holds no token, and has none
// from others to vouch for (0324-R15, D24).
func (a *Access) challenge(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
	return nil, xmpp.NewError(xmpp.Forbidden, "")
}

// Forget drops everything learned from provisioning servers: the device has a
// new owner, or none (0324-R44).
func (a *Access) Forget() error {
	defer a.changed()
	return a.cache.clear()
}

// recommended takes friend and unfriend messages of trusted servers and
// ignores others silently (0324-R26, R27).
func (a *Access) recommended(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	if st.Type == xmpp.TypeError || !a.serves(st.From.Bare().String()) {
		return nil, nil
	}
	for c := range st.Elem.Children() {
		if c.Name() != NameFriend && c.Name() != NameUnfriend {
			continue
		}
		j, err := ParseJID(c)
		if err != nil {
			continue
		}
		select {
		case a.jobs <- Recommend{JID: j, Not: c.Name() == NameUnfriend}:
		default:
			a.log.Warn("too many recommendations", "jid", j.String())
		}
	}
	return nil, nil
}

// Run follows recommendations and saves the cache until ctx is done.
func (a *Access) Run(ctx context.Context) error {
	save := time.NewTicker(a.cfg.SaveEvery)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return a.cache.save()
		case <-save.C:
			if err := a.cache.save(); err != nil {
				a.log.Warn("permissions are not kept", "err", err)
			}
		case r := <-a.jobs:
			if err := a.follow(ctx, r); err != nil {
				a.log.Warn("a recommendation was not followed", "jid", r.JID.String(), "err", err)
			}
		}
	}
}

// follow carries a recommendation out (0324-R62). The owner stays a friend.
func (a *Access) follow(ctx context.Context, r Recommend) error {
	typ := "subscribe"
	if r.Not {
		if a.isOwner(r.JID) {
			return nil
		}
		typ = "unsubscribed"
	} else if a.cfg.CheckFriends {
		if yes, err := a.friend(ctx, r.JID); err != nil || !yes {
			return err
		}
	}
	a.log.Info("a recommendation is followed", "jid", r.JID.String(), "presence", typ)
	return a.cfg.Session.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence, Type: typ, To: r.JID.Bare()})
}

func (a *Access) isOwner(j jid.JID) bool {
	return a.cfg.Owner != nil && a.cfg.Owner(Ref{}) == j.Bare().String()
}

// friend asks the servers whether somebody may be a friend: one yes is enough.
// An error is returned only without a yes.
func (a *Access) friend(ctx context.Context, who jid.JID) (bool, error) {
	var errs []error
	for _, server := range a.trusted() {
		to := a.cfg.Resolve(server)
		if to.String() == "" {
			errs = append(errs, fmt.Errorf("provisioning: %s cannot be reached", server))
			continue
		}
		if err := xmpp.Detach(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		qctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
		var f Friendship
		err := a.cfg.Session.Query(qctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: IsFriend{JID: who.Bare()}}, func(st *xmpp.Stanza) (err error) {
			f, err = ParseFriendship(st.Child())
			return err
		})
		cancel()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("provisioning: asking %s: %w", server, err))
			continue
		case !f.JID.Equal(who.Bare()):
			errs = append(errs, fmt.Errorf("provisioning: %s answers about somebody else", server))
			continue
		}
		a.heardFrom(server.String())
		if f.Result {
			return true, nil
		}
	}
	return false, errors.Join(errs...)
}

// Policy returns the roster's policy for subscription requests: the owner and
// the servers are accepted without a question (0324-D18), others as a server
// says (0324-R21). Without any answer, or without servers, then decides.
func (a *Access) Policy(then roster.Policy) roster.Policy {
	return func(ctx context.Context, from jid.JID) roster.Decision {
		if a.isOwner(from) || a.serves(from.Bare().String()) {
			return roster.Accepted
		}
		if len(a.trusted()) == 0 {
			return then(ctx, from)
		}
		yes, err := a.friend(ctx, from)
		switch {
		case yes:
			return roster.Accepted
		case err != nil:
			a.log.Warn("a friend cannot be judged", "jid", from.String(), "err", err)
			return roster.Pending
		}
		return roster.Refused
	}
}

// Online tells the servers that the device is there, by directed presence, so
// that they send what it missed (0324-D23).
func (a *Access) Online(ctx context.Context) error {
	var out []xmpp.Stanza
	for _, s := range a.trusted() {
		out = append(out, xmpp.Stanza{Kind: xmpp.Presence, To: s})
	}
	if len(out) == 0 {
		return nil
	}
	return a.cfg.Session.Send(ctx, out...)
}
