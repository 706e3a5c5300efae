package thing

import (
	"bufio"
	"context"
	"strings"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

// fakeSession answers queries from XML text and records what was sent.
type fakeSession struct {
	t *testing.T
	// answer returns the answering stanza as XML; empty: none comes.
	answer func(request string) string

	mu   sync.Mutex
	sent []string
}

// element parses one XML element in the stream's namespace.
func element(t *testing.T, text string) exi.Cursor {
	t.Helper()
	r := xmltext.NewStreamReader(xmltext.Limits{})
	br := bufio.NewReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + text))
	d := new(exi.Doc)
	if err := r.ReadOpen(br, d); err != nil {
		t.Fatal(err)
	}
	d.Reset()
	if err := r.ReadElement(br, d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d.Root()
}

func stanza(t *testing.T, text string) *xmpp.Stanza {
	t.Helper()
	st := new(xmpp.Stanza)
	if err := st.Parse(element(t, text)); err != nil {
		t.Fatal(err)
	}
	return st
}

func (f *fakeSession) text(st xmpp.Stanza) string {
	f.t.Helper()
	d := new(exi.Doc)
	st.AppendEvents(d)
	out, err := xmltext.AppendElement(nil, d, xmltext.Scope{Default: "jabber:client"})
	if err != nil {
		f.t.Fatal(err)
	}
	return string(out)
}

func (f *fakeSession) Send(_ context.Context, sts ...xmpp.Stanza) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, st := range sts {
		f.sent = append(f.sent, f.text(st))
	}
	return nil
}

func (f *fakeSession) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	text := f.text(st)
	f.mu.Lock()
	f.sent = append(f.sent, text)
	f.mu.Unlock()
	answer := f.answer(text)
	if answer == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	got := stanza(f.t, answer)
	if err := got.Err(); err != nil {
		return err
	}
	return reply(got)
}

func mustJID(s string) jid.JID { return jid.MustParse(s) }
