package registry

import (
	"context"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
	"postern/xmpp"
)

// Whatever is sent in somebody else's name, or as an answer that somebody else
// was asked for, changes nothing.
func Test0114R17_ForgedSendersAtTheService(t *testing.T) {
	l := claimedLab(t)
	ctx := context.Background()
	l.rule(Rule{Subject: "friend@b.example", Action: Read})
	before := len(l.Rules(""))
	for _, inner := range []string{"<remove jid='thing@a.example'/>", "<disown jid='thing@a.example'/>", "<update jid='thing@a.example'><str name='SN' value='0'/></update>", "<mine>" + tags + "</mine>"} {
		for _, from := range []string{stranger, other1, thing2} {
			l.fails(from, inner, xmpp.ItemNotFound)
		}
	}
	l.ok(stranger, "<unregister jid='thing@a.example'/>", "") // the sender's own, which there is none of
	l.ok(stranger, "<unregister/>", "")
	if r := l.Server.get("thing@a.example", provisioning.Ref{}); r == nil || r.Owner != "owner@a.example" {
		t.Fatalf("%+v", r)
	}

	// A notice that waits for its answer is not answered by others.
	l.silent = true
	l.took()
	if _, err := l.set(owner, "<disown jid='thing@a.example'/>"); err != nil && err != xmpp.ErrLater {
		t.Fatal(err)
	}
	var id string
	for _, s := range l.took() {
		if strings.Contains(s.xml, "disowned") {
			id = s.ID
		}
	}
	if id == "" {
		t.Fatal("no notice")
	}
	for _, from := range []string{stranger, owner, "thing@a.example", "thing@a.example/other", "a.example"} {
		for _, typ := range []string{xmpp.Result, xmpp.TypeError} {
			st := xmpp.Stanza{Kind: xmpp.IQ, Type: typ, ID: id, From: jid.MustParse(from), To: l.Addr()}
			in := received(&st)
			if _, err := l.HandleStanza(ctx, &in); err != nil {
				t.Error(err)
			}
		}
	}
	if r := l.Server.get("thing@a.example", provisioning.Ref{}); r == nil || r.Owner != "owner@a.example" || len(l.Rules("")) != before {
		t.Errorf("released by a forged answer: %+v", r)
	}

	// Nobody but the owner answers a question.
	l.silent = false
	got, err := l.get(thing, "<canRead jid='new@x.example'/>")
	if err != nil || !strings.Contains(got, "result='false'") {
		t.Fatalf("%s, %v", got, err)
	}
	q, _ := l.question()
	for _, from := range []string{stranger, thing, "new@x.example/y"} {
		l.replies(from, q, "yes")
	}
	if len(l.Rules("")) != before || len(l.Questions()) != 1 {
		t.Errorf("%d rules, %d questions", len(l.Rules("")), len(l.Questions()))
	}
	// The first party is the sender, whatever the payload says: a stranger asks
	// about itself only.
	if got, err := l.get(stranger, "<canRead jid='friend@b.example'/>"); err != nil || !strings.Contains(got, "result='false'") {
		t.Errorf("%s, %v", got, err)
	}
}
