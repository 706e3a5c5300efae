// Package concentrator serves XEP-0326 over a tree of nodes: which nodes stand
// behind the JID, how they hang together and how they are, and tells
// subscribers when that changes. Reading and setting go through XEP-0323 and
// XEP-0325 with the node's address.
package concentrator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// NS is the namespace of XEP-0326 and its feature in service discovery.
const NS = "urn:xmpp:iot:concentrators"

// Source is the data source of sensors and actuators (0326-R30), to which every
// node without another source belongs.
const Source = node.MeteringTopology

// State is how a node is. Higher is more important.
type State uint8

// The states of XEP-0326 §3.1. Unsigned: nobody has taken note yet.
const (
	None State = iota
	Information
	WarningSigned
	WarningUnsigned
	ErrorSigned
	ErrorUnsigned
)

var stateNames = [...]string{"None", "Information", "WarningSigned", "WarningUnsigned", "ErrorSigned", "ErrorUnsigned"}

// String returns the XEP's name of the state.
func (s State) String() string { return stateNames[s] }

// Message is what a node has to say about its state.
type Message struct {
	Type string // Error, Warning or Information
	Text string
	Time time.Time
}

// Param is one parameter of a node, shown as text.
type Param struct{ ID, Name, Value string }

// Info is what a tree does not say about a node.
type Info struct {
	Type     string // kind of node
	State    State
	Messages []Message
	Params   []Param
}

// Sender sends stanzas in order; *xmpp.Session is one.
type Sender interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
}

// Config says what a Service serves.
type Config struct {
	Tree   *node.Tree  // required
	Access node.Access // required: whoever may read or set a node sees it
	Sender Sender      // required
	// Info describes a node; it is called often and must be quick. nil:
	// nothing more is known.
	Info   func(*node.Node) Info
	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil for time.Now
	Limits Limits
}

// Limits bound what peers can make the gateway do. Zero fields take the
// default in brackets.
type Limits struct {
	Subscriptions int           // of all peers together [100]
	AllNodes      int           // that getAllNodes shows at once [200] (0326-D10)
	List          int           // nodes in any other list [1000]
	Past          int           // events kept for getEventsSince [500]
	Look          time.Duration // how often states are looked at for subscribers [1 s]
}

// Service answers for the nodes. Make one with New, register it, and run it
// beside the session. It is safe for concurrent use.
type Service struct {
	cfg Config

	stamps  sync.Mutex             // guards changed; taken within mu
	changed map[node.Ref]time.Time // when a node was added or updated

	mu     sync.Mutex
	tree   *node.Tree
	states map[node.Ref]State // as subscribers know them
	subs   map[string]*subscription
	past   []event
	since  time.Time // past is complete from here on
	queue  []event   // not yet sent to subscribers
	wake   chan struct{}
}

// New returns a Service.
func New(cfg Config) (*Service, error) {
	if cfg.Tree == nil || cfg.Access == nil || cfg.Sender == nil {
		return nil, errors.New("concentrator: Tree, Access and Sender are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Info == nil {
		cfg.Info = func(*node.Node) Info { return Info{} }
	}
	l := &cfg.Limits
	for _, d := range []struct {
		v   *int
		def int
	}{{&l.Subscriptions, 100}, {&l.AllNodes, 200}, {&l.List, 1000}, {&l.Past, 500}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if l.Look <= 0 {
		l.Look = time.Second
	}
	s := &Service{
		cfg: cfg, tree: cfg.Tree, changed: map[node.Ref]time.Time{}, states: map[node.Ref]State{},
		subs: map[string]*subscription{}, since: cfg.Now(), wake: make(chan struct{}, 1),
	}
	for _, n := range cfg.Tree.Nodes() {
		s.changed[n.Ref] = s.since
	}
	return s, nil
}

// Features are the features that the service adds to service discovery.
func Features() []string { return []string{NS} }

// sourceOf is the data source of a node.
func sourceOf(r node.Ref) string {
	if r.Source == "" {
		return Source
	}
	return r.Source
}

// sources lists the data sources, the required one first.
func sources(t *node.Tree) []string {
	out := []string{Source}
	for _, n := range t.Nodes() {
		if src := sourceOf(n.Ref); !slices.Contains(out, src) {
			out = append(out, src)
		}
	}
	return out
}

// view is what one requester may see.
type view struct {
	svc     *Service
	tree    *node.Tree
	read    node.Decision
	control node.Decision
}

// look decides what a requester may see. The tokens are those of a request.
func (s *Service) look(ctx context.Context, from jid.JID, ask node.Request) view {
	ask.From, ask.Bare = from.String(), from.Bare().String()
	s.mu.Lock()
	v := view{svc: s, tree: s.tree}
	s.mu.Unlock()
	var err error
	ask.Types = node.All
	if v.read, err = s.cfg.Access.CanRead(ctx, ask); err != nil {
		v.read = node.Decision{} // fail closed
	}
	ask.Types = 0
	if v.control, err = s.cfg.Access.CanControl(ctx, ask); err != nil {
		v.control = node.Decision{}
	}
	return v
}

// nothing reports whether the requester may see nothing at all.
func (v *view) nothing() bool { return v.read.Denied() && v.control.Denied() }

func (v *view) sees(n *node.Node) bool { return v.read.Covers(n.Ref) || v.control.Covers(n.Ref) }

// node finds the node of a reference; nil where there is none that the
// requester sees. An empty cache type is none (0326-R29).
func (v *view) node(r node.Ref) *node.Node {
	var buf [2]*node.Node
	for _, n := range v.tree.Lookup(buf[:0], r) {
		if sourceOf(n.Ref) == r.Source && v.sees(n) {
			return n
		}
	}
	return nil
}

// parent is the node that n is shown below; nil for a root. A parent that the
// requester does not see makes n a root.
func (v *view) parent(n *node.Node) *node.Node {
	p := v.tree.Node(n.Parent)
	if p == nil || sourceOf(p.Ref) != sourceOf(n.Ref) || !v.sees(p) {
		return nil
	}
	return p
}

func (v *view) children(n *node.Node) []*node.Node {
	var out []*node.Node
	for _, c := range v.tree.Children(n.Ref) {
		if v.parent(c) == n && v.sees(c) {
			out = append(out, c)
		}
	}
	return out
}

// in lists the nodes of a source that pass a filter.
func (v *view) in(source string, keep func(*node.Node) bool) []*node.Node {
	var out []*node.Node
	for _, n := range v.tree.Nodes() {
		if sourceOf(n.Ref) == source && v.sees(n) && keep(n) {
			out = append(out, n)
		}
	}
	return out
}

// Register adds the service's handlers to m. Unknown elements of the namespace
// are answered as well (0326-R04).
func (s *Service) Register(m *xmpp.Mux) {
	for name, f := range s.commands() {
		typ := xmpp.Get
		if name == "subscribe" || name == "unsubscribe" {
			typ = xmpp.Set
		}
		m.HandleFunc(xmpp.IQ, typ, n(name), func(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
			return s.serve(ctx, st, name, f), nil
		})
	}
	other := func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		return &answer{name: st.Child().Name().Value().Local, result: notImplemented}, nil
	}
	m.HandleFunc(xmpp.IQ, xmpp.Get, n("*"), other)
	m.HandleFunc(xmpp.IQ, xmpp.Set, n("*"), other)
	for _, k := range kinds {
		m.HandleFunc(xmpp.Message, xmpp.TypeError, n(k.String()), s.bounced)
	}
}

func n(local string) exi.Name    { return exi.N(NS, local) }
func attr(local string) exi.Name { return exi.N("", local) }
