package xmpp_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

var (
	namePing = exi.N("urn:xmpp:ping", "ping")
	other    = jid.MustParse("other@example.org/x")
)

// online starts a session and logs it in.
func online(t *testing.T, o xmpptest.Options, change func(*xmpp.Config)) (*xmpptest.Server, *xmpp.Session, *xmpptest.Peer) {
	t.Helper()
	srv := xmpptest.NewServer(t, o)
	cfg := srv.Config()
	if change != nil {
		change(&cfg)
	}
	s := xmpptest.Start(t, cfg)
	p := srv.Login()
	if err := s.WaitOnline(context.Background()); err != nil {
		t.Fatal(err)
	}
	return srv, s, p
}

func pingMux() *xmpp.Mux {
	m := new(xmpp.Mux)
	m.HandleFunc(xmpp.IQ, xmpp.Get, namePing, func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) { return nil, nil })
	return m
}

func TestSessionLogsInAndAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) { c.Handler = pingMux() })
		if got := s.LocalAddr().String(); got != "thing@example.org/r1" {
			t.Errorf("LocalAddr %s", got)
		}
		st := s.State()
		if st.Mechanism != "SCRAM-SHA-256" || !st.Resumable || st.Codec != "xml" || st.TLS == "" {
			t.Errorf("state %+v", st)
		}
		p.Send(`<iq type='get' id='1' from='other@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>`)
		p.Expect(`<iq type='result' id='1' to='other@example.org/x'/>`)
		p.Send(`<iq type='get' id='2' from='other@example.org/x'><q xmlns='urn:example'/></iq>`)
		p.Expect(`<iq type='error' id='2' to='other@example.org/x'><error type='cancel'>` +
			`<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
	})
}

func TestCoreR113_AnswersAreMatchedBySender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{}, nil)
		done := make(chan error, 1)
		go func() {
			done <- s.Query(context.Background(), xmpp.Stanza{Type: xmpp.Get, To: other, Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(namePing, exi.Value{}) })},
				func(st *xmpp.Stanza) error {
					if got := st.Child().Text().String(); got != "right" {
						return errors.New("answered by " + got)
					}
					return nil
				})
		}()
		id, _ := p.Read().Root().Attr(exi.N("", "id"))
		for _, from := range []string{"evil@example.org/x", "other@example.org", "other@example.org/X", "example.org", "thing@example.org"} {
			p.Send(`<iq type='result' id='` + id.String() + `' from='` + from + `'><a xmlns='urn:x'>wrong</a></iq>`)
		}
		p.Send(`<iq type='result' id='` + id.String() + `'><a xmlns='urn:x'>wrong</a></iq>`)
		p.Send(`<iq type='result' id='` + id.String() + `' from='other@example.org/x'><a xmlns='urn:x'>right</a></iq>`)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := s.Stats().Unrequested; n != 6 {
			t.Errorf("%d unrequested answers", n)
		}
	})
}

func TestSessionResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) { c.Handler = pingMux() })
		p.Send(`<iq type='get' id='1' from='other@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>`)
		p.Expect(`<iq type='result' id='1' to='other@example.org/x'/>`)
		p.Cut()
		synctest.Wait()
		// While the session can be resumed, sending goes on.
		if err := s.Send(context.Background(), xmpp.Stanza{Kind: xmpp.Message, To: other, ID: "m1"}); err != nil {
			t.Fatal(err)
		}
		p, h := srv.Resume(0)
		if h != 1 {
			t.Errorf("the client handled %d", h)
		}
		p.Expect(`<iq type='result' id='1' to='other@example.org/x'/>`)
		p.Expect(`<message id='m1' to='other@example.org/x'/>`)
		p.Answer("")
		if st := s.State(); !st.Resumed {
			t.Errorf("state %+v", st)
		}
		time.Sleep(time.Second)
	})
}
