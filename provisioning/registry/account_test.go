package registry

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/peertest"
	"postern/internal/store"
	"postern/provisioning"
	"postern/xmpp"
	"postern/xmpp/hub"
	"postern/xmpp/roster"
	"postern/xmpp/tcp"
)

// counting counts what is written.
type counting struct {
	DB
	writes int
}

func (c *counting) Update(f func(Tx) error) error { c.writes++; return c.DB.Update(f) }

// 10,000 questions about owners, as after an outage, write nothing; only the
// thing itself is answered, and what it asked changes nothing.
func TestQuestionsAboutOwnersWriteNothing(t *testing.T) {
	l := newLab(t)
	const things, each = 100, 100
	for i := range things {
		key := fmt.Sprintf("<str name='SN' value='%d'/><str name='KEY' value='k%d'/>", i, i)
		l.ok(fmt.Sprintf("t%d@a.example/gw", i), "<register>"+key+"</register>", "")
		l.ok(fmt.Sprintf("o%d@a.example/pc", i), "<mine>"+key+"</mine>", fmt.Sprintf("<claimed jid='t%d@a.example' public='true'/>", i))
		l.ok(fmt.Sprintf("t%d@a.example/gw", i), blanked, "")
	}
	c := &counting{DB: l.Server.cfg.Store}
	l.Server.cfg.Store = c
	begin := time.Now()
	for range each {
		for i := range things {
			l.ok(fmt.Sprintf("t%d@a.example/gw", i), blanked, "")
		}
	}
	t.Logf("%d questions in %s", things*each, time.Since(begin).Round(time.Millisecond))
	if c.writes != 0 {
		t.Errorf("%d writes", c.writes)
	}
	l.fails(stranger, "<update jid='t1@a.example'><str name='KEY' value=''/></update>", xmpp.ItemNotFound)
	l.fails(stranger, blanked, xmpp.ItemNotFound)
	if got := l.hits("<strEq name='SN' value='7'/>"); got != 1 {
		t.Errorf("%d hits", got)
	}
}

const blanked = "<update><str name='KEY' value=''/></update>"

// onAccount puts the service on an account: everything else is as for a
// component.
type onAccount struct {
	svc *Server
	*xmpp.Session
}

// Send implements Sender.
func (a *onAccount) Send(ctx context.Context, sts ...xmpp.Stanza) error {
	for _, st := range sts {
		st.From = jid.JID{}
		if st.Kind != xmpp.IQ || st.Type != xmpp.Set && st.Type != xmpp.Get {
			if err := a.Session.Send(ctx, st); err != nil {
				return err
			}
			continue
		}
		id := st.ID
		go func() {
			back := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Result, ID: id, From: st.To}
			if err := a.Query(ctx, st, nil); err != nil {
				back.Type, back.Payload = xmpp.TypeError, xmpp.AsError(err)
			}
			back = received(&back)
			back.To = a.svc.Addr()
			_, _ = a.svc.HandleStanza(ctx, &back)
		}()
	}
	return nil
}

func (a *onAccount) take(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	in := *st
	in.To = a.svc.Addr()
	return a.svc.HandleStanza(ctx, &in)
}

