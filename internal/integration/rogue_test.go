package integration

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// rogue is a server that lets the gateway in and then says what a test tells
// it to. It owns the certificate of its domain, so the gateway believes it.
type rogue struct {
	*peertest.Server // only its names and files: nothing runs
	ln               net.Listener
}

func newRogue(t *testing.T) *rogue {
	t.Helper()
	ca, err := peertest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	const domain = "rogue.example"
	cert, err := ca.KeyPair(peertest.Leaf{Names: []string{domain}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &rogue{&peertest.Server{Name: "rogue", Domain: domain, Addr: ln.Addr().String(), CAFile: file, CA: ca}, ln}
}

// gateway starts a gateway that logs in to the rogue server.
func (r *rogue) gateway(t *testing.T) *gateway {
	t.Helper()
	return startGateway(t, r.Server, gatewayOptions{server: "  tls: direct\n  allow_plain: true\n"})
}

// link is the server's end of one connection.
type link struct {
	t  *testing.T
	c  net.Conn
	br *bufio.Reader
}

// accept lets the gateway log in and bind, up to its first stanzas.
func (r *rogue) accept(t *testing.T) *link {
	t.Helper()
	c, err := r.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l := &link{t, c, bufio.NewReader(c)}
	const head = "<?xml version='1.0'?><stream:stream id='%s' from='rogue.example' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	l.until(`<stream:stream[^>]*>`)
	l.send(fmt.Sprintf(head, "a") + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>")
	l.until(`</auth>`)
	l.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	l.until(`<stream:stream[^>]*>`)
	l.send(fmt.Sprintf(head, "b") + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")
	id := attr(l.until(`</iq>`), "id")
	l.send("<iq type='result' id='" + id + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>gateway@rogue.example/postern</jid></bind></iq>")
	return l
}

// settle answers the gateway's own requests until its presence is out.
func (l *link) settle() {
	l.t.Helper()
	for {
		el := l.until(`<(presence|iq)\b[^>]*(/>|>.*?</(presence|iq)>)`)
		if i := strings.LastIndex(el, "<presence"); i >= 0 && !strings.Contains(el[i:], "<iq") {
			return
		}
		l.send("<iq type='result' id='" + attr(el, "id") + "'><query xmlns='jabber:iq:roster'/></iq>")
	}
}

func (l *link) send(text string) {
	l.t.Helper()
	l.c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(l.c, text); err != nil {
		l.t.Fatalf("sending %.60q: %v", text, err)
	}
}

// until reads to the end of a match of pattern and returns what was read.
func (l *link) until(pattern string) string {
	l.t.Helper()
	re := regexp.MustCompile("(?s)" + pattern)
	l.c.SetReadDeadline(time.Now().Add(15 * time.Second))
	var got []byte
	for {
		b, err := l.br.ReadByte()
		if err != nil {
			l.t.Fatalf("waiting for %s: %v; got %q", pattern, err, got)
		}
		if got = append(got, b); b == '>' && re.Match(got) {
			return string(got)
		}
	}
}

// rest reads until the gateway closes the connection.
func (l *link) rest() string {
	l.t.Helper()
	l.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(l.br)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		l.t.Errorf("the gateway keeps the connection; it sent %q", b)
	}
	return string(b)
}

func attr(el, name string) string {
	m := regexp.MustCompile(`\s` + name + `=['"]([^'"]*)['"]`).FindStringSubmatch(el)
	if m == nil {
		return ""
	}
	return m[1]
}

// switchOn is a command that must not be obeyed: it comes behind a fault.
const switchOn = "<iq type='set' id='evil' from='owner@rogue.example/x' to='gateway@rogue.example/postern'>" +
	"<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/></set></iq>"

// TestForbiddenInput: what RFC 6120 §11 forbids, and what is too large, ends
// the stream with the right error; what follows it is not obeyed; the gateway
// stays alive and ends when asked.
func TestForbiddenInput(t *testing.T) {
	for _, tc := range []struct{ name, input, want string }{
		{"comment", "<!-- hello -->", "restricted-xml"},
		{"processing instruction", "<?php x?>", "restricted-xml"},
		{"document type", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "restricted-xml"},
		{"entity", "<message><body>&lol;</body></message>", "restricted-xml"},
		{"comment inside a stanza", "<message><body>a<!-- b --></body></message>", "restricted-xml"},
		{"wrong end tag", "<message><body></message></body>", "not-well-formed"},
		{"attribute twice", "<message id='1' id='2'/>", "not-well-formed"},
		{"undeclared prefix", "<message><x:y/></message>", "bad-namespace-prefix|not-well-formed"},
		{"not UTF-8", "<message><body>\xff\xfe</body></message>", "not-well-formed|unsupported-encoding|invalid-xml"},
		{"forbidden character", "<message><body>&#1;</body></message>", "not-well-formed|restricted-xml"},
		{"deep nesting", "<message>" + strings.Repeat("<a>", 100_000), "policy-violation"},
		{"long stanza", "<message><body>" + strings.Repeat("x", 2<<20), "policy-violation"},
		{"long name", "<message><" + strings.Repeat("n", 100_000), "policy-violation"},
		{"many attributes", "<message " + manyAttributes(10_000) + "/>", "policy-violation"},
		{"unknown first-level element", "<nonsense xmlns='urn:example:nonsense'/>", "unsupported-stanza-type|bad-format|invalid-namespace"},
		{"foreign stanza namespace", "<message xmlns='jabber:server'/>", "unsupported-stanza-type|bad-format|invalid-namespace"},
		{"character data", "hello", "not-well-formed|bad-format|invalid-xml"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRogue(t)
			g := r.gateway(t)
			l := r.accept(t)
			l.settle()
			go io.WriteString(l.c, tc.input+switchOn) // may not be read to its end
			got := l.until(`</stream:error>`)
			if !regexp.MustCompile(`<(` + tc.want + `)\s`).MatchString(got) {
				t.Errorf("the gateway answered %q, want %s", got, tc.want)
			}
			if rest := l.rest(); strings.Contains(rest, "evil") {
				t.Errorf("the gateway obeyed what came behind the fault: %q", rest)
			}
			g.unmoved()
			if took := g.stop(); took > 2*time.Second {
				t.Errorf("ending took %v", took)
			}
		})
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d='' ", i)
	}
	return b.String()
}

// TestNobodyAskedFor: replies that answer nothing, replies from somebody else,
// strange stanzas: each has its answer or none, and the stream goes on.
func TestNobodyAskedFor(t *testing.T) {
	r := newRogue(t)
	g := r.gateway(t)
	l := r.accept(t)

	// The roster that was asked for, by somebody who was not asked: with it
	// the stranger would be a friend.
	req := l.until(`<iq\b[^>]*type=['"]get['"].*?</iq>`)
	id := attr(req, "id")
	l.send("<iq type='result' id='" + id + "' from='stranger@rogue.example' to='gateway@rogue.example/postern'><query xmlns='jabber:iq:roster'><item jid='stranger@rogue.example' subscription='both'/></query></iq>")
	l.send("<iq type='result' id='" + id + "'><query xmlns='jabber:iq:roster'/></iq>")
	l.settle()

	ping := func(id string) string {
		t.Helper()
		l.send("<iq type='get' id='" + id + "' from='owner@rogue.example/x' to='gateway@rogue.example/postern'><ping xmlns='urn:xmpp:ping'/></iq>")
		return l.until(`<iq\b[^>]*id=['"]` + id + `['"][^>]*(/>|>.*?</iq>)`)
	}
	from := " from='stranger@rogue.example/x' to='gateway@rogue.example/postern'"
	for i, tc := range []struct{ name, input, want string }{
		{"result nobody asked for", "<iq type='result' id='none'" + from + "/>", ""},
		{"error nobody asked for", "<iq type='error' id='none'" + from + "><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", ""},
		{"fields nobody asked for", "<message" + from + "><fields xmlns='urn:xmpp:iot:sensordata' seqnr='1' done='true'/></message>", ""},
		{"message of an unknown kind", "<message type='nonsense'" + from + "><x xmlns='urn:example:x'/></message>", ""},
		{"presence of an unknown kind", "<presence type='nonsense'" + from + "/>", ""},
		{"error of a set by message", "<message type='error'" + from + "><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/></set></message>", ""},
		{"set by message of a stranger", "<message" + from + "><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/></set></message>", ""},
		{"roster push of a stranger", "<iq type='set' id='q'" + from + "><query xmlns='jabber:iq:roster'><item jid='stranger@rogue.example' subscription='both'/></query></iq>", `type=['"]error|^$`},
		{"unknown payload", "<iq type='get' id='q'" + from + "><x xmlns='urn:example:x'/></iq>", "service-unavailable"},
		{"wrong namespace", "<iq type='get' id='q'" + from + "><req xmlns='urn:xmpp:sn' seqnr='1' momentary='true'/></iq>", "service-unavailable"},
		{"no payload", "<iq type='get' id='q'" + from + "/>", "bad-request"},
		{"two payloads", "<iq type='get' id='q'" + from + "><ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"},
		{"unknown type", "<iq type='nonsense' id='q'" + from + "><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"},
		{"no id", "<iq type='get'" + from + "><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request|^$"},
		{"read by a stranger", "<iq type='get' id='q'" + from + "><req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true'/></iq>", "forbidden"},
		{"set by a stranger", "<iq type='set' id='q'" + from + "><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/></set></iq>", "forbidden"},
		{"read without seqnr", "<iq type='get' id='q' from='owner@rogue.example/x' to='gateway@rogue.example/postern'><req xmlns='urn:xmpp:iot:sensordata' momentary='true'/></iq>", "bad-request"},
		{"set without a parameter", "<iq type='set' id='q' from='owner@rogue.example/x' to='gateway@rogue.example/postern'><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/></set></iq>", "bad-request"},
		{"two values, one good", "<iq type='set' id='q' from='owner@rogue.example/x' to='gateway@rogue.example/postern'><set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/><boolean name='state' value='2'/></set></iq>", "bad-request"},
	} {
		l.send(tc.input)
		// Stanzas of one account are handled in order, so a ping of the same
		// one comes back after the answer, if there is any.
		time.Sleep(20 * time.Millisecond)
		got := ping(fmt.Sprintf("ping%d", i))
		answer := regexp.MustCompile(`(?s)<iq\b[^>]*id=['"]ping\d+['"].*`).ReplaceAllString(got, "")
		if tc.want == "" && strings.TrimSpace(answer) != "" {
			t.Errorf("%s: answered %q", tc.name, answer)
		}
		if tc.want != "" && !regexp.MustCompile(tc.want).MatchString(answer) {
			t.Errorf("%s: answered %q, want %s", tc.name, answer, tc.want)
		}
		if strings.Contains(got, "stream:error") {
			t.Fatalf("%s ended the stream: %q", tc.name, got)
		}
	}
	g.unmoved()
}
