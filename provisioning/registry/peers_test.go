package registry

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/internal/peertest"
	"postern/internal/store"
	"postern/provisioning"
	"postern/xmpp"
	"postern/xmpp/component"
	"postern/xmpp/disco"
	"postern/xmpp/tcp"
)

// login opens a session of an account that ends with the test.
func login(t *testing.T, s *peertest.Server, account string, mux *xmpp.Mux, online func(context.Context, *xmpp.Session, bool)) *xmpp.Session {
	t.Helper()
	x, err := xmpp.NewSession(xmpp.Config{JID: jid.MustParse(s.JID(account)), Addr: s.Addr, CAs: s.Pool(), Transport: &tcp.Transport{}, Handler: mux, OnOnline: online,
		Password: func(context.Context) (string, error) { return s.Password(account), nil },
		Backoff:  xmpp.Backoff{First: 100 * time.Millisecond, Many: 100 * time.Millisecond, Max: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	background(t, x.Run)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := x.WaitOnline(ctx); err != nil {
		t.Fatalf("%s: %v\n%s", account, err, s.LogTail(20))
	}
	return x
}

// background runs f until the test, or the returned function, ends it.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func query(t *testing.T, x *xmpp.Session, to jid.JID, typ string, p xmpp.Payload, reply func(c exi.Cursor)) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	return x.Query(ctx, xmpp.Stanza{Type: typ, To: to, Payload: p}, func(st *xmpp.Stanza) error {
		if reply != nil {
			reply(st.Child())
		}
		return nil
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("not within a minute: " + what)
}

// The service as a component of real servers, with a device and three people
// who have accounts there.
func TestComponentOfRealServers(t *testing.T) {
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			domain := "things." + name + ".example"
			o := peertest.Options{Components: []string{domain}}
			start := peertest.ProsodyWith
			if name == "ejabberd" {
				start = peertest.EjabberdWith
			}
			srv := start(t, o)
			kept := newKept(t)
			serve := func() (*Server, func()) {
				svc, err := New(Config{Domain: domain, Store: kept.open()})
				if err != nil {
					t.Fatal(err)
				}
				up := make(chan bool, 16)
				c, err := component.New(component.Config{Addr: srv.Component, Domain: domain, Handler: svc, Backoff: 50 * time.Millisecond,
					Secret:   func(context.Context) (string, error) { return peertest.ComponentSecret, nil },
					OnOnline: func(on bool) { up <- on }})
				if err != nil {
					t.Fatal(err)
				}
				svc.SetSender(c)
				stop1, stop2 := background(t, c.Run), background(t, svc.Run)
				select {
				case <-up:
				case <-time.After(20 * time.Second):
					t.Fatal("the component does not connect\n" + srv.LogTail(30))
				}
				return svc, func() { stop1(); stop2() }
			}
			svc, stop := serve()
			addr := svc.Addr()
			things := newRealDevice(t, srv, addr)
			owner := login(t, srv, "owner", new(xmpp.Mux), nil)
			stranger := login(t, srv, "stranger", new(xmpp.Mux), nil)

			info, err := disco.AskInfo(context.Background(), stranger, addr, "")
			if err != nil || !info.Has(provisioning.NSDiscovery) || !info.Has(provisioning.NS) {
				t.Fatalf("%v, %v", info, err)
			}
			device := jid.MustParse(srv.JID("device"))
			eventually(t, "registered", func() bool { return svc.get(device.String(), provisioning.Ref{}) != nil })
			code, ok := things.Code(provisioning.Ref{})
			if !ok {
				t.Fatal("no code")
			}
			wrong := []provisioning.Tag{{Name: "KEY", Value: provisioning.NewKey()}}
			if err := query(t, stranger, addr, xmpp.Set, provisioning.Mine{Tags: wrong}, nil); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
				t.Fatal(err)
			}
			var claimed provisioning.Claimed
			if err := query(t, owner, addr, xmpp.Get, provisioning.Mine{Tags: code.Tags}, func(c exi.Cursor) { claimed, _ = provisioning.ParseClaimed(c) }); err != nil || !claimed.JID.Equal(device) {
				t.Fatalf("%v, %v", claimed, err)
			}
			eventually(t, "the thing knows its owner, the registry that it does", func() bool {
				return things.Owner(provisioning.Ref{}) == srv.JID("owner") && !svc.get(device.String(), provisioning.Ref{}).TellOwner
			})
			eventually(t, "KEY is blanked", func() bool { c, _ := things.Claim(provisioning.Ref{}); return c.Blanked })

			// Notices of somebody else change nothing: through a real server.
			full := things.session.LocalAddr()
			for _, p := range []xmpp.Payload{provisioning.Notice{Name: provisioning.NameDisowned}, provisioning.Notice{Name: provisioning.NameRemoved},
				provisioning.Claimed{JID: jid.MustParse(srv.JID("stranger"))}, clearCache{}} {
				if err := query(t, stranger, full, xmpp.Set, p, nil); !errors.Is(err, &xmpp.Error{Condition: xmpp.Forbidden}) {
					t.Errorf("%T: %v", p, err)
				}
			}

			var found provisioning.Found
			search := provisioning.Search{Ops: []provisioning.Op{{Tag: "SN", Value: "42"}}}
			if err := query(t, stranger, addr, xmpp.Get, search, func(c exi.Cursor) { found, _ = provisioning.ParseFound(c) }); err != nil || len(found.Things) != 1 || !found.Things[0].JID.Equal(device) {
				t.Errorf("%+v, %v", found, err)
			}

			// Somebody reads: unknown, so denied, until a rule says yes; the
			// device hears of it although it has cached the no.
			reader := srv.JID("reader")
			if things.may(t, reader) {
				t.Error("a stranger may read")
			}
			if _, err := svc.AddRule(context.Background(), Rule{Device: device.String(), Subject: reader, Action: Read}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the device forgets its no", func() bool { return things.may(t, reader) })

			// The service is restarted, and the server.
			stop()
			srv.Restart()
			svc, stop = serve()
			defer stop()
			eventually(t, "everybody is back", func() bool {
				return owner.State().Phase == xmpp.Online && stranger.State().Phase == xmpp.Online && things.session.State().Phase == xmpp.Online
			})
			if rules := svc.Rules(""); len(rules) != 1 {
				t.Errorf("%v", rules)
			}
			if err := svc.RemoveRule(context.Background(), svc.Rules("")[0].ID); err != nil {
				t.Fatal(err)
			}
			// A device says after each connect that it is there.
			if err := things.access.Online(context.Background()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the device forgets its yes", func() bool { return !things.may(t, reader) })

			if err := query(t, stranger, addr, xmpp.Set, provisioning.Notice{Name: provisioning.NameDisown, JID: device}, nil); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
				t.Error(err)
			}
			if err := query(t, owner, addr, xmpp.Set, provisioning.Notice{Name: provisioning.NameDisown, JID: device}, nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "registered anew with another secret", func() bool {
				again, ok := things.Code(provisioning.Ref{})
				return ok && again.String() != code.String() && len(svc.get(device.String(), provisioning.Ref{}).Claim) > 0
			})
			if err := query(t, owner, addr, xmpp.Set, provisioning.Mine{Tags: code.Tags}, nil); !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
				t.Error(err)
			}
			again, _ := things.Code(provisioning.Ref{})
			if err := query(t, stranger, addr, xmpp.Set, provisioning.Mine{Tags: again.Tags, Private: true}, nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the new owner", func() bool {
				c, _ := things.Claim(provisioning.Ref{})
				return c.Owner == srv.JID("stranger") && c.Private
			})
		})
	}
}

