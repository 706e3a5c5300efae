package xmpp_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

// What breaks the stream's rules is answered by a stream error and the end of
// the stream; the session comes back and goes on.
func TestCoreR35R39R40R45R46_BadInputEndsTheStream(t *testing.T) {
	deep := "<message from='a@example.org'>" + strings.Repeat("<x>", 80) + strings.Repeat("</x>", 80) + "</message>"
	for _, tt := range []struct{ name, in, condition string }{
		{"malformed", "<message from='a@example.org'></iq>", "not-well-formed"},
		{"unbound prefix", "<x:message/>", "not-well-formed"},
		{"comment", "<message><!-- --></message>", "restricted-xml"},
		{"processing instruction", "<?x y?>", "restricted-xml"},
		{"document type", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "restricted-xml"},
		{"entity", "<message><body>&lol;</body></message>", "restricted-xml"},
		{"not UTF-8", "<message>\xc3\x28</message>", "not-well-formed"},
		{"over-long", "<message><body>" + strings.Repeat("x", 300<<10) + "</body></message>", "policy-violation"},
		{"deep nesting", deep, "policy-violation"},
		{"no stanza", "<note/>", "unsupported-stanza-type"},
		{"stanza of another namespace", "<message xmlns='jabber:server'/>", "bad-format"},
		{"unknown element", "<tune xmlns='urn:example'/>", "bad-format"},
		{"a without h", "<a xmlns='urn:xmpp:sm:3'/>", "bad-format"},
		{"a with nonsense", "<a xmlns='urn:xmpp:sm:3' h='-1'/>", "bad-format"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, s, p := online(t, xmpptest.Options{}, nil)
				_ = p.Conn.WriteText(tt.in) // fails when the client has had enough
				var se *xmpp.StreamError
				if _, err := p.Next(); !errors.As(err, &se) || se.Condition != tt.condition {
					t.Errorf("the client says %v", err)
				}
				p.Cut()
				synctest.Wait()
				if st := s.State(); st.Phase != xmpp.Waiting || !errors.Is(st.Err, &xmpp.StreamError{Condition: tt.condition}) {
					t.Errorf("state %+v", st)
				}
				p, _ = srv.Resume(0)
				p.Cut()
			})
		})
	}
}

func TestCoreR110R111R112R114R118_IqRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) { c.Handler = pingMux() })
		bad := func(id, condition, typ, text string) string {
			to := " to='a@example.org/x'"
			return `<iq type='error' id='` + id + `'` + to + `><error type='` + typ + `'><` + condition +
				` xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>` + text + `</error></iq>`
		}
		text := func(s string) string { return `<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>` + s + `</text>` }
		for _, tt := range []struct{ in, want string }{
			{`<iq from='a@example.org/x' type='get' id='1'/>`, bad("1", "bad-request", "modify", text("exactly one payload expected"))},
			{`<iq from='a@example.org/x' type='get' id='2'><ping xmlns='urn:xmpp:ping'/><b xmlns='x'/></iq>`, bad("2", "bad-request", "modify", text("exactly one payload expected"))},
			{`<iq from='a@example.org/x' type='query' id='3'><a xmlns='x'/></iq>`, bad("3", "bad-request", "modify", text("an iq of type get, set, result or error expected"))},
			{`<iq from='a@example.org/x' id='4'><a xmlns='x'/></iq>`, bad("4", "bad-request", "modify", text("an iq of type get, set, result or error expected"))},
			{`<iq from='a@example.org/x' type='set' id='5'><ping xmlns='urn:xmpp:ping'/></iq>`, bad("5", "service-unavailable", "cancel", "")},
			{`<iq from='a@example.org/x' type='get' id='6'><ping xmlns='urn:xmpp:pong'/></iq>`, bad("6", "service-unavailable", "cancel", "")},
			{`<iq type='get' id='7'><ping xmlns='urn:xmpp:ping'/></iq>`, `<iq type='result' id='7'/>`},
		} {
			p.Send(tt.in)
			p.Expect(tt.want)
		}
		// These are never answered.
		p.Send(`<iq from='a@example.org/x' type='result' id='8'/>` +
			`<iq from='a@example.org/x' type='error' id='9'><error type='cancel'/></iq>` +
			`<message from='a@example.org/x' type='error' id='10'/>` +
			`<message from='a@example.org/x' type='odd' id='11'><x xmlns='urn:example'/></message>` +
			`<presence from='a@example.org/x' type='odd' id='12'/>`)
		p.Quiet(time.Second / 2)
		if n := s.Stats().Unrequested; n != 2 {
			t.Errorf("%d unrequested answers", n)
		}
		// Malformed addresses: the stream stays.
		p.Send(`<iq from='a@example.org/x' to='@' type='get' id='13'><ping xmlns='urn:xmpp:ping'/></iq>`)
		got := p.Read()
		if !strings.Contains(xmpptest.Text(t, got), "jid-malformed") {
			t.Errorf("got %s", xmpptest.Text(t, got))
		}
	})
}

