// Package hub is an XMPP server for one small site: accounts, rosters,
// presence, routing and offline messages by RFC 6120 and RFC 6121, stream
// management with resumption (XEP-0198), and state in one file. It serves one
// domain and the components inside the process; it never talks to other
// servers.
package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// Config says what a Hub serves. Domain, Store and TLS are required.
type Config struct {
	Domain string
	Store  *store.DB
	// TLS needs certificates (see OpenCA); everything else is set by the hub.
	TLS *tls.Config
	// Listen are addresses for streams that start TLS ("127.0.0.1:5222"),
	// ListenTLS those where TLS comes first (XEP-0368). Port 0 takes a free one.
	Listen, ListenTLS []string
	// ListenEXI are addresses of the dedicated port of XEP-0322, where streams
	// are EXI from the first octet, STARTTLS included. Needs EXI. Clients of the
	// other addresses are told the port of the first one.
	ListenEXI []string

	// Handler takes stanzas that are addressed to the domain itself and that
	// the hub does not answer. nil: service-unavailable.
	Handler xmpp.Handler
	// Components are handlers with a domain of their own each, listed by
	// disco#items of the hub's domain.
	Components map[string]Component

	// Register lets anybody who reaches the hub make an account (XEP-0077).
	Register bool

	// EXI is offered to clients (XEP-0322). nil: not.
	EXI *compress.Server

	Limits Limits
	Logger *slog.Logger // nil discards
	// Version is what XEP-0092 tells.
	Version string
	// ChannelBinding offers the -PLUS mechanisms of SCRAM with tls-exporter and
	// tls-server-end-point. Clients that know only tls-unique cannot log in
	// then over TLS 1.3: they say that they could bind, which with -PLUS on
	// offer is the mark of an attack (RFC 5802 §6). slixmpp 1.8 is one.
	ChannelBinding bool
}

// Component is an entity inside the process.
type Component struct {
	Name    string // for disco#items
	Handler xmpp.Handler
}

// Limits bound what clients can make the hub do. Zero fields take the default
// given here.
type Limits struct {
	Connections        int           // in all; 1000
	PerAddress         int           // of one network address; 100
	Resources          int           // of one account; 10
	Stanza             int64         // octets; 64 KiB
	BeforeLogin        int64         // octets of one element before login; 10,000
	Depth              int           // nested elements; 64
	Negotiation        time.Duration // for each step before the session; 30 s
	Rate               int           // octets per second of one connection; 1 MiB
	Queue              int           // stanzas kept for one session; 1024
	QueueOctets        int           // their size, roughly; 4 MiB
	Offline            int           // messages kept for one account; 100
	Roster             int           // contacts of one account; 1000
	Hibernation        time.Duration // of a session without connection; 5 min
	KeepAlive          time.Duration // of silence until the client is asked; 5 min
	Timeout            time.Duration // for the client's answer; 30 s
	LoginTries         int           // on one connection; 5
	Registrations      int           // of one network address in an hour; 5
	Accounts           int           // beyond which nobody can register; 500
	ShutdownTime       time.Duration // for saying good-bye to everybody; 500 ms
	DirectedPresences  int           // receivers remembered for one session; 1000
	pauseAfterFailures time.Duration
}

func (l Limits) withDefaults() Limits {
	num := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	dur := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	num(&l.Connections, 1000)
	num(&l.PerAddress, 100)
	num(&l.Resources, 10)
	num(&l.Depth, 64)
	num(&l.Rate, 1<<20)
	num(&l.Queue, 1024)
	num(&l.QueueOctets, 4<<20)
	num(&l.Offline, 100)
	num(&l.Roster, 1000)
	num(&l.LoginTries, 5)
	num(&l.Registrations, 5)
	num(&l.Accounts, 500)
	num(&l.DirectedPresences, 1000)
	if l.Stanza == 0 {
		l.Stanza = 64 << 10
	}
	if l.BeforeLogin == 0 {
		l.BeforeLogin = 10_000
	}
	dur(&l.Negotiation, 30*time.Second)
	dur(&l.Hibernation, 5*time.Minute)
	dur(&l.KeepAlive, 5*time.Minute)
	dur(&l.Timeout, 30*time.Second)
	dur(&l.ShutdownTime, 500*time.Millisecond)
	dur(&l.pauseAfterFailures, 300*time.Millisecond)
	return l
}

