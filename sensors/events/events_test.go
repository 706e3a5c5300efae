package events

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/internal/store"
	"postern/sensors"
	"postern/sensors/history"
	"postern/xmpp"
)

const (
	owner  = "owner@example.org"
	client = owner + "/desk"
)

var (
	room   = node.Ref{ID: "room"}
	cellar = node.Ref{ID: "cellar"}
)

// rig is a gateway without devices or a network.
type rig struct {
	t    *testing.T
	mux  *xmpp.Mux
	live *live.Store
	svc  *Service
	out  *outbox.Outbox
	hist *history.History
	db   *store.DB

	mu     sync.Mutex
	online bool
	denied bool
	friend bool
	got    []string
	held   chan struct{} // while not nil, Flush waits for it
	stop   func()
}

func (r *rig) CanRead(context.Context, node.Request) (node.Decision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.denied {
		return node.Decision{}, nil
	}
	return node.Everything(), nil
}

func (r *rig) CanControl(ctx context.Context, q node.Request) (node.Decision, error) {
	return r.CanRead(ctx, q)
}

func (r *rig) Send(_ context.Context, sts ...xmpp.Stanza) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range sts {
		r.got = append(r.got, write(r.t, &st))
	}
	return nil
}

// dummy is never read: sensors.Service does not run.
type dummy struct{}

func (dummy) Read(context.Context, []drivers.Sample) ([]drivers.Sample, error) { panic("read") }
func (dummy) Close() error                                                     { return nil }

func (r *rig) Flush(ctx context.Context) error {
	r.mu.Lock()
	held := r.held
	r.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// block keeps the server from acknowledging anything.
func (r *rig) block(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.held = make(chan struct{})
	} else {
		close(r.held)
		r.held = nil
	}
}

func write(t *testing.T, st *xmpp.Stanza) string {
	t.Helper()
	var d exi.Doc
	st.AppendEvents(&d)
	b, err := xmltext.AppendElement(nil, &d, xmltext.Scope{Default: xmpp.NSClient})
	if err != nil {
		t.Error(err)
	}
	return strings.ReplaceAll(string(b), `"`, `'`)
}

func parse(t testing.TB, text string) *xmpp.Stanza {
	t.Helper()
	x := xmltext.NewStreamReader(xmltext.Limits{})
	b := bufio.NewReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + text))
	d := new(exi.Doc)
	if err := x.ReadOpen(b, d); err != nil {
		t.Fatal(err)
	}
	d.Reset()
	if err := x.ReadElement(b, d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	st := new(xmpp.Stanza)
	if err := st.Parse(d.Root()); err != nil {
		t.Fatal(err)
	}
	return st
}

// start makes a rig whose two nodes have the fields temp, door and mode.
func start(t *testing.T, db *store.DB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, mux: new(xmpp.Mux), live: live.New(), friend: true, db: db}
	var nodes []node.Node
	for _, ref := range []node.Ref{room, cellar} {
		nodes = append(nodes, node.Node{Ref: ref, Device: ref.ID, Fields: []node.Field{
			{Name: "temp", Types: node.Momentary, Kind: drivers.KindNumber},
			{Name: "door", Types: node.Momentary, Kind: drivers.KindBool},
			{Name: "mode", Types: node.Status, Kind: drivers.KindString},
		}})
	}
	tree, err := node.NewTree(nodes)
	if err != nil {
		t.Fatal(err)
	}
	if r.hist, err = history.Open(history.Config{DB: db, Location: time.UTC, Raw: 24 * time.Hour, Connected: func() bool { return true }}); err != nil {
		t.Fatal(err)
	}
	svc, err := sensors.New(sensors.Config{Setup: sensors.Setup{Tree: tree, Access: r, Devices: map[string]sensors.Device{room.ID: {Device: dummy{}}, cellar.ID: {Device: dummy{}}}}, Live: r.live, Sender: r, History: r.hist})
	if err != nil {
		t.Fatal(err)
	}
	r.out, err = outbox.Open(outbox.Config{DB: db, Sender: r, Access: r, Connected: func() bool { return true }, Where: func(string) (jid.JID, bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.svc != nil {
			_ = r.svc.Full(owner) // as the gateway asks, whatever is locked
		}
		return jid.MustParse(client), r.online
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Sensors: svc, Outbox: r.out, Access: r, History: r.hist, DB: db, Friend: func(jid.JID) bool { return r.friend }}
	if change != nil {
		change(&cfg)
	}
	if r.svc, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.hist.Observe(r.live)
	r.svc.Observe(r.live)
	r.svc.Register(r.mux)
	r.out.Register(r.mux)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{r.svc.Run, r.out.Run, r.hist.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	r.stop = func() { cancel(); wg.Wait() }
	synctest.Wait()
	return r
}

func openDB(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// test runs f with a rig whose subscriber is online.
func test(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, openDB(t, filepath.Join(t.TempDir(), "db")), nil)
		defer r.stop()
		r.present(true)
		f(r)
	})
}

