package outbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/node"
	"postern/internal/store"
	"postern/xmpp"
)

const owner = "owner@example.org"

var room = node.Ref{ID: "room"}

// wire stands for the session, the server and the subscribers' clients.
type wire struct {
	t *testing.T

	mu       sync.Mutex
	at       map[string]string // where accounts are online
	receipts bool
	silent   bool // receipts do not come
	down     bool
	got      []sent
	o        *Outbox
}

type sent struct {
	to, text string
	seq      Seq
	gap      *Gap
	body     string
}

func (w *wire) Send(_ context.Context, sts ...xmpp.Stanza) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return xmpp.ErrOffline
	}
	for _, st := range sts {
		var d exi.Doc
		st.AppendEvents(&d)
		b, err := xmltext.AppendElement(nil, &d, xmltext.Scope{Default: xmpp.NSClient})
		if err != nil {
			w.t.Error(err)
		}
		var in xmpp.Stanza
		if err := in.Parse(d.Root()); err != nil {
			w.t.Error(err)
		}
		s := sent{to: st.To.String(), text: strings.ReplaceAll(string(b), `"`, `'`), body: in.Elem.Child(exi.N(xmpp.NSClient, "body")).Text().String()}
		s.seq, _ = ParseSeq(&in)
		if g, ok := ParseGap(&in); ok {
			s.gap = &g
		}
		w.got = append(w.got, s)
		if w.receipts && !w.silent {
			if !strings.Contains(s.text, "<request xmlns='urn:xmpp:receipts'/>") {
				w.t.Errorf("no receipt is asked for: %s", s.text)
			}
			go w.o.Received(st.To, st.ID)
		}
	}
	return nil
}

func (w *wire) Flush(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return xmpp.ErrOffline
	}
	return nil
}

func (w *wire) where(bare string) (jid.JID, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	full, ok := w.at[bare]
	if !ok {
		return jid.JID{}, false
	}
	return jid.MustParse(full), true
}

func (w *wire) online(bare, full string) {
	w.mu.Lock()
	if full == "" {
		delete(w.at, bare)
	} else {
		w.at[bare] = full
	}
	w.mu.Unlock()
	w.o.Wake(bare, full != "")
}

func (w *wire) quiet(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = on
}

// take returns the bodies that came since the last call.
func (w *wire) take() (bodies []string, all []sent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, w.got = w.got, nil
	for _, s := range all {
		bodies = append(bodies, s.body)
	}
	return bodies, all
}

func text(s string) xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(exi.N(xmpp.NSClient, "body"), exi.Str(s)) })
}

// everybody may do everything, unless told otherwise.
type access struct {
	mu   sync.Mutex
	deny bool
}

func (a *access) CanRead(context.Context, node.Request) (node.Decision, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.deny {
		return node.Decision{}, nil
	}
	return node.Everything(), nil
}

func (a *access) CanControl(ctx context.Context, r node.Request) (node.Decision, error) {
	return a.CanRead(ctx, r)
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

// open returns an outbox with one subscriber, and a function that runs it.
func open(t *testing.T, db *store.DB, change func(*Config)) (*wire, *access, func() (stop func())) {
	t.Helper()
	w, a := &wire{t: t, at: map[string]string{}}, &access{}
	cfg := Config{DB: db, Sender: w, Where: w.where, Access: a, Connected: func() bool { return true },
		Receipts: func(context.Context, jid.JID) bool { return w.receipts }}
	if change != nil {
		change(&cfg)
	}
	o, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.o = o
	if err := o.Subscribe(owner); err != nil {
		t.Fatal(err)
	}
	return w, a, func() func() {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- o.Run(ctx) }()
		synctest.Wait()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

func add(t *testing.T, o *Outbox, c Class, body string) {
	t.Helper()
	err := o.Add(owner, Message{Class: c, At: time.Now(), Need: []Need{{Node: room, Names: []string{"t"}, Types: node.Momentary}}, Payload: text(body)})
	if err != nil {
		t.Fatal(err)
	}
}

// What is urgent goes first, each lane in its order, with numbers that rise.
func Test0184R07_LanesWithoutReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, run := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), nil)
		for i, c := range []Class{Momentary, Audit, Control, Alarm, Momentary, Alarm} {
			add(t, w.o, c, fmt.Sprint(c, i))
		}
		defer run()()
		if b, _ := w.take(); b != nil {
			t.Fatalf("sent to one who is not there: %v", b)
		}
		w.online(owner, owner+"/desk")
		synctest.Wait()
		b, all := w.take()
		if got := strings.Join(b, " "); got != "alarm 3 alarm 5 control 2 audit 1 momentary 0 momentary 4" {
			t.Error(got)
		}
		var ns []int
		for _, s := range all {
			if s.to != owner+"/desk" || s.seq.Boot != w.o.Boot() || strings.Contains(s.text, "receipts") {
				t.Error(s.text)
			}
			ns = append(ns, int(s.seq.N))
		}
		slices.Sort(ns)
		if !slices.Equal(ns, []int{1, 2, 3, 4, 5, 6}) {
			t.Error(ns)
		}
		st := w.o.Status()
		if s := st.Subscribers[0]; st.Messages != 0 || s.Delivered != 6 || s.Receipts || !s.Available {
			t.Errorf("%+v", st)
		}
	})
}

