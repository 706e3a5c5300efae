package cli

import (
	"context"
	"errors"
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

const testThing = "gateway@site.example/postern"

// fakeSession answers queries from XML text and records what was sent.
type fakeSession struct {
	t *testing.T
	// answer returns the answering stanza as XML; empty: none comes.
	answer func(request string) string

	mu   sync.Mutex
	sent []string
}

func (f *fakeSession) text(st xmpp.Stanza) string {
	d := new(exi.Doc)
	st.AppendEvents(d)
	return strings.ReplaceAll(xmpptest.Text(f.t, d), `"`, "'")
}

func (f *fakeSession) note(st xmpp.Stanza) string {
	text := f.text(st)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, text)
	return text
}

func (f *fakeSession) Send(_ context.Context, sts ...xmpp.Stanza) error {
	for _, st := range sts {
		f.note(st)
	}
	return nil
}

func (f *fakeSession) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	st.Kind = xmpp.IQ
	answer := f.answer(f.note(st))
	if answer == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	got := xmpptest.Stanza(f.t, answer)
	if err := got.Err(); err != nil {
		return err
	}
	return reply(got)
}

// startFinder is a finder whose session came online.
func startFinder(t *testing.T, answer func(string) string) (*finder, *fakeSession, *xmpp.Mux) {
	t.Helper()
	f, s, m := newFinder(), &fakeSession{t: t, answer: answer}, &xmpp.Mux{}
	if err := f.register(m, jid.MustParse("operator@site.example/x")); err != nil {
		t.Fatal(err)
	}
	f.online(t.Context(), s, false)
	return f, s, m
}

func deliver(t *testing.T, m *xmpp.Mux, text string) {
	t.Helper()
	if _, err := m.HandleStanza(context.Background(), xmpptest.Stanza(t, text)); err != nil {
		t.Fatal(err)
	}
}

func rosterAnswer(sub string) string {
	return "<iq type='result' id='x'><query xmlns='jabber:iq:roster'><item jid='gateway@site.example' subscription='" + sub + "'/></query></iq>"
}

func pushed(sub string) string {
	return "<iq type='set' id='p'><query xmlns='jabber:iq:roster'><item jid='gateway@site.example' subscription='" + sub + "'/></query></iq>"
}

// The account asks for presence where it may not see it, grants the thing's
// request in return and nobody else's, and finds the thing whether its presence
// or the entry in the roster comes first.
func TestFindSubscribesAndGrants(t *testing.T) {
	for _, late := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f, s, m := startFinder(t, func(string) string { return rosterAnswer("none") })
			go func() {
				time.Sleep(time.Second)
				deliver(t, m, "<presence type='subscribe' from='gateway@site.example'/>")
				deliver(t, m, "<presence type='subscribe' from='stranger@site.example'/>")
				deliver(t, m, "<presence type='subscribed' from='gateway@site.example'/>")
				news := []string{pushed("to"), "<presence from='" + testThing + "'/>"}
				if late {
					news[0], news[1] = news[1], news[0]
				}
				for _, text := range news {
					deliver(t, m, text)
					time.Sleep(time.Second)
				}
			}()
			full, err := f.find(t.Context(), jid.MustParse("gateway@site.example"))
			if err != nil || full.String() != testThing {
				t.Fatalf("%v, %v", full, err)
			}
			all := strings.Join(s.sent, "\n")
			for _, typ := range []string{"subscribe", "subscribed"} {
				if !strings.Contains(all, "type='"+typ+"'") {
					t.Errorf("no %s in %s", typ, all)
				}
			}
			if strings.Contains(all, "stranger") {
				t.Errorf("granted a stranger: %s", all)
			}
			if !strings.Contains(all, "<priority>-1</priority>") {
				t.Errorf("draws the messages of chat programs: %s", all)
			}
			time.Sleep(3 * time.Second) // the messages of above
		})
	}
}

func TestFindFails(t *testing.T) {
	for _, tc := range []struct {
		name, sub, news string
		want            error
	}{
		{"offline", "both", "", errOffline},
		{"pending", "none", "", errPending},
		{"refused", "none", "<presence type='unsubscribed' from='gateway@site.example'/>", errRefused},
		{"no such domain", "none", "<presence type='error' from='gateway@site.example'><error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
			&xmpp.Error{Condition: xmpp.RemoteServerNotFound}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, m := startFinder(t, func(string) string { return rosterAnswer(tc.sub) })
				go func() {
					if time.Sleep(time.Second); tc.news != "" {
						deliver(t, m, tc.news)
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if _, err := f.find(ctx, jid.MustParse("gateway@site.example")); !errors.Is(err, tc.want) || strings.Contains(err.Error(), "deadline") {
					t.Errorf("got %v, want %v", err, tc.want)
				}
			})
		})
	}
}

func TestFindWithoutARoster(t *testing.T) {
	f, _, _ := startFinder(t, func(string) string {
		return "<iq type='error' id='x'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
	})
	if _, err := f.find(t.Context(), jid.MustParse("gateway@site.example")); !errors.Is(err, &xmpp.Error{Condition: xmpp.ServiceUnavailable}) {
		t.Error(err)
	}
	if full, err := f.find(t.Context(), jid.MustParse(testThing)); err != nil || full.String() != testThing {
		t.Error(full, err)
	}
}

func TestFindChoosesTheThing(t *testing.T) {
	f, _, m := startFinder(t, func(req string) string {
		switch {
		case strings.Contains(req, "roster"):
			return rosterAnswer("to")
		case strings.Contains(req, "/phone"):
			return "<iq type='result' from='gateway@site.example/phone' id='x'><query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='phone'/><feature var='urn:xmpp:ping'/></query></iq>"
		}
		return "<iq type='result' from='" + testThing + "' id='x'><query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='bot'/><feature var='urn:xmpp:iot:sensordata'/></query></iq>"
	})
	deliver(t, m, "<presence from='gateway@site.example/phone'><priority>5</priority></presence>")
	deliver(t, m, "<presence from='"+testThing+"'/>")
	full, err := f.find(t.Context(), jid.MustParse("gateway@site.example"))
	if err != nil || full.String() != testThing {
		t.Fatalf("%v, %v", full, err)
	}
	deliver(t, m, "<presence from='"+testThing+"' type='unavailable'/>")
	if f.contacts.Available(full) {
		t.Error("still online")
	}
}
