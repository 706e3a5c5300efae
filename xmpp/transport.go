package xmpp

import (
	"context"
	"crypto/tls"
)

// Transport finds the hosts of a domain and connects to them.
type Transport interface {
	// Find returns where to connect to, in the order to try. addr is a fixed
	// "host:port" or empty. An error that has ErrNoService in its chain says
	// that the domain does not offer the service.
	Find(ctx context.Context, domain, addr string, mode TLSMode) ([]Target, error)
	// Dial connects to a target. For a direct TLS target it also does the TLS
	// handshake with c.
	Dial(ctx context.Context, t Target, c *tls.Config) (Conn, error)
}

// Target is one place to connect to.
type Target struct {
	Addr   string // "host:port", IPv6 addresses in brackets
	Direct bool   // TLS from the first octet (XEP-0368)
}
