package roster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/roster"
	"postern/xmpp/xmpptest"
)

var (
	account = jid.MustParse(xmpptest.Account)
	owner   = jid.MustParse("owner@example.org")
	friend  = jid.MustParse("friend@example.org")
)

const contacts = `<query xmlns='jabber:iq:roster'><item jid='owner@example.org' subscription='both' name='Owner'><group>people</group></item>` +
	`<item jid='Friend@example.org' subscription='from'/><item jid='registry.example.org' subscription='to'/>` +
	`<item jid='odd@example.org' subscription='maybe' ask='subscribe' new='x'/><item jid='@'/></query>`

// online starts a session with a roster; the roster has been fetched and
// presence was sent.
func online(t *testing.T, change func(*roster.Config)) (*roster.Service, *xmpptest.Peer) {
	t.Helper()
	srv := xmpptest.NewServer(t, xmpptest.Options{})
	cfg := srv.Config()
	m := new(xmpp.Mux)
	info := disco.New(disco.Config{Software: "https://postern.example"})
	info.Register(m)
	rc := roster.Config{Account: account, Policy: roster.AllowList(roster.Pending, owner, friend, jid.MustParse("trusted.example")),
		Priority: -1, Presence: func() xmpp.Payload {
			c, err := info.Caps()
			if err != nil {
				t.Error(err)
			}
			return c
		}}
	if change != nil {
		change(&rc)
	}
	r, err := roster.New(rc)
	if err != nil {
		t.Fatal(err)
	}
	r.Register(m)
	cfg.Handler = m
	cfg.OnOnline = func(ctx context.Context, s *xmpp.Session, resumed bool) {
		r.Bind(s)
		if err := r.Online(ctx, resumed); err != nil {
			t.Error(err)
		}
	}
	xmpptest.Start(t, cfg)
	p := srv.Login()
	if q := p.Answer(contacts); !strings.Contains(xmpptest.Text(t, q), "<query xmlns='jabber:iq:roster'/>") {
		t.Errorf("IM-R05: the roster comes first, got %s", xmpptest.Text(t, q))
	}
	got := xmpptest.Text(t, p.Read())
	if !strings.HasPrefix(got, "<presence><priority>-1</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://postern.example' ver='") {
		t.Errorf("IM-R40, IM-R42: %s", got)
	}
	return r, p
}

// notes collects what callbacks are told.
type notes struct {
	mu sync.Mutex
	b  strings.Builder
}

func (n *notes) add(what ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(&n.b, what...)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.ReplaceAll(n.b.String(), "\n", " ")
}

func list(r *roster.Service) string {
	var b strings.Builder
	for _, it := range r.Contacts() {
		fmt.Fprintf(&b, "%s:%s ", it.JID, it.Subscription)
	}
	return b.String()
}

func TestIMR05R15R40R42_Fetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := online(t, nil)
		if got := list(r); got != "friend@example.org:from odd@example.org:none owner@example.org:both registry.example.org:to " {
			t.Errorf("contacts %s", got)
		}
		it, ok := r.Contact(jid.MustParse("owner@example.org/phone"))
		if !ok || !it.From() || !it.To() || it.Name != "Owner" || it.Groups[0] != "people" {
			t.Errorf("%+v", it)
		}
		it, _ = r.Contact(jid.MustParse("odd@example.org"))
		if it.From() || it.To() || !it.Ask {
			t.Errorf("%+v", it)
		}
	})
}

func TestIMR06R07_Pushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone notes
		r, p := online(t, func(c *roster.Config) { c.OnUnsubscribed = func(j jid.JID) { gone.add(j.String()) } })
		push := func(from, items string) string {
			t.Helper()
			p.Send("<iq type='set' id='p'" + from + "><query xmlns='jabber:iq:roster' ver='2'>" + items + "</query></iq>")
			return xmpptest.Text(t, p.Read())
		}
		if got := push("", "<item jid='new@example.org' subscription='from'/>"); got != "<iq type='result' id='p'/>" {
			t.Errorf("got %s", got)
		}
		if got := push(" from='thing@example.org'", "<item jid='owner@example.org' subscription='from'/>"); !strings.Contains(got, "result") {
			t.Errorf("got %s", got)
		}
		for _, from := range []string{"evil@example.org", "example.org", "thing@example.org/other", "thing@example.com"} {
			if got := push(" from='"+from+"'", "<item jid='evil@example.org' subscription='both'/>"); !strings.Contains(got, "service-unavailable") {
				t.Errorf("from %s: %s", from, got)
			}
		}
		for _, items := range []string{"", "<item jid='a@example.org'/><item jid='b@example.org'/>", "<item/>"} {
			if got := push("", items); !strings.Contains(got, "bad-request") {
				t.Errorf("%s: %s", items, got)
			}
		}
		push("", "<item jid='friend@example.org' subscription='remove'/>")
		synctest.Wait()
		if got := list(r); got != "new@example.org:from odd@example.org:none owner@example.org:from registry.example.org:to " {
			t.Errorf("contacts %s", got)
		}
		if got := gone.String(); got != "owner@example.org friend@example.org " {
			t.Errorf("unsubscribed %s", got)
		}
	})
}

