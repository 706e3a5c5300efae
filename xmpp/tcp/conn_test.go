package tcp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

var clientHeader = xmpp.Header{To: jid.MustParse("example.org"), Version: "1.0", Lang: "en"}

const serverOpen = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='example.org' id='x' version='1.0'>"

// counted counts writes.
type counted struct {
	net.Conn
	mu     sync.Mutex
	writes int
	last   []byte
}

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.last = bytes.Clone(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// opened returns a client's Conn with its stream open, and the other end, which
// has read the client's header.
func opened(t *testing.T, o Options) (*Conn, net.Conn, *counted) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	nc := &counted{Conn: a}
	c := Client(nc, o)
	done := make(chan error, 1)
	go func() {
		_, err := c.Open(context.Background(), clientHeader)
		done <- err
	}()
	readUntil(t, b, ">", 2)
	if _, err := io.WriteString(b, serverOpen); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c, b, nc
}

// readUntil reads until what has been seen n times.
func readUntil(t *testing.T, r io.Reader, what string, n int) string {
	t.Helper()
	var got []byte
	var one [1]byte
	for bytes.Count(got, []byte(what)) < n {
		if _, err := r.Read(one[:]); err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, one[0])
	}
	return string(got)
}

func element(name, text string) *exi.Doc {
	d := new(exi.Doc)
	d.Element(exi.N(xmpp.NSClient, name), exi.Str(text))
	return d
}

func TestCoreR19_HeaderOfTheClient(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _, _ = Client(a, Options{}).Open(context.Background(), clientHeader) }()
	want := "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0' xml:lang='en'>"
	if got := readUntil(t, b, ">", 2); got != want {
		t.Errorf("got %s", got)
	}
}

func TestOneWriteForSeveralElements(t *testing.T) {
	c, b, nc := opened(t, Options{})
	go func() { _, _ = io.Copy(io.Discard, b) }()
	before := nc.writes
	if err := c.WriteElements(element("message", "1"), element("message", "2"), element("message", "3")); err != nil {
		t.Fatal(err)
	}
	if n := nc.writes - before; n != 1 {
		t.Errorf("%d writes", n)
	}
	if got := string(nc.last); got != "<message>1</message><message>2</message><message>3</message>" {
		t.Errorf("wrote %s", got)
	}
}

func TestLongBatchesAreSplit(t *testing.T) {
	c, b, nc := opened(t, Options{})
	go func() { _, _ = io.Copy(io.Discard, b) }()
	big := element("message", strings.Repeat("x", 20<<10))
	before := nc.writes
	if err := c.WriteElements(big, big, big, element("message", "bad \x00")); err == nil {
		t.Error("no error")
	}
	if n := nc.writes - before; n != 2 {
		t.Errorf("%d writes", n)
	}
	if err := c.WriteElements(big, big); err != nil {
		t.Error(err)
	}
	if n := nc.writes - before; n != 3 {
		t.Errorf("%d writes", n)
	}
}

func TestCoreR38_WhatCannotBeWritten(t *testing.T) {
	c, b, nc := opened(t, Options{})
	go func() { _, _ = io.Copy(io.Discard, b) }()
	err := c.WriteElements(element("message", "good"), element("message", "bad \x00"), element("message", "behind"))
	var enc *xmpp.EncodeError
	if !errors.As(err, &enc) || enc.Index != 1 {
		t.Fatalf("error %v", err)
	}
	if got := string(nc.last); got != "<message>good</message>" {
		t.Errorf("wrote %s", got)
	}
	if err := c.WriteElements(element("message", "on")); err != nil {
		t.Fatal(err)
	}
	comment := new(exi.Doc)
	comment.Start(exi.N(xmpp.NSClient, "message"))
	if err := comment.Add(exi.Event{Kind: exi.CM, Value: exi.Str("c")}); err != nil {
		t.Fatal(err)
	}
	comment.End()
	if err := c.WriteElements(comment); !errors.As(err, &enc) || enc.Index != 0 {
		t.Errorf("a comment: %v", err)
	}
}

