package cli

import (
	"errors"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/control"
)

func TestLanguageOfTheEnvironment(t *testing.T) {
	for _, c := range []struct{ all, messages, lang, want string }{
		{"", "", "", ""},
		{"", "", "de_AT.UTF-8", "de-AT"},
		{"", "de_DE@euro", "en_US.UTF-8", "de-DE"},
		{"sv", "de_DE", "en_US", "sv"},
		{"C", "", "de_DE", ""}, // no language, and it comes first
		{"C.UTF-8", "", "", ""},
		{"POSIX", "", "", ""},
		{"", "", "/usr/share/locale/x", ""},
		{"", "", "de" + strings.Repeat("_x", 40), ""},
		{"", "", "de\x01", ""},
	} {
		e := &Env{Getenv: func(name string) string {
			return map[string]string{"LC_ALL": c.all, "LC_MESSAGES": c.messages, "LANG": c.lang}[name]
		}}
		if got := e.language(); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// 0325-R33: set asks in the language of whoever sits there, and shows what it
// was told.
func TestSetAsksInTheLanguageOfTheEnvironment(t *testing.T) {
	f := &fakeSession{t: t, answer: func(q string) string {
		return "<iq type='error' id='x' from='" + testThing + "' xml:lang='de'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" +
			"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='de'>Es gibt keinen Knoten fan</text></error></iq>"
	}}
	e := &Env{Getenv: func(name string) string { return map[string]string{"LANG": "de_AT.UTF-8"}[name] }}
	o := order{lang: e.language()}
	p, err := parseAssignment("speed:int=1")
	if err != nil {
		t.Fatal(err)
	}
	o.params = []param{p}
	c := &conn{control: control.NewClient(f), alive: t.Context()}
	_, err = c.control.Set(t.Context(), jid.MustParse(testThing), o.request())
	if len(f.sent) != 1 || !strings.Contains(f.sent[0], "xml:lang='de-AT'") {
		t.Errorf("asked %q", f.sent)
	}
	var refused *control.SetError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if err = c.setRefusal(&o, refused); !strings.Contains(err.Error(), "Es gibt keinen Knoten fan") {
		t.Errorf("%v", err)
	}
}
