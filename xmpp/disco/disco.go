// Package disco tells what an entity is and can do: service discovery
// (XEP-0030) and entity capabilities (XEP-0115).
package disco

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// Namespaces.
const (
	NSInfo  = "http://jabber.org/protocol/disco#info"
	NSItems = "http://jabber.org/protocol/disco#items"
	NSCaps  = "http://jabber.org/protocol/caps"
	nsForms = "jabber:x:data"
	// Roster pushes are requests of the own server: no feature.
	nsRoster = "jabber:iq:roster"
	// Things find registries and provisioning servers by these features. Who
	// merely takes their notices must not have them; the services themselves
	// name them in Config.Features.
	nsDiscovery    = "urn:xmpp:iot:discovery"
	nsProvisioning = "urn:xmpp:iot:provisioning"
)

// Config says what is told. Software is needed.
type Config struct {
	// Software is the URI that names this software in capabilities.
	Software string
	// Identities of the entity. Empty: client/bot.
	Identities []Identity
	// Features beside those that the Mux shows, such as what is served in
	// messages.
	Features []string
	// Forms extend the answer (XEP-0128).
	Forms []Form
	// Items answers disco#items. nil: there are none. An error of type
	// *xmpp.Error is the answer; item-not-found is usual for an unknown node.
	Items func(ctx context.Context, from jid.JID, node string) ([]Item, error)
	// Info answers disco#info about nodes other than the entity itself. nil:
	// there are none.
	Info func(ctx context.Context, from jid.JID, node string) (Info, error)
}

// Service answers discovery for one entity. Its methods are safe for
// concurrent use.
type Service struct {
	cfg Config
	mux *xmpp.Mux

	mu   sync.Mutex
	info Info // features empty until first used
	ver  string
	err  error
}

// New returns a service that answers as cfg says.
func New(cfg Config) *Service {
	if len(cfg.Identities) == 0 {
		cfg.Identities = []Identity{{Category: "client", Type: "bot"}}
	}
	return &Service{cfg: cfg}
}

// Register answers for the entity whose requests m dispatches: every namespace
// with a handler in m is a feature, also those registered later.
func (s *Service) Register(m *xmpp.Mux) {
	s.mux = m
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameInfo, s.answerInfo)
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameItems, s.answerItems)
}

// Self is what the entity tells of itself, and its verification string. It is
// put together at the first use, when everything is registered.
func (s *Service) Self() (Info, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ver == "" {
		f := append(slices.Clone(s.cfg.Features), NSCaps, NSInfo, NSItems)
		if s.mux != nil {
			f = append(f, slices.DeleteFunc(s.mux.Namespaces(), func(x string) bool {
				return x == nsRoster || x == nsDiscovery || x == nsProvisioning
			})...)
		}
		slices.Sort(f)
		f = slices.Compact(f)
		s.info = Info{Identities: s.cfg.Identities, Features: f, Forms: s.cfg.Forms}
		s.ver, s.err = Verification(s.info)
	}
	return s.info, s.ver, s.err
}

// Refresh puts Self together anew at its next use, when what is served has
// changed. The entity's presence must be sent again then (XEP-0115 §6.1).
func (s *Service) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ver = ""
}

// Caps is the element for presence (XEP-0115 §4).
func (s *Service) Caps() (xmpp.Payload, error) {
	_, ver, err := s.Self()
	if err != nil {
		return nil, fmt.Errorf("disco: no capabilities: %w", err)
	}
	return Caps{Hash: "sha-1", Node: s.cfg.Software, Ver: ver}, nil
}

func (s *Service) answerInfo(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	node := text(st.Child(), attrNode)
	self, ver, err := s.Self()
	if err != nil {
		return nil, err
	}
	if node == "" || node == s.cfg.Software+"#"+ver {
		self.Node = node
		return self, nil
	}
	if s.cfg.Info == nil {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "")
	}
	info, err := s.cfg.Info(ctx, st.From, node)
	if err != nil {
		return nil, err
	}
	info.Node = node
	if !info.Has(NSInfo) {
		info.Features = append(slices.Clone(info.Features), NSInfo)
	}
	return info, nil
}

func (s *Service) answerItems(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	node := text(st.Child(), attrNode)
	if s.cfg.Items == nil {
		if node != "" {
			return nil, xmpp.NewError(xmpp.ItemNotFound, "")
		}
		return itemList{}, nil
	}
	items, err := s.cfg.Items(ctx, st.From, node)
	if err != nil {
		return nil, err
	}
	return itemList{node, items}, nil
}

// Querier is the part of xmpp.Session that is used here.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// AskInfo asks what to, or a node of it, is. An answer that contradicts itself
// is an error.
func AskInfo(ctx context.Context, q Querier, to jid.JID, node string) (info Info, err error) {
	err = q.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: Info{Node: node}}, func(st *xmpp.Stanza) error {
		info, err = ParseInfo(st.Elem.Child(nameInfo))
		return err
	})
	return info, err
}

// AskItems asks for the items of to, or of a node of it. At most 4096 are
// returned; those without a readable address are left out.
func AskItems(ctx context.Context, q Querier, to jid.JID, node string) (items []Item, err error) {
	err = q.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: itemList{node: node}}, func(st *xmpp.Stanza) error {
		for k := range st.Elem.Child(nameItems).Children() {
			if k.Name() != nameItem || len(items) >= maxItems {
				continue
			}
			if j, err := xmpp.ParseJID(text(k, attrJID)); err == nil {
				items = append(items, Item{JID: j, Node: text(k, attrNode), Name: text(k, attrName)})
			}
		}
		return nil
	})
	return items, err
}

var (
	nameCaps = exi.N(NSCaps, "c")
	attrHash = exi.N("", "hash")
	attrVer  = exi.N("", "ver")
)

// Caps are the capabilities in a presence (XEP-0115).
type Caps struct{ Hash, Node, Ver string }

// AppendEvents writes the c element.
func (c Caps) AppendEvents(d *exi.Doc) {
	d.Start(nameCaps)
	d.Attr(attrHash, exi.Str(c.Hash))
	d.Attr(attrNode, exi.Str(c.Node))
	d.Attr(attrVer, exi.Str(c.Ver))
	d.End()
}

// ParseCaps reads the capabilities of a presence; ok is false when there are
// none. The old form without a hash is returned with an empty Hash.
func ParseCaps(st *xmpp.Stanza) (c Caps, ok bool) {
	k := st.Elem.Child(nameCaps)
	if !k.Valid() {
		return c, false
	}
	return Caps{Hash: text(k, attrHash), Node: text(k, attrNode), Ver: text(k, attrVer)}, true
}
