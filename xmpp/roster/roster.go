// Package roster keeps the contact list and presence of an unattended account
// (RFC 6121): it fetches the roster, says that the device is available, answers
// subscription requests by policy, and knows who is online.
package roster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"sync"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/disco"
)

// NS is the namespace of rosters (RFC 6121 §2).
const NS = "jabber:iq:roster"

var (
	nameQuery    = exi.N(NS, "query")
	nameItem     = exi.N(NS, "item")
	nameGroup    = exi.N(NS, "group")
	attrJID      = exi.N("", "jid")
	attrName     = exi.N("", "name")
	attrSub      = exi.N("", "subscription")
	attrAsk      = exi.N("", "ask")
	nameShow     = exi.N(xmpp.NSClient, "show")
	nameStatus   = exi.N(xmpp.NSClient, "status")
	namePriority = exi.N(xmpp.NSClient, "priority")
)

// Session is the part of xmpp.Session that is used here.
type Session interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Item is a contact.
type Item struct {
	JID          jid.JID
	Name         string
	Subscription string // "none", "to", "from", "both"
	Ask          bool   // we asked and have no answer yet
	Groups       []string
}

// From reports whether the contact gets our presence.
func (i Item) From() bool { return i.Subscription == "from" || i.Subscription == "both" }

// To reports whether we get the contact's presence.
func (i Item) To() bool { return i.Subscription == "to" || i.Subscription == "both" }

// Presence is what an available resource of a contact said last.
type Presence struct {
	From     jid.JID // full address
	Show     string  // "", "away", "chat", "dnd", "xa"
	Status   string
	Priority int
	// Caps are the resource's capabilities. Those of an earlier presence hold
	// while it stays available; none at all means that nothing can be assumed
	// (XEP-0115 §8.4, §6.2).
	Caps disco.Caps
}

// Decision is a policy's answer to a subscription request.
type Decision uint8

// The decisions. Pending leaves the request for somebody to decide later, with
// Accept or Refuse; the server keeps it.
const (
	Pending Decision = iota
	Accepted
	Refused
)

// Policy decides about subscription requests. It may take as long as ctx.
type Policy func(ctx context.Context, from jid.JID) Decision

// AllowList accepts the owner and the listed accounts or whole domains, and
// decides about others as stated.
func AllowList(others Decision, owner jid.JID, allowed ...jid.JID) Policy {
	accounts := make(map[string]bool, len(allowed)+1)
	for _, j := range append(allowed, owner) {
		if j.String() != "" {
			accounts[j.Bare().String()] = true
		}
	}
	return func(_ context.Context, from jid.JID) Decision {
		if accounts[from.Bare().String()] || accounts[from.Domain().String()] {
			return Accepted
		}
		return others
	}
}

// Config says how the Service behaves. Session, Account and Policy are needed.
type Config struct {
	// Session may be set later by Service.Bind.
	Session Session
	// Account is the own account.
	Account jid.JID
	// Policy decides about subscription requests.
	Policy Policy
	// Presence returns what the own presence carries, such as capabilities. nil:
	// nothing.
	Presence func() xmpp.Payload
	// Priority of the own presence, -128..127. A device that wants no messages
	// sent to its account as a whole uses a negative one.
	Priority int
	// OnPresence is told when a contact's resource comes, changes or goes
	// (available false). It is called in order per contact and must not block.
	OnPresence func(st *xmpp.Stanza, p Presence, available bool)
	// OnItem is told when a contact's entry has changed: presence that came
	// before counts from here on. It must not block.
	OnItem func(Item)
	// OnUnsubscribed is told when a contact no longer gets our presence, or we
	// no longer get its: nothing may be reported to it any more.
	OnUnsubscribed func(contact jid.JID)
	// Logger gets decisions. nil: nothing is logged.
	Logger *slog.Logger
}

// Bounds of what is remembered.
const (
	maxContacts  = 4096
	maxResources = 16 // of one contact
	maxPending   = 256
	maxStrangers = 256 // accounts with presence that are no contacts (yet)
)

// Service is an account's roster and presence. Its methods are safe for
// concurrent use.
type Service struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	session Session
	items   map[string]Item                // by bare address
	present map[string]map[string]Presence // by bare address and resource
	pending map[string]jid.JID
}

// New returns a service; Register and Online make it work.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.Policy == nil:
		return nil, errors.New("roster: Config.Policy is missing")
	case cfg.Priority < -128 || cfg.Priority > 127:
		return nil, fmt.Errorf("roster: the priority %d is not within -128 and 127", cfg.Priority)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		cfg: cfg, log: cfg.Logger, session: cfg.Session,
		items: make(map[string]Item), present: make(map[string]map[string]Presence), pending: make(map[string]jid.JID),
	}, nil
}

// Bind sets the session, which is often made after the service.
func (s *Service) Bind(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = session
}

func (s *Service) sess() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// Register takes roster pushes and all presence.
func (s *Service) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Set, nameQuery, s.push)
	m.HandleFunc(xmpp.Presence, "*", exi.Name{}, s.presence)
	m.HandleFunc(xmpp.Presence, xmpp.TypeError, exi.Name{}, s.presence)
}