func TestCoreR39R40R41R45R46_WhatIsNotAccepted(t *testing.T) {
	deep := strings.Repeat("<a>", 70) + strings.Repeat("</a>", 70)
	many := "<message" + strings.Repeat(" a='1'", 2) + "/>"
	for _, tt := range []struct{ name, in, condition string }{
		{"CoreR39 comment", "<message><!-- c --></message>", "restricted-xml"},
		{"CoreR39 comment between", "<!-- c -->", "restricted-xml"},
		{"CoreR39 instruction", "<message><?p i?></message>", "restricted-xml"},
		{"CoreR39 document type", "<!DOCTYPE x>", "restricted-xml"},
		{"CoreR39 entity", "<message>&e;</message>", "restricted-xml"},
		{"CoreR40 unbound prefix", "<x:message/>", "not-well-formed"},
		{"CoreR40 mismatch", "<message></iq>", "not-well-formed"},
		{"CoreR40 duplicate attribute", many, "not-well-formed"},
		{"CoreR41 not UTF-8", "<message>\xff</message>", "not-well-formed"},
		{"CoreR41 control character", "<message>\x01</message>", "not-well-formed"},
		{"CoreR45 too long", "<message>" + strings.Repeat("x", 10000) + "</message>", "policy-violation"},
		{"CoreR46 too deep", "<message>" + deep + "</message>", "policy-violation"},
		{"CoreR46 long name", "<" + strings.Repeat("n", 300) + "/>", "policy-violation"},
		{"a stream error", "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, b, _ := opened(t, Options{Limits: xmltext.Limits{Octets: 3000}})
			go func() { _, _ = io.WriteString(b, tt.in) }()
			var d exi.Doc
			err := c.ReadElement(&d)
			var se *xmpp.StreamError
			if !errors.As(err, &se) || se.Condition != tt.condition || se.Local == (tt.condition == "reset") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCoreR47_WhiteSpaceBetweenElements(t *testing.T) {
	c, b, _ := opened(t, Options{})
	go func() {
		_, _ = io.WriteString(b, " \n\t <message>1</message> \r\n <message>2</message></stream:stream>")
	}()
	var d exi.Doc
	for _, want := range []string{"1", "2"} {
		if err := c.ReadElement(&d); err != nil || !d.Root().Text().Is(want) {
			t.Fatalf("%v %v", d.Root().Text(), err)
		}
	}
	for range 2 {
		if err := c.ReadElement(&d); !errors.Is(err, xmpp.ErrStreamEnd) {
			t.Errorf("error %v", err)
		}
	}
}

func TestCoreR42_AnyPrefixForTheStreamNamespace(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := Client(a, Options{})
	go func() {
		var buf [1024]byte
		_, _ = b.Read(buf[:])
		_, _ = io.WriteString(b, "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' version='1.0'><s:features/>")
	}()
	if _, err := c.Open(context.Background(), clientHeader); err != nil {
		t.Fatal(err)
	}
	var d exi.Doc
	if err := c.ReadElement(&d); err != nil || d.Root().Name() != exi.N(xmpp.NSStream, "features") {
		t.Errorf("%v, %v", d.Root().Name(), err)
	}
}

func TestStreamsOfOtherKinds(t *testing.T) {
	for _, tt := range []struct{ in, condition string }{
		{"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>", "invalid-namespace"},
		{"<stream xmlns='jabber:client' version='1.0'>", "invalid-namespace"},
		{"<stream:flow xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "bad-format"},
		{"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='a@b@c/'>", "improper-addressing"},
		{"HTTP/1.1 400 Bad Request\r\n", "not-well-formed"},
	} {
		a, b := net.Pipe()
		c := Client(a, Options{})
		go func() {
			var buf [1024]byte
			_, _ = b.Read(buf[:])
			_, _ = io.WriteString(b, tt.in)
		}()
		_, err := c.Open(context.Background(), clientHeader)
		var se *xmpp.StreamError
		if !errors.As(err, &se) || se.Condition != tt.condition && se.Condition != "invalid-xml" || !se.Local {
			t.Errorf("%s: %v", tt.in, err)
		}
		a.Close()
		b.Close()
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := Client(a, Options{}).Open(ctx, clientHeader); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// Close sends the end of the stream, waits for the peer's, and a goroutine in
// ReadElement ends (RFC 6120 §4.4).
func TestCoreR29_Close(t *testing.T) {
	c, b, _ := opened(t, Options{CloseTime: time.Second})
	got := make(chan error, 1)
	go func() {
		var d exi.Doc
		for {
			if err := c.ReadElement(&d); err != nil {
				got <- err
				return
			}
		}
	}()
	go func() {
		readUntil(t, b, "</stream:stream>", 1)
		_, _ = io.WriteString(b, "<message/></stream:stream>")
	}()
	began := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("Close took %v although the peer answered", d)
	}
	if err := <-got; err == nil {
		t.Error("the reader has not ended")
	}
	if err := c.WriteElements(element("message", "")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
}

func TestCloseWithASilentPeer(t *testing.T) {
	c, b, _ := opened(t, Options{CloseTime: 30 * time.Millisecond})
	go func() { _, _ = io.Copy(io.Discard, b) }()
	began := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("Close took %v", d)
	}
}

func TestWriteTimeout(t *testing.T) {
	c, _, _ := opened(t, Options{WriteTimeout: 20 * time.Millisecond})
	if err := c.WriteElements(element("message", "nobody reads")); err == nil {
		t.Error("a write that nobody takes succeeds")
	}
}

// certificate returns a self-signed certificate for example.org.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.org"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// The octet behind the agreement is the first of the ClientHello.
func TestCoreR48R55_HandshakeFollowsAtOnce(t *testing.T) {
	c, b, _ := opened(t, Options{})
	got := make(chan string, 1)
	go func() {
		req := readUntil(t, b, "/>", 1)
		_, _ = io.WriteString(b, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		var next [3]byte
		_, _ = io.ReadFull(b, next[:])
		got <- req + string(next[:])
		b.Close()
	}()
	start := new(exi.Doc)
	start.Element(exi.N(xmpp.NSTLS, "starttls"), exi.Value{})
	if err := c.WriteElements(start); err != nil {
		t.Fatal(err)
	}
	var d exi.Doc
	if err := c.ReadElement(&d); err != nil {
		t.Fatal(err)
	}
	if err := c.StartTLS(context.Background(), &tls.Config{ServerName: "example.org"}); err == nil {
		t.Error("a handshake with nobody")
	}
	if s := <-got; s != "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\x16\x03\x01" {
		t.Errorf("the client sent %q", s)
	}
}

// A name with several addresses is tried at each of them.
func TestCoreR07_EveryAddress(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("no %s here: %v", at, err)
			continue
		}
		go func() {
			if nc, err := l.Accept(); err == nil {
				nc.Close()
			}
		}()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if addrs, err := net.LookupHost("localhost"); err != nil || !strings.Contains(strings.Join(addrs, " "), strings.Trim(at[:len(at)-2], "[]")) {
			t.Logf("localhost is only %q", addrs)
		} else if c, err := new(Transport).Dial(context.Background(), xmpp.Target{Addr: "localhost:" + port}, nil); err != nil {
			t.Errorf("listening at %s: %v", at, err)
		} else {
			_ = c.(xmpp.Upgrader).Abort()
		}
		l.Close()
	}
}

// What an attacker puts behind <proceed/> must not be read as if it had come
// through TLS.
func TestCoreR58_ClientRefusesPipelinedOctets(t *testing.T) {
	c, b, _ := opened(t, Options{})
	go func() {
		_, _ = io.WriteString(b, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:features/>")
	}()
	var d exi.Doc
	if err := c.ReadElement(&d); err != nil {
		t.Fatal(err)
	}
	if err := c.StartTLS(context.Background(), &tls.Config{ServerName: "example.org"}); !errors.Is(err, ErrPipelined) {
		t.Errorf("error %v", err)
	}
}

func TestCoreR58_ServerRefusesPipelinedOctets(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := Server(a, Options{})
	go func() {
		go func() { _, _ = io.Copy(io.Discard, b) }()
		_, _ = io.WriteString(b, serverOpen+"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq type='set' id='1'/>")
	}()
	if _, err := s.Open(context.Background(), xmpp.Header{}); err != nil {
		t.Fatal(err)
	}
	var d exi.Doc
	if err := s.ReadElement(&d); err != nil {
		t.Fatal(err)
	}
	cert, _ := certificate(t)
	if err := s.StartTLS(context.Background(), &tls.Config{Certificates: []tls.Certificate{cert}}); !errors.Is(err, ErrPipelined) {
		t.Errorf("error %v", err)
	}
}

// A failed handshake ends the connection without a stream error: the peer
// expects TLS records.
func TestCoreR57_FailedHandshake(t *testing.T) {
	c, b, nc := opened(t, Options{})
	go func() { _, _ = io.WriteString(b, "no TLS at all, no TLS at all"); _, _ = io.Copy(io.Discard, b) }()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	if err := c.StartTLS(context.Background(), &tls.Config{ServerName: "example.org"}); err == nil {
		t.Fatal("no error")
	}
	if err := xmpp.EndWith(c, xmpp.NewStreamError("reset", "")); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("closing: %v", err)
	}
	if strings.Contains(string(nc.last), "stream:stream") {
		t.Errorf("wrote %s", nc.last)
	}
}

// listen accepts TLS connections on loopback and reports what the client said.
func listen(t *testing.T, cfg *tls.Config) (addr string, hellos chan tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hellos = make(chan tls.ConnectionState, 4)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s := tls.Server(nc, cfg)
			if s.Handshake() == nil {
				hellos <- s.ConnectionState()
				_, _ = io.WriteString(s, serverOpen)
			}
			nc.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), hellos
}

func TestCoreR09R10R11R12_DirectTLS(t *testing.T) {
	cert, pool := certificate(t)
	addr, hellos := listen(t, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"xmpp-client"}})
	c, err := new(Transport).Dial(context.Background(), xmpp.Target{Addr: addr, Direct: true}, &tls.Config{ServerName: "example.org", RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	cs := <-hellos
	if cs.ServerName != "example.org" || cs.NegotiatedProtocol != "xmpp-client" {
		t.Errorf("SNI %q, ALPN %q", cs.ServerName, cs.NegotiatedProtocol)
	}
	if c.(xmpp.Upgrader).TLS() == nil {
		t.Error("no TLS state")
	}
	if err := c.(xmpp.Upgrader).StartTLS(context.Background(), &tls.Config{}); err == nil {
		t.Error("CoreR10: TLS inside TLS")
	}
	_ = c.(xmpp.Upgrader).Abort()
}

func TestServerThatRefusesALPN(t *testing.T) {
	cert, pool := certificate(t)
	addr, hellos := listen(t, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	c, err := new(Transport).Dial(context.Background(), xmpp.Target{Addr: addr, Direct: true}, &tls.Config{ServerName: "example.org", RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	if cs := <-hellos; cs.NegotiatedProtocol != "" {
		t.Errorf("ALPN %q", cs.NegotiatedProtocol)
	}
	_ = c.(xmpp.Upgrader).Abort()
}

func TestCoreR21R22_ServerAnswersHeaders(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := Server(a, Options{})
	answer := make(chan string, 1)
	go func() {
		_, _ = io.WriteString(b, strings.Replace(serverOpen, "from='example.org' id='x'", "from='thing@example.org' to='example.org'", 1))
		answer <- readUntil(t, b, ">", 2)
	}()
	h, err := s.Open(context.Background(), xmpp.Header{From: jid.MustParse("example.org"), Lang: "en"})
	if err != nil || h.From.String() != "thing@example.org" || h.To.String() != "example.org" || h.Version != "1.0" {
		t.Fatalf("%+v, %v", h, err)
	}
	got := <-answer
	if !strings.Contains(got, "from='example.org' to='thing@example.org' id='") || !strings.Contains(got, "version='1.0'") {
		t.Errorf("CoreR21: %s", got)
	}
	_, id, _ := strings.Cut(got, "id='")
	if id, _, _ = strings.Cut(id, "'"); len(id) < 32 {
		t.Errorf("CoreR22: id %q", id)
	}
}

func TestCoreR23_HeaderBeforeAnError(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := Server(a, Options{})
	all := make(chan string, 1)
	go func() {
		_, _ = io.WriteString(b, "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>")
		got, _ := io.ReadAll(b)
		all <- string(got)
	}()
	_, err := s.Open(context.Background(), xmpp.Header{From: jid.MustParse("example.org")})
	if err == nil {
		t.Fatal("no error")
	}
	_ = xmpp.EndWith(s, err)
	got := <-all
	open, fault, end := strings.Index(got, "<stream:stream"), strings.Index(got, "<stream:error><invalid-namespace"), strings.Index(got, "</stream:stream>")
	if open < 0 || fault < open || end < fault {
		t.Errorf("sent %s", got)
	}
}
