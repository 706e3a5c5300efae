package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/local"
	"postern/internal/peertest"
	"postern/provisioning"
	"postern/xmpp"
)

// A gateway's whole life with the programs that ship, over real servers: from
// unclaimed through claimed, read by a friend after its owner's yes, narrowed,
// unfriended, disowned, to claimed by somebody else. Server, registry and
// gateway are restarted after each step.
func TestLifeOfAProvisionedGateway(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			domain := "things." + name + ".example"
			start := peertest.ProsodyWith
			if name == "ejabberd" {
				start = peertest.EjabberdWith
			}
			newLife(t, start(t, peertest.Options{Components: []string{domain}}), domain).live()
		})
	}
}

type life struct {
	t       *testing.T
	srv     *peertest.Server
	reg     *service
	gw      *gateway
	account string // of the gateway
	client  *local.Client

	owner, friend, stranger *person
}

func newLife(t *testing.T, s *peertest.Server, domain string) *life {
	l := &life{t: t, srv: s, account: s.JID("gateway")}
	l.reg = startRegistry(t, s, domain)
	// Nobody has rights by the configuration.
	l.gw = startGateway(t, s, gatewayOptions{access: "{ask: keep}", more: `provisioning:
  use: true
  tags: {SN: "4711", MAN: maker.example, MODEL: GW-1, V: 1.0}
`})
	l.client = local.NewClient(l.gw.socket)
	l.owner, l.friend, l.stranger = newPerson(t, s, "owner"), newPerson(t, s, "reader"), newPerson(t, s, "stranger")
	return l
}

// pairing returns what the gateway says about itself.
func (l *life) pairing() local.Claiming {
	l.t.Helper()
	p, err := l.client.Pairing(l.t.Context())
	if err != nil || len(p.Things) != 1 {
		l.t.Fatalf("%+v, %v", p, err)
	}
	return p.Things[0]
}

func (l *life) until(what string, ok func(c local.Claiming) bool) local.Claiming {
	l.t.Helper()
	var c local.Claiming
	eventually(l.t, 40*time.Second, func() error {
		if c = l.pairing(); ok(c) {
			return nil
		}
		return fmt.Errorf("waiting for %s: %+v", what, c)
	})
	return c
}

// restart ends and starts everything but the people, who come back by
// themselves.
func (l *life) restart(step string) {
	l.t.Helper()
	l.gw.stop()
	l.reg.stop()
	l.srv.Restart()
	l.reg.start()
	l.gw.start()
	for _, p := range []*person{l.owner, l.friend, l.stranger} {
		p.wait("back after "+step, func() bool { return p.State().Phase == xmpp.Online })
	}
	l.gw.waitPhase("online", 30*time.Second)
}

func (l *life) claimBy(p *person, code string) error {
	c, err := provisioning.ParseCode(code)
	if err != nil {
		l.t.Fatal(err)
	}
	_, err = p.client(l.reg.domain).Claim(l.t.Context(), provisioning.Mine{Tags: c.Tags})
	return err
}

// outcome waits until a read gives what is wanted.
func (l *life) outcome(p *person, want string, fields ...string) {
	l.t.Helper()
	eventually(l.t, 40*time.Second, func() error {
		full := p.sees(l.account)
		if full == "" {
			full = l.fullJID()
		}
		got, err := p.reads(full, fields...)
		if err == nil && got != want {
			err = fmt.Errorf("%s reading %v got %s, want %s", p.name, fields, got, want)
		}
		return err
	})
}

// fullJID is the gateway's address, for those who do not see its presence.
func (l *life) fullJID() string { return l.account + "/postern" }

