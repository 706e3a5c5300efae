package tcp

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
	"postern/xmpp/xmlcodec"
)

// Options are the bounds of a connection. Zero fields take the default given
// here.
type Options struct {
	Limits       xmltext.Limits // of what is read; Octets: 256 KiB
	WriteTimeout time.Duration  // for one write; 30 s
	CloseTime    time.Duration  // how long Close waits for the peer's end of the stream; 300 ms
}

func (o Options) withDefaults() Options {
	if o.Limits.Octets == 0 {
		o.Limits.Octets = 256 << 10
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.CloseTime == 0 {
		o.CloseTime = 300 * time.Millisecond
	}
	return o
}

// Errors of a connection.
var (
	// ErrPipelined: the peer sent something between the agreement to start TLS
	// and the handshake. It could come from an attacker and would be taken for
	// protected afterwards (RFC 6120 §5.4.3.3).
	ErrPipelined = errors.New("tcp: unprotected octets behind the agreement to start TLS")
	errClosed    = fmt.Errorf("tcp: the stream has been ended: %w", net.ErrClosed)
)

// Conn is a stream over TCP, with or without TLS. It implements xmpp.Conn and
// xmpp.Upgrader.
type Conn struct {
	raw       net.Conn // below TLS
	receiving bool     // the server's side
	opts      Options

	readMu sync.Mutex // one reader; Close becomes it to wait for the peer's end
	br     *bufio.Reader
	ended  bool // the peer's stream has ended

	writeMu sync.Mutex
	nc      net.Conn // raw or tls
	out     []byte
	queued  bool // out holds what Queue took and nobody has sent
	opened  bool // our stream is open: it can and must be closed

	codec  xmpp.Codec
	tls    atomic.Pointer[tls.Conn]
	closed atomic.Bool
}

var (
	_ xmpp.Conn     = (*Conn)(nil)
	_ xmpp.Upgrader = (*Conn)(nil)
)

// Client returns the initiating side of a stream over nc.
func Client(nc net.Conn, o Options) *Conn { return newConn(nc, o, false) }

// Server returns the receiving side of a stream over nc. Its Open awaits the
// peer's header, answers with the given one, and returns the peer's. To is
// taken from the peer's From, and an empty ID is replaced by a random one. The
// header is also sent before an error about the peer's (RFC 6120 §4.9.1.2).
func Server(nc net.Conn, o Options) *Conn { return newConn(nc, o, true) }

func newConn(nc net.Conn, o Options, receiving bool) *Conn {
	o, nc = o.withDefaults(), Nonblocking(nc)
	c := &Conn{
		raw: nc, nc: nc, receiving: receiving, opts: o,
		br: bufio.NewReaderSize(nc, 4096), codec: xmlcodec.New(o.Limits),
	}
	if t, ok := nc.(*tls.Conn); ok {
		c.tls.Store(t)
		c.raw = t.NetConn()
	}
	return c
}

// SetLimits changes what is accepted from the peer from now on: a server allows
// more once it knows the client. Nobody may be reading.
func (c *Conn) SetLimits(lim xmltext.Limits) {
	if x, ok := c.codec.(interface{ SetLimits(xmltext.Limits) }); ok {
		x.SetLimits(lim)
	}
}

// RemoteAddr returns the peer's network address.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Codec names the representation on the wire.
func (c *Conn) Codec() string { return c.codec.Name() }

// Open starts or restarts the stream, see xmpp.Conn and Server.
func (c *Conn) Open(ctx context.Context, h xmpp.Header) (xmpp.Header, error) {
	stop := c.bound(ctx)
	defer stop()
	if !c.receiving {
		if err := c.sendOpen(h); err != nil {
			return xmpp.Header{}, err
		}
		return c.readOpen(ctx)
	}
	got, err := c.readOpen(ctx)
	var fault *xmpp.StreamError
	if err != nil && !errors.As(err, &fault) {
		return got, err
	}
	h.To = got.From
	if h.ID == "" {
		h.ID = randomID()
	}
	if werr := c.sendOpen(h); werr != nil {
		return got, werr
	}
	return got, err
}

// randomID returns 128 random bits: stream ids must not be guessed
// (RFC 6120 §4.7.3).
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// bound ends blocking reads when ctx does; stop must be called.
func (c *Conn) bound(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	after := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // fails only when closed, which ends reads too
	})
	return func() {
		if after() {
			return
		}
		<-done // else the deadline could come after it was taken back
		_ = c.raw.SetReadDeadline(time.Time{})
	}
}

func (c *Conn) readOpen(ctx context.Context) (xmpp.Header, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	h, err := c.codec.ReadOpen(c.br)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("tcp: waiting for the stream header: %w", ctx.Err())
	}
	return h, err
}

func (c *Conn) sendOpen(h xmpp.Header) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if h.Version == "" {
		h.Version = "1.0"
	}
	var err error
	if c.out, err = c.codec.AppendOpen(c.out[:0], h); err != nil {
		return err
	}
	c.opened = true
	return c.flush()
}

// maxWrite is how much is collected for one write: what small elements need to
// share segments, and no more memory than that.
const maxWrite = 32 << 10

// fresh empties c.out, except for what is queued.
func (c *Conn) fresh() {
	if !c.queued {
		c.out = c.out[:0]
	}
}

// Queue is WriteElements for one element that may wait for company: until
// Flush, the next write, or until much has been collected. It is for relays,
// which know when they have nothing more to pass on.
func (c *Conn) Queue(d *exi.Doc) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.closed.Load() {
		return errClosed
	}
	c.fresh()
	out, err := c.codec.AppendElement(c.out, d)
	if err != nil {
		return &xmpp.EncodeError{Err: err}
	}
	c.out, c.queued = out, true
	if len(c.out) >= maxWrite {
		return c.flush()
	}
	return nil
}

