package events

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/sensors"
	"postern/sensors/history"
	"postern/xmpp"
)

// TestMain lets the test program be the gateway that is killed.
func TestMain(m *testing.M) {
	storetest.Main(victim)
	os.Exit(m.Run())
}

// commits are how often the victim commits: its bound.
const commits = 60 * time.Millisecond

// victim measures a counter every 3 ms for a subscriber that comes and goes, and
// writes down what it measured and what reached the subscriber.
func victim(path string, from int) error {
	ctx := context.Background()
	db, err := store.Open(ctx, path, store.Options{})
	if err != nil {
		return err
	}
	v := &outside{w: bufio.NewWriterSize(os.Stdout, 1<<16)}
	tree, err := node.NewTree([]node.Node{{Ref: room, Device: room.ID, Fields: []node.Field{{Name: "temp", Types: node.Momentary, Kind: drivers.KindLong}}}})
	if err != nil {
		return err
	}
	all := live.New()
	h, err := history.Open(history.Config{DB: db, Location: time.UTC, Online: commits, Offline: commits})
	if err != nil {
		return err
	}
	svc, err := sensors.New(sensors.Config{Setup: sensors.Setup{Tree: tree, Access: v, Devices: map[string]sensors.Device{room.ID: {Device: dummy{}}}}, Live: all, Sender: v, History: h})
	if err != nil {
		return err
	}
	out, err := outbox.Open(outbox.Config{DB: db, Sender: v, Access: v, Where: v.where, Online: commits, Offline: commits, Alive: h.Newest})
	if err != nil {
		return err
	}
	ev, err := New(Config{Sensors: svc, Outbox: out, Access: v, History: h, DB: db, Gather: time.Millisecond,
		Subscribers: []Subscriber{{Bare: owner, Readings: true}}})
	if err != nil {
		return err
	}
	h.Observe(all)
	ev.Observe(all)
	for _, run := range []func(context.Context) error{h.Run, out.Run, ev.Run} {
		go func() { _ = run(ctx) }()
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	for n := int64(from); ; n++ {
		at := time.Now()
		v.say("sent", n, at.UnixMilli(), "")
		all.Put(room, "temp", live.Reading{Value: drivers.Long(n), Time: at, Quality: live.AutomaticReadout})
		if r.IntN(15) == 0 {
			on := v.toggle()
			out.Wake(owner, on)
		}
		time.Sleep(3 * time.Millisecond)
	}
}

// outside is the world of the victim: it writes down what reaches it.
type outside struct {
	mu     sync.Mutex
	w      *bufio.Writer
	online bool
}

func (v *outside) CanRead(context.Context, node.Request) (node.Decision, error) {
	return node.Everything(), nil
}

func (v *outside) CanControl(context.Context, node.Request) (node.Decision, error) {
	return node.Everything(), nil
}

func (v *outside) where(string) (jid.JID, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return jid.MustParse(client), v.online
}

func (v *outside) toggle() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.online = !v.online
	return v.online
}

func (v *outside) say(what string, n, ms int64, boot string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintln(v.w, what, n, ms, boot)
	_ = v.w.Flush()
}

// Send delivers: each value with the number of its message.
func (v *outside) Send(_ context.Context, sts ...xmpp.Stanza) error {
	for _, st := range sts {
		d := new(exi.Doc)
		st.AppendEvents(d)
		var in xmpp.Stanza
		if err := in.Parse(d.Root()); err != nil {
			return err
		}
		seq, _ := outbox.ParseSeq(&in)
		id := fmt.Sprintf("%s-%d", seq.Boot, seq.N)
		if g, ok := outbox.ParseGap(&in); ok {
			v.say("gap:"+g.Why, 0, g.From.UnixMilli(), id)
			continue
		}
		for n := range in.Elem.Child(exi.N(sensors.NS, "fields")).Children() {
			for ts := range n.Children() {
				for f := range ts.Children() {
					val, _ := f.Attr(exi.N("", "value"))
					i, _ := val.Int()
					v.say("got", i, 0, id)
				}
			}
		}
	}
	return nil
}

func (v *outside) Flush(context.Context) error { return nil }

// ledger is the outside count.
type ledger struct {
	sent map[int64]int64           // value, ms when it was measured
	got  map[int64]map[string]bool // value, numbers of the messages it came with
	life map[int64]int             // value, in which life it was measured
	gaps map[string]int            // reasons
	last []int64                   // ms of the last word of each life
}

// live lets a victim live for a while and writes down what it says.
func (l *ledger) live(t *testing.T, path string, from int64, life int, after time.Duration) (next int64) {
	t.Helper()
	next = from
	last := int64(0)
	storetest.Live(t, path, int(from), after, func(line string) {
		var what, id string
		var n, ms int64
		k, _ := fmt.Sscan(line, &what, &n, &ms, &id)
		switch {
		case k < 3: // cut off by the kill
		case what == "sent":
			l.sent[n], l.life[n], next, last = ms, life, n+1, ms
		case what == "got":
			if l.got[n] == nil {
				l.got[n] = map[string]bool{}
			}
			l.got[n][id] = true
		case strings.HasPrefix(what, "gap:"):
			l.gaps[what]++
		}
	})
	l.last = append(l.last, last)
	return next
}

// A gateway that is killed at random moments, with a subscriber that comes and
// goes: what was measured longer before the kill than the bound is delivered,
// and nothing is delivered under two numbers. POSTERN_KILLS sets how often.
func TestKilledAtRandom(t *testing.T) {
	kills := storetest.Kills(t)
	path := filepath.Join(t.TempDir(), "db")
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	l := &ledger{sent: map[int64]int64{}, got: map[int64]map[string]bool{}, life: map[int64]int{}, gaps: map[string]int{}}
	next := int64(0)
	for k := range kills {
		next = l.live(t, path, next, k, time.Duration(50+r.IntN(400))*time.Millisecond)
	}
	// A last life that is long enough for everything to come.
	end := next
	for range 3 {
		end = l.live(t, path, end, kills, 1500*time.Millisecond)
	}
	var worst int64
	missing, twice := 0, 0
	for n := range next {
		if len(l.got[n]) == 0 {
			missing++
			worst = max(worst, l.last[l.life[n]]-l.sent[n])
		}
		if len(l.got[n]) > 1 {
			twice++
			if twice < 10 {
				ids := []string{}
				for id := range l.got[n] {
					ids = append(ids, id)
				}
				slices.Sort(ids)
				t.Errorf("reading %d came under the numbers %v", n, ids)
			}
		}
	}
	t.Logf("%d kills: %d sent, %d missing, measured %d ms before a kill at most; %d gap records", kills, next, missing, worst, l.gaps["gap:restart"])
	// The bound, and what a busy machine takes for a commit.
	if bound := commits.Milliseconds() + 400; worst > bound {
		t.Errorf("a reading of %d ms before a kill is missing, the bound is %d", worst, commits.Milliseconds())
	}
	if twice > 0 {
		t.Errorf("%d readings came under two numbers", twice)
	}
}
