package registry

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/provisioning"
	"postern/xmpp"
)

const domain = "things.example"

// lab is a service with a scripted world around it.
type lab struct {
	*Server
	t    *testing.T
	path string // for files of the test
	kept *kept
	cfg  Config

	mu   sync.Mutex
	now  time.Time
	sent []sent
	// answer is what the world says to a request of the service; nil: nothing.
	answer func(s sent) *xmpp.Error
	silent bool
}

type sent struct {
	xmpp.Stanza
	xml string // of the payload
}

func newLab(t *testing.T, change ...func(*Config)) *lab {
	t.Helper()
	l := &lab{t: t, path: filepath.Join(t.TempDir(), "lab"), kept: newKept(t), now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	l.cfg = Config{Domain: domain, MinKeyBits: -1, Now: l.clock}
	for _, f := range change {
		f(&l.cfg)
	}
	l.open()
	return l
}

func (l *lab) open() {
	l.t.Helper()
	var err error
	l.cfg.Store, l.cfg.Sender = l.kept.open(), l
	if l.Server, err = New(l.cfg); err != nil {
		l.t.Fatal(err)
	}
}

// restart loses everything that is not in the store.
func (l *lab) restart() {
	l.t.Helper()
	l.open()
}

func (l *lab) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *lab) pass(d time.Duration) {
	l.mu.Lock()
	l.now = l.now.Add(d)
	l.mu.Unlock()
	l.tick(context.Background())
}

// Send implements Sender and answers requests as the script says.
func (l *lab) Send(ctx context.Context, sts ...xmpp.Stanza) error {
	for _, st := range sts {
		s := sent{st, xmlOf(l.t, st.Payload)}
		l.mu.Lock()
		l.sent = append(l.sent, s)
		answer, silent := l.answer, l.silent
		l.mu.Unlock()
		if st.Kind != xmpp.IQ || st.Type != xmpp.Set && st.Type != xmpp.Get || silent {
			continue
		}
		reply := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Result, ID: st.ID, From: st.To, To: st.From}
		if answer != nil {
			if e := answer(s); e != nil {
				reply.Type, reply.Payload = xmpp.TypeError, e
			}
		}
		var d exi.Doc
		reply.AppendEvents(&d)
		reply.Elem = d.Root()
		if _, err := l.HandleStanza(ctx, &reply); err != nil {
			l.t.Errorf("answer: %v", err)
		}
	}
	return nil
}

// took returns what was sent since the last call.
func (l *lab) took() []sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sent
	l.sent = nil
	return s
}

func xmlOf(t testing.TB, p xmpp.Payload) string {
	t.Helper()
	if p == nil {
		return ""
	}
	var d exi.Doc
	d.Start(exi.N(xmpp.NSClient, "w"))
	p.AppendEvents(&d)
	d.End()
	b, err := xmltext.AppendElement(nil, &d, xmltext.Scope{Default: xmpp.NSClient})
	if err != nil {
		t.Fatal(err)
	}
	s := strings.TrimSuffix(strings.TrimPrefix(string(b), "<w>"), "</w>")
	for _, ns := range []string{provisioning.NSDiscovery, provisioning.NS} {
		s = strings.ReplaceAll(s, " xmlns='"+ns+"'", "")
		s = strings.ReplaceAll(s, ` xmlns="`+ns+`"`, "")
	}
	return strings.ReplaceAll(s, `"`, `'`)
}

// give hands the service a stanza and returns the payload of the answer. Of an
// answer that comes later it returns what was sent.
func (l *lab) give(kind xmpp.StanzaKind, typ, from, inner string) (string, error) {
	l.t.Helper()
	ns := provisioning.NSDiscovery
	for _, name := range []string{"isFriend", "canRead", "canControl"} {
		if strings.HasPrefix(inner, "<"+name) {
			ns = provisioning.NS
		}
	}
	if i := strings.IndexAny(inner, " />"); i > 0 && !strings.Contains(inner[:strings.IndexByte(inner, '>')], "xmlns") {
		inner = inner[:i] + " xmlns='" + ns + "'" + inner[i:]
	}
	st := xmpp.Stanza{Kind: kind, Type: typ, ID: "q1", From: jid.MustParse(from), To: jid.MustParse(domain)}
	var d exi.Doc
	full := st
	full.Payload = xmpp.PayloadFunc(func(d *exi.Doc) {
		if inner != "" {
			var in exi.Doc
			if err := xmltext.ParseElement(inner, &in); err != nil {
				l.t.Fatalf("%s: %v", inner, err)
			}
			d.AppendElement(in.Root())
		}
	})
	full.AppendEvents(&d)
	if err := st.Parse(d.Root()); err != nil {
		l.t.Fatal(err)
	}
	p, err := l.HandleStanza(context.Background(), &st)
	if errors.Is(err, xmpp.ErrLater) {
		for _, s := range l.sent {
			if s.ID == "q1" && s.To.String() == from {
				if e, ok := s.Payload.(*xmpp.Error); ok && s.Type == xmpp.TypeError {
					return "", e
				}
				return s.xml, nil
			}
		}
		return "", xmpp.ErrLater
	}
	return xmlOf(l.t, p), err
}

func (l *lab) set(from, inner string) (string, error) {
	l.t.Helper()
	return l.give(xmpp.IQ, xmpp.Set, from, inner)
}

func (l *lab) get(from, inner string) (string, error) {
	l.t.Helper()
	return l.give(xmpp.IQ, xmpp.Get, from, inner)
}

// ok is set that must give this.
func (l *lab) ok(from, inner, want string) {
	l.t.Helper()
	got, err := l.set(from, inner)
	if err != nil || got != want {
		l.t.Fatalf("%s from %s:\n%s, %v\nwant %s", inner, from, got, err, want)
	}
}

// fails is set that must give this condition.
func (l *lab) fails(from, inner string, want xmpp.Condition) {
	l.t.Helper()
	got, err := l.set(from, inner)
	if err == nil || xmpp.AsError(err).Condition != want || errors.Is(err, xmpp.ErrLater) {
		l.t.Fatalf("%s from %s: %q, %v; want %s", inner, from, got, err, want)
	}
}

// found searches and returns the addresses of the things.
func (l *lab) found(inner string) string {
	l.t.Helper()
	got, err := l.give(xmpp.IQ, xmpp.Get, "somebody@far.example/x", "<search>"+inner+"</search>")
	if err != nil {
		l.t.Fatalf("%s: %v", inner, err)
	}
	return got
}

func (l *lab) hits(inner string) (n int) {
	l.t.Helper()
	return strings.Count(l.found(inner), "<thing ")
}

// Actors of the tests.
const (
	thing    = "thing@a.example/gw"
	thing2   = "thing2@a.example/gw"
	owner    = "owner@a.example/phone"
	other1   = "other@b.example/phone"
	stranger = "stranger@c.example/x"
	tags     = "<str name='SN' value='42'/><num name='V' value='1.20'/><str name='KEY' value='k42'/>"
)

// claimed brings thing into owner's hands.
func claimedLab(t *testing.T, change ...func(*Config)) *lab {
	t.Helper()
	l := newLab(t, change...)
	l.ok(thing, "<register>"+tags+"</register>", "")
	l.ok(owner, "<mine>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
	l.took()
	return l
}
