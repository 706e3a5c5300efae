package integration

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"testing"
	"time"

	"postern/internal/peertest"
)

// dialStranger logs in as a stranger over a stream that says what it likes.
func dialStranger(t *testing.T, s *peertest.Server) *link {
	t.Helper()
	c, err := tls.Dial("tcp", s.DirectTLS, s.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l := &link{t, c, bufio.NewReader(c)}
	head := "<?xml version='1.0'?><stream:stream to='" + s.Domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	plain := base64.StdEncoding.EncodeToString([]byte("\x00stranger\x00" + s.Password("stranger")))
	l.send(head)
	l.until(`</stream:features>`)
	l.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plain + "</auth>")
	l.until(`<success[^>]*>`)
	l.send(head)
	l.until(`</stream:features>`)
	l.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	l.until(`</iq>`)
	return l
}

// drain reads what comes for a while.
func (l *link) drain(d time.Duration) string {
	l.c.SetReadDeadline(time.Now().Add(d))
	b, _ := io.ReadAll(l.br) // a server that hangs up is one of the right answers
	return string(b)
}