// Hub is the server. Its methods are safe for concurrent use.
//
// Locks: an account's mu may be held while a session's queue is locked, never
// the other way round, and never two accounts' at a time. What happens between
// two accounts therefore happens in two steps, as between two servers.
type Hub struct {
	cfg    Config
	lim    Limits
	log    *slog.Logger
	domain jid.JID
	secret []byte // for salts of accounts that do not exist
	tls    *tls.Config
	ticket *tls.Config // holds the keys of session tickets
	mux    xmpp.Mux    // iqs to the domain
	caps   xmpp.Payload

	listeners []listener
	exiPort   int // to be told to clients; 0: none

	subs sync.Mutex // held while a subscription changes, before any other

	mu       sync.Mutex
	accounts map[string]*account // by localpart, as far as they were needed
	resumes  map[string]*session // by XEP-0198 id
	conns    map[*client]struct{}
	perAddr  map[string]int
	stopping bool
	made     map[string][]time.Time // when accounts were registered, by network address
	wg       sync.WaitGroup         // everything that uses the hub's state

	docs sync.Pool
}

type listener struct {
	net.Listener
	way
}

// New opens the listeners and loads what is needed. Call Run, or Close.
func New(cfg Config) (*Hub, error) {
	h := &Hub{
		cfg: cfg, lim: cfg.Limits.withDefaults(), log: cfg.Logger,
		accounts: make(map[string]*account),
		resumes:  make(map[string]*session),
		conns:    make(map[*client]struct{}),
		perAddr:  make(map[string]int),
		made:     make(map[string][]time.Time),
		docs:     sync.Pool{New: func() any { return new(exi.Doc) }},
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if h.domain, err = xmpp.ParseDomain(cfg.Domain); err != nil {
		return nil, fmt.Errorf("hub: domain %q: %w", cfg.Domain, err)
	}
	switch {
	case cfg.Store == nil:
		return nil, errors.New("hub: no store given")
	case cfg.TLS == nil || len(cfg.TLS.Certificates) == 0 && cfg.TLS.GetCertificate == nil:
		return nil, errors.New("hub: no certificate given")
	}
	for name := range cfg.Components {
		if j, err := xmpp.ParseDomain(name); err != nil || j.String() != name || j.Equal(h.domain) {
			return nil, fmt.Errorf("hub: component %q: not a domain of its own in prepared form", name)
		}
	}
	if h.secret, err = loadSecret(cfg.Store); err != nil {
		return nil, err
	}
	if err := h.setTLS(); err != nil {
		return nil, err
	}
	if err := h.serveIQs(); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if err := h.listen(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// setTLS makes the configuration for connections. Every connection works with
// a copy, so one fixed configuration holds the ticket keys: clients can resume
// TLS sessions then (0198-R38).
func (h *Hub) setTLS() error {
	h.ticket = h.cfg.TLS.Clone()
	h.ticket.MinVersion = tls.VersionTLS12
	key, err := newTicketKey()
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	h.ticket.SetSessionTicketKeys([][32]byte{key})
	h.tls = h.ticket.Clone()
	h.tls.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return h.ticket, nil }
	return nil
}

// ticketLife is how long a key makes tickets; it opens them twice as long.
const ticketLife = 24 * time.Hour

// rotateTickets replaces the ticket keys until ctx is done, so that a key that
// leaks opens little of the past.
func (h *Hub) rotateTickets(ctx context.Context) {
	tick := time.NewTicker(ticketLife)
	defer tick.Stop()
	last, err := newTicketKey()
	for ; err == nil; err = ctx.Err() {
		var key [32]byte
		if key, err = newTicketKey(); err != nil {
			break
		}
		h.ticket.SetSessionTicketKeys([][32]byte{key, last})
		last = key
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (h *Hub) listen() error {
	if len(h.cfg.ListenEXI) > 0 && h.cfg.EXI == nil {
		return errors.New("hub: a dedicated EXI port needs EXI")
	}
	for i, addrs := range [][]string{h.cfg.Listen, h.cfg.ListenTLS, h.cfg.ListenEXI} {
		for _, addr := range addrs {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return fmt.Errorf("hub: %w", err)
			}
			h.listeners = append(h.listeners, listener{l, way(i)})
			if a, ok := l.Addr().(*net.TCPAddr); ok && way(i) == dedicated && h.exiPort == 0 {
				h.exiPort = a.Port
			}
		}
	}
	return nil
}

// Domain returns the domain that is served.
func (h *Hub) Domain() jid.JID { return h.domain }

// Addrs returns the addresses that are listened on: those of Listen, of
// ListenTLS, of ListenEXI.
func (h *Hub) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range h.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Close closes the listeners of a Hub that is not run.
func (h *Hub) Close() error {
	var errs []error
	for _, l := range h.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Run serves until ctx is done, then tells every client of the shutdown, keeps
// undelivered messages, and returns nil. An error says that a listener broke.
func (h *Hub) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var accepting sync.WaitGroup
	accepting.Go(func() { h.rotateTickets(ctx) })
	for _, l := range h.listeners {
		accepting.Go(func() {
			if err := h.accept(ctx, l); err != nil {
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	err := h.Close()
	accepting.Wait()
	h.shutdown()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(err, cause)
	}
	return err
}

func (h *Hub) accept(ctx context.Context, l listener) error {
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close() // came too late
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("hub: %w", err)
		case err != nil:
			// Out of descriptors, most likely: that passes.
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			h.log.Warn("accepting connections", "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		h.serveConn(tcp.Nonblocking(nc), l.way)
	}
}

// serveConn serves a connection and returns at once.
func (h *Hub) serveConn(nc net.Conn, by way) {
	addr := hostOf(nc.RemoteAddr())
	c := &client{h: h, nc: &throttled{Conn: nc, rate: h.lim.Rate}, way: by, addr: addr}
	h.mu.Lock()
	full := h.stopping || len(h.conns) >= h.lim.Connections || h.perAddr[addr] >= h.lim.PerAddress
	if !full {
		h.conns[c] = struct{}{}
		h.perAddr[addr]++
		h.wg.Add(1)
	}
	h.mu.Unlock()
	if full {
		h.log.Warn("connection refused: too many", "addr", addr)
		if err := nc.Close(); err != nil {
			h.log.Debug("closing a refused connection", "err", err)
		}
		return
	}
	go func() {
		defer h.wg.Done()
		c.serve()
		h.mu.Lock()
		delete(h.conns, c)
		if h.perAddr[addr]--; h.perAddr[addr] == 0 {
			delete(h.perAddr, addr)
		}
		h.mu.Unlock()
	}()
}

func hostOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// shutdown ends every connection and session.
func (h *Hub) shutdown() {
	h.mu.Lock()
	h.stopping = true
	var clients []*client
	for c := range h.conns {
		clients = append(clients, c)
	}
	h.mu.Unlock()
	for _, c := range clients {
		c.stop(xmpp.NewStreamError("system-shutdown", ""))
	}
	late := time.AfterFunc(h.lim.ShutdownTime, func() {
		for _, c := range clients {
			c.abort()
		}
	})
	defer late.Stop()
	h.wg.Wait()
	h.mu.Lock()
	var asleep []*session
	for _, s := range h.resumes {
		asleep = append(asleep, s)
	}
	h.mu.Unlock()
	for _, s := range asleep {
		s.expire()
	}
}

// background runs f, which must not be started any more while stopping.
func (h *Hub) background(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopping {
		h.wg.Go(f)
	}
}

func (h *Hub) getDoc() *exi.Doc { return h.docs.Get().(*exi.Doc) }

func (h *Hub) putDoc(d *exi.Doc) {
	if d.Len() > 1024 {
		return
	}
	d.Reset()
	h.docs.Put(d)
}
