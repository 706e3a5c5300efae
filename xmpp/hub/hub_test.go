package hub

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

const domain = "site.example"

// site is a running hub.
type site struct {
	*Hub
	t    testing.TB
	ca   *CA
	dir  string
	stop func() // ends Run and waits
}

// newSite starts a hub with the accounts anna, ben and cora, whose passwords
// are their names.
func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	return openSite(t, t.TempDir(), change...)
}

func openSite(t testing.TB, dir string, change ...func(*Config)) *site {
	t.Helper()
	ca, err := OpenCA(filepath.Join(dir, "tls"), domain)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), filepath.Join(dir, "hub.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Domain: domain, Store: db, TLS: ca.TLS(),
		Listen: []string{"127.0.0.1:0"}, ListenTLS: []string{"127.0.0.1:0"},
		Limits: Limits{pauseAfterFailures: 1}, Version: "1.2.3"}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, f := range change {
		f(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"anna", "ben", "cora"} {
		if err := h.AddUser(name, name); err != nil && !errors.Is(err, ErrExists) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	x := &site{Hub: h, t: t, ca: ca, dir: dir}
	stopped := false
	x.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(x.stop)
	return x
}

// peer is a scripted client.
type peer struct {
	*tcp.Conn
	t    testing.TB
	nc   net.Conn
	full string
	n    int
	got  exi.Doc
}

func (x *site) tlsConfig() *tls.Config {
	return &tls.Config{RootCAs: x.ca.Pool(), ServerName: domain}
}

// dial connects without doing anything.
func (x *site) dial() *peer {
	x.t.Helper()
	nc, err := net.Dial("tcp", x.Addrs()[0].String())
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { nc.Close() })
	return &peer{Conn: tcp.Client(nc, tcp.Options{}), t: x.t, nc: nc}
}

func (p *peer) open() {
	p.t.Helper()
	if _, err := p.Open(context.Background(), xmpp.Header{To: jid.MustParse(domain), Version: "1.0", Lang: "en"}); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next element as text.
func (p *peer) read() (string, error) {
	if err := p.nc.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if err := p.ReadElement(&p.got); err != nil {
		return "", err
	}
	b, err := xmltext.AppendElement(nil, &p.got, xmltext.Scope{Default: xmpp.NSClient, Prefix: "stream", PrefixNS: xmpp.NSStream})
	return string(b), err
}

// expect reads an element that contains all of the texts.
func (p *peer) expect(texts ...string) string {
	p.t.Helper()
	got, err := p.read()
	if err != nil {
		p.t.Fatalf("%s: waiting for %q: %v", p.full, texts, err)
	}
	for _, s := range texts {
		if !strings.Contains(got, s) {
			p.t.Fatalf("%s: got %s\nwithout %q", p.full, got, s)
		}
	}
	return got
}

func (p *peer) send(xml string) {
	p.t.Helper()
	if err := p.WriteText(xml); err != nil {
		p.t.Fatal(err)
	}
}

// fails reads on to a stream error of the given condition, and to the end.
func (p *peer) fails(condition string) {
	p.t.Helper()
	for {
		_, err := p.read()
		var se *xmpp.StreamError
		if errors.As(err, &se) {
			if se.Condition != condition {
				p.t.Errorf("stream error %s, want %s", se.Condition, condition)
			}
			break
		}
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", condition, err)
		}
	}
	if _, err := p.read(); !errors.Is(err, xmpp.ErrStreamEnd) {
		p.t.Errorf("behind the stream error: %v", err)
	}
}

// secure gets to the features with the mechanisms.
func (x *site) secure() *peer {
	x.t.Helper()
	p := x.dial()
	p.open()
	p.expect("<starttls", "<required/>")
	p.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.expect("<proceed")
	if err := p.StartTLS(context.Background(), x.tlsConfig()); err != nil {
		x.t.Fatal(err)
	}
	p.open()
	p.expect("<mechanism>SCRAM-SHA-256</mechanism>")
	return p
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// auth does one SCRAM exchange and returns the last answer.
func (p *peer) auth(name, password string) string {
	p.t.Helper()
	c, err := scram.SHA256.NewClientUnprepped(name, password, "")
	if err != nil {
		p.t.Fatal(err)
	}
	conv := c.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		p.t.Fatal(err)
	}
	p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>" + b64(first) + "</auth>")
	p.expect("<challenge")
	challenge, err := base64.StdEncoding.DecodeString(p.got.Root().Text().String())
	if err != nil {
		p.t.Fatal(err)
	}
	final, err := conv.Step(string(challenge))
	if err != nil {
		p.t.Fatal(err)
	}
	p.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(final) + "</response>")
	got := p.expect("")
	if strings.HasPrefix(got, "<success") {
		v, err := base64.StdEncoding.DecodeString(p.got.Root().Text().String())
		if err != nil {
			p.t.Fatal(err)
		}
		if _, err := conv.Step(string(v)); err != nil || !conv.Valid() {
			p.t.Errorf("the server does not prove itself: %v", err)
		}
	}
	return got
}

