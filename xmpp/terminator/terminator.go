// Package terminator puts EXI (XEP-0322) in front of an XMPP server that does
// not know it. Clients connect to it with TLS; it relays their login, offers
// what the server offers and EXI besides, and then passes stanzas, each
// direction in the representation of the stream it leaves by:
//
//	client ══ TLS, XML or EXI ══▶ terminator ── XML ──▶ Prosody, ejabberd, …
//
// It answers nothing in the server's name, stores nothing, and neither adds nor
// drops stanzas, so that stream management (XEP-0198) and resumption work
// through it. An unclean end on one side is an unclean end on the other.
package terminator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp/compress"
)

// Config says what a Terminator stands in front of. Domain, TLS, Upstream and
// EXI are needed; the zero of everything else is usable.
type Config struct {
	// Domain is the XMPP domain. Streams to another one end with host-unknown.
	Domain jid.JID
	// TLS has the domain's certificate.
	TLS *tls.Config
	// Upstream is the server.
	Upstream Upstream
	// EXI negotiates the compression.
	EXI *compress.Server
	// Port is the number of the dedicated EXI port to advertise to clients of the
	// ordinary one; 0: none is. ServePort serves it.
	Port int

	// MaxClients bounds the clients at a time. 0: 10,000.
	MaxClients int
	// MaxPerAddress bounds the clients of one network address. 0: 200.
	MaxPerAddress int
	// MaxStanza is the largest stanza taken from a client, in octets. 0: 256 KiB.
	// Before login it is 10,000.
	MaxStanza int
	// Rate bounds what is read from a client, in octets a second; it is slowed
	// down, not cut off. 0: no bound.
	Rate int
	// Timeout bounds each step until the client is logged in. 0: 30 s.
	Timeout time.Duration
	// Drain is how long clients may go on after Serve's context has ended, until
	// they are cut off, which leaves their sessions resumable. 0: at once.
	Drain  time.Duration
	Logger *slog.Logger
}

// Stats counts what a Terminator did since it was made.
type Stats struct {
	Clients    int64 // connected now
	Compressed int64 // of these, with EXI
	Accepted   int64
	Refused    int64 // by MaxClients or MaxPerAddress
	LoggedIn   int64
	Failed     int64 // ended before they were logged in
	Up, Down   int64 // elements passed to the server and to clients
	Replaced   int64 // elements that a strict grammar could not carry
	// Octets of EXI to and from clients that have left, and what they would have
	// been as XML, as far as it was sampled.
	EXI, AsXML int64
}

// Terminator relays clients to a server. Safe for concurrent use.
type Terminator struct {
	cfg    Config
	log    *slog.Logger
	direct *tls.Config // cfg.TLS for XEP-0368; one, for it makes the tickets' keys

	mu     sync.Mutex
	byAddr map[string]int

	clients, compressed, accepted, refused, loggedIn, failed, up, down, replaced, exi, asXML atomic.Int64
}

// New checks cfg.
func New(cfg Config) (*Terminator, error) {
	switch {
	case cfg.Domain.String() == "":
		return nil, errors.New("terminator: no domain is configured")
	case cfg.TLS == nil:
		return nil, errors.New("terminator: no certificate is configured; clients are served with TLS only")
	case cfg.Upstream.Addr == "":
		return nil, errors.New("terminator: no server is configured to relay to")
	case cfg.EXI == nil:
		return nil, errors.New("terminator: EXI is not configured")
	}
	if err := cfg.Upstream.check(); err != nil {
		return nil, err
	}
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&cfg.MaxClients, 10_000)
	def(&cfg.MaxPerAddress, 200)
	def(&cfg.MaxStanza, 256<<10)
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	t := &Terminator{cfg: cfg, log: cfg.Logger, direct: cfg.TLS.Clone(), byAddr: make(map[string]int)}
	t.direct.NextProtos = []string{"xmpp-client"}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	return t, nil
}

// entry is how a client's stream starts.
type entry uint8

const (
	viaStartTLS entry = iota
	viaDirect         // TLS from the first octet
	viaPort           // EXI from the first octet, STARTTLS within
)

// ServePort is Serve for the dedicated EXI port of XEP-0322, where streams are
// EXI from the first octet.
func (t *Terminator) ServePort(ctx context.Context, ln net.Listener) error {
	return t.serveAll(ctx, ln, viaPort)
}

// Serve accepts clients until ctx ends, then lets them go (Config.Drain) and
// returns when the last one is gone. direct says that TLS starts with the
// first octet (XEP-0368). It may be called for several listeners.
func (t *Terminator) Serve(ctx context.Context, ln net.Listener, direct bool) error {
	if direct {
		return t.serveAll(ctx, ln, viaDirect)
	}
	return t.serveAll(ctx, ln, viaStartTLS)
}

func (t *Terminator) serveAll(ctx context.Context, ln net.Listener, via entry) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	linkCtx, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var wg sync.WaitGroup
	var err error
	for {
		var nc net.Conn
		if nc, err = ln.Accept(); err != nil {
			if ctx.Err() == nil && temporary(err) {
				t.log.Warn("cannot accept a client", "err", err)
				if !sleep(ctx, 100*time.Millisecond) {
					break
				}
				continue
			}
			break
		}
		host, ok := t.admit(nc)
		if !ok {
			_ = nc.Close()
			continue
		}
		wg.Add(1)
		go t.serve(linkCtx, nc, via, func() {
			t.release(host)
			wg.Done()
		})
	}
	drained := time.AfterFunc(t.cfg.Drain, cut)
	defer drained.Stop()
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("terminator: accepting clients: %w", err)
}

// temporary tells a lack of descriptors, which passes, from a closed listener.
func temporary(err error) bool { return !errors.Is(err, net.ErrClosed) }

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// admit counts a client in, unless there are too many.
func (t *Terminator) admit(nc net.Conn) (host string, ok bool) {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		host = nc.RemoteAddr().String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byAddr[host] >= t.cfg.MaxPerAddress || t.clients.Load() >= int64(t.cfg.MaxClients) {
		t.refused.Add(1)
		return host, false
	}
	t.byAddr[host]++
	t.clients.Add(1)
	t.accepted.Add(1)
	return host, true
}

func (t *Terminator) release(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients.Add(-1)
	if t.byAddr[host]--; t.byAddr[host] == 0 {
		delete(t.byAddr, host)
	}
}

// Stats returns the counters.
func (t *Terminator) Stats() Stats {
	return Stats{
		Clients: t.clients.Load(), Compressed: t.compressed.Load(),
		Accepted: t.accepted.Load(), Refused: t.refused.Load(),
		LoggedIn: t.loggedIn.Load(), Failed: t.failed.Load(),
		Up: t.up.Load(), Down: t.down.Load(), Replaced: t.replaced.Load(),
		EXI: t.exi.Load(), AsXML: t.asXML.Load(),
	}
}
