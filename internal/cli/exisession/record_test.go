package exisession

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// recorder notes the stanzas of a connection, both ways, as XML.
type recorder struct {
	xmpp.Transport
	mu    sync.Mutex
	lines []string
}

type recorded struct {
	*tcp.Conn
	r *recorder
}

func (r *recorder) Dial(ctx context.Context, t xmpp.Target, c *tls.Config) (xmpp.Conn, error) {
	conn, err := r.Transport.Dial(ctx, t, c)
	if err != nil {
		return nil, err
	}
	return recorded{conn.(*tcp.Conn), r}, nil
}

func (r *recorder) note(d *exi.Doc) {
	if xmpp.KindOf(d.Root().Name()) == 0 || d.Root().Child(exi.N(xmpp.NSBind, "bind")).Valid() {
		return
	}
	text, err := xmltext.AppendElement(nil, d, xmltext.Scope{})
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, string(text))
}

func (c recorded) ReadElement(d *exi.Doc) error {
	err := c.Conn.ReadElement(d)
	if err == nil {
		c.r.note(d)
	}
	return err
}

func (c recorded) WriteElements(ds ...*exi.Doc) error {
	for _, d := range ds {
		c.r.note(d)
	}
	return c.Conn.WriteElements(ds...)
}

// TestRecordDemo records testdata/demo-session.xmll anew: an operator at work
// in a running `postern demo --state $POSTERN_DEMO`.
func TestRecordDemo(t *testing.T) {
	dir := os.Getenv("POSTERN_DEMO")
	if dir == "" {
		t.Skip("POSTERN_DEMO names no directory of a running demo")
	}
	account, err := os.ReadFile(filepath.Join(dir, "operator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `: *"?([^"\n]+)"?$`).FindSubmatch(account)
		if m == nil {
			t.Fatalf("no %s in the account", name)
		}
		return string(m[1])
	}
	pem, err := os.ReadFile(field("ca_file"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	rec := &recorder{Transport: &tcp.Transport{}}
	var mux xmpp.Mux
	s, err := xmpp.NewSession(xmpp.Config{
		JID: jid.MustParse(field("jid")), Password: func(context.Context) (string, error) { return field("password"), nil },
		CAs: roots, Transport: rec, Addr: field("server"), Handler: &mux, NoRetry: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if err := s.WaitOnline(ctx); err != nil {
		t.Fatal(err)
	}
	send := func(kind xmpp.StanzaKind, typ, to, payload string) {
		st := xmpp.Stanza{Kind: kind, Type: typ, Payload: fromXML(t, payload)}
		if to != "" {
			st.To = jid.MustParse(to)
		}
		if kind != xmpp.IQ {
			if err := s.Send(ctx, st); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := s.Query(ctx, st, func(*xmpp.Stanza) error { return nil }); err != nil {
			t.Log(err) // errors are part of a session
		}
	}
	const gw = "gateway@demo.example/postern"
	send(xmpp.Presence, "", "", "<priority xmlns='jabber:client'>5</priority>")
	send(xmpp.IQ, xmpp.Get, "", "<query xmlns='jabber:iq:roster'/>")
	send(xmpp.IQ, xmpp.Get, gw, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	for i := range 16 {
		send(xmpp.IQ, xmpp.Get, gw, fmt.Sprintf("<req xmlns='urn:xmpp:iot:sensordata' seqnr='%d' momentary='true'/>", i+1))
		time.Sleep(300 * time.Millisecond)
		send(xmpp.IQ, xmpp.Get, gw, fmt.Sprintf("<req xmlns='urn:xmpp:iot:sensordata' seqnr='%d' momentary='true'><node nodeId='climate'/></req>", 100+i))
		time.Sleep(300 * time.Millisecond)
		send(xmpp.IQ, xmpp.Set, gw, fmt.Sprintf("<set xmlns='urn:xmpp:iot:control'><node nodeId='fan'/><boolean name='state' value='%t'/></set>", i%2 == 0))
		if i%4 == 0 {
			send(xmpp.IQ, xmpp.Get, gw, "<getForm xmlns='urn:xmpp:iot:control'><node nodeId='fan'/></getForm>")
			send(xmpp.IQ, xmpp.Get, gw, "<ping xmlns='urn:xmpp:ping'/>")
			send(xmpp.Message, "chat", "operator@demo.example", "<body xmlns='jabber:client'>the fan in the cellar ran until "+fmt.Sprint(10+i)+" o'clock</body>")
		}
		time.Sleep(400 * time.Millisecond)
	}
	time.Sleep(time.Second)
	cancel()
	<-done
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/demo-session.xmll", []byte(strings.Join(rec.lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stanzas", len(rec.lines))
}

func fromXML(t *testing.T, text string) xmpp.Payload {
	t.Helper()
	docs, _, err := parse([]string{text})
	if err != nil {
		t.Fatal(err)
	}
	return xmpp.PayloadFunc(func(d *exi.Doc) { d.AppendElement(docs[0].Root()) })
}
