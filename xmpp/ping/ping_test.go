package ping_test

import (
	"context"
	"errors"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/ping"
	"postern/xmpp/xmpptest"
)

func Test0199R01R02_Answer(t *testing.T) {
	m := new(xmpp.Mux)
	ping.Register(m)
	got, err := xmpptest.Call(t, m, `<iq type='get' id='1' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>`)
	if err != nil || got[0] != `<iq type='result' id='1' to='a@b/c'/>` {
		t.Errorf("%q, %v", got, err)
	}
	if got := m.Namespaces(); len(got) != 1 || got[0] != "urn:xmpp:ping" {
		t.Errorf("features %q", got)
	}
	if _, err := xmpptest.Call(t, m, `<iq type='set' id='1' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>`); err == nil {
		t.Error("a set is answered")
	}
}

type answer struct{ err error }

func (a answer) Query(_ context.Context, st xmpp.Stanza, _ func(*xmpp.Stanza) error) error {
	return a.err
}

func Test0199R03_AnyAnswerIsProof(t *testing.T) {
	stanza := func(c xmpp.Condition) error { return xmpp.NewError(c, "") }
	for _, tt := range []struct {
		to  string
		err error
		ok  bool
	}{
		{"example.org", nil, true},
		{"example.org", stanza(xmpp.ServiceUnavailable), true},
		{"a@example.org", stanza(xmpp.ServiceUnavailable), true},
		{"a@example.org/x", stanza(xmpp.ServiceUnavailable), false},
		{"a@example.org/x", stanza(xmpp.FeatureNotImplemented), true},
		{"a@example.org/x", stanza(xmpp.Forbidden), true},
		{"a@example.org/x", stanza(xmpp.RecipientUnavailable), false},
		{"other.example", stanza(xmpp.RemoteServerNotFound), false},
		{"other.example", stanza(xmpp.RemoteServerTimeout), false},
		{"example.org", context.DeadlineExceeded, false},
		{"example.org", xmpp.ErrOffline, false},
	} {
		err := ping.Ask(context.Background(), answer{tt.err}, jid.MustParse(tt.to))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s, %v: %v", tt.to, tt.err, err)
		}
	}
}