// realDevice is the account device with both halves of provisioning.
type realDevice struct {
	*provisioning.Thing
	access  *provisioning.Access
	session *xmpp.Session
}

// late is a session that is made after what uses it.
type late struct{ *xmpp.Session }

func newRealDevice(t *testing.T, srv *peertest.Server, addr jid.JID) *realDevice {
	t.Helper()
	db, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "d.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	d, x, mux := new(realDevice), new(late), new(xmpp.Mux)
	d.Thing, err = provisioning.NewThing(provisioning.ThingConfig{Session: x, Store: db, Registry: addr,
		Nodes:      []provisioning.Node{{Tags: []provisioning.Tag{{Name: "SN", Value: "42"}, {Name: "V", Numeric: true, Value: "1.0"}}}},
		OnDisowned: func(provisioning.Ref, jid.JID) { _ = d.access.Forget() }})
	if err != nil {
		t.Fatal(err)
	}
	d.access, err = provisioning.NewAccess(provisioning.AccessConfig{Session: x, Store: db, Servers: []jid.JID{addr}, Owner: d.Owner})
	if err != nil {
		t.Fatal(err)
	}
	d.Thing.Register(mux)
	d.access.Register(mux)
	x.Session = login(t, srv, "device", mux, nil)
	d.session = x.Session
	background(t, d.Thing.Run)
	background(t, d.access.Run)
	if err := x.Send(context.Background(), xmpp.Stanza{Kind: xmpp.Presence}); err != nil {
		t.Fatal(err)
	}
	d.Thing.Online(false)
	return d
}

func (d *realDevice) may(t *testing.T, who string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	got, err := d.access.CanRead(ctx, node.Request{Bare: who, Fields: []string{"Energy"}, Types: node.Momentary})
	if err != nil {
		if !strings.Contains(err.Error(), "remote-server-timeout") {
			t.Error(err)
		}
		return false
	}
	return got.Readable(provisioning.Ref{ID: "n"}, "Energy", node.Momentary) != 0
}
