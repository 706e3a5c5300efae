package component

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

var (
	nameStream    = exi.N(xmpp.NSStream, "stream")
	nameHandshake = exi.N(xmpp.NSComponent, "handshake")
	attrID        = exi.N("", "id")

	// outScope is that of a stream of clients although the stream declares
	// another default: so stanzas in jabber:client change their namespace by
	// being written.
	outScope = xmltext.Scope{Default: xmpp.NSClient, Prefix: "stream", PrefixNS: xmpp.NSStream}
	ownScope = xmltext.Scope{Default: xmpp.NSComponent, Prefix: "stream", PrefixNS: xmpp.NSStream}
)

// conn is one stream to a server.
type conn struct {
	nc      net.Conn
	br      *bufio.Reader
	in      *xmltext.StreamReader
	timeout time.Duration

	// raw and doc are the element read last, as it came and renamed.
	raw, doc exi.Doc
	st       xmpp.Stanza

	mu  sync.Mutex // held while writing
	out []byte
	end func()
}

// connect opens the stream and proves knowledge of the secret (XEP-0114 §3).
func (c *Client) connect(ctx context.Context) (x *conn, err error) {
	secret, err := c.cfg.Secret(ctx)
	if err != nil {
		return nil, fmt.Errorf("component: the secret: %w", err)
	}
	dctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	nc, err := c.cfg.Dial(dctx, "tcp", c.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("component: %w", err)
	}
	x = &conn{nc: nc, br: bufio.NewReader(nc), in: xmltext.NewStreamReader(xmltext.Limits{Octets: c.cfg.Octets}), timeout: c.cfg.Timeout}
	x.end = sync.OnceFunc(x.close)
	stop := context.AfterFunc(dctx, func() { _ = nc.Close() })
	if err := x.handshake(c.addr.String(), secret); err != nil {
		stop()
		x.end()
		return nil, err
	}
	if !stop() {
		x.end()
		return nil, fmt.Errorf("component: the handshake took too long: %w", context.Cause(dctx))
	}
	return x, nil
}

func (x *conn) handshake(domain, secret string) error {
	open, err := xmltext.AppendOpen(nil, "stream", ownScope, xmltext.Attr{Name: "to", Value: domain})
	if err != nil {
		return err
	}
	if err := x.send(open); err != nil {
		return err
	}
	if err := x.in.ReadOpen(x.br, &x.raw); err != nil {
		return fmt.Errorf("component: reading the stream header: %w", err)
	}
	root := x.raw.Root()
	if root.Name() != nameStream {
		return errors.New("component: the server opens no stream: is this its component port?")
	}
	id, _ := root.Attr(attrID)
	if err := x.prove(id.String(), secret); err != nil {
		return err
	}
	if err := x.read(); err != nil {
		return err
	}
	if x.raw.Root().Name() != nameHandshake {
		return fmt.Errorf("component: %s instead of the handshake", x.raw.Root().Name().Value().Local)
	}
	return nil
}

// Proof is the content of a handshake: the stream id is taken as it reads
// after unescaping (0114-R05).
func Proof(id, secret string) string {
	sum := sha1.Sum([]byte(id + secret))
	return hex.EncodeToString(sum[:])
}

func (x *conn) prove(id, secret string) error {
	var d exi.Doc
	d.Element(nameHandshake, exi.Str(Proof(id, secret)))
	b, err := xmltext.AppendElement(nil, &d, ownScope)
	if err != nil {
		return err
	}
	return x.send(b)
}

// read reads one element into x.raw.
func (x *conn) read() error {
	if err := x.in.ReadElement(x.br, &x.raw); err != nil {
		if errors.Is(err, xmltext.ErrEnd) {
			return xmpp.ErrStreamEnd
		}
		return fmt.Errorf("component: reading: %w", err)
	}
	if e, ok := xmpp.ParseStreamError(x.raw.Root()); ok {
		return e
	}
	return nil
}

// next returns the next stanza, valid until the following call. fault is what
// is wrong with its addresses.
func (x *conn) next() (st *xmpp.Stanza, fault, err error) {
	if err := x.read(); err != nil {
		return nil, nil, err
	}
	rename(&x.doc, x.raw.Root())
	fault = x.st.Parse(x.doc.Root())
	if x.st.Kind == 0 {
		return nil, nil, xmpp.NewStreamError("unsupported-stanza-type", "")
	}
	return &x.st, fault, nil
}

// rename copies an element with the component's namespace changed to that of
// clients. The copy borrows text from the original.
func rename(dst *exi.Doc, c exi.Cursor) {
	dst.Reset()
	for e := range c.Events() {
		ev := *e
		if ev.Kind == exi.SE {
			ev.Value = exi.Value{}
		}
		if q := ev.Name; ev.Kind != exi.AT && q != (exi.Name{}) && q.Value().Space == xmpp.NSComponent {
			ev.Name = exi.N(xmpp.NSClient, q.Value().Local)
		}
		if err := dst.Add(ev); err != nil {
			return // cannot be: the original was well-formed
		}
	}
}

// write sends stanzas with one write.
func (x *conn) write(sts []xmpp.Stanza) error {
	var d exi.Doc
	x.mu.Lock()
	defer x.mu.Unlock()
	x.out = x.out[:0]
	for i := range sts {
		d.Reset()
		sts[i].AppendEvents(&d)
		var err error
		if x.out, err = xmltext.AppendElement(x.out, &d, outScope); err != nil {
			return &xmpp.EncodeError{Index: i, Err: err}
		}
	}
	return x.sendLocked(x.out)
}

func (x *conn) send(b []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sendLocked(b)
}

func (x *conn) sendLocked(b []byte) error {
	if err := x.nc.SetWriteDeadline(time.Now().Add(x.timeout)); err != nil {
		return fmt.Errorf("component: writing: %w", err)
	}
	if _, err := x.nc.Write(b); err != nil {
		return fmt.Errorf("component: writing: %w", err)
	}
	return nil
}

// keepAlive writes white space (0114-R15). A write that fails ends the stream.
func (x *conn) keepAlive(every time.Duration, quit <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			if x.send([]byte(" ")) != nil {
				x.end()
				return
			}
		}
	}
}

// close ends the stream; the server's end is not waited for.
func (x *conn) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	_ = x.nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	_, _ = x.nc.Write(xmltext.AppendClose(nil, "stream", ownScope)) // it may be gone
	_ = x.nc.Close()
}
