package provisioning

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/disco"
)

const registryAddr = "things.example"

// thingLab is a thing that is not connected to a real registry.
type thingLab struct {
	*Thing
	w    *world
	mux  *xmpp.Mux
	db   *store.DB
	told []string
}

func newThing(t *testing.T, db *store.DB, change ...func(*ThingConfig)) *thingLab {
	t.Helper()
	l := &thingLab{w: newWorld(t), mux: new(xmpp.Mux), db: db}
	if db == nil {
		l.db = openStore(t, "")
	}
	cfg := ThingConfig{Session: l.w, Store: l.db, Registry: jid.MustParse(registryAddr), Now: l.w.clock,
		Nodes:      []Node{{Tags: []Tag{{"SN", false, "42"}, {"V", true, "1.0"}}}, {Ref: Ref{ID: "n"}, Tags: []Tag{{"SN", false, "43"}}}},
		OnClaimed:  func(r Ref, o jid.JID) { l.told = append(l.told, "claimed "+r.ID+" "+o.String()) },
		OnDisowned: func(r Ref, o jid.JID) { l.told = append(l.told, "disowned "+r.ID+" "+o.String()) },
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if l.Thing, err = NewThing(cfg); err != nil {
		t.Fatal(err)
	}
	l.Thing.Register(l.mux)
	return l
}

func (l *thingLab) notice(t *testing.T, from, inner string) string {
	t.Helper()
	return gives(t, l.mux, xmpp.IQ, xmpp.Set, from, inner)
}

func yes(string, string) (string, error) { return "", nil }

func Test0347R12R24_ClaimedIsKeptBeforeTheAnswer(t *testing.T) {
	l := newThing(t, nil)
	if got := l.notice(t, registryAddr, "<claimed jid='owner@a.example/phone' public='false'/>"); got != "" {
		t.Fatal(got)
	}
	if l.Owner(Ref{}) != "owner@a.example" || l.Owner(Ref{ID: "n"}) != "owner@a.example" || len(l.told) != 1 {
		t.Errorf("owner %q, told %v", l.Owner(Ref{}), l.told)
	}
	// What was acknowledged is on the disk: another instance knows it.
	again := newThing(t, l.db)
	if c, _ := again.Claim(Ref{}); c.Owner != "owner@a.example" || !c.Private || c.Key != "" {
		t.Errorf("%+v", c)
	}
	if got := l.notice(t, registryAddr, "<removed/>"); got != "" {
		t.Error(got)
	}
	if got := l.notice(t, registryAddr, "<disowned/>"); got != "" {
		t.Error(got)
	}
}

// Without the disk there is no acknowledgement.
func TestNoAcknowledgementWithoutTheDisk(t *testing.T) {
	l := newThing(t, nil)
	if err := l.db.Close(); err != nil {
		t.Fatal(err)
	}
	st := incoming(t, xmpp.IQ, xmpp.Set, registryAddr, "<claimed jid='owner@a.example'/>")
	if _, err := l.mux.HandleStanza(context.Background(), &st); err == nil || l.Owner(Ref{}) != "" {
		t.Errorf("%v, owner %q", err, l.Owner(Ref{}))
	}
}

func Test0347R25_ForgedNotices(t *testing.T) {
	for _, from := range []string{"stranger@c.example/x", "owner@a.example", "things.example.evil.example", "evil@things.example", "a.example", "sub.things.example"} {
		l := newThing(t, nil)
		for _, n := range []string{"<claimed jid='stranger@c.example'/>", "<removed/>", "<disowned/>", "<claimed/>", "<claimed jid='x@y.example' nodeId='none'/>"} {
			if got := l.notice(t, from, n); got != "forbidden" {
				t.Errorf("%s from %s: %s", n, from, got)
			}
		}
		l.notice(t, registryAddr, "<claimed jid='owner@a.example'/>")
		for _, n := range []string{"<claimed jid='stranger@c.example'/>", "<removed/>", "<disowned/>"} {
			if got := l.notice(t, from, n); got != "forbidden" {
				t.Errorf("%s from %s: %s", n, from, got)
			}
		}
		if c, _ := l.Claim(Ref{}); c.Owner != "owner@a.example" || c.Removed || len(l.told) != 1 {
			t.Errorf("%s changed it: %+v", from, c)
		}
	}
}

func TestNoticesThatAreWrong(t *testing.T) {
	l := newThing(t, nil)
	for n, want := range map[string]string{"<claimed/>": "bad-request", "<claimed jid='@'/>": "bad-request", "<claimed jid='o@a.example' public='x'/>": "bad-request",
		"<claimed jid='o@a.example' nodeId='m'/>": "item-not-found", "<disowned nodeId='m'/>": "item-not-found", "<removed sourceId='s'/>": "item-not-found"} {
		if got := l.notice(t, registryAddr, n); got != want {
			t.Errorf("%s: %q", n, got)
		}
	}
}

func run(t *testing.T, l *thingLab) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func Test0347R13R37_RegisterOnceAndBlankTheKey(t *testing.T) {
	db := openStore(t, "")
	synctest.Test(t, func(t *testing.T) {
		l := newThing(t, db)
		l.w.answer = yes
		stop := run(t, l)
		synctest.Wait()
		if asked, _ := l.w.took(); len(asked) != 0 {
			t.Errorf("offline, but %v", asked)
		}
		l.Online(false)
		synctest.Wait()
		code, ok := l.Code(Ref{})
		key, _ := FindTag(code.Tags, KeyTag)
		asked, _ := l.w.took()
		want := "things.example <register><str name='SN' value='42'/><num name='V' value='1.0'/><str name='KEY' value='" + key.Value + "'/></register>"
		if !ok || len(asked) != 2 || asked[0] != want || !strings.HasPrefix(asked[1], "things.example <register nodeId='n'>") {
			t.Errorf("%v, want %s", asked, want)
		}
		l.Online(true)
		synctest.Wait()
		time.Sleep(time.Hour)
		if asked, _ := l.w.took(); len(asked) != 0 {
			t.Errorf("again: %v", asked)
		}
		l.notice(t, registryAddr, "<claimed jid='owner@a.example'/>")
		synctest.Wait()
		if asked, _ := l.w.took(); len(asked) != 1 || asked[0] != "things.example <update><str name='KEY' value=''/></update>" {
			t.Errorf("%v", asked)
		}
		if _, ok := l.Code(Ref{}); ok {
			t.Error("the code is still shown")
		}
		l.Online(false)
		synctest.Wait()
		if asked, _ := l.w.took(); len(asked) != 1 || !strings.Contains(asked[0], "nodeId='n'") {
			t.Errorf("a claimed thing registers: %v", asked)
		}
		stop()
	})
}

func Test0347R34_DisownedRegistersAnew(t *testing.T) {
	db := openStore(t, "")
	synctest.Test(t, func(t *testing.T) {
		l := newThing(t, db)
		l.w.answer = yes
		first, _ := l.Code(Ref{})
		l.notice(t, registryAddr, "<claimed jid='owner@a.example' public='true'/>")
		stop := run(t, l)
		l.Online(false)
		synctest.Wait()
		l.w.took()
		l.notice(t, registryAddr, "<disowned/>")
		synctest.Wait()
		second, ok := l.Code(Ref{})
		a, _ := FindTag(first.Tags, KeyTag)
		b, _ := FindTag(second.Tags, KeyTag)
		if !ok || a.Value == b.Value || KeyBits(second.Tags) < 128 {
			t.Errorf("%v, %v", a, b)
		}
		if asked, _ := l.w.took(); len(asked) != 1 || !strings.Contains(asked[0], b.Value) {
			t.Errorf("%v", asked)
		}
		if l.Owner(Ref{}) != "" || strings.Join(l.told, ",") != "claimed  owner@a.example,disowned  owner@a.example" {
			t.Errorf("%v", l.told)
		}
		stop()
	})
}

// A registry that answers "claimed" to register, and one that is away.
func TestWhatTheRegistryAnswers(t *testing.T) {
	db := openStore(t, "")
	synctest.Test(t, func(t *testing.T) {
		l := newThing(t, db, func(c *ThingConfig) { c.Nodes = c.Nodes[:1] })
		var away atomic.Bool
		away.Store(true)
		l.w.answer = func(_, xml string) (string, error) {
			if away.Load() {
				return "", xmpp.NewError(xmpp.RemoteServerNotFound, "")
			}
			if strings.HasPrefix(xml, "<update") {
				return "", xmpp.NewError(xmpp.ItemNotFound, "")
			}
			return "<claimed jid='owner@a.example'/>", nil
		}
		stop := run(t, l)
		l.Online(false)
		synctest.Wait()
		time.Sleep(4 * time.Minute)
		if asked, _ := l.w.took(); len(asked) < 3 || len(asked) > 8 {
			t.Errorf("%d attempts in 4 minutes", len(asked))
		}
		away.Store(false)
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if c, _ := l.Claim(Ref{}); c.Owner != "owner@a.example" || !c.Removed { // 0347-R30
			t.Errorf("%+v", c)
		}
		l.w.took()
		if err := l.Update(context.Background(), Ref{}, []Tag{{"ROOM", false, "1"}}); err != nil {
			t.Error(err)
		}
		if asked, _ := l.w.took(); len(asked) != 0 {
			t.Errorf("updates of a removed thing: %v", asked)
		}
		stop()
	})
}

func Test0347R27R30_NoUpdatesWhenPrivateOrRemoved(t *testing.T) {
	l := newThing(t, nil)
	l.w.answer = yes
	update := func() int {
		if err := l.Update(context.Background(), Ref{}, []Tag{{"ROOM", false, "1"}}); err != nil {
			t.Fatal(err)
		}
		asked, _ := l.w.took()
		return len(asked)
	}
	if update() != 0 {
		t.Error("unclaimed")
	}
	l.notice(t, registryAddr, "<claimed jid='owner@a.example' public='true'/>")
	if update() != 1 {
		t.Error("public")
	}
	l.notice(t, registryAddr, "<removed/>")
	if update() != 0 {
		t.Error("removed")
	}
	l.notice(t, registryAddr, "<claimed jid='owner@a.example' public='false'/>")
	if update() != 0 {
		t.Error("private")
	}
	l.w.answer = func(string, string) (string, error) { return "<disowned/>", nil }
	l.notice(t, registryAddr, "<claimed jid='owner@a.example' public='true'/>")
	if update(); l.Owner(Ref{}) != "" {
		t.Error("disowned as answer to an update")
	}
}

func Test0347R63_PredefinedTagsHaveTheirKind(t *testing.T) {
	for _, tags := range [][]Tag{{{"V", false, "1"}}, {{"SN", true, "1"}}, {{"KEY", false, "x"}}, {{"a b", false, ""}}, {{"X", false, ""}, {"x", false, ""}}} {
		_, err := NewThing(ThingConfig{Session: newWorld(t), Store: openStore(t, ""), Registry: jid.MustParse(registryAddr), Nodes: []Node{{Tags: tags}}})
		if err == nil {
			t.Errorf("%v", tags)
		}
	}
}

func Test0347R06_ARegistryOnAnAccountNeedsPresence(t *testing.T) {
	full := jid.JID{}
	l := newThing(t, nil, func(c *ThingConfig) {
		c.Registry = jid.MustParse("registry@a.example")
		c.Resolve = func(jid.JID) jid.JID { return full }
	})
	l.w.answer = yes
	l.Online(false)
	if l.work(context.Background()) {
		t.Error("done without a registry")
	}
	if asked, _ := l.w.took(); len(asked) != 0 {
		t.Errorf("%v", asked)
	}
	full = jid.MustParse("registry@a.example/r")
	if !l.work(context.Background()) {
		t.Error("not done")
	}
	if asked, _ := l.w.took(); len(asked) != 2 || !strings.HasPrefix(asked[0], "registry@a.example/r <register>") {
		t.Errorf("%v", asked)
	}
	if got := l.notice(t, "registry@a.example/r", "<claimed jid='owner@a.example'/>"); got != "" {
		t.Error(got)
	}
}

// A thing that takes notices is no registry and no provisioning server.
func TestADeviceDoesNotAdvertiseTheServices(t *testing.T) {
	l := newThing(t, nil)
	a, err := NewAccess(AccessConfig{Session: l.w})
	if err != nil {
		t.Fatal(err)
	}
	a.Register(l.mux)
	d := disco.New(disco.Config{Software: "https://postern.example/x"})
	d.Register(l.mux)
	info, _, err := d.Self()
	if err != nil || info.Has(NS) || info.Has(NSDiscovery) {
		t.Errorf("%v, %v", info.Features, err)
	}
}

// While it is shut, only what owns itself is registered; what a former session
// registered is taken out, once, also when the registry does not know it.
func Test0347R48_ShutThingsAreInNoRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newThing(t, nil, func(c *ThingConfig) { c.Nodes[1].SelfOwned = true })
		var asked []string
		l.w.answer = func(_, inner string) (string, error) {
			name := strings.FieldsFunc(inner, func(r rune) bool { return strings.ContainsRune("< />", r) })[0]
			asked = append(asked, name)
			if name == "unregister" {
				return "", &xmpp.Error{Condition: xmpp.ItemNotFound}
			}
			return "", nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = l.Run(ctx); close(done) }()
		expect := func(what, want string) {
			t.Helper()
			time.Sleep(time.Hour)
			synctest.Wait()
			if got := strings.Join(asked, " "); got != want {
				t.Errorf("%s: asked %s, want %s", what, got, want)
			}
			asked = nil
		}
		l.Shut(true)
		l.Online(false)
		expect("shut", "unregister register")
		if l.Thing.Registered(Ref{}) || !l.Thing.Registered(Ref{ID: "n"}) {
			t.Error("what is registered while it is shut")
		}
		l.Shut(false)
		expect("opened", "register")
		l.Shut(true)
		expect("shut again", "unregister")
		l.Online(true)
		expect("resumed", "")
		l.Online(false)
		expect("a new session", "unregister register")
		cancel()
		<-done
	})
}