// With receipts no more than a window is on its way; the past leaves room for
// live data; what gets no receipt comes again under its number, and in order.
func Test0184R06_WindowAndReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, run := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), nil)
		w.receipts, w.silent = true, true
		src := &pages{pages: 100}
		w.o.Use(src)
		w.online(owner, owner+"/desk")
		defer run()()
		b, _ := w.take()
		if len(b) != historyWindow || b[0] != "page 0" {
			t.Fatalf("%d messages of the past at once: %v", len(b), b)
		}
		for i := range 20 {
			add(t, w.o, Momentary, fmt.Sprint("live ", i))
		}
		synctest.Wait()
		if b, _ = w.take(); len(b) != Window-historyWindow || b[0] != "live 0" {
			t.Fatalf("live data beside the past: %v", b)
		}
		time.Sleep(firstPatience)
		synctest.Wait()
		again, all := w.take()
		if len(again) != Window || again[0] != "live 0" {
			t.Fatalf("after a minute without receipts: %v", again)
		}
		seen := map[Seq]string{}
		for _, s := range all {
			seen[s.seq] = s.body
		}
		w.quiet(false)
		time.Sleep(2 * firstPatience)
		synctest.Wait()
		b, all = w.take()
		count := map[string]int{}
		for _, s := range all {
			count[s.body]++
			if was, ok := seen[s.seq]; ok && was != s.body {
				t.Errorf("%v was %s and is %s", s.seq, was, s.body)
			}
		}
		if len(count) != 120 {
			t.Errorf("%d different messages of 120", len(count))
		}
		ordered := func(prefix string) {
			last := -1
			for _, x := range b {
				var n int
				if _, err := fmt.Sscanf(x, prefix+" %d", &n); err == nil {
					if n < last {
						t.Errorf("%s comes after %d", x, last)
					}
					last = n
				}
			}
		}
		ordered("page")
		ordered("live")
		if st := w.o.Status(); st.Messages != 0 || !st.Subscribers[0].Receipts || st.Subscribers[0].Resent < Window {
			t.Errorf("%+v", st)
		}
	})
}

// pages is a Source with so many pages.
type pages struct {
	mu    sync.Mutex
	pages int
	given int
	dirty bool
}

func (p *pages) More(_ context.Context, _ string, most int) (out []Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; p.given < p.pages && len(out) < most; p.given++ {
		out = append(out, Ref{At: time.Now(), Ref: []byte(fmt.Sprint(p.given))})
	}
	p.dirty = p.dirty || len(out) > 0
	return out
}

func (p *pages) Content(_ context.Context, _ string, ref []byte) (xmpp.Payload, error) {
	return text("page " + string(ref)), nil
}

var given = store.Bucket[int]{Name: "given"}

func (p *pages) Save(tx *store.Tx) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.given
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dirty = p.given != n
	}, given.Put(tx, "n", n)
}

func (p *pages) Unsaved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dirty
}

// Messages that are not delivered outlive the process, with their numbers. A
// run that did not end in order is told.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		w, _, run := open(t, db, nil)
		stop := run()
		for i := range 5 {
			add(t, w.o, Momentary, fmt.Sprint("m", i))
		}
		add(t, w.o, Alarm, "fire")
		time.Sleep(time.Second)
		boot := w.o.Boot()
		// As after a kill: what was committed at once is there, the rest with it.
		copied := filepath.Join(t.TempDir(), "copy")
		if err := db.Compact(copied); err != nil {
			t.Fatal(err)
		}
		stop()
		for name, path := range map[string]string{"killed": copied, "ended": path} {
			if path != copied {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			w, _, run := open(t, openDB(t, path), nil)
			w.online(owner, owner+"/desk")
			stop := run()
			b, all := w.take()
			want := "fire m0 m1 m2 m3 m4"
			if name == "killed" {
				want = "fire  m0 m1 m2 m3 m4"
				if g := all[1].gap; g == nil || g.Why != WhyRestart || g.From.After(g.To) {
					t.Errorf("%+v", all[1])
				}
			}
			if got := strings.Join(b, " "); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			for _, s := range all {
				if s.gap == nil && s.seq.Boot != boot {
					t.Errorf("%s: %s has a new number", name, s.body)
				}
			}
			stop()
		}
	})
}

// Bounds: the least urgent and oldest goes, and a gap record says so in its
// place.
func TestGapRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		w, _, run := open(t, db, func(c *Config) { c.Messages = 10 })
		stop := run()
		add(t, w.o, Alarm, "fire")
		for i := range 30 {
			add(t, w.o, Momentary, fmt.Sprint("m", i))
			if i%7 == 0 {
				time.Sleep(time.Hour) // commits in between change nothing
			}
		}
		time.Sleep(time.Hour)
		stop()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		w, _, run = open(t, openDB(t, path), nil)
		w.online(owner, owner+"/desk")
		defer run()()
		b, all := w.take()
		if got := strings.Join(b, " "); got != "fire  m22 m23 m24 m25 m26 m27 m28 m29" {
			t.Fatal(got)
		}
		g := all[1].gap
		if g == nil || g.Why != WhyFull || g.Class != Momentary || g.Count != 22 || g.First.N != 2 || g.Last.N < 23 || !g.From.Before(g.To) {
			t.Errorf("%+v", g)
		}
	})
}

