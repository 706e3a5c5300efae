package hub

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/tcp"
)

func TestCoreR10R12_DirectTLS(t *testing.T) {
	x := newSite(t)
	for _, protos := range [][]string{{"xmpp-client"}, nil} {
		cfg := x.tlsConfig()
		cfg.NextProtos = protos
		nc, err := tls.Dial("tcp", x.Addrs()[1].String(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := nc.ConnectionState().NegotiatedProtocol; len(protos) > 0 && got != "xmpp-client" {
			t.Errorf("ALPN %q", got)
		}
		p := &peer{Conn: tcp.Client(nc, tcp.Options{}), t: t, nc: nc}
		p.open()
		if got := p.expect("<mechanism>"); strings.Contains(got, "starttls") {
			t.Errorf("STARTTLS within TLS: %s", got)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCoreR21R22_Header(t *testing.T) {
	x := newSite(t)
	seen := make(map[string]bool)
	for range 3 {
		p := x.dial()
		h, err := p.Open(context.Background(), xmpp.Header{
			To: jid.MustParse(domain), From: jid.MustParse("anna@site.example"), Version: "1.0",
		})
		if err != nil {
			t.Fatal(err)
		}
		if h.From.String() != domain || h.To.String() != "anna@site.example" || h.Version != "1.0" || h.Lang == "" {
			t.Errorf("%+v", h)
		}
		if len(h.ID) < 16 || seen[h.ID] {
			t.Errorf("stream id %q", h.ID)
		}
		seen[h.ID] = true
	}
}

// CORE-R23: the header comes before the error.
func TestCoreR23_BadHeaders(t *testing.T) {
	x := newSite(t)
	const rest = " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
	for header, condition := range map[string]string{
		"<stream:stream to='other.example' version='1.0'" + rest + ">":                                                          "host-unknown",
		"<stream:stream version='1.0'" + rest + ">":                                                                             "host-unknown",
		"<stream:stream to='site.example'" + rest + ">":                                                                         "unsupported-version",
		"<stream:stream to='site.example' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>": "invalid-namespace",
		"<stream:stream to='site.example' version='1.0' xmlns='jabber:client' xmlns:stream='urn:x'>":                            "invalid-namespace",
		"<!DOCTYPE x><stream:stream to='site.example' version='1.0'" + rest + ">":                                               "restricted-xml",
		"GET / HTTP/1.1\r\n\r\n": "not-well-formed",
		"<stream:stream to='site.example' version='1.0'" + rest + " long='" + strings.Repeat("x", 20_000) + "'>": "policy-violation",
	} {
		nc, err := net.Dial("tcp", x.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write([]byte(header)); err != nil {
			t.Fatal(err)
		}
		// The other side's reader serves to read the answer.
		p := &peer{Conn: tcp.Client(nc, tcp.Options{}), t: t, nc: nc}
		_, err = p.Open(context.Background(), xmpp.Header{To: jid.MustParse(domain)})
		if err != nil && condition == "policy-violation" {
			// The hub closes with the rest of the header unread, which may reset
			// the connection before the answer is seen.
			nc.Close()
			continue
		}
		if err != nil {
			t.Fatalf("%.60s: no header: %v", header, err)
		}
		p.fails(condition)
		nc.Close()
	}
}

// CORE-R36, R54: nothing counts before TLS and login.
func TestCoreR36R54_TooEarly(t *testing.T) {
	x := newSite(t)
	early := []string{
		"<message to='ben@site.example'><body>hi</body></message>",
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>=</auth>",
		"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
	}
	ben := x.online("ben", "r")
	for _, xml := range early {
		p := x.dial()
		p.open()
		p.expect("<starttls")
		p.send(xml)
		p.fails("not-authorized")
	}
	for _, xml := range []string{early[0], early[2], "<enable xmlns='urn:xmpp:sm:3'/>"} {
		p := x.secure()
		p.send(xml)
		p.fails("not-authorized")
	}
	p := x.authenticated("anna")
	p.send(early[0])
	p.fails("not-authorized")
	ben.want()
}

// CORE-R58: what was sent in clear behind starttls is never read as TLS's.
func TestCoreR58_PipelinedPlainText(t *testing.T) {
	x := newSite(t)
	p := x.dial()
	p.open()
	p.expect("<starttls")
	p.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:stream")
	p.expect("<proceed")
	if _, err := p.read(); err == nil {
		t.Error("the connection goes on")
	}
}

func TestCoreR45_StanzaSize(t *testing.T) {
	x := newSite(t)
	p := x.online("anna", "r")
	body := strings.Repeat("x", 60_000)
	p.send("<message to='" + p.full + "'><body>" + body + "</body></message>")
	p.want("<body>" + body + "</body>")
	p.send("<message to='" + p.full + "'><body>" + strings.Repeat("x", 80_000) + "</body></message>")
	p.fails("policy-violation")
}

func TestCoreR39R40R46_BadStanzas(t *testing.T) {
	x := newSite(t)
	for xml, condition := range map[string]string{
		"<!-- c -->": "restricted-xml", "<message><?x?></message>": "restricted-xml", "<message>&x;</message>": "restricted-xml",
		"<message></presence>": "not-well-formed", "<x:y/>": "not-well-formed", "hello": "invalid-xml",
		strings.Repeat("<message>", 66):                          "policy-violation",
		"<query/>":                                               "unsupported-stanza-type",
		"<x xmlns='urn:x'/>":                                     "bad-format",
		"<message from='ben@site.example'/>":                     "invalid-from",
		"<message from='anna@site.example/other'/>":              "invalid-from",
		"<message from='@'/>":                                    "invalid-from",
		"<a xmlns='urn:xmpp:sm:3'/>":                             "bad-format",
		"<message xmlns='jabber:server' to='ben@site.example'/>": "bad-format",
	} {
		p := x.online("anna", "r")
		p.send(xml)
		p.fails(condition)
	}
}

func withBinding(c *Config) { c.ChannelBinding = true }

func TestCoreR64R84_Mechanisms(t *testing.T) {
	x := newSite(t, withBinding)
	p := x.dial()
	p.open()
	p.expect("<starttls")
	p.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.expect("<proceed")
	if err := p.StartTLS(context.Background(), x.tlsConfig()); err != nil {
		t.Fatal(err)
	}
	p.open()
	got := p.expect("<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>"+
		"<mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-1</mechanism>",
		"<channel-binding type='tls-exporter'/>", "<channel-binding type='tls-server-end-point'/>")
	if strings.Contains(got, "PLAIN") {
		t.Errorf("PLAIN is offered: %s", got)
	}
}

// plus logs in with a channel binding and returns the last answer.
func (p *peer) plus(name string, cb scram.ChannelBinding) string {
	p.t.Helper()
	c, err := scram.SHA256.NewClientUnprepped(name, name, "")
	if err != nil {
		p.t.Fatal(err)
	}
	return p.exchange("SCRAM-SHA-256-PLUS", c.NewConversationWithChannelBinding(cb))
}

func (p *peer) exchange(mechanism string, conv *scram.ClientConversation) string {
	p.t.Helper()
	first, err := conv.Step("")
	if err != nil {
		p.t.Fatal(err)
	}
	p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mechanism + "'>" + b64(first) + "</auth>")
	got := p.expect("")
	if !strings.HasPrefix(got, "<challenge") {
		return got
	}
	challenge, err := base64.StdEncoding.DecodeString(p.got.Root().Text().String())
	if err != nil {
		p.t.Fatal(err)
	}
	final, err := conv.Step(string(challenge))
	if err != nil {
		p.t.Fatal(err)
	}
	p.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(final) + "</response>")
	return p.expect("")
}

func TestCoreR91R92R93R94_ChannelBinding(t *testing.T) {
	x := newSite(t, withBinding)
	for _, kind := range []string{"exporter", "end-point", "wrong data", "wrong type", "plus by name only", "flag y"} {
		p := x.secure()
		state := p.TLS()
		var cb scram.ChannelBinding
		var err error
		switch kind {
		case "end-point", "wrong type":
			cb, err = scram.NewTLSServerEndpointBinding(state)
		default:
			cb, err = scram.NewTLSExporterBinding(state)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"
		var got string
		switch kind {
		case "exporter", "end-point":
			want, got = "<success", p.plus("anna", cb)
		case "wrong data":
			cb.Data = append([]byte{1}, cb.Data[1:]...)
			got = p.plus("anna", cb)
		case "wrong type":
			cb.Type = "tls-exporter"
			got = p.plus("anna", cb)
		case "plus by name only":
			c, cerr := scram.SHA256.NewClientUnprepped("anna", "anna", "")
			if cerr != nil {
				t.Fatal(cerr)
			}
			got = p.exchange("SCRAM-SHA-256-PLUS", c.NewConversation())
		case "flag y": // CORE-R91
			c, cerr := scram.SHA256.NewClientUnprepped("anna", "anna", "")
			if cerr != nil {
				t.Fatal(cerr)
			}
			got = p.exchange("SCRAM-SHA-256", c.NewConversationAdvertisingChannelBinding())
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

func TestCoreR67R68R71R73_SASLFailures(t *testing.T) {
	x := newSite(t)
	auth := func(mechanism, text string) string {
		return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mechanism + "'>" + text + "</auth>"
	}
	for xml, condition := range map[string]string{
		auth("PLAIN", b64("\x00anna\x00anna")):                                    "invalid-mechanism",
		auth("SCRAM-SHA-256", "!!!"):                                              "incorrect-encoding",
		auth("SCRAM-SHA-256", "bg="):                                              "incorrect-encoding",
		auth("SCRAM-SHA-256", b64("hello")):                                       "malformed-request",
		auth("SCRAM-SHA-256", "="):                                                "malformed-request",
		auth("SCRAM-SHA-256", b64("n,a=ben@site.example,n=anna,r=abcdefghijk")):   "invalid-authzid",
		auth("SCRAM-SHA-256", b64("n,a=anna@other.example,n=anna,r=abcdefghijk")): "invalid-authzid",
	} {
		p := x.secure()
		p.send(xml)
		p.expect("<failure", "<"+condition+"/>")
		// The stream goes on (CORE-R72).
		if got := p.auth("anna", "anna"); !strings.HasPrefix(got, "<success") {
			t.Errorf("after %s: %s", condition, got)
		}
	}
	p := x.secure()
	p.send(auth("SCRAM-SHA-256", ""))
	p.expect("<challenge") // asks for the first message
	p.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	p.expect("<aborted/>")
	p.send(auth("SCRAM-SHA-256", b64("n,a=anna@site.example,n=anna,r=abcdefghijk")))
	p.expect("<challenge")
}

func TestCoreR72_TooManyTries(t *testing.T) {
	x := newSite(t)
	p := x.secure()
	for range 5 {
		if got := p.auth("anna", "wrong"); !strings.Contains(got, "<not-authorized/>") {
			t.Fatal(got)
		}
	}
	p.fails("policy-violation")
}

// CORE-R74: an account that does not exist looks like a wrong password.
func TestCoreR74_UnknownUser(t *testing.T) {
	x := newSite(t)
	salts := make(map[string]string)
	for range 2 {
		for _, mech := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1"} {
			for _, name := range []string{"anna", "nobody", "a b"} {
				p := x.secure()
				p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mech + "'>" + b64("n,,n="+name+",r=abcdefghijk") + "</auth>")
				p.expect("<challenge")
				c, err := base64.StdEncoding.DecodeString(p.got.Root().Text().String())
				if err != nil {
					t.Fatal(err)
				}
				f := strings.Split(string(c), ",")
				if len(f) != 3 || f[2] != "i=10000" || len(f[1]) != 2+24 {
					t.Errorf("%s: %s", name, c)
				}
				if old := salts[mech+name]; old != "" && old != f[1] {
					t.Errorf("%s: another salt the second time", name)
				}
				salts[mech+name] = f[1]
			}
		}
	}
	if salts["SCRAM-SHA-1nobody"] == salts["SCRAM-SHA-256nobody"] {
		t.Error("one salt for both hashes")
	}
	p := x.secure()
	if got := p.auth("nobody", "nobody"); !strings.Contains(got, "<not-authorized/>") {
		t.Error(got)
	}
}

func TestCoreR101R103R105_Bind(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.Resources = 2 })
	bind := func(p *peer, resource string) string {
		p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>" + resource + "</bind></iq>")
		return p.expect("id='b'")
	}
	a, b := x.authenticated("anna"), x.authenticated("anna")
	first, second := bind(a, ""), bind(b, "")
	if first == second || !strings.Contains(first, "<jid>anna@site.example/") {
		t.Errorf("%s\n%s", first, second)
	}
	c := x.authenticated("anna")
	if got := bind(c, "<resource>third</resource>"); !strings.Contains(got, "<resource-constraint") {
		t.Error(got)
	}
	// The stream lives: one of the others goes, and the resource is free.
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { u, _ := x.Users(); return len(u[0].Online) == 1 })
	if got := bind(c, "<resource>\x7f</resource>"); !strings.Contains(got, "<bad-request") {
		t.Error(got)
	}
	if got := bind(c, "<resource>third</resource>"); !strings.Contains(got, "anna@site.example/third") {
		t.Error(got)
	}
	// CORE-R105
	if got := bind(c, "<resource>fourth</resource>"); !strings.Contains(got, "<not-allowed") {
		t.Error(got)
	}
}

// waitFor waits for what another goroutine does without a stanza to tell.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// D11: a device that comes back takes its resource over.
func TestCoreD11_SameResource(t *testing.T) {
	x := newSite(t)
	old := x.online("anna", "device")
	now := x.online("anna", "device")
	old.fails("conflict")
	now.want()
	u, err := x.Users()
	if err != nil || len(u[0].Online) != 1 {
		t.Errorf("%+v %v", u, err)
	}
}

func TestCoreR37_NegotiationTimeout(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.Negotiation = 50 * time.Millisecond })
	for _, some := range []string{"", "<stream:stream to='site.example'"} {
		p := x.dial()
		if some != "" {
			p.send(some)
		}
		if err := p.nc.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, p.nc); err != nil {
			t.Errorf("after %q: %v", some, err)
		}
	}
	p := x.secure() // and behind TLS
	if _, err := p.read(); err == nil {
		t.Error("the hub waits for ever for a login")
	}
}