func TestIMR18R26R27_SubscriptionPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := online(t, nil)
		answer := func(to, typ string) {
			t.Helper()
			c := p.Read().Root()
			gotTo, _ := c.Attr(exi.N("", "to"))
			gotType, _ := c.Attr(exi.N("", "type"))
			id, _ := c.Attr(exi.N("", "id"))
			if !gotTo.Is(to) || !gotType.Is(typ) || id.IsZero() {
				t.Errorf("got %s, want %s to %s", xmpptest.TextAt(t, c), typ, to)
			}
		}
		for _, from := range []string{"owner@example.org", "owner@example.org/phone", "Friend@example.org", "any@trusted.example"} {
			p.Send("<presence type='subscribe' from='" + from + "'/>")
			bare, _, _ := strings.Cut(strings.ToLower(from), "/")
			answer(bare, "subscribed")
		}
		p.Send("<presence type='subscribe' from='stranger@example.org'/><presence type='subscribe' from='second@example.org'/>")
		p.Quiet(time.Second / 2)
		if got := fmt.Sprint(r.Requests()); got != "[second@example.org stranger@example.org]" {
			t.Errorf("requests %s", got)
		}
		ctx := context.Background()
		if err := r.Accept(ctx, jid.MustParse("stranger@example.org")); err != nil {
			t.Error(err)
		}
		answer("stranger@example.org", "subscribed")
		if err := r.Refuse(ctx, jid.MustParse("second@example.org")); err != nil {
			t.Error(err)
		}
		answer("second@example.org", "unsubscribed")
		if err := r.Accept(ctx, jid.MustParse("nobody@example.org")); err == nil || len(r.Requests()) != 0 {
			t.Error("IM-R27: subscribed unasked")
		}
		if err := r.Subscribe(ctx, jid.MustParse("registry.example.org")); err != nil {
			t.Error(err)
		}
		answer("registry.example.org", "subscribe")
	})
}

func TestRefusingPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := online(t, func(c *roster.Config) { c.Policy = roster.AllowList(roster.Refused, owner) })
		p.Send("<presence type='subscribe' from='stranger@example.org'/>")
		if got := xmpptest.Text(t, p.Read()); !strings.Contains(got, "type='unsubscribed'") {
			t.Errorf("got %s", got)
		}
	})
}

func TestIMR28R41R57_Presence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events, gone notes
		r, p := online(t, func(c *roster.Config) {
			c.OnPresence = func(_ *xmpp.Stanza, p roster.Presence, available bool) {
				if p.From.Bare().Equal(owner) {
					events.add(p.From.Resourcepart(), available)
				}
			}
			c.OnUnsubscribed = func(j jid.JID) { gone.add(j.String()) }
		})
		state := func() string {
			synctest.Wait()
			s := ""
			for _, x := range r.Resources(owner) {
				s += fmt.Sprintf("%s/%s/%d ", x.From.Resourcepart(), x.Show, x.Priority)
			}
			return s
		}
		p.Send("<presence from='owner@example.org/a'><priority>5</priority><show>dnd</show></presence>" +
			"<presence from='owner@example.org/b'><priority>7</priority><show>asleep</show></presence>" +
			"<presence from='owner@example.org/c'><priority>1000</priority></presence>" +
			"<presence from='stranger@example.org/x'/><presence from='friend@example.org/x'/>")
		if got := state(); got != "b//7 a/dnd/5 c//0 " {
			t.Errorf("resources %s", got)
		}
		if r.Available(jid.MustParse("stranger@example.org/x")) || r.Available(jid.MustParse("friend@example.org")) ||
			!r.Available(owner) || !r.Available(jid.MustParse("owner@example.org/a")) || r.Available(jid.MustParse("owner@example.org/z")) {
			t.Error("available")
		}
		p.Send("<presence type='unavailable' from='owner@example.org/a'/><presence type='error' from='owner@example.org/b'/>")
		if got := state(); got != "c//0 " {
			t.Errorf("resources %s", got)
		}
		for i := range 50 {
			p.Send(fmt.Sprintf("<presence from='owner@example.org/r%d'/>", i))
		}
		synctest.Wait()
		if n := len(r.Resources(owner)); n > 16 {
			t.Errorf("%d resources of one contact", n)
		}
		p.Send("<presence type='unsubscribed' from='owner@example.org'/>")
		if got := state(); got != "" || gone.String() != "owner@example.org " {
			t.Errorf("resources %s, gone %s", got, &gone)
		}
		if got := events.String(); !strings.HasPrefix(got, "a true b true c true a false b false r0 true ") {
			t.Errorf("events %s", got)
		}
	})
}

