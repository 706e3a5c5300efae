package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/internal/peertest"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/roster"
	"postern/xmpp/tcp"
)

// A subscriber is away until the cap of what waits for it, a small one here,
// has dropped most; the sender is started anew in between. When it is back it is
// told by a gap record what it will never get, before the rest of that class,
// which comes in order.
func TestGapOfTheCapOverRealServers(t *testing.T) {
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		w := newSmallOutbox(t, s)
		p := startPeer(t, s, "owner")
		eventually(t, 10*time.Second, func() error {
			if _, ok := w.where(w.owner); !ok {
				return fmt.Errorf("the subscriber is not seen")
			}
			return nil
		})
		stop := w.run(t)
		w.add(t, outbox.Alarm, 0)
		if got := numbered(t, p, 1); values(got) != "[0]" || got[0]["gap"] != "" {
			t.Fatalf("before it is away: %v", got)
		}
		p.do("present", map[string]any{"on": false})
		eventually(t, 10*time.Second, func() error {
			if _, ok := w.where(w.owner); ok {
				return fmt.Errorf("the subscriber is still there")
			}
			return nil
		})
		const alarms, momentary, results = 40, 25, 3
		for i := range momentary {
			w.add(t, outbox.Momentary, 1000+i)
		}
		for i := range results {
			w.add(t, outbox.Control, 2000+i)
		}
		for i := range alarms / 2 {
			w.add(t, outbox.Alarm, 1+i)
		}
		stop() // and starts again from its store
		stop = w.run(t)
		defer stop()
		for i := range alarms / 2 {
			w.add(t, outbox.Alarm, 1+alarms/2+i)
		}
		p.do("present", map[string]any{"on": true})
		var got []map[string]any
		eventually(t, 15*time.Second, func() error {
			got = append(got, numbered(t, p, 0)...)
			if !strings.HasSuffix(strings.Trim(values(got), "[]"), strconv.Itoa(alarms)) || lost(got, "momentary") == 0 {
				return fmt.Errorf("so far %v", got)
			}
			return nil
		})
		dropped := lost(got, "alarm")
		if first := got[0]["lost"].(map[string]any); first["why"] != "full" || first["class"] != "alarm" {
			t.Errorf("the first is no gap record of the alarms: %v", got[0])
		}
		rest, want := values(got), "[]"
		for i := alarms; i > dropped; i-- {
			want = fmt.Sprintf("[%d %s", i, want[1:])
		}
		want = strings.Replace(want, " ]", "]", 1)
		if dropped == 0 || rest != want {
			t.Errorf("%d alarms are told to be lost, then came %s", dropped, rest)
		}
		if n := lost(got, "momentary"); n != momentary {
			t.Errorf("%d of %d readings are told to be lost", n, momentary)
		}
		if n := lost(got, "control"); n != results {
			t.Errorf("%d of %d results are told to be lost", n, results)
		}
		for _, m := range got {
			if g := m["lost"].(map[string]any); len(g) > 0 && (g["from"] == nil || g["to"] == nil || fmt.Sprint(g["from"]) > fmt.Sprint(g["to"])) {
				t.Errorf("the gap does not say when: %v", g)
			}
		}
		t.Logf("%d of %d alarms dropped and told, %d messages", dropped, alarms, len(got))
	})
}

// smallOutbox is an outbox with room for a few messages, and a session with the
// server.
type smallOutbox struct {
	cfg   outbox.Config
	now   *outbox.Outbox
	ros   *roster.Service
	owner string
}

const smallCap = 12

func newSmallOutbox(t *testing.T, s *peertest.Server) *smallOutbox {
	t.Helper()
	w := &smallOutbox{owner: s.JID("owner")}
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	owner := jid.MustParse(w.owner)
	if w.ros, err = roster.New(roster.Config{
		Account: jid.MustParse(s.JID("gateway")), Policy: roster.AllowList(roster.Refused, owner),
		OnPresence: func(_ *xmpp.Stanza, p roster.Presence, available bool) {
			if w.now != nil {
				w.now.Wake(p.From.Bare().String(), available)
			}
		},
	}); err != nil {
		t.Fatal(err)
	}
	m := new(xmpp.Mux)
	w.ros.Register(m)
	session, err := xmpp.NewSession(xmpp.Config{
		JID: jid.MustParse(s.JID("gateway")), Password: func(context.Context) (string, error) { return s.Password("gateway"), nil },
		CAs: s.CA.Pool(), Transport: &tcp.Transport{}, Addr: s.Addr, Handler: m,
		OnOnline: func(ctx context.Context, _ *xmpp.Session, resumed bool) {
			if err := w.ros.Online(ctx, resumed); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.ros.Bind(session)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- session.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	access, err := node.NewAllowList([]string{w.owner}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = outbox.Config{DB: db, Sender: session, Access: access, Messages: smallCap, Where: w.where}
	return w
}

func (w *smallOutbox) where(bare string) (jid.JID, bool) {
	for _, p := range w.ros.Resources(jid.MustParse(bare)) {
		return p.From, true
	}
	return jid.JID{}, false
}

// run starts the outbox from its store until stop is called.
func (w *smallOutbox) run(t *testing.T) (stop func()) {
	t.Helper()
	o, err := outbox.Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Subscribe(w.owner); err != nil {
		t.Fatal(err)
	}
	w.now = o
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// add gives the outbox a message with one field of a value.
func (w *smallOutbox) add(t *testing.T, c outbox.Class, value int) {
	t.Helper()
	const ns = "urn:xmpp:iot:sensordata"
	start := func(d *exi.Doc, local string, attrs ...string) {
		d.Start(exi.N(ns, local))
		for i := 0; i < len(attrs); i += 2 {
			d.Attr(exi.N("", attrs[i]), exi.Str(attrs[i+1]))
		}
	}
	now := time.Now()
	err := w.now.Add(w.owner, outbox.Message{Class: c, At: now, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		start(d, "fields", "seqnr", "0", "done", "true")
		start(d, "node", "nodeId", "n")
		start(d, "timestamp", "value", now.UTC().Format(time.RFC3339))
		start(d, "numeric", "name", "v", "value", strconv.Itoa(value), "unit", "m", "momentary", "true")
		for range 4 {
			d.End()
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
}

// numbered returns what came to the client, n messages at least.
func numbered(t *testing.T, p *peer, n int) (got []map[string]any) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		list, _ := p.do("events", nil)["events"].([]any)
		for _, x := range list {
			got = append(got, x.(map[string]any))
		}
		if len(got) < n {
			return fmt.Errorf("%d messages", len(got))
		}
		return nil
	})
	return got
}

// values are those of the messages' fields.
func values(list []map[string]any) string {
	out := []string{}
	for _, m := range list {
		for _, f := range m["fields"].([]any) {
			out = append(out, fmt.Sprint(f.(map[string]any)["value"]))
		}
	}
	return fmt.Sprint(out)
}

// lost is how many messages of a class the gap records tell of.
func lost(list []map[string]any, class string) (n int) {
	for _, m := range list {
		if g := m["lost"].(map[string]any); g["class"] == class {
			i, _ := strconv.Atoi(fmt.Sprint(g["count"]))
			n += i
		}
	}
	return n
}