// Rights are looked at again when a message goes out; its number is told.
func TestAccessIsLookedAtWhenSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, run := open(t, nil, nil)
		add(t, w.o, Momentary, "secret")
		add(t, w.o, Audit, "secret")
		a.deny = true
		w.online(owner, owner+"/desk")
		defer run()()
		_, all := w.take()
		if len(all) != 2 {
			t.Fatal(all)
		}
		for _, s := range all {
			if s.gap == nil || s.gap.Why != WhyDenied || strings.Contains(s.text, "secret") || s.seq.N == 0 {
				t.Error(s.text)
			}
		}
	})
}

// The server was away: what was sent and not acknowledged comes again.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, run := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), nil)
		w.online(owner, owner+"/desk")
		w.down = true
		defer run()()
		for i := range 100 {
			add(t, w.o, Momentary, fmt.Sprint("m", i))
		}
		time.Sleep(24*time.Hour + time.Minute)
		w.mu.Lock()
		w.down = false
		w.mu.Unlock()
		w.o.Online(false)
		synctest.Wait()
		b, _ := w.take()
		if len(b) != 100 || b[0] != "m0" || b[99] != "m99" {
			t.Error(b)
		}
	})
}

// A message that comes back is kept, and the subscriber left alone for a while.
func Test0184R05_BouncesAndFalseReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, run := open(t, nil, nil)
		w.receipts, w.silent = true, true
		w.online(owner, owner+"/desk")
		defer run()()
		add(t, w.o, Momentary, "m")
		synctest.Wait()
		_, all := w.take()
		var m xmpp.Mux
		w.o.Register(&m)
		d := new(exi.Doc)
		back := xmpp.Stanza{Kind: xmpp.Message, Type: xmpp.TypeError, ID: fmt.Sprintf("%s-%d", all[0].seq.Boot, all[0].seq.N),
			From: jid.MustParse(owner + "/desk"), Payload: xmpp.Payloads{all[0].seq, xmpp.NewError(xmpp.ServiceUnavailable, "")}}
		back.AppendEvents(d)
		var st xmpp.Stanza
		if err := st.Parse(d.Root()); err != nil {
			t.Fatal(err)
		}
		if _, err := m.HandleStanza(t.Context(), &st); err != nil {
			t.Fatal(err)
		}
		if s := w.o.Status().Subscribers[0]; s.InFlight != 0 || s.Waiting[Momentary] != 1 || !strings.Contains(s.Trouble, "service-unavailable") {
			t.Errorf("%+v", s)
		}
		w.quiet(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if b, _ := w.take(); len(b) != 1 || b[0] != "m" {
			t.Error(b)
		}
		// A receipt from somebody else proves nothing.
		w.quiet(true)
		add(t, w.o, Momentary, "n")
		synctest.Wait()
		_, all = w.take()
		w.o.Received(jid.MustParse("mallory@example.org/x"), fmt.Sprintf("%s-%d", all[0].seq.Boot, all[0].seq.N))
		if st := w.o.Status(); st.Messages != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		w, _, run := open(t, db, func(c *Config) { c.Subscribers = 2 })
		stop := run()
		if err := errors.Join(w.o.Subscribe(owner), w.o.Subscribe("b@example.org")); err != nil {
			t.Error(err)
		}
		if err := w.o.Subscribe("c@example.org"); !errors.Is(err, ErrMany) {
			t.Error(err)
		}
		if err := w.o.Add("c@example.org", Message{Payload: text("x")}); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
		add(t, w.o, Alarm, "x")
		time.Sleep(time.Second)
		w.o.Unsubscribe(owner)
		stop()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		w, _, run = open(t, openDB(t, path), nil)
		w.online(owner, owner+"/desk")
		defer run()()
		if b, _ := w.take(); b != nil {
			t.Errorf("of a subscriber that was removed: %v", b)
		}
	})
}

// While all is delivered, the store is not touched.
func TestNothingIsWrittenForWhatIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, run := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), nil)
		w.online(owner, owner+"/desk")
		defer run()()
		time.Sleep(time.Minute)
		before := w.o.Status().LastCommit
		for i := range 1000 {
			add(t, w.o, Momentary, fmt.Sprint("m", i))
			time.Sleep(10 * time.Second)
		}
		if at := w.o.Status().LastCommit; !at.Equal(before) {
			t.Error("there was a commit")
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("<content xmlns='urn:postern:seq:1'><body xmlns='jabber:client'>x</body></content>"))
	f.Add([]byte("<x/>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil {
			return
		}
		d := new(exi.Doc)
		d.Start(nameContent)
		c.AppendEvents(d)
		d.End()
		parseKey(strings.Repeat(string(b), 25)[:max(0, min(25, 25*len(b)))] + strings.Repeat("0", 25))
	})
}
