package xmpptest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/tcp"
)

// The account of Config.
const (
	Domain   = "example.org"
	Account  = "thing@example.org"
	Password = "pencil"
)

// Options say how the server behaves in Login. The zero value is a server with
// SCRAM-SHA-256 and stream management.
type Options struct {
	// Domain of the certificate. Empty: Domain.
	Domain string
	// Mechanisms offered. nil: SCRAM-SHA-256.
	Mechanisms []string
	// Password is what the server believes the password is. Empty: Password.
	Password string
	// Iterations of SCRAM. 0: 4096.
	Iterations int
	// BeforeLogin and AfterLogin are XML added to the stream features.
	BeforeLogin, AfterLogin string
	// NoSM leaves XEP-0198 out.
	NoSM bool
	// Max is the time that enabled promises, in seconds. 0: 300.
	Max int
	// Manual leaves acknowledging (XEP-0198) to the script.
	Manual bool
	// TLS changes the server's TLS configuration.
	TLS func(*tls.Config)
	// Certificate changes the server's certificate before it is signed.
	Certificate func(*x509.Certificate)
}

// Server accepts the connections of sessions under test.
type Server struct {
	t       testing.TB
	o       Options
	roots   *x509.CertPool
	tls     *tls.Config
	conns   chan net.Conn
	down    atomic.Bool
	mu      sync.Mutex
	addrs   []string // that were connected to
	session int      // number of the session, for its id
}

// NewServer returns a server without connections.
func NewServer(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Domain == "" {
		o.Domain = Domain
	}
	if o.Mechanisms == nil {
		o.Mechanisms = []string{"SCRAM-SHA-256"}
	}
	if o.Password == "" {
		o.Password = Password
	}
	if o.Iterations == 0 {
		o.Iterations = 4096
	}
	if o.Max == 0 {
		o.Max = 300
	}
	s := &Server{t: t, o: o, conns: make(chan net.Conn, 16)}
	s.certify()
	t.Cleanup(func() {
		for {
			select {
			case c := <-s.conns:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return s
}

// certify makes an authority and the server's certificate.
func (s *Server) certify() {
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		s.t.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		s.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{s.o.Domain},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if s.o.Certificate != nil {
		s.o.Certificate(leaf)
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey); err != nil {
		s.t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(ca)
	s.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if s.o.TLS != nil {
		s.o.TLS(s.tls)
	}
}

// Roots holds the authority of the server's certificate.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Transport connects to the server.
func (s *Server) Transport() *tcp.Transport {
	return &tcp.Transport{Resolver: noRecords{}, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		s.mu.Lock()
		s.addrs = append(s.addrs, addr)
		s.mu.Unlock()
		if s.down.Load() {
			return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
		}
		a, b := Pipe()
		select {
		case s.conns <- b:
			return a, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

// noRecords is a DNS without SRV records.
type noRecords struct{}

func (noRecords) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// Config is a session's configuration that suits the server.
func (s *Server) Config() xmpp.Config {
	return xmpp.Config{
		JID:       jid.MustParse(Account),
		Password:  func(context.Context) (string, error) { return Password, nil },
		CAs:       s.roots,
		Transport: s.Transport(),
		Addr:      "server.example:5222",
	}
}

// Down makes the server refuse connections, or take them again.
func (s *Server) Down(down bool) { s.down.Store(down) }

// Dials is how often somebody connected or tried to.
func (s *Server) Dials() int { return len(s.Addrs()) }

// Addrs are the addresses that somebody connected to or tried to, in order.
func (s *Server) Addrs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.addrs)
}

// Accept waits for a connection and returns it with nothing done on it.
func (s *Server) Accept() *Peer {
	s.t.Helper()
	select {
	case nc := <-s.conns:
		p := &Peer{t: s.t, srv: s, nc: nc, Conn: tcp.Server(nc, tcp.Options{})}
		s.t.Cleanup(p.Cut)
		return p
	case <-time.After(2 * time.Hour):
		s.t.Fatal("xmpptest: nobody connects")
		return nil
	}
}

// Login waits for a connection and brings it to a new session.
func (s *Server) Login() *Peer {
	s.t.Helper()
	p := s.Accept()
	p.Authenticate()
	p.Bind()
	return p
}

// Resume waits for a connection and resumes the former session: h is what the
// server says it has handled. It returns the h of the client.
func (s *Server) Resume(h uint32) (*Peer, uint32) {
	s.t.Helper()
	p := s.Accept()
	p.Authenticate()
	c := p.Read().Root()
	if c.Name().Value().Local != "resume" {
		s.t.Fatalf("xmpptest: resume expected, got %s", TextAt(s.t, c))
	}
	prev, _ := c.Attr(attr("previd"))
	v, _ := c.Attr(attr("h"))
	client, _ := v.Int()
	p.Send("<resumed xmlns='urn:xmpp:sm:3' previd='" + prev.String() + "' h='" + strconv.FormatUint(uint64(h), 10) + "'/>")
	p.handled.Store(h)
	p.Pump()
	return p, uint32(client)
}

// LoginRaw is Login that hands out the connection's TLS layer instead of a
// Peer, for load generators. Nothing reads ahead, and acknowledging is left
// out.
func (s *Server) LoginRaw() net.Conn {
	s.t.Helper()
	s.o.NoSM = true
	p := s.Accept()
	p.Authenticate()
	p.BindAs("")
	return p.Conn.Layer()
}
