// Package tcp carries XMPP streams over TCP (RFC 6120 §3, XEP-0368): it finds
// a domain's hosts, connects, starts TLS, and moves whole elements.
package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"postern/xmpp"
)

// Transport finds hosts and connects to them. The zero Transport is ready to
// use, by several goroutines at a time.
type Transport struct {
	// Resolver looks up SRV records. nil: the system's.
	Resolver Resolver
	// DialContext opens connections and tries all addresses of a name. nil: a
	// net.Dialer's.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Options of the connections.
	Options
}

var _ xmpp.Transport = (*Transport)(nil)

func (t *Transport) resolver() Resolver {
	if t.Resolver != nil {
		return t.Resolver
	}
	return net.DefaultResolver
}

// alpn is the protocol's name in TLS (XEP-0368 §4).
const alpn = "xmpp-client"

// alertNoProtocol is the alert of a server that knows no protocol we name
// (RFC 7301 §3.2). crypto/tls hides the type of received alerts, so its text is
// compared.
const alertNoProtocol = tls.AlertError(120)

// Dial connects to a target, with TLS from the first octet if it is a direct
// one (XEP-0368).
func (t *Transport) Dial(ctx context.Context, to xmpp.Target, cfg *tls.Config) (xmpp.Conn, error) {
	if !to.Direct {
		nc, err := t.dial(ctx, to.Addr)
		if err != nil {
			return nil, err
		}
		return Client(nc, t.Options), nil
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{alpn}
	c, err := t.direct(ctx, to.Addr, cfg)
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Err.Error() == alertNoProtocol.Error() {
		cfg.NextProtos = nil
		return t.direct(ctx, to.Addr, cfg)
	}
	return c, err
}

func (t *Transport) dial(ctx context.Context, addr string) (net.Conn, error) {
	dial := t.DialContext
	if dial == nil {
		// The session sees to signs of life itself: TCP's own would cost a
		// device on a metered link more.
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	nc, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	return Nonblocking(nc), nil
}

func (t *Transport) direct(ctx context.Context, addr string, cfg *tls.Config) (xmpp.Conn, error) {
	nc, err := t.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	layer := tlsLayer(nc, cfg, false)
	if err := layer.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("tcp: TLS handshake: %w", err), nc.Close())
	}
	return Client(layer, t.Options), nil
}
