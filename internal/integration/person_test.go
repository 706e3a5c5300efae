package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/local"
	"postern/internal/peertest"
	"postern/provisioning"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// person is somebody with an account, who answers subscription requests with
// yes and keeps the forms that come.
type person struct {
	*xmpp.Session
	t    *testing.T
	name string

	mu     sync.Mutex
	forms  []form
	online map[string]string // full address by bare, of those whose presence is seen
	seen   []string          // presence stanzas of note
}

// form is a question that was put to an owner.
type form struct{ from, id, text string }

const nsData = "jabber:x:data"

func newPerson(t *testing.T, s *peertest.Server, name string) *person {
	t.Helper()
	p := &person{t: t, name: name, online: map[string]string{}}
	mux := new(xmpp.Mux)
	mux.HandleFunc(xmpp.Message, "*", exi.N(nsData, "x"), p.asked)
	mux.HandleFunc(xmpp.Presence, "*", exi.Name{}, p.presence)
	x, err := xmpp.NewSession(xmpp.Config{
		JID: jid.MustParse(s.JID(name)), Addr: s.Addr, CAs: s.Pool(), Transport: &tcp.Transport{}, Handler: mux,
		Password: func(context.Context) (string, error) { return s.Password(name), nil },
		Backoff:  xmpp.Backoff{First: 100 * time.Millisecond, Many: 100 * time.Millisecond, Max: time.Second},
		OnOnline: func(ctx context.Context, x *xmpp.Session, _ bool) {
			// Who has not asked for its roster is not told of changes in it.
			roster := xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(exi.N("jabber:iq:roster", "query"), exi.Value{}) })
			if err := x.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: jid.MustParse(s.JID(name)), Payload: roster}, nil); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			x.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Session = x
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); x.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	p.wait("online", func() bool { return x.State().Phase == xmpp.Online })
	return p
}

func (p *person) asked(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	x := st.Elem.Child(exi.N(nsData, "x"))
	f := form{from: st.From.String()}
	for c := range x.Children() {
		v, _ := c.Attr(exi.N("", "var"))
		switch {
		case v.Is("question"):
			f.id = c.Child(exi.N(nsData, "value")).Text().String()
		case c.Name() == exi.N(nsData, "instructions"):
			f.text = c.Text().String()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forms = append(p.forms, f)
	return nil, nil
}

func (p *person) presence(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	bare := st.From.Bare().String()
	p.mu.Lock()
	switch st.Type {
	case "":
		if st.From.Resourcepart() != "" {
			p.online[bare] = st.From.String()
		}
	case "unavailable":
		delete(p.online, bare)
	default:
		p.seen = append(p.seen, st.Type+" "+bare)
	}
	p.mu.Unlock()
	if st.Type == "subscribe" {
		return nil, p.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence, Type: "subscribed", To: st.From.Bare()})
	}
	return nil, nil
}

// sees returns the full address of somebody whose presence is seen.
func (p *person) sees(bare string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.online[bare]
}

// got reports whether a presence of a type came, since the last forget.
func (p *person) got(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen {
		if s == what {
			return true
		}
	}
	return false
}

func (p *person) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = nil
}

func (p *person) subscribe(bare string) {
	p.t.Helper()
	if err := p.Send(p.t.Context(), xmpp.Stanza{Kind: xmpp.Presence, Type: "subscribe", To: jid.MustParse(bare)}); err != nil {
		p.t.Fatal(err)
	}
}

// question returns the next question with a text in it.
func (p *person) question(part string) (f form) {
	p.t.Helper()
	p.wait("a question: "+part, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range p.forms {
			if strings.Contains(p.forms[i].text, part) {
				f = p.forms[i]
				p.forms = append(p.forms[:i], p.forms[i+1:]...)
				return true
			}
		}
		return false
	})
	return f
}

