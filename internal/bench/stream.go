package bench

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

// Login says how to log in to a server, over direct TLS with SASL PLAIN, or
// SCRAM-SHA-256 for the hub, which takes no other.
type Login struct {
	Addr, Domain, CAFile string
	Account, Password    string
	Resource             string
	SCRAM                bool
}

// stream is a client's stream that hands out first-level elements as octets.
// It trusts the server to send well-formed XML with ">" escaped in values,
// which the servers of this measurement do.
type stream struct {
	c   net.Conn
	r   *bufio.Reader
	buf []byte
	JID string
}

func dial(l Login) (*stream, error) {
	pem, err := os.ReadFile(l.CAFile)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c, err := tls.Dial("tcp", l.Addr, &tls.Config{ServerName: l.Domain, RootCAs: pool})
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	s := &stream{c: c, r: bufio.NewReaderSize(c, 64<<10)}
	if err := s.login(l); err != nil {
		c.Close()
		return nil, fmt.Errorf("bench: login of %s: %w", l.Account, err)
	}
	return s, nil
}

func (s *stream) login(l Login) error {
	s.c.SetDeadline(time.Now().Add(10 * time.Second))
	open := "<?xml version='1.0'?><stream:stream to='" + l.Domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	if err := s.write(open); err != nil {
		return err
	}
	if err := s.sasl(l); err != nil {
		return err
	}
	if err := s.write(open); err != nil {
		return err
	}
	if _, err := s.until("<stream:features"); err != nil {
		return err
	}
	bind := "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + l.Resource + "</resource></bind></iq>"
	if err := s.write(bind + "<presence/>"); err != nil {
		return err
	}
	el, err := s.until("<jid>")
	if err != nil {
		return err
	}
	s.JID = between(el, "<jid>", "</jid>")
	s.c.SetDeadline(time.Time{})
	return nil
}

func (s *stream) sasl(l Login) error {
	const ns = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
	b64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	if !l.SCRAM {
		return s.ask("<auth "+ns+" mechanism='PLAIN'>"+b64("\x00"+l.Account+"\x00"+l.Password)+"</auth>", "<success")
	}
	client, err := scram.SHA256.NewClientUnprepped(l.Account, l.Password, "") // both are ASCII
	if err != nil {
		return err
	}
	talk := client.NewConversation()
	first, err := talk.Step("")
	if err != nil {
		return err
	}
	if err := s.write("<auth " + ns + " mechanism='SCRAM-SHA-256'>" + b64(first) + "</auth>"); err != nil {
		return err
	}
	el, err := s.until("<challenge")
	if err != nil {
		return err
	}
	challenge, err := base64.StdEncoding.DecodeString(between(el, ">", "<"))
	if err != nil {
		return err
	}
	last, err := talk.Step(string(challenge))
	if err != nil {
		return err
	}
	return s.ask("<response "+ns+">"+b64(last)+"</response>", "<success")
}

// ask sends text and waits for an element.
func (s *stream) ask(text, answer string) error {
	if err := s.write(text); err != nil {
		return err
	}
	_, err := s.until(answer)
	return err
}

func (s *stream) write(text string) error {
	_, err := io.WriteString(s.c, text)
	return err
}

// until reads elements until one holds text.
func (s *stream) until(text string) ([]byte, error) {
	for {
		el, err := s.next()
		if err != nil {
			return nil, err
		}
		if bytes.Contains(el, []byte("failure")) && !strings.Contains(text, "failure") {
			return nil, fmt.Errorf("server: %s", el)
		}
		if bytes.Contains(el, []byte(text)) {
			return el, nil
		}
	}
}

var errStreamEnd = errors.New("bench: the server closed the stream")

// next returns the next first-level element, valid until the following call.
// Stream headers and declarations are passed over.
func (s *stream) next() ([]byte, error) {
	s.buf = s.buf[:0]
	depth := 0
	for {
		part, err := s.r.ReadSlice('>')
		s.buf = append(s.buf, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lt := bytes.LastIndexByte(s.buf, '<')
		tag := s.buf[lt:]
		switch {
		case tag[1] == '?', depth == 0 && bytes.HasPrefix(tag, []byte("<stream:stream")):
			s.buf = s.buf[:0]
			continue
		case depth == 0 && tag[1] == '/':
			return nil, errStreamEnd
		case tag[1] == '/':
			depth--
		case tag[len(tag)-2] != '/':
			depth++
		}
		if depth == 0 {
			return s.buf, nil
		}
	}
}

// between returns what stands between two marks, empty when they are absent.
func between(b []byte, from, to string) string {
	i := bytes.Index(b, []byte(from))
	if i < 0 {
		return ""
	}
	b = b[i+len(from):]
	if j := bytes.Index(b, []byte(to)); j >= 0 {
		return string(b[:j])
	}
	return ""
}

// attribute returns the value of the first attribute with the name, whatever
// the quotes.
func attribute(b []byte, name string) string {
	for _, q := range []string{"'", `"`} {
		if v := between(b, " "+name+"="+q, q); v != "" {
			return v
		}
	}
	return ""
}