// synctestRig runs f with a rig of a changed configuration.
func synctestRig(t *testing.T, change func(*Config), f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, openDB(t, filepath.Join(t.TempDir(), "db")), change)
		defer r.stop()
		f(r)
	})
}

func (r *rig) present(on bool) {
	r.mu.Lock()
	r.online = on
	r.mu.Unlock()
	r.out.Wake(owner, on)
	if on {
		r.svc.Came(owner)
	}
	time.Sleep(time.Second)
}

// ask sends an iq and returns the answer.
func (r *rig) ask(payload string) string {
	r.t.Helper()
	st := parse(r.t, "<iq type='get' id='1' from='"+client+"'>"+payload+"</iq>")
	p, err := r.mux.HandleStanza(r.t.Context(), st)
	if err != nil {
		var e *xmpp.Error
		if !errors.As(err, &e) {
			r.t.Fatal(err)
		}
		return string(e.Condition)
	}
	out := st.Reply(xmpp.Result, p)
	return write(r.t, &out)
}

func (r *rig) subscribe(attrs, content string) {
	r.t.Helper()
	got := r.ask("<subscribe xmlns='urn:xmpp:iot:events' seqnr='7' " + attrs + ">" + content + "</subscribe>")
	if got != "<iq type='result' id='1' to='"+client+"'><accepted xmlns='urn:xmpp:iot:sensordata' seqnr='7'/></iq>" {
		r.t.Fatal(got)
	}
	time.Sleep(time.Second)
}

func (r *rig) put(ref node.Ref, name string, v drivers.Value) {
	r.live.Put(ref, name, live.Reading{Value: v, Time: time.Now(), Quality: live.AutomaticReadout})
	time.Sleep(time.Second)
}

func temp(n int64) drivers.Value { return drivers.Decimal(drivers.Num(n, -1)) }

// events returns the messages since the last call, each as node:name=value …
func (r *rig) events() (out []string) {
	r.t.Helper()
	r.mu.Lock()
	got := r.got
	r.got = nil
	r.mu.Unlock()
	for _, text := range got {
		st := parse(r.t, text)
		e := st.Elem.Child(exi.N(sensors.NS, "fields"))
		if g, ok := outbox.ParseGap(st); ok {
			out = append(out, "gap:"+g.Why)
			continue
		}
		if f := st.Elem.Child(exi.N(sensors.NS, "failure")); f.Valid() {
			out = append(out, "failure")
			continue
		}
		if seq, ok := seqOf(e); !ok || seq != 7 && seq != 0 {
			r.t.Errorf("seqnr of %s", text)
		}
		if s, ok := outbox.ParseSeq(st); !ok || s.Boot != r.out.Boot() {
			r.t.Errorf("no number: %s", text)
		}
		var b strings.Builder
		for n := range e.Children() {
			id, _ := n.Attr(exi.N("", "nodeId"))
			b.WriteString(id.String() + ":")
			for ts := range n.Children() {
				for f := range ts.Children() {
					name, _ := f.Attr(exi.N("", "name"))
					v, _ := f.Attr(exi.N("", "value"))
					past := ""
					if h, ok := f.Attr(exi.N("", "historicalOther")); ok {
						if is, _ := h.Bool(); is {
							past = "past "
						}
					}
					fmt.Fprintf(&b, " %s%s=%s", past, name.String(), v.String())
				}
			}
		}
		if v, _ := e.Attr(exi.N("", "done")); v.String() == "true" {
			b.WriteString(" done")
		}
		out = append(out, b.String())
	}
	return out
}

func (r *rig) want(events ...string) {
	r.t.Helper()
	if got := strings.Join(r.events(), "; "); got != strings.Join(events, "; ") {
		r.t.Errorf("got  %s\nwant %s", got, strings.Join(events, "; "))
	}
}

func TestEventsR02R03R04R05_AcceptedAndAtOnce(t *testing.T) {
	test(t, func(r *rig) {
		r.put(room, "temp", temp(215))
		r.subscribe("momentary='true' req='true'", "<node nodeId='room'/>")
		r.want("failure", "room: temp=21.5 done") // the door was never read
		r.put(room, "temp", temp(216))
		r.want("room: temp=21.6 done")
	})
}

