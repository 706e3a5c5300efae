package hub

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"postern/exi/xmltext"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// way is how a stream begins.
type way int

const (
	plain     way = iota // XML, then STARTTLS
	direct               // TLS (XEP-0368)
	dedicated            // EXI, then STARTTLS within (XEP-0322 §3.3)
)

// client is one connection, from accept to its end.
type client struct {
	h    *Hub
	nc   net.Conn
	way  way
	port *compress.PortCodec // on a dedicated EXI port
	addr string

	mu      sync.Mutex
	conn    *tcp.Conn
	link    *link // while stanzas flow
	stopped error // asked to end

	final string // the last message of SCRAM
}

var notAuthorized = xmpp.NewStreamError("not-authorized", "")

// limits are what the client may send.
func (c *client) limits(octets int64) xmltext.Limits {
	// Prefixes are kept so that qualified names in content still mean
	// something at the receiver (CORE-R43, R123).
	return xmltext.Limits{Octets: octets, Depth: c.h.lim.Depth, KeepPrefixes: true}
}

// stop asks the connection to end with a stream error.
func (c *client) stop(err error) {
	c.mu.Lock()
	c.stopped = err
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.fail(err)
		return
	}
	c.abort() // not logged in yet: nobody to be told
}

func (c *client) abort() {
	// Closing is what unblocks readers and writers; it can only fail when
	// that was done already.
	_ = c.nc.Close()
}

// serve takes a connection through its life.
func (c *client) serve() {
	defer c.abort()
	log := c.h.log.With("addr", c.addr)
	s, err := c.negotiate()
	if err != nil {
		if errors.Is(err, compress.ErrShortcut) {
			// The client takes another connection (0322-R62, R63).
			if err := c.write(compress.AppendRefusal); err != nil {
				log.Debug("refusing a configuration", "err", err)
			}
			err = xmpp.ErrStreamEnd
		}
		if !errors.Is(err, xmpp.ErrStreamEnd) {
			log.Info("a client did not get as far as a session", "err", err)
		}
		if c.conn != nil {
			late := time.AfterFunc(time.Second, c.abort)
			defer late.Stop()
			if err := xmpp.EndWith(c.conn, err); err != nil {
				log.Debug("ending a stream", "err", err)
			}
		}
		return
	}
	err = s.serve()
	log.Info("a connection ended", "jid", s.full, "reason", err)
}

// deadline bounds the next step of the negotiation (CORE-R37).
func (c *client) deadline(d time.Duration) {
	// An error means that the connection is closed, which the next read tells.
	if d == 0 {
		_ = c.nc.SetDeadline(time.Time{})
		return
	}
	_ = c.nc.SetDeadline(time.Now().Add(d))
}

// link is a session's connection while stanzas flow: a reader and a writer.
type link struct {
	c    *client
	conn *tcp.Conn
	down context.Context
	stop context.CancelCauseFunc
	over chan struct{} // closed when neither of the two uses the session
	lang string

	start    time.Time
	lastRead atomicTime
}

func newLink(c *client, lang string) *link {
	l := &link{c: c, conn: c.conn, over: make(chan struct{}), lang: lang, start: time.Now()}
	l.down, l.stop = context.WithCancelCause(context.Background())
	l.lastRead.set(l.start)
	return l
}

// fail ends the link; the first reason counts. A local *xmpp.StreamError is
// told to the client.
func (l *link) fail(err error) { l.stop(err) }

func (l *link) cause() error { return context.Cause(l.down) }
