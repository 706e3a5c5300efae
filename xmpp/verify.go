package xmpp

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// CertError says why a server's certificate was not accepted.
type CertError struct {
	Domain string // the reference identity: the account's domain
	Err    error
}

// Error makes *CertError an error.
func (e *CertError) Error() string {
	var hint string
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(e.Err, &unknown):
		hint = "; if the server has a private CA, name its certificate in the configuration"
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		hint = "; renew the server's certificate, or check this machine's clock"
	}
	return fmt.Sprintf("xmpp: the certificate of %s is not accepted: %v%s", e.Domain, e.Err, hint)
}

// Unwrap returns the reason.
func (e *CertError) Unwrap() error { return e.Err }

// asciiDomain returns the A-label form that DNS and certificates use.
func asciiDomain(domain string) string {
	host := strings.TrimSuffix(strings.TrimPrefix(domain, "["), "]")
	if net.ParseIP(host) != nil {
		return host
	}
	if a, err := idna.Lookup.ToASCII(domain); err == nil {
		return a
	}
	return domain
}

// clientTLS returns the TLS configuration for a domain. Go's own verification
// knows DNS names only; it is replaced by verifyServer, which runs on every
// handshake, resumed ones included.
func clientTLS(domain string, roots *x509.CertPool, cert *tls.Certificate, tickets tls.ClientSessionCache) *tls.Config {
	c := &tls.Config{
		ServerName:         asciiDomain(domain), // not the SRV target (XEP-0368)
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tickets,
		InsecureSkipVerify: true, // verified below
		VerifyConnection: func(cs tls.ConnectionState) error {
			if err := verifyServer(cs.PeerCertificates, domain, roots, time.Now()); err != nil {
				return &CertError{Domain: domain, Err: err}
			}
			return nil
		},
	}
	if cert != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return c
}

// verifyServer checks the chain and the identity of a server (RFC 6120 §13.7.2,
// RFC 6125): the certificate must be for domain by DNS name or IP address,
// SRV-ID _xmpp-client.domain, or XmppAddr.
func verifyServer(certs []*x509.Certificate, domain string, roots *x509.CertPool, now time.Time) error {
	if len(certs) == 0 {
		return errors.New("the server sent none")
	}
	leaf := certs[0]
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return err
	}
	host := asciiDomain(domain)
	err = leaf.VerifyHostname(host)
	if err == nil {
		return nil
	}
	srv, addrs := otherNames(leaf)
	for _, n := range srv {
		if name, ok := strings.CutPrefix(strings.ToLower(n), "_xmpp-client."); ok && name == strings.ToLower(host) {
			return nil
		}
	}
	for _, n := range addrs {
		if strings.EqualFold(asciiDomain(n), host) {
			return nil
		}
	}
	return err
}

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidSRVName        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
	oidXmppAddr       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
)

// otherNames returns the SRV-IDs and XmppAddrs of a certificate.
func otherNames(c *x509.Certificate) (srv, addrs []string) {
	for _, ext := range c.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 {
			return nil, nil
		}
		for rest := names.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil, nil
			}
			if name.Class != asn1.ClassContextSpecific || name.Tag != 0 {
				continue
			}
			var id asn1.ObjectIdentifier
			value, err := asn1.Unmarshal(name.Bytes, &id)
			if err != nil {
				continue
			}
			var wrapped, text asn1.RawValue
			if _, err := asn1.Unmarshal(value, &wrapped); err != nil {
				continue
			}
			if _, err := asn1.Unmarshal(wrapped.Bytes, &text); err != nil {
				continue
			}
			switch {
			case id.Equal(oidSRVName):
				srv = append(srv, string(text.Bytes))
			case id.Equal(oidXmppAddr):
				addrs = append(addrs, string(text.Bytes))
			}
		}
	}
	return srv, addrs
}

// XmppAddrs returns the XMPP addresses in a certificate (RFC 6120 §13.7.1.4),
// which say whose account a client's certificate is for.
func XmppAddrs(c *x509.Certificate) []string {
	_, addrs := otherNames(c)
	return addrs
}