func TestEventsR06R07_Intervals(t *testing.T) {
	test(t, func(r *rig) {
		r.put(room, "temp", temp(1))
		r.put(room, "door", drivers.Bool(false))
		r.subscribe("momentary='true' maxInterval='PT15M' minInterval='PT1M'", "<node nodeId='room'/><field name='temp' changedBy='1'/>")
		r.put(room, "temp", temp(100)) // within a minute of the subscription
		r.want()
		time.Sleep(time.Minute)
		r.want("room: temp=10.0 done")
		time.Sleep(14 * time.Minute)
		r.want()
		time.Sleep(time.Minute)
		r.want("room: temp=10.0 done")
	})
}

func TestEventsR08R09R11R17_Changes(t *testing.T) {
	test(t, func(r *rig) {
		for _, ref := range []node.Ref{room, cellar} {
			r.put(ref, "temp", temp(200))
			r.put(ref, "door", drivers.Bool(false))
		}
		r.subscribe("momentary='true'", "<field name='temp' changedUp='0.5' changedDown='2'/><field name='door'/>")
		r.put(room, "temp", temp(204))
		r.want()
		r.put(room, "temp", temp(205)) // from 20.0
		r.want("room: temp=20.5 door=false done")
		r.put(room, "temp", temp(190)) // by 1.5 down
		r.want()
		r.put(room, "temp", temp(185))
		r.want("room: temp=18.5 door=false done")
		r.put(cellar, "door", drivers.Bool(true)) // no condition
		r.want()
		// changedBy stands for both, and currentValue for where it counts from.
		r.subscribe("momentary='true'", "<field name='door' changedBy='1' changedUp='9' currentValue='1'/>")
		r.put(cellar, "door", drivers.Bool(true))
		r.want()
		r.put(cellar, "door", drivers.Bool(false))
		r.want("cellar: door=false done")
	})
}

func TestEventsR10_Magnitudes(t *testing.T) {
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		a, b     drivers.Value
		up, down float64
		want     bool
	}{
		{drivers.Bool(false), drivers.Bool(true), 1, 0, true},
		{drivers.Bool(true), drivers.Bool(false), 1, 0, false},
		{drivers.Int(3), drivers.Int(5), 2, 0, true},
		{drivers.Long(3), drivers.Long(1), 9, 2, true},
		{temp(211), temp(212), 0.1, 0, true},
		{drivers.Time(day), drivers.Time(day.Add(time.Minute)), 60, 0, true},
		{drivers.Text(drivers.KindDate, "2026-03-01"), drivers.Text(drivers.KindDate, "2026-03-02"), 86400, 0, true},
		{drivers.Text(drivers.KindClock, "10:00:00"), drivers.Text(drivers.KindClock, "09:59:00"), 0, 60, true},
		{drivers.Text(drivers.KindDuration, "PT1M"), drivers.Text(drivers.KindDuration, "P1D"), 86340, 0, true},
		{drivers.String("a"), drivers.String("b"), 1, 0, true},
		{drivers.String("a"), drivers.String("b"), 0, 1, false},
		{drivers.String("a"), drivers.String("b"), 2, 2, false},
		{drivers.Text(drivers.KindEnum, "on"), drivers.Text(drivers.KindEnum, "off"), 0, 1, true},
	} {
		a, ok1 := magnitudeOf(tc.a)
		b, ok2 := magnitudeOf(tc.b)
		f := Field{Up: tc.up, Down: tc.down}
		if got := f.met(a, b); !ok1 || !ok2 || got != tc.want {
			t.Errorf("%v to %v, up %v down %v: %v", tc.a, tc.b, tc.up, tc.down, got)
		}
	}
}

func TestEventsR12_Refusals(t *testing.T) {
	test(t, func(r *rig) {
		for payload, want := range map[string]string{
			"<subscribe xmlns='urn:xmpp:iot:events' momentary='true'/>":                                                "bad-request",
			"<subscribe xmlns='urn:xmpp:iot:events' seqnr='1'/>":                                                       "bad-request",
			"<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' momentary='maybe'/>":                                     "bad-request",
			"<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true' maxInterval='5'/>":                            "bad-request",
			"<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true' maxInterval='PT1S' minInterval='PT1M'/>":      "bad-request",
			"<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true'><node/></subscribe>":                          "bad-request",
			"<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true'><field name='a' changedBy='-1'/></subscribe>": "bad-request",
			"<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true'><node nodeId='attic'/></subscribe>":           "item-not-found",
			"<unsubscribe xmlns='urn:xmpp:iot:events'/>":                                                               "bad-request",
		} {
			if got := r.ask(payload); got != want {
				t.Errorf("%s: %s", payload, got)
			}
		}
		r.denied = true
		if got := r.ask("<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true'/>"); got != "forbidden" {
			t.Error(got)
		}
		r.denied, r.friend = false, false
		if got := r.ask("<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true'/>"); got != "subscription-required" {
			t.Error(got)
		}
	})
}