func TestCoreR37_ConnectionsPerAddress(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.PerAddress = 2 })
	a, b := x.dial(), x.dial()
	a.open()
	b.open()
	c := x.dial()
	if _, err := c.Open(context.Background(), xmpp.Header{To: jid.MustParse(domain)}); err == nil {
		t.Error("a third connection is served")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { x.mu.Lock(); defer x.mu.Unlock(); return len(x.conns) == 1 })
	x.dial().open()
}

// CORE-R125: too much is slowed down, not dropped.
func TestCoreR125_Rate(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.Rate = 100_000 })
	p := x.online("anna", "r")
	start := time.Now()
	body := strings.Repeat("x", 15_000)
	for range 10 {
		p.send("<message to='" + p.full + "'><body>" + body + "</body></message>")
	}
	if got := p.settle(); len(got) != 10 {
		t.Errorf("%d of 10 messages", len(got))
	}
	if d := time.Since(start); d < 300*time.Millisecond {
		t.Errorf("150 kB at 100 kB/s, with a second's worth at once, took only %v", d)
	}
}

func TestCoreR29R30_Close(t *testing.T) {
	x := newSite(t)
	p := x.online("anna", "r")
	p.send("</stream:stream>")
	if _, err := p.read(); !errors.Is(err, xmpp.ErrStreamEnd) {
		t.Errorf("got %v", err)
	}
}