// decide answers a question by its form.
func (p *person) decide(f form, verdict string) {
	p.t.Helper()
	payload := xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(exi.N(nsData, "x"))
		d.Attr(exi.N("", "type"), exi.Str("submit"))
		for _, v := range [][2]string{{"FORM_TYPE", provisioning.NS}, {"question", f.id}, {"decision", verdict}} {
			d.Start(exi.N(nsData, "field"))
			d.Attr(exi.N("", "var"), exi.Str(v[0]))
			d.Element(exi.N(nsData, "value"), exi.Str(v[1]))
			d.End()
		}
		d.End()
	})
	if err := p.Send(p.t.Context(), xmpp.Stanza{Kind: xmpp.Message, To: jid.MustParse(f.from), Payload: payload}); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits until something holds.
func (p *person) wait(what string, ok func() bool) {
	p.t.Helper()
	eventually(p.t, 30*time.Second, func() error {
		if ok() {
			return nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return fmt.Errorf("%s waits: %s; sees %v %v, asked %v", p.name, what, p.online, p.seen, p.forms)
	})
}

// client is the person's view of a registry.
func (p *person) client(addr string) provisioning.Registry {
	return provisioning.Registry{Session: p.Session, Addr: jid.MustParse(addr)}
}

// reads reads momentary values and returns the fields that came, as
// "node.field", or the condition of the refusal.
func (p *person) reads(full string, fields ...string) (string, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	payload := xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(exi.N(nsSensors, "req"))
		d.Attr(exi.N("", "seqnr"), exi.Str("1"))
		d.Attr(exi.N("", "momentary"), exi.Str("true"))
		for _, f := range fields {
			d.Start(exi.N(nsSensors, "field"))
			d.Attr(exi.N("", "name"), exi.Str(f))
			d.End()
		}
		d.End()
	})
	to, err := jid.Parse(full)
	if err != nil {
		return "", err
	}
	got := ""
	err = p.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: payload}, func(st *xmpp.Stanza) error {
		got = st.Child().Name().Value().Local
		return nil
	})
	var e *xmpp.Error
	if errors.As(err, &e) {
		return string(e.Condition), nil
	}
	return got, err
}

const nsSensors = "urn:xmpp:iot:sensordata"

// service is a running postern registry.
type service struct {
	t      *testing.T
	dir    string
	domain string
	socket string
	config string
	cmd    *exec.Cmd
	log    *logBuffer
	done   chan struct{}
}

func startRegistry(t *testing.T, s *peertest.Server, domain string) *service {
	t.Helper()
	r := &service{t: t, dir: t.TempDir(), domain: domain, log: &logBuffer{}}
	r.socket, r.config = filepath.Join(r.dir, "r.sock"), filepath.Join(r.dir, "registry.yaml")
	secret := filepath.Join(r.dir, "secret")
	text := fmt.Sprintf("domain: %s\nserver: %q\nsecret: {file: %s}\nstate: {directory: %s}\nlocal: {socket: %s}\nlog: {level: debug}\n", domain, s.Component, secret, filepath.Join(r.dir, "state"), r.socket)
	for path, data := range map[string]string{secret: peertest.ComponentSecret + "\n", r.config: text} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log of the registry:\n%s", r.log)
		}
	})
	return r
}

func (r *service) start() {
	r.t.Helper()
	r.cmd = exec.Command(binary, "registry", "--config", r.config)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(r.cmd, r.done)
	eventually(r.t, 20*time.Second, func() error {
		select {
		case <-r.done:
			r.t.Fatalf("the registry ended at once:\n%s", r.log)
		default:
		}
		st, err := local.NewClient(r.socket).Status(r.t.Context())
		if err == nil && !st.Registry.Connected {
			err = fmt.Errorf("not connected: %s", st.Registry.Error)
		}
		return err
	})
}

func (r *service) stop() {
	r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
		r.t.Error("the registry did not end within 10 s of SIGTERM")
		r.cmd.Process.Kill()
		<-r.done
	}
}