// authenticated gets to the features behind the login.
func (x *site) authenticated(name string) *peer {
	x.t.Helper()
	p := x.secure()
	if got := p.auth(name, name); !strings.HasPrefix(got, "<success") {
		x.t.Fatal(got)
	}
	p.open()
	p.expect("<bind", "<sm ", "<ver ", "<sub ")
	return p
}

// connect binds a resource.
func (x *site) connect(name, resource string) *peer {
	x.t.Helper()
	p := x.authenticated(name)
	p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>")
	p.full = name + "@" + domain + "/" + resource
	p.expect("<jid>"+p.full+"</jid>", "type='result'")
	return p
}

// online binds a resource, asks for the roster, and sends presence.
func (x *site) online(name, resource string, presence ...string) *peer {
	x.t.Helper()
	p := x.connect(name, resource)
	p.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	p.expect("id='r'", "jabber:iq:roster")
	p.send("<presence>" + strings.Join(presence, "") + "</presence>")
	// Other resources of the account may show up before its own presence.
	for !strings.Contains(p.expect("<presence"), "from='"+p.full+"'") {
	}
	return p
}

// settle returns what arrives until the hub has handled everything that was
// sent.
func (p *peer) settle() []string {
	p.t.Helper()
	p.n++
	id := fmt.Sprintf("settle%d", p.n)
	p.send("<iq type='get' id='" + id + "' to='" + domain + "'><ping xmlns='urn:xmpp:ping'/></iq>")
	var got []string
	for {
		s := p.expect("")
		if strings.Contains(s, "id='"+id+"'") {
			return got
		}
		got = append(got, s)
	}
}

// want checks what settle returns: one text for each stanza.
func (p *peer) want(texts ...string) []string {
	p.t.Helper()
	got := p.settle()
	if len(got) != len(texts) {
		p.t.Errorf("%s got %d stanzas, want %d:\n%s", p.full, len(got), len(texts), strings.Join(got, "\n"))
		return got
	}
	for i, s := range texts {
		for _, part := range strings.Split(s, " … ") {
			if !strings.Contains(got[i], part) {
				p.t.Errorf("%s: stanza %d is %s\nwithout %q", p.full, i, got[i], part)
			}
		}
	}
	return got
}

// friends makes the accounts see each other.
func (x *site) friends(a, b *peer) {
	x.t.Helper()
	bare := func(p *peer) string { return jid.MustParse(p.full).Bare().String() }
	for _, pair := range [][2]*peer{{a, b}, {b, a}} {
		pair[0].send("<presence type='subscribe' to='" + bare(pair[1]) + "'/>")
		pair[0].settle()
		pair[1].send("<presence type='subscribed' to='" + bare(pair[0]) + "'/>")
		pair[1].settle()
	}
	a.settle()
	b.settle()
}

func parse(t testing.TB, text string) *exi.Doc {
	t.Helper()
	d := new(exi.Doc)
	x := xmltext.NewStreamReader(xmltext.Limits{})
	r := bufio.NewReader(strings.NewReader("<s xmlns='jabber:client'>" + text))
	if err := errors.Join(x.ReadOpen(r, d), x.ReadElement(r, d)); err != nil {
		t.Fatal(err)
	}
	return d
}

func Test0199R01_PingVersionTime(t *testing.T) {
	x := newSite(t)
	p := x.online("anna", "balcony")
	p.want()
	p.send("<iq type='get' id='v' to='site.example'><query xmlns='jabber:iq:version'/></iq>")
	p.expect("id='v'", "<version>1.2.3</version>", "from='site.example'")
	p.send("<iq type='get' id='t' to='site.example'><time xmlns='urn:xmpp:time'/></iq>")
	p.expect("id='t'", "Z</utc>")
	users, err := x.Users()
	if err != nil || len(users) != 3 || users[0].Name != "anna" || users[0].Online[0] != "balcony" {
		t.Errorf("%+v %v", users, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
