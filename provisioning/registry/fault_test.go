package registry

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"postern/provisioning"
	"postern/xmpp"
)

// failing is a state whose changes are made and then lost, as when the
// database goes away before the commit.
type failing struct {
	DB
	away atomic.Bool
}

var errGone = errors.New("the state is away")

func (f *failing) Update(change func(Tx) error) error {
	return f.DB.Update(func(tx Tx) error {
		if err := change(tx); err != nil || !f.away.Load() {
			return err
		}
		return errGone
	})
}

// While the state cannot be kept, requests get an error after which one may try
// again, nothing is half done, and all of it works afterwards.
func TestNothingIsHalfDone(t *testing.T) {
	l := claimedLab(t)
	state := &failing{DB: l.cfg.Store}
	l.Server.cfg.Store = state
	const who = "other@b.example"
	l.asks(canRead(who, ">"), "<canReadResponse jid='"+who+"' result='false'/>")
	id, _ := l.question()
	l.rule(Rule{Subject: "friend@b.example", Action: Friend})
	l.took()

	disown, unregister := "<disown jid='thing@a.example'/>", "<unregister/>"
	state.away.Store(true)
	wait := func(from, inner string) {
		t.Helper()
		_, err := l.set(from, inner)
		if e := xmpp.AsError(err); err == nil || e.Condition != xmpp.InternalServerError || e.Type != xmpp.Wait || e.Text != "" {
			t.Errorf("%s from %s: %v", inner, from, err)
		}
	}
	wait(thing, unregister)
	wait(thing, "<update><str name='SN' value='43'/></update>")
	wait(owner, "<remove jid='thing@a.example'/>")
	wait(thing2, "<register>"+tags+"</register>")
	if _, err := l.set(owner, disown); xmpp.AsError(err).Condition != xmpp.InternalServerError {
		t.Errorf("disown: %v", err)
	}
	if err := l.Decide(context.Background(), id, Yes); !errors.Is(err, errGone) {
		t.Errorf("decide: %v", err)
	}
	if err := l.RemoveRule(context.Background(), l.Rules("")[0].ID); !errors.Is(err, errGone) {
		t.Errorf("remove a rule: %v", err)
	}
	whole := func() {
		t.Helper()
		if len(l.Rules("")) != 1 || len(l.Questions()) != 1 || len(l.things) != 1 || l.hits("<strEq name='SN' value='42'/>") != 1 {
			t.Errorf("%d rules, %d questions, %d things", len(l.Rules("")), len(l.Questions()), len(l.things))
		}
		if r := l.Server.get("thing@a.example", provisioning.Ref{}); r == nil || r.Owner != "owner@a.example" || r.Removed {
			t.Errorf("%+v", r)
		}
	}
	whole()
	state.away.Store(false)
	l.restart()
	whole()

	// A decision, and that the device must forget its no, are one change.
	l.silent = true
	l.took()
	if err := l.Decide(context.Background(), id, Yes); err != nil {
		t.Fatal(err)
	}
	if s := l.took(); len(s) == 0 || !strings.HasPrefix(s[0].xml, "<clearCache") {
		t.Errorf("%v", s)
	}
	l.restart()
	if c := l.contacts["thing@a.example"]; c == nil || c.Dirty == 0 || len(l.Questions()) != 0 || len(l.Rules("")) != 2 {
		t.Errorf("%+v, %d questions, %d rules", c, len(l.Questions()), len(l.Rules("")))
	}
	l.silent = false
	l.ok(owner, disown, "")
	if len(l.Rules("")) != 0 {
		t.Error("rules outlive the owner")
	}
}
