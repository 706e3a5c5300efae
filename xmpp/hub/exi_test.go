package hub

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/peertest"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

func withEXI(t testing.TB) func(*Config) {
	return func(c *Config) {
		lib, err := compress.NewLibrary()
		if err != nil {
			t.Fatal(err)
		}
		c.EXI = &compress.Server{Library: lib, Configs: &compress.Memory{}}
	}
}

// sendDoc sends a stanza in whatever the stream speaks.
func (p *peer) sendDoc(xml string) {
	p.t.Helper()
	d := parse(p.t, xml)
	if err := p.WriteElements(d); err != nil {
		p.t.Fatal(err)
	}
}

// connectEXI logs in, switches to EXI and binds.
func (x *site) connectEXI(name string) *peer {
	x.t.Helper()
	p := x.secure()
	if got := p.auth(name, name); !strings.HasPrefix(got, "<success") {
		x.t.Fatal(got)
	}
	p.open()
	p.expect("<compression", "<method>exi</method>", "<bind")
	c := &compress.Client{Known: &compress.Memory{}, Server: domain}
	on, err := c.Negotiate(context.Background(), p.Conn, p.got.Root())
	if err != nil || !on {
		x.t.Fatalf("no EXI: %v %v", on, err)
	}
	if got := p.Codec(); got != "exi" {
		x.t.Fatalf("the stream speaks %s", got)
	}
	if _, err := p.Open(context.Background(), xmpp.Header{To: jid.MustParse(domain), Version: "1.0"}); err != nil {
		x.t.Fatal(err)
	}
	if got := p.expect("<bind", "<sm "); strings.Contains(got, "compression") {
		x.t.Errorf("EXI is offered twice: %s", got)
	}
	p.sendDoc("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>exi</resource></bind></iq>")
	p.full = name + "@" + domain + "/exi"
	p.expect("<jid>" + p.full + "</jid>")
	return p
}

// A stanza from a client that speaks EXI reaches one that speaks XML, and back.
func TestEXIBesideXML(t *testing.T) {
	x := newSite(t, withEXI(t))
	a, b := x.connectEXI("anna"), x.online("ben", "b")
	const fields = "<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1' done='true'><node nodeId='d'>" +
		"<timestamp value='2013-03-07T16:24:30Z'><numeric name='T' momentary='true' value='21.50' unit='°C'/></timestamp></node></fields>"
	a.sendDoc("<message to='" + b.full + "' id='m'>" + fields + "</message>")
	got := b.expect("from='anna@site.example/exi'", "value='21.50'")
	want := parse(t, "<message id='m' to='"+b.full+"' from='anna@site.example/exi'>"+fields+"</message>")
	if diff := sameElement(parse(t, got).Root(), want.Root()); diff != "" {
		t.Errorf("%s in %s", diff, got)
	}
	b.send("<message to='" + a.full + "' id='n' odd='&lt;'><x:y xmlns:x='urn:x' x:z='1'>ä</x:y>" + fields + "</message>")
	got = a.expect("id='n'", "odd='&lt;'", "21.50", "ä")
	if strings.Contains(got, "urn:x") != true {
		t.Error(got)
	}
	// Stream management and its elements.
	a.sendDoc("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	a.expect("<enabled", "resume='true'")
	a.sendDoc("<r xmlns='urn:xmpp:sm:3'/>")
	a.nonza("<a ")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// What is not EXI after the switch ends the stream, not the hub.
func TestEXIGarbage(t *testing.T) {
	x := newSite(t, withEXI(t))
	a := x.connectEXI("anna")
	if err := a.WriteText("<presence/>"); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := a.read(); err != nil {
			break
		}
	}
	x.online("ben", "b").want()
}

// 0322-R02, R54 to R65: the dedicated port, from the login to a resumption, with
// the default options and with agreed ones.
func Test0322R02R55R56R58R61_HubDedicatedPort(t *testing.T) {
	for name, want := range map[string]compress.Params{"default": compress.PortParams(), "not strict": {}, "sessionWide": {SessionWide: true}} {
		t.Run(name, func(t *testing.T) {
			x := newSite(t, withEXI(t), func(c *Config) { c.ListenEXI = []string{"127.0.0.1:0"} })
			addrs := x.Addrs()
			port := addrs[len(addrs)-1].String()
			_, number, _ := net.SplitHostPort(port)
			p := x.secure()
			p.auth("ben", "ben")
			p.open()
			p.expect("<method>exi:" + number + "</method>")
			proxy := peertest.NewProxy(t, port)
			c := &compress.Client{Want: want, Known: &compress.Memory{}, Server: domain}
			online := make(chan bool, 4)
			s, err := xmpp.NewSession(xmpp.Config{
				JID:       jid.MustParse("anna@" + domain + "/port"),
				Password:  func(context.Context) (string, error) { return "anna", nil },
				CAs:       x.ca.Pool(),
				Transport: &compress.PortTransport{Base: &tcp.Transport{}, Client: c, Addr: proxy.Addr},
				Compress:  c.Negotiate,
				Backoff:   xmpp.Backoff{First: 50 * time.Millisecond, Max: time.Second},
				OnOnline:  func(_ context.Context, _ *xmpp.Session, resumed bool) { online <- resumed },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			defer func() { cancel(); <-done }()
			for i, want := range []bool{false, true} {
				select {
				case resumed := <-online:
					if resumed != want {
						t.Fatalf("connection %d: resumed %v", i, resumed)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("connection %d: %+v", i, s.State())
				}
				if st, is := s.State(), c.Status(); st.Codec != "exi" || !is.Port {
					t.Errorf("%+v, %+v", st, is)
				}
				st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: jid.MustParse(domain), Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
					d.Element(exi.N("urn:xmpp:ping", "ping"), exi.Value{})
				})}
				ask, stop := context.WithTimeout(ctx, 10*time.Second)
				if err := s.Query(ask, st, nil); err != nil {
					t.Error(err)
				}
				stop()
				if i == 0 {
					proxy.Cut()
				}
			}
		})
	}
}