func (l *life) live() {
	t := l.t
	code := l.until("the registration", func(c local.Claiming) bool { return c.Registered && c.Code != "" }).Code
	l.restart("the registration")
	if again := l.pairing().Code; again != code {
		t.Fatalf("the code has changed from %s to %s", code, again)
	}
	l.until("the registration after the restart", func(c local.Claiming) bool { return c.Registered })
	l.outcome(l.owner, "forbidden")

	// Claimed.
	if err := l.claimBy(l.owner, code); err != nil {
		t.Fatal(err)
	}
	l.until("the owner", func(c local.Claiming) bool { return c.Owner == l.srv.JID("owner") })
	l.restart("the claim")
	if c := l.pairing(); c.Owner != l.srv.JID("owner") || c.Code != "" || c.URI != "" {
		t.Fatalf("after the claim: %+v", c)
	}
	if err := l.claimBy(l.stranger, code); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		t.Errorf("a second claim: %v", err)
	}
	l.owner.subscribe(l.account)
	l.owner.wait("the gateway's presence", func() bool { return l.owner.sees(l.account) != "" })
	l.outcome(l.owner, "accepted")
	l.noKey(code)

	// A friend asks; the owner is asked.
	l.friend.subscribe(l.account)
	l.owner.decide(l.owner.question("become a friend"), "yes")
	l.friend.wait("being asked to be a friend", func() bool { return l.friend.got("subscribe " + l.account) })
	l.friend.subscribe(l.account)
	l.friend.wait("the gateway's presence", func() bool { return l.friend.sees(l.account) != "" })
	l.outcome(l.friend, "forbidden", "temperature")
	l.owner.decide(l.owner.question("read temperature"), "yes")
	l.outcome(l.friend, "accepted", "temperature")
	l.restart("the friend's right")
	l.outcome(l.friend, "accepted", "temperature")
	l.outcome(l.friend, "forbidden", "humidity")
	l.owner.decide(l.owner.question("read humidity"), "no")
	l.outcome(l.stranger, "forbidden", "temperature")

	// Narrowed: another field, and not the first one any more.
	l.narrow()
	l.restart("the narrowing")
	l.outcome(l.friend, "forbidden", "temperature")
	l.outcome(l.friend, "accepted", "pressure")

	l.unfriend()
	l.restart("the end of the friendship")
	l.outcome(l.friend, "forbidden", "pressure")

	// Disowned by the owner, nobody else; then somebody else's.
	thing := jid.MustParse(l.account)
	if err := l.stranger.client(l.reg.domain).Disown(t.Context(), thing, provisioning.Ref{}); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		t.Errorf("disowned by a stranger: %v", err)
	}
	eventually(t, 40*time.Second, func() error {
		return l.owner.client(l.reg.domain).Disown(t.Context(), thing, provisioning.Ref{})
	})
	fresh := l.until("a new code", func(c local.Claiming) bool { return c.Registered && c.Owner == "" }).Code
	if fresh == code || fresh == "" {
		t.Fatalf("the code after disowning is %q", fresh)
	}
	l.outcome(l.owner, "forbidden", "temperature")
	l.restart("disowning")
	l.until("the registration after disowning", func(c local.Claiming) bool { return c.Registered })
	if err := l.claimBy(l.stranger, code); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		t.Errorf("claimed by the old code: %v", err)
	}
	if err := l.claimBy(l.stranger, fresh); err != nil {
		t.Fatal(err)
	}
	l.until("the new owner", func(c local.Claiming) bool { return c.Owner == l.srv.JID("stranger") })
	l.restart("the second claim")
	l.outcome(l.stranger, "accepted", "temperature")
	l.outcome(l.owner, "forbidden", "temperature")
	l.outcome(l.friend, "forbidden", "pressure")
}

// noKey checks that the secret is gone from the registry.
func (l *life) noKey(code string) {
	l.t.Helper()
	_, key, _ := strings.Cut(code, "KEY:")
	things, err := local.NewClient(l.reg.socket).Things(l.t.Context(), local.ThingsPage{})
	if err != nil || len(things.Things) != 1 || strings.Contains(fmt.Sprint(things), key) {
		l.t.Errorf("%+v, %v", things, err)
	}
	found, err := l.stranger.client(l.reg.domain).Search(l.t.Context(), provisioning.Search{Ops: []provisioning.Op{{Tag: "SN", Value: "4711"}}})
	if err != nil || len(found.Things) != 1 || strings.Contains(fmt.Sprint(found), key) {
		l.t.Errorf("%+v, %v", found, err)
	}
}

func (l *life) rules() []local.Rule {
	l.t.Helper()
	rules, err := local.NewClient(l.reg.socket).Rules(l.t.Context(), l.account)
	if err != nil {
		l.t.Fatal(err)
	}
	return rules
}

// narrow replaces what the friend may read, over the air as the owner.
func (l *life) narrow() {
	l.t.Helper()
	c := l.owner.client(l.reg.domain)
	for _, r := range l.rules() {
		if r.Action == "read" {
			if err := c.DropRule(l.t.Context(), r.ID); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	_, err := c.AddRule(l.t.Context(), provisioning.Rule{Device: jid.MustParse(l.account), Subject: l.srv.JID("reader"), Action: provisioning.ActionRead, Names: []string{"pressure"}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.outcome(l.friend, "accepted", "pressure")
	l.outcome(l.friend, "forbidden", "temperature")
}

// unfriend forbids the friendship: the gateway ends it.
func (l *life) unfriend() {
	l.t.Helper()
	c := l.owner.client(l.reg.domain)
	l.friend.forget()
	for _, r := range l.rules() {
		if err := c.DropRule(l.t.Context(), r.ID); err != nil {
			l.t.Fatal(err)
		}
	}
	_, err := c.AddRule(l.t.Context(), provisioning.Rule{Device: jid.MustParse(l.account), Subject: l.srv.JID("reader"), Action: provisioning.ActionFriend, Deny: true})
	if err != nil {
		l.t.Fatal(err)
	}
	l.friend.wait("the end of the friendship", func() bool {
		return l.friend.got("unsubscribed "+l.account) && l.friend.sees(l.account) == ""
	})
	l.outcome(l.friend, "forbidden", "pressure")
}
