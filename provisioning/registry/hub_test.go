package registry

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/store"
	"postern/provisioning"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/hub"
	"postern/xmpp/tcp"
)

// The service inside the hub: found by disco, claimed, and disowned by an
// owner whose thing is away and then there.
func TestInsideTheHub(t *testing.T) {
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
	svc, err := New(Config{Domain: "things.site.example", Store: Bolt(db)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.New(hub.Config{Domain: "site.example", Store: db, TLS: ca.TLS(), Listen: []string{"127.0.0.1:0"},
		Components: map[string]hub.Component{"things.site.example": {Name: "Things", Handler: svc}}})
	if err != nil {
		t.Fatal(err)
	}
	svc.SetSender(h)
	for _, name := range []string{"device", "owner"} {
		if err := h.AddUser(name, "pw"); err != nil {
			t.Fatal(err)
		}
	}
	background(t, h.Run)
	background(t, svc.Run)
	join := func(name string, mux *xmpp.Mux) (*xmpp.Session, func()) {
		x, err := xmpp.NewSession(xmpp.Config{JID: jid.MustParse(name + "@site.example"), Addr: h.Addrs()[0].String(), CAs: ca.Pool(), Transport: &tcp.Transport{},
			Handler: mux, NoResume: true, Password: func(context.Context) (string, error) { return "pw", nil }})
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, x.Run)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := x.WaitOnline(ctx); err != nil {
			t.Fatal(err)
		}
		return x, stop
	}
	owner, _ := join("owner", new(xmpp.Mux))
	items, err := disco.AskItems(context.Background(), owner, jid.MustParse("site.example"), "")
	if err != nil || len(items) != 1 || !items[0].JID.Equal(svc.Addr()) {
		t.Fatalf("%v, %v", items, err)
	}
	th := new(late)
	mux := new(xmpp.Mux)
	thing, err := provisioning.NewThing(provisioning.ThingConfig{Session: th, Store: db, Registry: svc.Addr(), Nodes: []provisioning.Node{{Tags: []provisioning.Tag{{Name: "SN", Value: "1"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	thing.Register(mux)
	var leave func()
	th.Session, leave = join("device", mux)
	background(t, thing.Run)
	thing.Online(false)
	device := jid.MustParse("device@site.example")
	eventually(t, "registered", func() bool { return svc.get(device.String(), provisioning.Ref{}) != nil })
	code, _ := thing.Code(provisioning.Ref{})
	// The device goes before it is claimed: the notice waits.
	leave()
	eventually(t, "the device is away", func() bool { return th.State().Phase == xmpp.Offline })
	var claimed provisioning.Claimed
	err = query(t, owner, svc.Addr(), xmpp.Set, provisioning.Mine{Tags: code.Tags, Private: true}, func(c exi.Cursor) { claimed, _ = provisioning.ParseClaimed(c) })
	if err != nil || !claimed.JID.Equal(device) || !claimed.Private {
		t.Fatalf("%+v, %v", claimed, err)
	}
	disown := provisioning.Notice{Name: provisioning.NameDisown, JID: device}
	if err := query(t, owner, svc.Addr(), xmpp.Set, disown, nil); !errors.Is(err, &xmpp.Error{Condition: xmpp.NotAllowed}) {
		t.Errorf("offline: %v", err)
	}
	x, _ := join("device", mux)
	if err := x.Send(context.Background(), xmpp.Stanza{Kind: xmpp.Presence, To: svc.Addr()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the notice has come", func() bool { return thing.Owner(provisioning.Ref{}) == "owner@site.example" })
	if err := query(t, owner, svc.Addr(), xmpp.Set, disown, nil); err != nil {
		t.Errorf("online: %v", err)
	}
	if thing.Owner(provisioning.Ref{}) != "" {
		t.Error("still owned")
	}
}