func Test0198R38_TLSResumption(t *testing.T) {
	x := newSite(t)
	cfg := x.tlsConfig()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 2 {
		p := x.dial()
		p.open()
		p.expect("<starttls")
		p.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		p.expect("<proceed")
		if err := p.StartTLS(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		p.open()
		p.expect("<mechanism>")
		if got := p.TLS().DidResume; got != (i == 1) {
			t.Errorf("connection %d resumed: %v", i, got)
		}
	}
}

// The store keeps keys, never a password, and a restart changes nothing.
func TestCoreR80_StoredKeysAndRestart(t *testing.T) {
	x := newSite(t)
	if err := x.AddUser("dora", "a rather unique phrase"); err != nil {
		t.Fatal(err)
	}
	if err := x.SetPassword("anna", "new"); err != nil {
		t.Fatal(err)
	}
	p := x.online("ben", "r")
	p.send("<presence type='subscribe' to='cora@site.example'/>")
	p.settle()
	x.stop()
	p.fails("system-shutdown")
	y := openSite(t, x.dir)
	q := y.secure()
	if got := q.auth("dora", "a rather unique phrase"); !strings.HasPrefix(got, "<success") {
		t.Error(got)
	}
	q = y.secure()
	if got := q.auth("anna", "anna"); !strings.Contains(got, "not-authorized") {
		t.Error(got)
	}
	if got := q.auth("anna", "new"); !strings.HasPrefix(got, "<success") {
		t.Error(got)
	}
	q = y.connect("ben", "r")
	q.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	q.expect("jid='cora@site.example'", "ask='subscribe'")
}

func TestAccounts(t *testing.T) {
	x := newSite(t)
	if err := x.AddUser("ANNA", "x"); !errors.Is(err, ErrExists) {
		t.Errorf("same name in capitals: %v", err)
	}
	for name, password := range map[string]string{"": "x", "a b": "x", "a@b": "x", "eve": "", "frank": "a\x01b"} {
		if err := x.AddUser(name, password); err == nil {
			t.Errorf("account %q with password %q was made", name, password)
		}
	}
	if err := x.SetPassword("nobody", "x"); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
	if err := x.Remove("nobody"); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
	a, b := x.online("anna", "r"), x.online("ben", "r")
	x.friends(a, b)
	if err := x.Remove("anna"); err != nil {
		t.Fatal(err)
	}
	a.fails("not-authorized")
	got := strings.Join(b.settle(), "\n")
	// Her session ends in its own time.
	waitFor(t, func() bool {
		got += strings.Join(b.settle(), "\n")
		return strings.Contains(got, "type='unavailable'")
	})
	for _, s := range []string{"type='unavailable'", "type='unsubscribed'", "type='unsubscribe'"} {
		if !strings.Contains(got, s) {
			t.Errorf("ben got\n%s\nwithout %s", got, s)
		}
	}
	p := x.secure()
	if got := p.auth("anna", "anna"); !strings.Contains(got, "not-authorized") {
		t.Error(got)
	}
	if users, err := x.Users(); err != nil || len(users) != 2 {
		t.Errorf("%+v %v", users, err)
	}
}
