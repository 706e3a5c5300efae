// Package registry is the service's side of XEP-0347 and XEP-0324: a thing
// registry and a provisioning server behind one address. It is an xmpp.Handler
// and needs something that sends, so the same Server is a component inside the
// hub (hub.Config.Components with Hub.Send) and an external component of a
// stock server (package xmpp/component). Its state is in one store.
//
// What a daemon does: New with the store, then SetSender, then Run beside the
// transport. The operator's commands call Rules, AddRule, RemoveRule, May,
// Questions and Decide through the local door.
//
// Claims are what a stranger would try. With the limits that Limits gives, all
// accounts of a domain together have 100 tries in a minute; a KEY has at least
// 64 bits, and those that package provisioning makes have 160. Half of 2^64
// takes 1.7 × 10^11 years then. A claim is looked up by a keyed digest, so an
// answer's time tells nothing about how near a guess was.
package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/provisioning"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/ping"
	"postern/xmpp/version"
)

// Sender sends stanzas that carry their addresses. It must not wait for
// answers.
type Sender interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
}

// Config says what a Server serves. Domain and Store are required.
type Config struct {
	Domain string // own address
	Store  DB
	Sender Sender // may be set later by SetSender

	// NoRegistry and NoProvisioning leave one of the services out.
	NoRegistry, NoProvisioning bool
	// SecondaryTrust lets devices accept friends of their own and further
	// provisioning servers (0324-R47).
	SecondaryTrust bool
	// TrustTokens takes tokens at their word, without a challenge (0324-R14).
	TrustTokens bool
	// PKCS1 names peers that decrypt challenges by PKCS #1 v1.5 only (0324-D1).
	// nil: nobody.
	PKCS1 func(jid.JID) bool
	// MinKeyBits is what the KEY of a thing must have at least (0347-D17); 0
	// means 64, negative accepts everything.
	MinKeyBits float64
	Limits     Limits

	Version string           // told by XEP-0092
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil discards
}

// Limits bound what strangers can make the service keep and do. Zero fields
// take the default given here.
type Limits struct {
	Things        int // in all; 200,000
	PerJID        int // nodes of one address; 5,000
	ClaimsJID     int // claims of one account in a minute; 10
	ClaimsDomain  int // claims of one domain's accounts in a minute; 100
	Searches      int // of one account in a minute; 120
	RulesPerThing int // 256
	Questions     int // open ones of one device; 32
	Devices       int // that ask the provisioning server; 200,000
	Tokens        int // given for certificates; 20,000
	Services      int // that tokens are used by; 100
}

func (l Limits) withDefaults() Limits {
	for p, n := range map[*int]int{&l.Things: 200_000, &l.PerJID: 5000, &l.ClaimsJID: 10, &l.ClaimsDomain: 100, &l.Searches: 120,
		&l.RulesPerThing: 256, &l.Questions: 32, &l.Devices: 200_000, &l.Tokens: 20_000, &l.Services: 100} {
		if *p == 0 {
			*p = n
		}
	}
	return l
}

// Server is the service. Its methods are safe for concurrent use.
//
// Locks: writing is held while something changes and is committed; mu only
// while the tables in memory are read or replaced, so that a search never
// waits for the disk. moving is the same as writing for contacts. The order is
// writing, moving, mu, and nothing is sent under any of them.
type Server struct {
	cfg    Config
	lim    Limits
	log    *slog.Logger
	addr   jid.JID
	secret []byte // of claim digests
	mux    xmpp.Mux

	writing, moving sync.Mutex

	mu        sync.RWMutex
	sender    Sender
	things    map[string]*record
	byJID     map[string]map[string]*record // by bare address and key
	claims    map[string][]*record          // by claim digest
	listed    []*record                     // what searches see, in order (0347-D19)
	contacts  map[string]*contact
	rules     map[string][]Rule // by device
	questions map[string]Question
	nextRule  uint64
	ticked    time.Time // when expireRules ran last

	tokens   *tokenTable
	services serviceTable

	refused   atomic.Uint64 // claims
	stormSaid seldom        // that there are too many

	asks   asks
	byAcct limiter
	byDom  limiter
	finds  limiter
	certs  limiter
}

// New loads the state.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, lim: cfg.Limits.withDefaults(), log: cfg.Logger, sender: cfg.Sender,
		things: make(map[string]*record), byJID: make(map[string]map[string]*record), claims: make(map[string][]*record),
		contacts: make(map[string]*contact), rules: make(map[string][]Rule), questions: make(map[string]Question),
		tokens: newTokenTable(), services: newServiceTable()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.Now == nil {
		s.cfg.Now = time.Now
	}
	if s.cfg.MinKeyBits == 0 {
		s.cfg.MinKeyBits = 64
	}
	s.byAcct, s.byDom, s.finds = newLimiter(s.lim.ClaimsJID), newLimiter(s.lim.ClaimsDomain), newLimiter(s.lim.Searches)
	s.certs = newLimiter(tokensPerMinute)
	var err error
	if s.addr, err = xmpp.ParseDomain(cfg.Domain); err != nil {
		return nil, fmt.Errorf("registry: domain %q: %w", cfg.Domain, err)
	}
	if cfg.Store == nil {
		return nil, errors.New("registry: no store given")
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	s.serve()
	return s, nil
}

