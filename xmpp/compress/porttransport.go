package compress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/exi"
	"postern/xmpp"
)

// PortTransport connects to the dedicated EXI port of a server (XEP-0322,
// alternative binding) and, where there is none, or it turns out not to speak
// EXI, to the ordinary one by Base. Safe for concurrent use; its fields are
// set before use.
type PortTransport struct {
	Base xmpp.Transport
	// Client negotiates; the configuration it was granted is asked for by name
	// on the next connection.
	Client *Client
	// Addr is the "host:port" of the dedicated port; empty: DNS is asked.
	Addr string
	// Resolver looks up the service xmpp-bclient (0322-R52). nil: the system's.
	Resolver interface {
		LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
	}

	mu    sync.Mutex
	ports map[string]time.Time // the dedicated ports, with the time to try them again
}

var _ xmpp.Transport = (*PortTransport)(nil)

// Find implements xmpp.Transport: dedicated ports first, then what Base finds.
func (t *PortTransport) Find(ctx context.Context, domain, addr string, mode xmpp.TLSMode) ([]xmpp.Target, error) {
	var targets []xmpp.Target
	for _, a := range t.find(ctx, domain) {
		if t.usable(a) {
			targets = append(targets, xmpp.Target{Addr: a})
		}
	}
	rest, err := t.Base.Find(ctx, domain, addr, mode)
	if err != nil && len(targets) == 0 {
		return nil, err
	}
	return append(targets, rest...), nil
}

// find returns the addresses of the dedicated port.
func (t *PortTransport) find(ctx context.Context, domain string) []string {
	if t.Addr != "" {
		return []string{t.Addr}
	}
	var r interface {
		LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	} = net.DefaultResolver
	if t.Resolver != nil {
		r = t.Resolver
	}
	_, records, err := r.LookupSRV(ctx, "xmpp-bclient", "tcp", domain)
	if err != nil {
		return nil // no such service, as far as anybody knows
	}
	var addrs []string
	for _, s := range records {
		if s.Target != "." && s.Target != "" {
			addrs = append(addrs, net.JoinHostPort(strings.TrimSuffix(s.Target, "."), strconv.Itoa(int(s.Port))))
		}
	}
	return addrs
}

// usable notes that addr is a dedicated port, and reports whether to try it.
func (t *PortTransport) usable(addr string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ports == nil {
		t.ports = make(map[string]time.Time)
	}
	until, known := t.ports[addr]
	if !known && len(t.ports) < 64 {
		t.ports[addr] = time.Time{}
	}
	return !t.Client.now().Before(until)
}

// giveUp leaves an address alone that does not speak EXI (0322-R54).
func (t *PortTransport) giveUp(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ports[addr] = t.Client.now().Add(pause)
}

func (t *PortTransport) dedicated(addr string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.ports[addr]
	return ok
}

// Dial implements xmpp.Transport.
func (t *PortTransport) Dial(ctx context.Context, to xmpp.Target, c *tls.Config) (xmpp.Conn, error) {
	if to.Direct || !t.dedicated(to.Addr) {
		return t.Base.Dial(ctx, to, c)
	}
	p := &portConn{t: t, addr: to.Addr}
	if err := p.connect(ctx, t.Client.shortcut()); err != nil {
		return nil, err
	}
	return p, nil
}

// upgradable is what a connection by the Base must be.
type upgradable interface {
	xmpp.Conn
	xmpp.Upgrader
	Codec() string
}

// portConn is a connection to a dedicated port. Refused a shortcut, it takes a
// new TCP connection (0322-R63).
type portConn struct {
	t    *PortTransport
	addr string

	mu    sync.Mutex // of conn, which Abort may want at any time
	conn  upgradable
	gone  bool
	codec *PortCodec
}

var _ upgradable = (*portConn)(nil)

// connect dials; conf is the configuration to start in, nil for the default.
func (p *portConn) connect(ctx context.Context, conf *Configuration) error {
	codec, err := p.t.Client.portCodec(conf)
	if err != nil {
		return err
	}
	c, err := p.t.Base.Dial(ctx, xmpp.Target{Addr: p.addr}, nil)
	if err != nil {
		return err
	}
	conn, ok := c.(upgradable)
	if !ok {
		return errors.Join(errors.New("compress: the transport cannot carry EXI"), c.Close())
	}
	if err := conn.SetCodec(codec); err != nil {
		return errors.Join(err, conn.Abort())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		_ = conn.Abort()
		return net.ErrClosed
	}
	p.conn, p.codec = conn, codec
	return nil
}

func (p *portConn) use() upgradable {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// Open implements xmpp.Conn.
func (p *portConn) Open(ctx context.Context, h xmpp.Header) (xmpp.Header, error) {
	first := !p.codec.got
	named := first && p.codec.shortcut != ""
	got, err := p.use().Open(ctx, h)
	if named && err != nil && ctx.Err() == nil {
		// Only an acceptance is one; whatever else came, the next try is
		// without (0322-R69).
		p.t.Client.forgetPort()
		_ = p.use().Abort()
		if err := p.connect(ctx, nil); err != nil {
			return got, err
		}
		got, err = p.use().Open(ctx, h)
	}
	var fault *xmpp.StreamError
	if first && (errors.Is(err, ErrNotEXI) || errors.As(err, &fault) && fault.Local) {
		p.t.giveUp(p.addr)
		return got, fmt.Errorf("%w; it is left alone for %v: %w", ErrNotEXI, pause, err)
	}
	return got, err
}

// next sets the codec of an agreed configuration.
func (p *portConn) next(c *PortCodec) error {
	p.codec = c
	return p.use().SetCodec(c)
}

// ReadElement implements xmpp.Conn.
func (p *portConn) ReadElement(d *exi.Doc) error { return p.use().ReadElement(d) }

// WriteElements implements xmpp.Conn.
func (p *portConn) WriteElements(ds ...*exi.Doc) error { return p.use().WriteElements(ds...) }

// Close implements xmpp.Conn.
func (p *portConn) Close() error { return p.use().Close() }

// StartTLS implements xmpp.Upgrader.
func (p *portConn) StartTLS(ctx context.Context, c *tls.Config) error {
	return p.use().StartTLS(ctx, c)
}

// TLS implements xmpp.Upgrader.
func (p *portConn) TLS() *tls.ConnectionState { return p.use().TLS() }

// SetCodec implements xmpp.Upgrader.
func (p *portConn) SetCodec(c xmpp.Codec) error { return p.use().SetCodec(c) }

// Codec names the representation on the wire.
func (p *portConn) Codec() string { return p.use().Codec() }

// Abort implements xmpp.Upgrader. Any goroutine may call it.
func (p *portConn) Abort() error {
	p.mu.Lock()
	p.gone = true
	conn := p.conn
	p.mu.Unlock()
	return conn.Abort()
}
