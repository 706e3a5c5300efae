package hub

import (
	"bufio"
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/store"
	"postern/xmpp"
)

// FuzzSession: whatever a client sends, the hub neither panics nor hangs, and
// everything that it writes can be written.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"<presence/>", "<presence><priority>-3</priority></presence><message to='anna@site.example'><body>x</body></message>",
		"<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='ben@site.example' name='n'><group>g</group></item></query></iq>",
		"<presence type='subscribe' to='ben@site.example'/><presence type='unsubscribed' to='ben@site.example/x'/>",
		"<enable xmlns='urn:xmpp:sm:3' resume='1'/><r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='1'/>",
		"<iq type='get' id='d' to='site.example'><query xmlns='http://jabber.org/protocol/disco#info' node='n'/></iq>",
		"<message to='ben@site.example' type='chat'><body>x</body></message><presence to='ben@site.example' type='probe'/>",
		"<message to='a@b/c' xmlns:x='u' x:y='z'><x:a/></message>",
	} {
		f.Add(s)
	}
	db, err := store.Open(context.Background(), filepath.Join(f.TempDir(), "db"), store.Options{})
	if err != nil {
		f.Fatal(err)
	}
	ca, err := OpenCA(f.TempDir(), domain)
	if err != nil {
		f.Fatal(err)
	}
	h, err := New(Config{Domain: domain, Store: db, TLS: ca.TLS(), Limits: Limits{Roster: 5, Offline: 5, Queue: 50}})
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"anna", "ben"} {
		if err := h.AddUser(name, name); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, in string) {
		acc, err := h.account("anna")
		if err != nil {
			t.Fatal(err)
		}
		s := &session{h: h, acc: acc, full: jid.MustParse("anna@site.example/r"), res: "r", q: newQueue(h.lim), directed: make(map[string]jid.JID), muted: make(map[string]bool)}
		acc.mu.Lock()
		acc.sessions["r"] = s
		acc.mu.Unlock()
		x := xmltext.NewStreamReader(xmltext.Limits{KeepPrefixes: true})
		r := bufio.NewReader(strings.NewReader("<s xmlns='jabber:client'>" + in))
		var d exi.Doc
		err = x.ReadOpen(r, &d)
		for err == nil {
			if err = x.ReadElement(r, &d); err == nil {
				err = s.element(d.Root())
			}
			docs, _ := s.q.take(nil, 1000)
			for _, d := range docs {
				text, err := xmltext.AppendElement(nil, d, xmltext.Scope{Default: xmpp.NSClient})
				if err != nil {
					// Only names that collide with made-up ones.
					if !strings.Contains(in, "_") {
						t.Errorf("cannot be written: %v", err)
					}
				} else if err := xmltext.ParseElement(string(text), new(exi.Doc)); err != nil && !strings.Contains(err.Error(), "too") {
					t.Errorf("%s: %v", text, err)
				}
			}
			s.q.wrote(0, false)
		}
		s.end()
	})
}

// Run leaves nothing behind.
func TestNoGoroutinesLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	x := newSite(t)
	a, b, c := x.online("anna", "a"), x.online("ben", "b"), x.secure()
	a.enable()
	b.enable()
	b.drop()
	waitFor(t, x.asleep("ben", "b"))
	x.stop()
	for _, p := range []*peer{a, c} {
		p.nc.Close()
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}

// BenchmarkPingPong: one iq from one client to another and its answer, over
// TLS.
func BenchmarkPingPong(b *testing.B) {
	x := newSite(b, func(c *Config) { c.Limits.Rate = 1 << 30 })
	p, q := x.online("anna", "a"), x.online("ben", "b")
	go func() {
		for {
			if _, err := q.read(); err != nil {
				return
			}
			if q.WriteText("<iq type='result' id='q' to='anna@site.example/a'/>") != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		p.send("<iq type='get' id='q' to='ben@site.example/b'><ping xmlns='urn:xmpp:ping'/></iq>")
		if _, err := p.read(); err != nil {
			b.Fatal(err)
		}
	}
	x.stop()
}
