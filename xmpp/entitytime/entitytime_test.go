package entitytime_test

import (
	"context"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/entitytime"
	"postern/xmpp/xmpptest"
)

const request = `<iq type='get' id='1' from='a@b/c'><time xmlns='urn:xmpp:time'/></iq>`

func Test0202R01_Answer(t *testing.T) {
	for zone, tzo := range map[*time.Location]string{
		time.UTC: "+00:00", time.FixedZone("", -6*3600-1800): "-06:30", time.FixedZone("", 7200): "+02:00",
	} {
		m := new(xmpp.Mux)
		at := time.Date(2006, 12, 19, 17, 58, 35, 5e6, time.UTC).In(zone)
		entitytime.Register(m, entitytime.Clock{Now: func() time.Time { return at }})
		got, err := xmpptest.Call(t, m, request)
		want := `<iq type='result' id='1' to='a@b/c'><time xmlns='urn:xmpp:time'><tzo>` + tzo + `</tzo><utc>2006-12-19T17:58:35.005Z</utc></time></iq>`
		if err != nil || got[0] != want {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func Test0202R04_ClockNotSet(t *testing.T) {
	m := new(xmpp.Mux)
	sane := false
	entitytime.Register(m, entitytime.Clock{Sane: func() bool { return sane }})
	if _, err := xmpptest.Call(t, m, request); err == nil {
		t.Error("a clock that is not set is told")
	}
	sane = true
	if _, err := xmpptest.Call(t, m, request); err != nil {
		t.Error(err)
	}
}

type peer struct {
	t   *testing.T
	xml string
}

func (p peer) Query(_ context.Context, _ xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	return reply(xmpptest.Stanza(p.t, `<iq type='result' id='1'><time xmlns='urn:xmpp:time'>`+p.xml+`</time></iq>`))
}

func Test0202R02_Ask(t *testing.T) {
	want := time.Date(2006, 12, 19, 17, 58, 35, 0, time.UTC)
	for _, tt := range []struct {
		xml    string
		offset int
		ok     bool
	}{
		{"<tzo>-06:00</tzo><utc>2006-12-19T17:58:35Z</utc>", -6 * 3600, true},
		{"<tzo>Z</tzo><utc>2006-12-19T17:58:35.000Z</utc>", 0, true},
		{"<utc>2006-12-19T17:58:35Z</utc><tzo>+00:00</tzo>", 0, true},
		{"<tzo>nonsense</tzo><utc>2006-12-19T17:58:35Z</utc>", 0, true},
		{"<tzo>+01:00</tzo>", 0, false},
		{"<tzo>+01:00</tzo><utc>soon</utc>", 0, false},
	} {
		got, err := entitytime.Ask(context.Background(), peer{t, tt.xml}, jid.JID{})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.xml, err)
			continue
		}
		if _, off := got.Zone(); tt.ok && (!got.Equal(want) || off != tt.offset) {
			t.Errorf("%s: %v", tt.xml, got)
		}
	}
}
