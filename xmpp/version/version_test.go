package version_test

import (
	"context"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/version"
	"postern/xmpp/xmpptest"
)

func Test0092R01R02_Answer(t *testing.T) {
	for _, tt := range []struct {
		s    version.Software
		want string
	}{
		{version.Software{Name: "Postern", Version: "1.2", OS: "Linux"}, `<name>Postern</name><version>1.2</version><os>Linux</os>`},
		{version.Software{Name: "Postern"}, `<name>Postern</name><version>unspecified</version>`},
	} {
		m := new(xmpp.Mux)
		version.Register(m, tt.s)
		got, err := xmpptest.Call(t, m, `<iq type='get' id='1' from='a@b/c'><query xmlns='jabber:iq:version'/></iq>`)
		if want := `<iq type='result' id='1' to='a@b/c'><query xmlns='jabber:iq:version'>` + tt.want + `</query></iq>`; err != nil || got[0] != want {
			t.Errorf("%q, %v", got, err)
		}
	}
}

type peer struct {
	t   *testing.T
	xml string
}

func (p peer) Query(_ context.Context, _ xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	return reply(xmpptest.Stanza(p.t, p.xml))
}

func TestAsk(t *testing.T) {
	p := peer{t, `<iq type='result' id='1'><query xmlns='jabber:iq:version'><name>n</name><version>v</version></query></iq>`}
	got, err := version.Ask(context.Background(), p, jid.JID{})
	if err != nil || got != (version.Software{Name: "n", Version: "v"}) {
		t.Errorf("%+v, %v", got, err)
	}
}