func Test0115R15R16_CapabilitiesOfContacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := online(t, nil)
		caps := func() string {
			synctest.Wait()
			if list := r.Resources(owner); len(list) == 1 {
				return list[0].Caps.Ver
			}
			return "not there"
		}
		c := "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='%s'/>"
		for _, tt := range []struct{ presence, ver string }{
			{"<presence from='owner@example.org/a'/>", ""},
			{"<presence from='owner@example.org/a'>" + fmt.Sprintf(c, "v1") + "</presence>", "v1"},
			{"<presence from='owner@example.org/a'><show>away</show></presence>", "v1"},
			{"<presence from='owner@example.org/a'>" + fmt.Sprintf(c, "v2") + "</presence>", "v2"},
			{"<presence type='unavailable' from='owner@example.org/a'/>", "not there"},
			{"<presence from='owner@example.org/a'/>", ""},
		} {
			p.Send(tt.presence)
			if got := caps(); got != tt.ver {
				t.Errorf("after %s: %q", tt.presence, got)
			}
		}
	})
}

// A contact's presence that comes before the push which makes it one counts
// when the push has come; that of strangers takes no memory without bounds.
func TestPresenceBeforeThePush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var entries notes
		r, p := online(t, func(c *roster.Config) {
			c.OnItem = func(it roster.Item) { entries.add(it.JID.String(), it.Subscription) }
		})
		late := jid.MustParse("late@example.org/x")
		for i := range 300 {
			if i == 100 {
				p.Send("<presence from='late@example.org/x'/>")
			}
			p.Send(fmt.Sprintf("<presence from='s%d@example.org/x'/>", i))
			synctest.Wait()
		}
		if r.Available(late) {
			t.Error("available without a subscription")
		}
		for _, sub := range []string{"none' ask='subscribe", "to"} {
			p.Send("<iq type='set' id='p'><query xmlns='jabber:iq:roster'><item jid='late@example.org' subscription='" + sub + "'/></query></iq>")
			p.Expect("<iq type='result' id='p'/>")
		}
		if !r.Available(late) {
			t.Error("the presence is forgotten")
		}
		if got := entries.String(); got != "late@example.org none late@example.org to " {
			t.Errorf("told of %s", got)
		}
	})
}

func Test0115R05_CancelAndAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := online(t, nil)
		done := make(chan error, 1)
		go func() { done <- r.Cancel(context.Background(), jid.MustParse("friend@example.org/x")) }()
		got := xmpptest.Text(t, p.Answer(""))
		if !strings.Contains(got, "<item jid='friend@example.org' subscription='remove'/>") {
			t.Errorf("got %s", got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := r.Announce(context.Background()); err != nil {
			t.Error(err)
		}
		if got := xmpptest.Text(t, p.Read()); !strings.HasPrefix(got, "<presence>") || !strings.Contains(got, "<c xmlns='http://jabber.org/protocol/caps' ") {
			t.Errorf("0115-R05: %s", got)
		}
		r.Offline()
	})
}

func TestConfiguration(t *testing.T) {
	if _, err := roster.New(roster.Config{}); err == nil {
		t.Error("no policy")
	}
	if _, err := roster.New(roster.Config{Policy: roster.AllowList(roster.Pending, owner), Priority: 128}); err == nil {
		t.Error("priority 128")
	}
}

// The server sends probes; a client that did would only double them.
func TestIMR34_NoProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := online(t, nil)
		p.Send("<presence from='owner@example.org/a'/><presence type='unavailable' from='owner@example.org/a'/>" +
			"<presence type='error' from='owner@example.org/b'/>" +
			"<iq type='set' id='p1'><query xmlns='jabber:iq:roster'><item jid='new@example.org' subscription='both'/></query></iq>")
		synctest.Wait()
		if err := r.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"id='p1'", "<presence>"} {
			if got := xmpptest.Text(t, p.Read()); !strings.Contains(got, want) || strings.Contains(got, "probe") {
				t.Errorf("%s, want %s", got, want)
			}
		}
		p.Quiet(time.Minute)
	})
}
