package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
	"postern/xmpp"
)

var gone = &xmpp.Error{Condition: xmpp.ItemNotFound}

func (l *lab) client(from string) provisioning.Registry {
	return provisioning.Registry{Session: &link{l: l, from: from}, Addr: l.Addr()}
}

// An owner makes, sees, tests and drops rules; nobody else sees any of it.
func TestAnOwnersRules(t *testing.T) {
	l := claimedLab(t)
	ctx, device := context.Background(), jid.MustParse("thing@a.example")
	me, other := l.client(owner), l.client(other1)
	rule := provisioning.Rule{Device: device, Subject: "other@b.example", Action: provisioning.ActionRead,
		Nodes: []provisioning.Ref{{ID: "meter"}}, Names: []string{"power"}, Types: 1 | 2, Until: l.clock().Add(time.Hour)}
	made, err := me.AddRule(ctx, rule)
	if err != nil || made.ID == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	rule.ID = made.ID
	if fmt.Sprint(made) != fmt.Sprint(rule) {
		t.Errorf("made %+v\nwant %+v", made, rule)
	}
	if _, err := other.AddRule(ctx, rule); !errors.Is(err, gone) {
		t.Errorf("a stranger makes a rule: %v", err)
	}
	bad := rule
	bad.Action = "own"
	if _, err := me.AddRule(ctx, bad); !errors.Is(err, &xmpp.Error{Condition: xmpp.BadRequest}) || !strings.Contains(err.Error(), "the action is") {
		t.Errorf("a rule that is wrong: %v", err)
	}
	for _, d := range []jid.JID{{}, device} {
		o, err := me.List(ctx, provisioning.Page{Name: provisioning.NameRules, Device: d})
		if err != nil || len(o.Rules) != 1 || fmt.Sprint(o.Rules[0]) != fmt.Sprint(rule) {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if o, err := other.List(ctx, provisioning.Page{Name: provisioning.NameRules}); err != nil || len(o.Rules) != 0 {
		t.Errorf("a stranger sees %+v, %v", o, err)
	}
	if _, err := other.List(ctx, provisioning.Page{Name: provisioning.NameRules, Device: device}); !errors.Is(err, gone) {
		t.Errorf("a stranger asks about the device: %v", err)
	}

	who := jid.MustParse("other@b.example")
	q := provisioning.Question{JID: who, Nodes: []provisioning.Ref{{ID: "meter"}, {ID: "fan"}}, Names: []string{"power"}, Types: 1}
	a, err := me.May(ctx, device, q)
	if err != nil || !a.Result || len(a.Nodes) != 1 || a.Nodes[0].ID != "meter" {
		t.Errorf("may: %+v, %v", a, err)
	}
	q.Control = true
	if a, err = me.May(ctx, device, q); err != nil || a.Result {
		t.Errorf("may control: %+v, %v", a, err)
	}
	if _, err := other.May(ctx, device, q); !errors.Is(err, gone) {
		t.Errorf("a stranger asks what is allowed: %v", err)
	}
	if yes, err := me.MayBeFriend(ctx, device, who); err != nil || !yes {
		t.Errorf("who may read may be a friend: %v, %v", yes, err)
	}
	o, err := me.List(ctx, provisioning.Page{Name: provisioning.NameFriends, Device: device})
	want := []provisioning.Friend{{JID: jid.MustParse("owner@a.example"), Yes: true}, {JID: who, Yes: true}}
	if err != nil || !slices.EqualFunc(o.Friends, want, func(a, b provisioning.Friend) bool { return a.JID.Equal(b.JID) && a.Yes == b.Yes }) {
		t.Errorf("friends: %+v, %v", o.Friends, err)
	}
	if _, err := other.List(ctx, provisioning.Page{Name: provisioning.NameFriends, Device: device}); !errors.Is(err, gone) {
		t.Errorf("a stranger asks for friends: %v", err)
	}

	if err := other.DropRule(ctx, made.ID); !errors.Is(err, gone) {
		t.Errorf("a stranger drops a rule: %v", err)
	}
	if err := me.DropRule(ctx, made.ID); err != nil {
		t.Error(err)
	}
	if err := me.DropRule(ctx, made.ID); !errors.Is(err, gone) {
		t.Errorf("twice: %v", err)
	}
}

// Questions are seen and answered by the owner only.
func TestAnOwnersQuestions(t *testing.T) {
	l := claimedLab(t)
	ctx, device := context.Background(), jid.MustParse("thing@a.example")
	me, other := l.client(owner), l.client(other1)
	ask := "<canRead jid='other@b.example' momentary='true'><node nodeId='meter'/><field name='power'/></canRead>"
	if got, err := l.get(thing, ask); err != nil || !strings.Contains(got, "result='false'") {
		t.Fatalf("%s, %v", got, err)
	}
	o, err := me.List(ctx, provisioning.Page{Name: provisioning.NameQuestions})
	if err != nil || len(o.Questions) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	q := o.Questions[0]
	if !q.Device.Equal(device) || q.Who.String() != "other@b.example" || q.Action != "read" || len(q.Nodes) != 1 || len(q.Names) != 1 || q.Types.String() != "momentary" || !q.When.Equal(l.clock()) {
		t.Errorf("%+v", q)
	}
	if o, err := other.List(ctx, provisioning.Page{Name: provisioning.NameQuestions}); err != nil || len(o.Questions) != 0 {
		t.Errorf("the asker sees %+v, %v", o, err)
	}
	if err := other.Decide(ctx, q.ID, "yes"); !errors.Is(err, gone) {
		t.Errorf("the asker decides: %v", err)
	}
	if err := me.Decide(ctx, q.ID, "maybe"); !errors.Is(err, &xmpp.Error{Condition: xmpp.BadRequest}) {
		t.Errorf("no verdict: %v", err)
	}
	if err := me.Decide(ctx, q.ID, "yes"); err != nil {
		t.Fatal(err)
	}
	if got, err := l.get(thing, ask); err != nil || !strings.Contains(got, "result='true'") {
		t.Errorf("%s, %v", got, err)
	}
	if err := me.Decide(ctx, q.ID, "yes"); !errors.Is(err, gone) {
		t.Errorf("twice: %v", err)
	}
}

// Own things are listed whatever the public sees, a page at a time, and no KEY.
func TestAnOwnersThings(t *testing.T) {
	l := claimedLab(t)
	ctx := context.Background()
	me := l.client(owner)
	for i := range 60 {
		tags := fmt.Sprintf("<str name='SN' value='n%d'/><str name='KEY' value='k%d'/>", i, i)
		l.ok(thing2, fmt.Sprintf("<register nodeId='n%02d'>%s</register>", i, tags), "")
		l.ok(owner, "<mine public='false'>"+tags+"</mine>", fmt.Sprintf("<claimed jid='thing2@a.example' public='false' nodeId='n%02d'/>", i))
		l.pass(10 * time.Second)
	}
	o, err := me.ListAll(ctx, provisioning.Page{Name: provisioning.NameOwnThings}, 1000)
	if err != nil || len(o.Things) != 61 || o.More {
		t.Fatalf("%d things, %v", len(o.Things), err)
	}
	first, _ := me.List(ctx, provisioning.Page{Name: provisioning.NameOwnThings})
	if len(first.Things) != pageSize || !first.More {
		t.Errorf("a page of %d", len(first.Things))
	}
	for _, x := range o.Things {
		if _, ok := provisioning.FindTag(x.Tags, "KEY"); ok || !x.Online || x.Owner.String() != "owner@a.example" {
			t.Errorf("%+v", x)
		}
	}
	if err := me.Remove(ctx, jid.MustParse("thing@a.example"), provisioning.Ref{}); err != nil {
		t.Fatal(err)
	}
	o, err = me.List(ctx, provisioning.Page{Name: provisioning.NameOwnThings, Device: jid.MustParse("thing@a.example")})
	if err != nil || len(o.Things) != 1 || !o.Things[0].Removed {
		t.Errorf("after removal: %+v, %v", o, err)
	}
	if o, err := l.client(other1).List(ctx, provisioning.Page{Name: provisioning.NameOwnThings}); err != nil || len(o.Things) != 0 {
		t.Errorf("a stranger owns %+v, %v", o, err)
	}
}

// A thing changes hands when both want it, and what the first decided ends.
func TestTransfer(t *testing.T) {
	l := claimedLab(t)
	ctx, device := context.Background(), jid.MustParse("thing@a.example")
	me, other, third := l.client(owner), l.client(other1), l.client(stranger)
	to := jid.MustParse("other@b.example")
	if err := third.Offer(ctx, device, provisioning.Ref{}, to); !errors.Is(err, gone) {
		t.Errorf("a stranger offers: %v", err)
	}
	if err := me.Offer(ctx, device, provisioning.Ref{}, jid.MustParse("owner@a.example")); !errors.Is(err, &xmpp.Error{Condition: xmpp.BadRequest}) {
		t.Errorf("to oneself: %v", err)
	}
	if err := other.Accept(ctx, device, provisioning.Ref{}); !errors.Is(err, gone) {
		t.Errorf("without an offer: %v", err)
	}
	if _, err := me.AddRule(ctx, provisioning.Rule{Device: device, Subject: "stranger@c.example", Action: "read"}); err != nil {
		t.Fatal(err)
	}
	offer := func(to jid.JID) {
		t.Helper()
		if err := me.Offer(ctx, device, provisioning.Ref{}, to); err != nil {
			t.Fatal(err)
		}
	}
	offer(to)
	if all := l.took(); !slices.ContainsFunc(all, func(s sent) bool {
		return s.Kind == xmpp.Message && s.To.Equal(to) && strings.Contains(s.xml, "postern transfer thing@a.example --accept")
	}) {
		t.Errorf("the offer is not told: %v", all)
	}
	o, err := other.List(ctx, provisioning.Page{Name: provisioning.NameOwnThings})
	if err != nil || len(o.Things) != 1 || !o.Things[0].To.Equal(to) || o.Things[0].Owner.String() != "owner@a.example" {
		t.Errorf("%+v, %v", o, err)
	}
	if err := third.Accept(ctx, device, provisioning.Ref{}); !errors.Is(err, gone) {
		t.Errorf("somebody else accepts: %v", err)
	}
	offer(jid.JID{}) // withdrawn
	if err := other.Accept(ctx, device, provisioning.Ref{}); !errors.Is(err, gone) {
		t.Errorf("withdrawn: %v", err)
	}
	offer(to)
	l.pass(offerLife + time.Second)
	if err := other.Accept(ctx, device, provisioning.Ref{}); !errors.Is(err, gone) {
		t.Errorf("too late: %v", err)
	}
	offer(to)
	l.restart()
	me, other = l.client(owner), l.client(other1)
	l.took()
	if err := other.Accept(ctx, device, provisioning.Ref{}); err != nil {
		t.Fatal(err)
	}
	if all := l.took(); !slices.ContainsFunc(all, func(s sent) bool {
		return s.To.String() == thing && s.xml == "<claimed jid='other@b.example' public='true'/>"
	}) {
		t.Errorf("the thing is not told: %v", all)
	}
	for name, again := range map[string]func(){"now": func() {}, "after a restart": l.restart} {
		again()
		if r := l.Server.get(device.String(), provisioning.Ref{}); r.Owner != "other@b.example" || r.Offer != "" {
			t.Errorf("%s: %+v", name, r)
		}
		if rules := l.Rules(""); len(rules) != 0 {
			t.Errorf("%s: rules of the former owner: %v", name, rules)
		}
	}
	if err := l.client(owner).Offer(ctx, device, provisioning.Ref{}, to); !errors.Is(err, gone) {
		t.Errorf("the former owner offers: %v", err)
	}
	// The code on the label is worth nothing to the former owner.
	l.fails(owner, "<mine>"+tags+"</mine>", xmpp.ItemNotFound)
}

// What owners ask is bounded in number.
func TestOwnersAreLimited(t *testing.T) {
	l := claimedLab(t, func(c *Config) { c.Limits.Searches = 5 })
	me := l.client(owner)
	var err error
	for range 6 {
		_, err = me.List(context.Background(), provisioning.Page{Name: provisioning.NameOwnThings})
	}
	if !errors.Is(err, &xmpp.Error{Condition: xmpp.ResourceConstraint}) {
		t.Errorf("the sixth request of a minute: %v", err)
	}
}
