// Package component connects a handler to a stock server as an external
// component (XEP-0114): it keeps a stream to the server's component port and
// answers for a domain of its own. Inside the program stanzas are in the
// namespace jabber:client, as everywhere; on the wire they are in
// jabber:component:accept.
//
// The protocol has no TLS: the port must be reached over loopback, a local
// network that is trusted, or a tunnel.
package component

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
)

// Config says where a Client connects and what it serves. Addr, Domain, Secret
// and Handler are required.
type Config struct {
	Addr   string // host:port of the server's component port
	Domain string // the component's own, as configured at the server
	// Secret returns the shared secret, each time one is needed.
	Secret func(ctx context.Context) (string, error)
	// Handler gets the stanzas one after the other, in order.
	Handler xmpp.Handler
	// OnOnline is told when stanzas flow, and with false when they do not any
	// more. It must not block.
	OnOnline func(bool)
	// OnError is told why a connection ended, or was not made. It must not block.
	OnError func(error)
	// Dial opens the connection. nil: a net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	KeepAlive time.Duration // pause between signs of life; 0: 60 s
	Timeout   time.Duration // for connecting, and for one write; 0: 30 s
	// Backoff is the first pause before connecting again, which doubles up to
	// a minute; 0: 1 s. After errors that the operator must mend it is Held.
	Backoff time.Duration
	Held    time.Duration // 0: 5 min
	Octets  int64         // of one stanza; 0: 256 KiB
	Logger  *slog.Logger  // nil discards
}

// Client is a component's connection. Its methods are safe for concurrent use.
type Client struct {
	cfg  Config
	log  *slog.Logger
	addr jid.JID

	mu   sync.Mutex
	conn *conn // nil while offline
}

// New checks the configuration.
func New(cfg Config) (*Client, error) {
	if cfg.Addr == "" || cfg.Secret == nil || cfg.Handler == nil {
		return nil, errors.New("component: address, secret and handler are required")
	}
	c := &Client{cfg: cfg, log: cfg.Logger}
	var err error
	if c.addr, err = xmpp.ParseDomain(cfg.Domain); err != nil {
		return nil, fmt.Errorf("component: domain %q: %w", cfg.Domain, err)
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.cfg.Dial == nil {
		c.cfg.Dial = new(net.Dialer).DialContext
	}
	for p, d := range map[*time.Duration]time.Duration{&c.cfg.KeepAlive: time.Minute, &c.cfg.Timeout: 30 * time.Second, &c.cfg.Backoff: time.Second, &c.cfg.Held: 5 * time.Minute} {
		if *p == 0 {
			*p = d
		}
	}
	if c.cfg.Octets == 0 {
		c.cfg.Octets = 256 << 10
	}
	return c, nil
}

// Addr is the component's address.
func (c *Client) Addr() jid.JID { return c.addr }

// Run keeps the component connected until ctx is done.
func (c *Client) Run(ctx context.Context) error {
	pause := c.cfg.Backoff
	for {
		start := time.Now()
		err := c.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if c.cfg.OnError != nil {
			c.cfg.OnError(err)
		}
		if time.Since(start) > time.Minute {
			pause = c.cfg.Backoff
		}
		wait := pause + time.Duration(rand.Int64N(int64(pause)))
		if mustMend(err) {
			wait = c.cfg.Held
			if errors.Is(err, &xmpp.StreamError{Condition: "conflict"}) {
				wait = min(wait, 30*time.Second) // perhaps our own broken connection, which the server still holds
			}
			c.log.Error("the server refuses the component: check its domain and secret", "domain", c.cfg.Domain, "err", err, "retry", wait)
		} else {
			c.log.Warn("the component is not connected", "err", err, "retry", wait)
			pause = min(2*pause, time.Minute)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// mustMend reports whether trying again soon is of no use (0114-R14).
func mustMend(err error) bool {
	for _, condition := range []string{"not-authorized", "host-unknown", "conflict", "invalid-namespace"} {
		if errors.Is(err, &xmpp.StreamError{Condition: condition}) {
			return true
		}
	}
	return false
}

// Send sends stanzas; those without a sender get the component's address. It
// returns when they are written, or xmpp.ErrOffline.
func (c *Client) Send(_ context.Context, sts ...xmpp.Stanza) error {
	c.mu.Lock()
	x := c.conn
	c.mu.Unlock()
	if x == nil {
		return xmpp.ErrOffline
	}
	for i := range sts {
		if sts[i].From.Equal(jid.JID{}) {
			sts[i].From = c.addr
		}
		// The server would end the stream (0114-R08).
		if sts[i].From.Domainpart() != c.addr.Domainpart() || sts[i].To.Equal(jid.JID{}) {
			return fmt.Errorf("component: stanza from %q to %q", sts[i].From, sts[i].To)
		}
	}
	return x.write(sts)
}

func (c *Client) set(x *conn) {
	c.mu.Lock()
	c.conn = x
	c.mu.Unlock()
	if c.cfg.OnOnline != nil {
		c.cfg.OnOnline(x != nil)
	}
}

// serve connects and handles stanzas until the stream ends.
func (c *Client) serve(ctx context.Context) error {
	x, err := c.connect(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, x.end)
	quit := make(chan struct{})
	var alive sync.WaitGroup
	alive.Go(func() { x.keepAlive(c.cfg.KeepAlive, quit) })
	c.log.Info("the component is connected", "domain", c.cfg.Domain, "addr", c.cfg.Addr)
	c.set(x)
	err = c.read(ctx, x)
	c.set(nil)
	close(quit)
	stop()
	x.end()
	alive.Wait()
	return err
}

func (c *Client) read(ctx context.Context, x *conn) error {
	for {
		st, fault, err := x.next()
		if err != nil {
			return err
		}
		if err := c.handle(ctx, x, st, fault); err != nil {
			return err
		}
	}
}

// handle gives a stanza to the handler and sends its answer.
func (c *Client) handle(ctx context.Context, x *conn, st *xmpp.Stanza, fault error) error {
	request := st.Kind == xmpp.IQ && (st.Type == xmpp.Get || st.Type == xmpp.Set)
	var reply xmpp.Payload
	err := fault
	if err == nil {
		reply, err = c.cfg.Handler.HandleStanza(ctx, st)
	}
	then, more := reply.(xmpp.Answer)
	var out []xmpp.Stanza
	switch {
	case errors.Is(err, xmpp.ErrLater):
	case !request:
		if err != nil {
			c.log.Info("a stanza could not be handled", "from", st.From.String(), "err", err)
		}
	case st.From.Equal(jid.JID{}):
		return nil // nobody to answer
	case err != nil:
		out = append(out, st.ErrorReply(err))
	default:
		out = append(out, st.Reply(xmpp.Result, reply))
	}
	for i := range out {
		out[i].From = st.To
		if out[i].From.Domainpart() != c.addr.Domainpart() {
			out[i].From = c.addr
		}
	}
	if more && err == nil {
		out = append(out, then.Then...)
	}
	if len(out) == 0 {
		return nil
	}
	return x.write(out)
}