// SetSender sets what sends; a transport is often made after the service.
func (s *Server) SetSender(x Sender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sender = x
}

// Addr is the service's address.
func (s *Server) Addr() jid.JID { return s.addr }

func (s *Server) serve() {
	m := &s.mux
	ping.Register(m)
	version.Register(m, version.Software{Name: "Postern registry", Version: s.cfg.Version})
	var ids []disco.Identity
	var features []string
	// Smack asks with get where the text says set; both are taken.
	both := func(name exi.Name, f xmpp.HandlerFunc) {
		m.HandleFunc(xmpp.IQ, xmpp.Set, name, f)
		m.HandleFunc(xmpp.IQ, xmpp.Get, name, f)
	}
	if !s.cfg.NoRegistry {
		ids = append(ids, disco.Identity{Category: "store", Type: "registry", Name: "Thing registry"})
		features = append(features, provisioning.NSDiscovery)
		both(provisioning.NameRegister, s.register)
		both(provisioning.NameMine, s.mine)
		both(provisioning.NameRemove, s.remove)
		both(provisioning.NameUpdate, s.update)
		both(provisioning.NameUnregister, s.unregister)
		both(provisioning.NameDisown, s.disown)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameSearch, s.search)
	}
	if !s.cfg.NoProvisioning {
		ids = append(ids, disco.Identity{Category: "component", Type: "provisioning", Name: "Provisioning server"})
		features = append(features, provisioning.NS)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameIsFriend, s.isFriend)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameCanRead, s.may)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameCanControl, s.may)
		m.HandleFunc(xmpp.Message, "*", nameForm, s.formReply)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameGetToken, s.getToken)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameGetTokenChallengeResponse, s.giveToken)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameCanAccess, s.canAccess)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameHasPrivilege, s.hasPrivilege)
		m.HandleFunc(xmpp.IQ, xmpp.Get, provisioning.NameDownloadPrivileges, s.download)
		m.HandleFunc(xmpp.Message, "*", provisioning.NameUserLoggedIn, s.loggedIn)
	}
	s.serveOwner(m)
	features = append(features, provisioning.NSOwner)
	m.HandleFunc(xmpp.IQ, xmpp.Result, exi.Name{}, s.answered)
	m.HandleFunc(xmpp.IQ, xmpp.TypeError, exi.Name{}, s.answered)
	m.HandleFunc(xmpp.Presence, "*", exi.Name{}, s.presence)
	disco.New(disco.Config{Software: "https://postern.example/registry", Identities: ids, Features: features}).Register(m)
}

// HandleStanza implements xmpp.Handler for everything that is addressed to the
// service. The sender must be as its server stamped it.
func (s *Server) HandleStanza(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	if st.From.String() == "" {
		return nil, nil
	}
	if st.To.Localpart() != "" || st.To.Resourcepart() != "" {
		if st.Kind == xmpp.IQ && (st.Type == xmpp.Get || st.Type == xmpp.Set) {
			return nil, xmpp.NewError(xmpp.ItemNotFound, "")
		}
		return nil, nil
	}
	s.seen(ctx, st)
	return s.mux.HandleStanza(ctx, st)
}

// send sends stanzas in the service's name. A link that is down loses them,
// which those that matter survive: notices are repeated.
func (s *Server) send(ctx context.Context, sts ...xmpp.Stanza) error {
	s.mu.RLock()
	x := s.sender
	s.mu.RUnlock()
	if x == nil {
		return xmpp.ErrOffline
	}
	for i := range sts {
		sts[i].From = s.addr
	}
	return x.Send(ctx, sts...)
}

// Run sees to time-outs, repeated notices and rules that end, until ctx is
// done.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.asks.failAll(ctx.Err())
			return nil
		case <-tick.C:
			s.tick(ctx)
		}
	}
}

func (s *Server) tick(ctx context.Context) {
	now := s.cfg.Now()
	s.asks.expire(now)
	s.expireRules(ctx, now)
	s.repeatNotices(ctx, now)
}

// presence answers for an entity that is always there (0114-R11) and notes who
// comes and goes.
func (s *Server) presence(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	back := func(types ...string) error {
		var out []xmpp.Stanza
		for _, t := range types {
			out = append(out, xmpp.Stanza{Kind: xmpp.Presence, Type: t, To: st.From.Bare(), ID: rand.Text()})
		}
		return s.send(ctx, out...)
	}
	switch st.Type {
	case "subscribe":
		if s.knows(st.From) {
			return nil, back("subscribed", "", "subscribe") // its presence tells when it can be reached
		}
		return nil, back("subscribed", "")
	case "unsubscribe":
		return nil, back("unsubscribed")
	case "probe":
		return nil, back("")
	}
	return nil, nil
}