// Online fetches the roster and then says that the device is available, in that
// order, so that no change is missed (RFC 6121 §2.2). After a resumption both
// still hold. Call it from xmpp.Config.OnOnline.
func (s *Service) Online(ctx context.Context, resumed bool) error {
	if resumed {
		return nil
	}
	s.mu.Lock()
	clear(s.present)
	clear(s.pending)
	s.mu.Unlock()
	if err := s.fetch(ctx); err != nil {
		return fmt.Errorf("roster: fetching: %w", err)
	}
	return s.Announce(ctx)
}

// Offline forgets who is online, when a session is lost for good.
func (s *Service) Offline() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.present)
}

func (s *Service) fetch(ctx context.Context) error {
	get := xmpp.Stanza{Type: xmpp.Get, Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(nameQuery, exi.Value{}) })}
	return s.sess().Query(ctx, get, func(st *xmpp.Stanza) error {
		items := make(map[string]Item)
		for k := range st.Elem.Child(nameQuery).Children() {
			if it, ok := parseItem(k); ok && len(items) < maxContacts {
				items[it.JID.String()] = it
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.items = items
		return nil
	})
}

// Announce sends the own presence, again when its content has changed.
func (s *Service) Announce(ctx context.Context) error {
	st := s.ownPresence()
	if err := s.sess().Send(ctx, st); err != nil {
		return fmt.Errorf("roster: announcing presence: %w", err)
	}
	return nil
}

// ownPresence is the own presence with its content (XEP-0115 §4: always with
// capabilities).
func (s *Service) ownPresence() xmpp.Stanza {
	return xmpp.Stanza{Kind: xmpp.Presence, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		if s.cfg.Priority != 0 {
			d.Element(namePriority, exi.Str(strconv.Itoa(s.cfg.Priority)))
		}
		if s.cfg.Presence == nil {
			return
		}
		if p := s.cfg.Presence(); p != nil {
			p.AppendEvents(d)
		}
	})}
}

func parseItem(c exi.Cursor) (it Item, ok bool) {
	if c.Name() != nameItem {
		return it, false
	}
	j, err := xmpp.ParseJID(str(c, attrJID))
	if err != nil {
		return it, false
	}
	it = Item{JID: j.Bare(), Name: str(c, attrName), Subscription: str(c, attrSub), Ask: str(c, attrAsk) == "subscribe"}
	switch it.Subscription {
	case "to", "from", "both", "remove":
	default:
		it.Subscription = "none" // unknown values give no rights
	}
	for k := range c.Children() {
		if k.Name() == nameGroup && len(it.Groups) < maxResources {
			it.Groups = append(it.Groups, k.Text().String())
		}
	}
	return it, true
}

func str(c exi.Cursor, name exi.Name) string {
	v, _ := c.Attr(name)
	return v.String()
}

// push takes a roster push, from nobody but the own account
// (RFC 6121 §2.1.6; others are refused, as CVE-2015-8688 taught).
func (s *Service) push(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	if st.From.String() != "" && !st.From.Equal(s.cfg.Account.Bare()) {
		return nil, xmpp.NewError(xmpp.ServiceUnavailable, "")
	}
	it, ok := parseItem(st.Child().First())
	if !ok || st.Child().First().Next().Valid() {
		return nil, xmpp.NewError(xmpp.BadRequest, "exactly one item expected")
	}
	key := it.JID.String()
	s.mu.Lock()
	old := s.items[key]
	switch {
	case it.Subscription == "remove":
		delete(s.items, key)
		it.Subscription = "none"
	case len(s.items) < maxContacts || old.JID.Equal(it.JID):
		s.items[key] = it
	}
	if old.To() && !it.To() {
		delete(s.present, key)
	}
	s.mu.Unlock()
	if s.cfg.OnItem != nil {
		s.cfg.OnItem(it)
	}
	if (old.From() && !it.From() || old.To() && !it.To()) && s.cfg.OnUnsubscribed != nil {
		s.cfg.OnUnsubscribed(it.JID)
	}
	return nil, nil
}

// Contacts returns the roster, sorted by address.
func (s *Service) Contacts() []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Item, 0, len(s.items))
	for _, it := range s.items {
		list = append(list, it)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].JID.String() < list[j].JID.String() })
	return list
}

// Contact returns the contact with an address, resource or not.
func (s *Service) Contact(j jid.JID) (Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.items[j.Bare().String()]
	return it, ok
}

// Resources returns the available resources of a contact, highest priority
// first.
func (s *Service) Resources(contact jid.JID) []Presence {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Presence
	for _, p := range s.seen(contact) {
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		if a.Priority != b.Priority {
			return a.Priority > b.Priority
		}
		return a.From.Resourcepart() < b.From.Resourcepart()
	})
	return list
}

// Available reports whether a full address, or any resource of a bare one, is
// online as far as its presence tells.
func (s *Service) Available(j jid.JID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.seen(j)
	if j.Resourcepart() == "" {
		return len(of) > 0
	}
	_, ok := of[j.Resourcepart()]
	return ok
}

// seen returns the resources of an account whose presence we are entitled to.
func (s *Service) seen(j jid.JID) map[string]Presence {
	key := j.Bare().String()
	if it, ok := s.items[key]; ok && it.To() || j.Bare().Equal(s.cfg.Account.Bare()) {
		return s.present[key]
	}
	return nil
}