func TestHandlersAnswers(t *testing.T) {
	name := func(local string) exi.Name { return exi.N("urn:example", local) }
	synctest.Test(t, func(t *testing.T) {
		later := make(chan xmpp.Stanza, 1)
		_, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) {
			m := new(xmpp.Mux)
			m.HandleFunc(xmpp.IQ, xmpp.Get, name("read"), func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
				return xmpp.Answer{
					Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(name("accepted"), exi.Value{}) }),
					Then:    []xmpp.Stanza{{Kind: xmpp.Message, To: st.From, ID: "d1"}, {Kind: xmpp.Message, To: st.From, ID: "d2"}},
				}, nil
			})
			m.HandleFunc(xmpp.IQ, xmpp.Get, name("bare"), func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
				return &xmpp.Answer{Then: []xmpp.Stanza{{Kind: xmpp.Message, To: st.From, ID: "d3"}}}, nil
			})
			m.HandleFunc(xmpp.IQ, xmpp.Set, name("slow"), func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
				later <- st.Reply(xmpp.Result, nil)
				return nil, xmpp.ErrLater
			})
			m.HandleFunc(xmpp.IQ, xmpp.Set, name("secret"), func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
				return nil, fmt.Errorf("open /etc/shadow: permission denied")
			})
			m.HandleFunc(xmpp.IQ, xmpp.Set, name("refused"), func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
				return nil, fmt.Errorf("checked: %w", xmpp.NewError(xmpp.Forbidden, "not you"))
			})
			m.HandleFunc(xmpp.IQ, xmpp.Get, name("broken"), func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
				return xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(name("x"), exi.Str("\x00")) }), nil
			})
			c.Handler = m
		})
		ask := func(typ, id, what string) {
			p.Send(`<iq from='a@example.org/x' type='` + typ + `' id='` + id + `'><` + what + ` xmlns='urn:example'/></iq>`)
		}
		ask("get", "1", "read")
		p.Expect(`<iq to='a@example.org/x' type='result' id='1'><accepted xmlns='urn:example'/></iq>`)
		p.Expect(`<message to='a@example.org/x' id='d1'/>`)
		p.Expect(`<message to='a@example.org/x' id='d2'/>`)
		ask("get", "2", "bare")
		p.Expect(`<iq to='a@example.org/x' type='result' id='2'/>`)
		p.Expect(`<message to='a@example.org/x' id='d3'/>`)
		ask("set", "3", "slow")
		p.Quiet(time.Second / 2)
		if err := s.Send(context.Background(), <-later); err != nil {
			t.Fatal(err)
		}
		p.Expect(`<iq to='a@example.org/x' type='result' id='3'/>`)
		ask("set", "4", "secret")
		p.Expect(`<iq to='a@example.org/x' type='error' id='4'><error type='wait'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		ask("set", "5", "refused")
		got := xmpptest.Text(t, p.Read())
		if !strings.Contains(got, "<forbidden ") || !strings.Contains(got, "not you") {
			t.Errorf("got %s", got)
		}
		// A payload that XML cannot carry: an error instead, and the stream stays.
		ask("get", "6", "broken")
		got = xmpptest.Text(t, p.Read())
		if !strings.Contains(got, "internal-server-error") || !strings.Contains(got, "id='6'") {
			t.Errorf("got %s", got)
		}
		if err := s.Send(context.Background(), message("m1"), xmpp.Stanza{Kind: xmpp.Message, ID: "m2", To: other, Lang: "\x01"}, message("m3")); err != nil {
			t.Fatal(err)
		}
		p.Expect(`<message to='other@example.org/x' id='m1'/>`)
		p.Expect(`<message to='other@example.org/x' id='m3'/>`)
		if err := s.Query(context.Background(), xmpp.Stanza{To: other, Lang: "\x01"}, nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a query that cannot be sent: %v", err)
		}
		time.Sleep(2 * time.Second)
		if st := s.Stats(); st.Unacked != 0 || s.State().Phase != xmpp.Online {
			t.Errorf("%+v %+v", st, s.State())
		}
	})
}

func TestCoreR119_OrderPerSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		got := map[string][]string{}
		block := make(chan struct{})
		_, _, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) {
			m := new(xmpp.Mux)
			m.HandleFunc(xmpp.Message, "*", exi.Name{}, func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
				if st.From.Localpart() == "slow" {
					<-block
				}
				mu.Lock()
				defer mu.Unlock()
				from := st.From.Bare().String()
				got[from] = append(got[from], st.ID)
				return nil, nil
			})
			c.Handler, c.Workers, c.Backlog = m, 64, 200
		})
		var b strings.Builder
		for i := range 100 {
			for _, from := range []string{"a@example.org/1", "slow@example.org/1", "b@example.org/2"} {
				fmt.Fprintf(&b, "<message from='%s' id='%d'/>", from, i)
			}
		}
		p.Send(b.String())
		synctest.Wait()
		mu.Lock()
		if len(got["a@example.org"]) != 100 || len(got["slow@example.org"]) != 0 {
			// Two of three accounts may share a worker; then this test says nothing
			// about them.
			t.Logf("handled %d and %d", len(got["a@example.org"]), len(got["b@example.org"]))
		}
		mu.Unlock()
		close(block)
		synctest.Wait()
		for from, ids := range got {
			for i, id := range ids {
				if id != fmt.Sprint(i) {
					t.Fatalf("%s: %q", from, ids)
				}
			}
			if len(ids) != 100 {
				t.Errorf("%s: %d", from, len(ids))
			}
		}
	})
}

// A handler may wait for an answer while more requests arrive than there is
// room for: the answer still gets through, and who had no room is told.
func TestFullBacklogNeverBlocksAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *xmpp.Session
		done := make(chan error, 1)
		_, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) {
			m := pingMux()
			m.HandleFunc(xmpp.IQ, xmpp.Get, exi.N("urn:example", "ask"), func(ctx context.Context, _ *xmpp.Stanza) (xmpp.Payload, error) {
				err := s.Query(ctx, xmpp.Stanza{To: jid.MustParse("prov@example.org")}, nil)
				done <- err
				return nil, err
			})
			c.Handler, c.Workers, c.Backlog = m, 1, 2
		})
		p.Send(`<iq from='a@example.org/x' type='get' id='q'><ask xmlns='urn:example'/></iq>`)
		query := p.Read()
		for i := range 4 {
			p.Send(fmt.Sprintf(`<iq from='a@example.org/x' type='get' id='%d'><ping xmlns='urn:xmpp:ping'/></iq>`, i))
		}
		for _, id := range []string{"2", "3"} {
			got := xmpptest.Text(t, p.Read())
			if !strings.Contains(got, "resource-constraint") || !strings.Contains(got, "id='"+id+"'") {
				t.Errorf("got %s", got)
			}
		}
		id, _ := query.Root().Attr(exi.N("", "id"))
		p.Send(`<iq from='prov@example.org' type='result' id='` + id.String() + `'/>`)
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, want := range []string{"iq q result", "iq 0 result", "iq 1 result"} {
			if got := next(t, p); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if n := s.Stats().Overflow; n != 2 {
			t.Errorf("%d refused", n)
		}
		// Presence has more room than requests: it is never asked for again.
		p.Send(`<iq from='a@example.org/x' type='get' id='q2'><ask xmlns='urn:example'/></iq>`)
		query = p.Read()
		p.Send(strings.Repeat(`<presence from='a@example.org/x'/>`, 6))
		synctest.Wait()
		if n := s.Stats().Overflow; n != 2 {
			t.Errorf("%d refused", n)
		}
		id, _ = query.Root().Attr(exi.N("", "id"))
		p.Send(`<iq from='prov@example.org' type='result' id='` + id.String() + `'/>`)
		<-done
		next(t, p)
	})
}

func TestCoreR116R124_QueryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{}, nil)
		// CoreR124: 30 s without a deadline of one's own.
		began := time.Now()
		if err := s.Query(context.Background(), xmpp.Stanza{To: other}, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		p.Read()
		done := make(chan error, 1)
		go func() {
			done <- s.Query(context.Background(), xmpp.Stanza{Type: xmpp.Set, To: other}, func(*xmpp.Stanza) error {
				t.Error("reply was called for an error")
				return nil
			})
		}()
		id, _ := p.Read().Root().Attr(exi.N("", "id"))
		p.Send(`<iq from='other@example.org/x' type='error' id='` + id.String() + `'><a xmlns='urn:x'/><error type='modify'>` +
			`<weird xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xml:lang='en' xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>why</text><paramError xmlns='urn:x' var='v'>bad</paramError></error></iq>`)
		err := <-done
		var e *xmpp.Error
		if !errors.As(err, &e) || e.Type != xmpp.Modify || e.Text != "why" || e.Lang != "en" {
			t.Fatalf("CoreR116: %v", err)
		}
		if got := e.Elem.Child(exi.N("urn:x", "paramError")).Text().String(); got != "bad" {
			t.Errorf("the application's element reads %q", got)
		}
		// The session is gone: the query ends at once.
		go func() { done <- s.Query(context.Background(), xmpp.Stanza{To: other}, nil) }()
		p.Read()
		p.Send("</stream:stream>")
		if err := <-done; !errors.Is(err, xmpp.ErrOffline) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// An answer to a request of a former session is not sent in the new one.
func TestAnswersBelongToTheirSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		srv, _, p := online(t, xmpptest.Options{NoSM: true}, func(c *xmpp.Config) {
			m := pingMux()
			m.HandleFunc(xmpp.IQ, xmpp.Get, exi.N("urn:example", "slow"), func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
				<-hold
				return nil, nil
			})
			c.Handler = m
		})
		p.Send(`<iq from='a@example.org/x' type='get' id='old'><slow xmlns='urn:example'/></iq>`)
		synctest.Wait()
		p.Cut()
		p = srv.Login()
		close(hold)
		synctest.Wait()
		p.Send(`<iq from='a@example.org/x' type='get' id='new'><ping xmlns='urn:xmpp:ping'/></iq>`)
		p.Expect(`<iq to='a@example.org/x' type='result' id='new'/>`)
	})
}

func TestSystemShutdownSpreadsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{}, nil)
		p.Send("<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
		synctest.Wait()
		if st := s.State(); st.Phase != xmpp.Waiting || time.Until(st.Retry) > time.Minute {
			t.Errorf("state %+v", st)
		}
	})
}

// The server dies in the middle of an element.
func TestServerDiesWithinAStanza(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, nil)
		p.Send("<message from='a@example.org'><body>half")
		p.Cut()
		p, h := srv.Resume(0)
		if h != 0 {
			t.Errorf("half a stanza counts: h=%d", h)
		}
		if err := s.WaitOnline(context.Background()); err != nil {
			t.Error(err)
		}
		_ = p
	})
}

func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		srv := xmpptest.NewServer(t, xmpptest.Options{})
		s, err := xmpp.NewSession(srv.Config())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		p := srv.Login()
		if err := s.WaitOnline(ctx); err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Query(context.Background(), xmpp.Stanza{To: other}, nil) }()
		p.Read()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.Cut()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d now:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
}

func TestNewSessionChecksItsConfiguration(t *testing.T) {
	srv := xmpptest.NewServer(t, xmpptest.Options{})
	for name, change := range map[string]func(*xmpp.Config){
		"no account":     func(c *xmpp.Config) { c.JID = jid.MustParse("example.org") },
		"no transport":   func(c *xmpp.Config) { c.Transport = nil },
		"no credentials": func(c *xmpp.Config) { c.Password = nil },
	} {
		cfg := srv.Config()
		change(&cfg)
		if _, err := xmpp.NewSession(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