// A registry on an account, with which a claimed thing is no friend any more:
// its owner cannot give the thing up while it is away, and can when the thing
// asks about its owner, at the latest after ThingConfig.AskEvery.
func TestDisownReachesAThingThatEndedTheFriendship(t *testing.T) {
	t.Run("hub", func(t *testing.T) {
		dir := t.TempDir()
		ca, err := hub.OpenCA(filepath.Join(dir, "tls"), "site.example")
		if err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(context.Background(), filepath.Join(dir, "hub.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		h, err := hub.New(hub.Config{Domain: "site.example", Store: db, TLS: ca.TLS(), Listen: []string{"127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		background(t, h.Run)
		disownOverAnAccount(t, func(account string, mux *xmpp.Mux) *xmpp.Session {
			if err := h.AddUser(account, "pw"); err != nil {
				t.Fatal(err)
			}
			x, err := xmpp.NewSession(xmpp.Config{JID: jid.MustParse(account + "@site.example"), Addr: h.Addrs()[0].String(), CAs: ca.Pool(),
				Transport: &tcp.Transport{}, Handler: mux, Password: func(context.Context) (string, error) { return "pw", nil }})
			if err != nil {
				t.Fatal(err)
			}
			background(t, x.Run)
			if err := x.WaitOnline(t.Context()); err != nil {
				t.Fatal(err)
			}
			return x
		}, func(account string) string { return account + "@site.example" })
	})
	peertest.Each(t, func(t *testing.T, srv *peertest.Server) {
		srv.AddAccount("registry", srv.Password("registry"))
		disownOverAnAccount(t, func(account string, mux *xmpp.Mux) *xmpp.Session { return login(t, srv, account, mux, nil) }, srv.JID)
	})
}

func disownOverAnAccount(t *testing.T, join func(string, *xmpp.Mux) *xmpp.Session, addr func(string) string) {
	svc, err := New(Config{Domain: "things.example", Store: newKept(t).open()})
	if err != nil {
		t.Fatal(err)
	}
	acc, mux := &onAccount{svc: svc}, new(xmpp.Mux)
	for _, typ := range []string{xmpp.Get, xmpp.Set} {
		mux.HandleFunc(xmpp.IQ, typ, exi.Name{}, acc.take)
	}
	mux.HandleFunc(xmpp.Presence, "*", exi.Name{}, acc.take)
	acc.Session = join("registry", mux)
	svc.SetSender(acc)
	background(t, svc.Run)
	here := xmpp.Stanza{Kind: xmpp.Presence}
	if err := acc.Session.Send(t.Context(), here); err != nil {
		t.Fatal(err)
	}

	const soon = 2 * time.Second
	registry, device := jid.MustParse(addr("registry")), new(late)
	contacts, err := roster.New(roster.Config{Session: device, Account: jid.MustParse(addr("device")),
		Policy: roster.AllowList(roster.Refused, registry)})
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "d.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	thing, err := provisioning.NewThing(provisioning.ThingConfig{Session: device, Store: db, Registry: registry, AskEvery: 144 * soon,
		Nodes: []provisioning.Node{{Tags: []provisioning.Tag{{Name: "SN", Value: "42"}}}},
		Resolve: func(j jid.JID) (full jid.JID) {
			if rs := contacts.Resources(j); len(rs) > 0 {
				full = rs[0].From
			}
			return full
		},
		Befriend: func(ctx context.Context, j jid.JID, friend bool) error {
			c, known := contacts.Contact(j)
			switch {
			case friend && known && (c.To() || c.Ask), !friend && !known:
				return nil
			case friend:
				return contacts.Subscribe(ctx, j)
			}
			return device.Query(ctx, xmpp.Stanza{Type: xmpp.Set, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
				d.Start(exi.N(roster.NS, "query"))
				d.Start(exi.N(roster.NS, "item"))
				d.Attr(exi.N("", "jid"), exi.Str(j.String()))
				d.Attr(exi.N("", "subscription"), exi.Str("remove"))
				d.End()
				d.End()
			})}, nil)
		}})
	if err != nil {
		t.Fatal(err)
	}
	dmux := new(xmpp.Mux)
	contacts.Register(dmux)
	thing.Register(dmux)
	device.Session = join("device", dmux)
	if err := contacts.Online(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	background(t, thing.Run)
	thing.Online(false)
	// The gateway is told by presence that the registry can be reached.
	stop := background(t, func(ctx context.Context) error {
		for ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
			thing.Online(true)
		}
		return nil
	})
	defer stop()
	friends := func() bool { _, ok := contacts.Contact(registry); return ok }
	eventually(t, "registered", func() bool { return thing.Registered(provisioning.Ref{}) })
	code, _ := thing.Code(provisioning.Ref{})
	owner := join("owner", new(xmpp.Mux))
	at := acc.LocalAddr()
	if err := query(t, owner, at, xmpp.Set, provisioning.Mine{Tags: code.Tags}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the thing knows its owner and has ended the friendship", func() bool {
		return thing.Owner(provisioning.Ref{}) == addr("owner") && !friends()
	})
	disown := provisioning.Notice{Name: provisioning.NameDisown, JID: jid.MustParse(addr("device"))}
	// An answer of the thing that comes after its leave must not count.
	svc.lost(addr("device"), svc.reach(addr("device")).String())
	if err := query(t, owner, at, xmpp.Set, disown, nil); !errors.Is(err, &xmpp.Error{Condition: xmpp.NotAllowed}) {
		t.Fatalf("while it is away: %v", err)
	}
	thing.Online(false) // a new session
	var last error
	eventually(t, "the owner can give it up", func() bool {
		last = query(t, owner, at, xmpp.Set, disown, nil)
		return last == nil
	})
	// Answers and requests overtake each other here, so the thing may be told
	// its former owner once more when it registers, and the end of that when it
	// blanks its KEY.
	eventually(t, "it is registered with a new KEY", func() bool {
		again, ok := thing.Code(provisioning.Ref{})
		return ok && thing.Owner(provisioning.Ref{}) == "" && thing.Registered(provisioning.Ref{}) && !slices.Equal(again.Tags, code.Tags)
	})
}
