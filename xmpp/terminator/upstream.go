package terminator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// Security is how the link to the server is protected.
type Security uint8

// The kinds of links.
const (
	// Plain has no TLS: for loopback only. The server must allow logins on it.
	Plain Security = iota
	// StartTLS and Direct verify the server's certificate.
	StartTLS
	Direct
)

// Upstream is the server behind a Terminator.
type Upstream struct {
	Addr     string // "host:port"
	Security Security
	// CAs are the roots for its certificate; nil: the system's.
	CAs *x509.CertPool
	// Name is the name that its certificate must be for; empty: the domain.
	Name string
	// Proxy sends the client's address ahead by the PROXY protocol, version 1.
	Proxy bool
	// AllowPlainBeyondLoopback permits Plain to another machine: for links that
	// are protected by other means.
	AllowPlainBeyondLoopback bool
}

func (u Upstream) check() error {
	host, _, err := net.SplitHostPort(u.Addr)
	if err != nil {
		return fmt.Errorf("terminator: the server's address %q is not of the form host:port", u.Addr)
	}
	if u.Security != Plain || u.AllowPlainBeyondLoopback {
		return nil
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("terminator: %s is not on this machine, and the link to it would not be protected; use TLS", u.Addr)
	}
	return nil
}

// dial connects to the server, opens the stream, sees to TLS, and reads the
// features into d.
func (t *Terminator) dial(ctx context.Context, client net.Addr, h xmpp.Header, d *exi.Doc) (*tcp.Conn, *waiting, error) {
	u := t.cfg.Upstream
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Addr)
	if err != nil {
		return nil, nil, fmt.Errorf("terminator: server: %w", err)
	}
	side := &waiting{Conn: tcp.Nonblocking(nc)}
	nc = side
	if u.Proxy {
		if _, err := nc.Write(proxyHeader(client, nc.LocalAddr())); err != nil {
			return nil, nil, errors.Join(err, nc.Close())
		}
	}
	name := u.Name
	if name == "" {
		name = t.cfg.Domain.String()
	}
	tlsConfig := &tls.Config{ServerName: name, RootCAs: u.CAs, MinVersion: tls.VersionTLS12}
	if u.Security == Direct {
		layer := tls.Client(nc, tlsConfig)
		if err := layer.HandshakeContext(ctx); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("terminator: TLS to the server: %w", err), nc.Close())
		}
		nc = layer
	}
	conn := tcp.Client(nc, tcp.Options{})
	if err := t.openUpstream(ctx, conn, h, d, tlsConfig); err != nil {
		return nil, nil, errors.Join(err, conn.Abort())
	}
	return conn, side, nil
}

func (t *Terminator) openUpstream(ctx context.Context, conn *tcp.Conn, h xmpp.Header, d *exi.Doc, c *tls.Config) error {
	if t.cfg.Upstream.Security != StartTLS {
		return reopen(ctx, conn, h, d)
	}
	if err := reopen(ctx, conn, xmpp.Header{To: h.To, Version: h.Version}, d); err != nil {
		return err
	}
	d.Reset()
	d.Element(nameStartTLS, exi.Value{})
	if err := conn.WriteElements(d); err != nil {
		return err
	}
	if err := conn.ReadElement(d); err != nil {
		return err
	}
	if d.Root().Name() != nameProceed {
		return errors.New("terminator: the server refuses STARTTLS")
	}
	if err := conn.StartTLS(ctx, c); err != nil {
		return err
	}
	return reopen(ctx, conn, h, d)
}

// reopen opens or restarts the stream to the server and reads the features.
func reopen(ctx context.Context, conn *tcp.Conn, h xmpp.Header, d *exi.Doc) error {
	if _, err := conn.Open(ctx, h); err != nil {
		return fmt.Errorf("terminator: opening the stream to the server: %w", err)
	}
	if err := conn.ReadElement(d); err != nil {
		return fmt.Errorf("terminator: features of the server: %w", err)
	}
	if d.Root().Name() != nameFeatures {
		return errors.New("terminator: the server sent no stream features")
	}
	return nil
}

// proxyHeader is version 1 of the PROXY protocol.
func proxyHeader(client, server net.Addr) []byte {
	c, okC := client.(*net.TCPAddr)
	s, okS := server.(*net.TCPAddr)
	if !okC || !okS {
		return []byte("PROXY UNKNOWN\r\n")
	}
	family := "TCP6"
	ci, si := c.IP.To16().String(), s.IP.To16().String()
	switch c4, s4 := c.IP.To4(), s.IP.To4(); {
	case c4 != nil && s4 != nil:
		family, ci, si = "TCP4", c4.String(), s4.String()
	case c4 != nil || s4 != nil:
		return []byte("PROXY UNKNOWN\r\n")
	}
	return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, ci, si, c.Port, s.Port)
}

// passes reports whether a feature of the server can be offered to clients: the
// terminator's own TLS and compression take the place of the server's, and what
// is bound to the TLS channel cannot pass (XEP-0440, RFC 5929).
func passes(feature exi.Name) bool {
	switch feature {
	case nameStartTLSFeature, nameCompression, nameChannelBinding:
		return false
	}
	switch feature.Value().Space {
	case nsSASL2, nsBind2:
		return false
	}
	return true
}

// relayable reports whether a SASL mechanism works through the terminator:
// those bound to the channel, or to the client's certificate, do not.
func relayable(mechanism string) bool {
	return !strings.HasSuffix(mechanism, "-PLUS") && mechanism != "EXTERNAL"
}

const (
	nsSASL2 = "urn:xmpp:sasl:2"
	nsBind2 = "urn:xmpp:bind:0"
)

var (
	nameFeatures        = exi.N(xmpp.NSStream, "features")
	nameStartTLSFeature = exi.N(xmpp.NSTLS, "starttls")
	nameStartTLS        = nameStartTLSFeature
	nameRequired        = exi.N(xmpp.NSTLS, "required")
	nameProceed         = exi.N(xmpp.NSTLS, "proceed")
	nameCompression     = exi.N("http://jabber.org/features/compress", "compression")
	nameChannelBinding  = exi.N(xmpp.NSCB, "sasl-channel-binding")
	nameMechanisms      = exi.N(xmpp.NSSASL, "mechanisms")
	nameMechanism       = exi.N(xmpp.NSSASL, "mechanism")
	nameSuccess         = exi.N(xmpp.NSSASL, "success")
)

// features writes the server's features as clients see them, and extra behind.
func features(server exi.Cursor, out *exi.Doc, extra xmpp.Payload) {
	out.Reset()
	out.Start(nameFeatures)
	for f := range server.Children() {
		switch {
		case f.Name() == nameMechanisms:
			out.Start(nameMechanisms)
			for m := range f.Children() {
				if m.Name() != nameMechanism || relayable(m.Text().String()) {
					out.AppendElement(m)
				}
			}
			out.End()
		case passes(f.Name()):
			out.AppendElement(f)
		}
	}
	if extra != nil {
		extra.AppendEvents(out)
	}
	out.End()
}
