package peertest_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// rawClient speaks just enough to prove that a server and its accounts work.
type rawClient struct {
	t *testing.T
	c net.Conn
}

func dialRaw(t *testing.T, s *peertest.Server) (*rawClient, error) {
	c, err := tls.Dial("tcp", s.DirectTLS, s.TLSConfig())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return &rawClient{t, c}, nil
}

// say sends text and reads until want arrives.
func (r *rawClient) say(text, want string) string {
	r.t.Helper()
	if _, err := io.WriteString(r.c, text); err != nil {
		r.t.Fatal(err)
	}
	r.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), want) {
		n, err := r.c.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			r.t.Fatalf("waiting for %q: %v; got %s", want, err, got.String())
		}
	}
	return got.String()
}

func (r *rawClient) open(s *peertest.Server) {
	r.say(fmt.Sprintf("<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", s.Domain), "</stream:features>")
}

func (r *rawClient) login(s *peertest.Server, name, password string) string {
	r.open(s)
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
	return r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plain+"</auth>", "xmpp-sasl")
}

func TestServersLetAccountsIn(t *testing.T) {
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		c, err := dialRaw(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.login(s, "device", s.Password("device")); !strings.Contains(got, "<success") {
			t.Errorf("login with the right password: %s", got)
		}
		if c, err = dialRaw(t, s); err != nil {
			t.Fatal(err)
		}
		if got := c.login(s, "device", "wrong"); !strings.Contains(got, "not-authorized") {
			t.Errorf("login with a wrong password: %s", got)
		}
		if plain, err := net.Dial("tcp", s.Addr); err != nil {
			t.Error(err)
		} else {
			r := &rawClient{t, plain}
			r.open(s)
			plain.Close()
		}
	})
}

func TestRestartKeepsAddressAndFriends(t *testing.T) {
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		s.AddAccount("late", "secret")
		addr := s.Addr
		s.Stop()
		if s.Running() {
			t.Fatal("still running after Stop")
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Fatal("the port is open after Stop")
		}
		s.Start()
		if s.Addr != addr {
			t.Errorf("address changed from %s to %s", addr, s.Addr)
		}
		c, err := dialRaw(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.login(s, "late", "secret"); !strings.Contains(got, "<success") {
			t.Fatalf("account made later: %s", got)
		}
		if c, err = dialRaw(t, s); err != nil {
			t.Fatal(err)
		}
		c.login(s, "owner", s.Password("owner"))
		c.open(s)
		c.say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>")
		roster := c.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>", "</iq>")
		if !strings.Contains(roster, s.JID("gateway")) || !strings.Contains(roster, "both") {
			t.Errorf("roster after Befriend: %s", roster)
		}
	})
}

func TestExpiredCertificate(t *testing.T) {
	o := peertest.Options{NotAfter: time.Now().Add(-time.Hour)}
	peertest.EachWith(t, o, func(t *testing.T, s *peertest.Server) {
		if _, err := dialRaw(t, s); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Fatalf("expired certificate: %v", err)
		}
		if err := s.Certify(time.Time{}); err != nil {
			t.Fatal(err)
		}
		s.Restart()
		if _, err := dialRaw(t, s); err != nil {
			t.Fatalf("renewed certificate: %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	t.Run("TLS 1.2", func(t *testing.T) {
		peertest.EachWith(t, peertest.Options{TLS12: true}, func(t *testing.T, s *peertest.Server) {
			c, err := tls.Dial("tcp", s.DirectTLS, s.TLSConfig())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if v := c.ConnectionState().Version; v != tls.VersionTLS12 {
				t.Errorf("version %x", v)
			}
		})
	})
	t.Run("hashed", func(t *testing.T) {
		s := peertest.ProsodyWith(t, peertest.Options{HashedStore: true})
		c, err := dialRaw(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.login(s, "device", s.Password("device")); !strings.Contains(got, "<success") {
			t.Errorf("login: %s", got)
		}
	})
}