// Flush sends what Queue took.
func (c *Conn) Flush() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if !c.queued {
		return nil
	}
	return c.flush()
}

// flush writes c.out with one write.
func (c *Conn) flush() error {
	c.queued = false
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.opts.WriteTimeout)); err != nil {
		return fmt.Errorf("tcp: writing: %w", err)
	}
	_, err := c.nc.Write(c.out)
	if cap(c.out) > 64<<10 {
		c.out = nil
	}
	if err != nil {
		return fmt.Errorf("tcp: writing: %w", err)
	}
	return nil
}

// ReadElement reads one element, see xmpp.Conn.
func (c *Conn) ReadElement(d *exi.Doc) error {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return c.readElement(d)
}

func (c *Conn) readElement(d *exi.Doc) error {
	if c.ended {
		return xmpp.ErrStreamEnd
	}
	err := c.codec.ReadElement(c.br, d)
	c.ended = errors.Is(err, xmpp.ErrStreamEnd)
	return err
}

// WriteElements writes elements with one write, see xmpp.Conn.
func (c *Conn) WriteElements(ds ...*exi.Doc) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.closed.Load() {
		return errClosed
	}
	c.fresh()
	for i, d := range ds {
		var err error
		if c.out, err = c.codec.AppendElement(c.out, d); err == nil {
			if len(c.out) >= maxWrite {
				if err := c.flush(); err != nil {
					return err
				}
				c.out = c.out[:0]
			}
			continue
		}
		// The codec may have learned from the elements before, so they go out.
		if len(c.out) > 0 {
			if werr := c.flush(); werr != nil {
				return werr
			}
		}
		return &xmpp.EncodeError{Index: i, Err: err}
	}
	if len(c.out) == 0 {
		return nil
	}
	return c.flush()
}

// Close ends the stream and the connection, see xmpp.Conn. Another goroutine
// may be in ReadElement: it gets what still arrives, then an error.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if err := c.sendClose(); err == nil {
		c.awaitEnd()
	}
	if t := c.tls.Load(); t != nil {
		// close_notify; what becomes of it does not matter any more.
		_ = t.SetWriteDeadline(time.Now().Add(c.opts.CloseTime))
		_ = t.CloseWrite()
	}
	return c.raw.Close()
}

func (c *Conn) sendClose() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if !c.opened {
		return errClosed
	}
	var err error
	c.fresh()
	if c.out, err = c.codec.AppendClose(c.out); err != nil {
		return err
	}
	c.queued = false
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.opts.CloseTime)); err != nil {
		return err
	}
	_, err = c.nc.Write(c.out)
	return err
}

// awaitEnd waits for the peer's end of the stream (RFC 6120 §4.4).
func (c *Conn) awaitEnd() {
	if c.raw.SetReadDeadline(time.Now().Add(c.opts.CloseTime)) != nil {
		return
	}
	var d exi.Doc
	for {
		c.readMu.Lock()
		err := c.readElement(&d)
		c.readMu.Unlock()
		if err != nil {
			return
		}
	}
}

// StartTLS starts TLS, see xmpp.Upgrader. A server should use one configuration
// for all connections, with DynamicRecordSizingDisabled set so that a stanza
// goes out in one piece.
func (c *Conn) StartTLS(ctx context.Context, cfg *tls.Config) error {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	switch {
	case c.tls.Load() != nil:
		return errors.New("tcp: TLS is on already")
	case c.br.Buffered() > 0:
		return ErrPipelined
	}
	t := tlsLayer(c.raw, cfg, c.receiving)
	if err := t.HandshakeContext(ctx); err != nil {
		// No stream error may follow: the peer expects TLS (RFC 6120 §5.4.3.2).
		c.opened = false
		return fmt.Errorf("tcp: TLS handshake: %w", err)
	}
	c.nc, c.opened = t, false
	c.tls.Store(t)
	c.br.Reset(t)
	return nil
}

func tlsLayer(nc net.Conn, cfg *tls.Config, receiving bool) *tls.Conn {
	if receiving {
		// As it is: a copy would make ticket keys of its own, and no client
		// could resume its TLS session.
		return tls.Server(nc, cfg)
	}
	// One record for one write: small records would cost a segment each.
	cfg = cfg.Clone()
	cfg.DynamicRecordSizingDisabled = true
	return tls.Client(nc, cfg)
}

// TLS returns the state of the TLS layer, nil without one.
func (c *Conn) TLS() *tls.ConnectionState {
	t := c.tls.Load()
	if t == nil {
		return nil
	}
	cs := t.ConnectionState()
	return &cs
}

// SetCodec changes the representation, see xmpp.Upgrader.
func (c *Conn) SetCodec(codec xmpp.Codec) error {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.codec, c.opened = codec, false
	return nil
}

// Abort breaks the connection off, see xmpp.Upgrader. Any goroutine may call
// it.
func (c *Conn) Abort() error {
	c.closed.Store(true)
	return c.raw.Close()
}

// WriteText writes text into the stream just as it is: for tests of what the
// other end does with it.
func (c *Conn) WriteText(xml string) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.out = append(c.out[:0], xml...)
	return c.flush()
}

// Layer returns what octets go through: the TLS layer, or the connection below.
// Nobody may be using the Conn any more; it is for tests.
func (c *Conn) Layer() net.Conn { return c.nc }