func TestEventsR13_Unsubscribe(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "")
		const empty = "<iq type='result' id='1' to='" + client + "'/>"
		for range 2 {
			if got := r.ask("<unsubscribe xmlns='urn:xmpp:iot:events' seqnr='7'/>"); got != empty {
				t.Error(got)
			}
		}
		r.put(room, "temp", temp(1))
		r.want()
	})
}

func TestEventsR14_OnlyWhileOnline(t *testing.T) {
	test(t, func(r *rig) {
		r.put(room, "temp", temp(200))
		r.subscribe("momentary='true'", "<node nodeId='room'/><field name='temp' changedBy='1'/>")
		r.present(false)
		for i := range 10 {
			r.put(room, "temp", temp(300+10*int64(i)))
		}
		r.want()
		r.present(true)
		r.want("room: temp=39.0 done")
		r.present(false)
		r.present(true)
		r.want() // nothing has changed
	})
}

func TestEventsR15_FriendshipEnds(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "")
		r.svc.Forget(owner)
		r.put(room, "temp", temp(1))
		r.want()
		if n := len(r.out.Status().Subscribers); n != 0 {
			t.Errorf("%d subscribers", n)
		}
	})
}

func TestEventsR16_TheLaterHolds(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "<node nodeId='room'/><node nodeId='cellar'/>")
		r.subscribe("momentary='true'", "<node nodeId='room'/><field name='door'/>")
		r.put(room, "temp", temp(1))
		r.put(cellar, "temp", temp(2))
		r.put(room, "door", drivers.Bool(true))
		r.want("cellar: temp=0.2 done", "room: door=true done")
		r.subscribe("momentary='true'", "")
		if n := len(r.svc.subs); n != 1 {
			t.Errorf("%d subscriptions", n)
		}
	})
}

func TestEventsR18_MaxAge(t *testing.T) {
	test(t, func(r *rig) {
		for i := range 10 {
			r.put(room, "temp", temp(int64(i)))
			time.Sleep(59 * time.Second)
		}
		r.subscribe("momentary='true' historicalOther='true' maxAge='PT3M'", "<node nodeId='room'/><field name='temp'/><field name='door' changedUp='1' currentValue='0'/>")
		r.put(room, "door", drivers.Bool(true))
		r.want("room: temp=0.9 door=true past temp=0.8 past temp=0.9 past door=true done")
	})
}

func TestEventsR19_RightsAreLookedAtAgain(t *testing.T) {
	test(t, func(r *rig) {
		r.subscribe("momentary='true'", "")
		r.mu.Lock()
		r.denied = true
		r.mu.Unlock()
		r.put(room, "temp", temp(1))
		r.want()
	})
}

func TestEventsR20_SubscriptionsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		r := start(t, openDB(t, path), nil)
		r.present(true)
		r.subscribe("momentary='true'", "<node nodeId='room'/>")
		r.stop()
		if err := r.db.Close(); err != nil {
			t.Fatal(err)
		}
		r = start(t, openDB(t, path), nil)
		defer r.stop()
		r.present(true)
		r.events() // the present state
		r.put(room, "temp", temp(3))
		r.want("room: temp=0.3 done")
		if got := r.svc.Full(owner); got != client {
			t.Error(got)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add("<subscribe xmlns='urn:xmpp:iot:events' seqnr='1' all='true' maxInterval='PT5M' req='1'><node nodeId='x'/><field name='t' changedBy='1e3' currentValue='-2'/><keep xmlns='urn:postern:seq:1'/></subscribe>")
	f.Fuzz(func(t *testing.T, text string) {
		x := xmltext.NewStreamReader(xmltext.Limits{})
		b := bufio.NewReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + text))
		d := new(exi.Doc)
		if x.ReadOpen(b, d) != nil {
			return
		}
		d.Reset()
		if x.ReadElement(b, d) != nil {
			return
		}
		r, err := ParseRequest(d.Root(), 100)
		if err != nil {
			return
		}
		out := new(exi.Doc)
		r.AppendEvents(out)
		again, err := ParseRequest(out.Root(), 100)
		if err != nil || again.Min != r.Min || again.Types != r.Types || len(again.Fields) != len(r.Fields) {
			t.Errorf("%+v came back as %+v, %v", r, again, err)
		}
	})
}
