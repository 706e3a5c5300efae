package sensors

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

// Polling keeps the latest readings fresh without anybody asking, on a steady
// grid.
func TestPollingFillsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := temperature("1")
		p.delay = 300 * time.Millisecond
		r := start(t, []node.Node{thermo("room")}, map[string]Device{"room": {Device: p, Interval: 10 * time.Second}}, nil)
		defer r.stop()
		time.Sleep(101 * time.Second)
		synctest.Wait()
		n := p.count()
		if n < 11 || n > 12 { // at once, then every 10 s from a point of its own
			t.Errorf("%d reads in 101 s at 10 s", n)
		}
		rd, ok := r.live.Get(node.Ref{ID: "room"}, "temperature")
		if !ok || rd.Unit != "°C" || rd.Quality != live.AutomaticReadout || time.Since(rd.Time) > 10*time.Second {
			t.Errorf("%+v %v", rd, ok)
		}
		// Fresh enough: a request does not read the device again, a later one
		// does.
		for p.count() == n {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		if p.count() != n+1 {
			t.Error("a fresh reading was read again")
		}
		time.Sleep(3 * time.Second)
		r.recv(alice, req("2", "seqnr='2' momentary='true'", ""))
		time.Sleep(time.Second)
		if p.count() != n+2 {
			t.Errorf("%d reads", p.count())
		}
	})
}

// A device that fails is tried three times, then ever more rarely, and
// requests are told at once instead of waiting for its time-out. Afterwards it
// comes back by itself.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := temperature("1")
		p.err = drivers.ErrGone
		r := start(t, []node.Node{thermo("room")}, map[string]Device{"room": {Device: p, Interval: time.Second}}, nil)
		defer r.stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		n := p.count()
		if n < 12 || n > 24 {
			t.Errorf("a dead device was tried %d times in 10 minutes", n)
		}
		p.set(func(p *probe) { p.deaf = true })
		began := time.Now()
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		want(t, r.out(), "accepted", "<failure … device is not there; failed "+fmt.Sprint(n)+" times, next try in", "done='true'")
		if time.Since(began) != 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		if st := r.svc.Devices()[0]; st.Fails != n || st.LastErr == nil || !st.NextTry.After(time.Now()) {
			t.Errorf("%+v", st)
		}
		p.set(func(p *probe) { p.deaf, p.err = false, nil })
		time.Sleep(2 * time.Minute)
		r.recv(alice, req("2", "seqnr='2' momentary='true'", ""))
		want(t, r.out(), "accepted", "<fields … value='1'", "done='true'")
		if st := r.svc.Devices()[0]; st.Fails != 0 || st.LastErr != nil {
			t.Errorf("%+v", st)
		}
	})
}

// Ten dead units and ten healthy ones on one line, the dead ones with a
// time-out of a second, polls every two. The healthy ones are never later than
// one dead unit's time-out, and most of the line's time is theirs.
func TestDeadUnitsOnABus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		devices := map[string]Device{}
		var healthy []*probe
		var mu sync.Mutex
		worst := map[string]time.Duration{}
		var last = map[string]time.Time{}
		for i := range 10 {
			devices[fmt.Sprint("dead", i)] = Device{Device: &probe{deaf: true}, Bus: "line", Interval: 2 * time.Second, Timeout: time.Second}
			p := temperature("1")
			p.delay = 20 * time.Millisecond
			healthy = append(healthy, p)
			devices[fmt.Sprint("ok", i)] = Device{Device: p, Bus: "line", Interval: 2 * time.Second, Timeout: time.Second}
		}
		var nodes []node.Node
		for name := range devices {
			nodes = append(nodes, thermo(name))
		}
		r := start(t, nodes, devices, nil)
		defer r.stop()
		time.Sleep(2 * time.Minute) // the breakers open
		cancel := r.live.Observe(func(c live.Change) {
			mu.Lock()
			defer mu.Unlock()
			if was, ok := last[c.Ref.ID]; ok {
				worst[c.Ref.ID] = max(worst[c.Ref.ID], time.Since(was))
			}
			last[c.Ref.ID] = time.Now()
		})
		defer cancel()
		before := 0
		for _, p := range healthy {
			before += p.count()
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		reads := -before
		for _, p := range healthy {
			reads += p.count()
		}
		if reads < 2950 {
			t.Errorf("healthy devices were read %d times, want about 3000", reads)
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range 10 {
			id := fmt.Sprint("ok", i)
			if gap := worst[id]; gap == 0 || gap > 3300*time.Millisecond {
				t.Errorf("%s was %v without a reading", id, gap)
			}
		}
	})
}

// A driver that does not return blocks its own bus only, and requests say so.
func TestStuckDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := start(t, []node.Node{thermo("stuck"), thermo("room")}, map[string]Device{
			"stuck": {Device: stuck{release}}, "room": {Device: temperature("1")}}, nil)
		defer r.stop()
		defer close(release)
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		out := r.out()
		want(t, out, "accepted", "<fields … nodeId='room'", "<failure … nodeId='stuck' … not read in time", "done='true'")
		r.recv(alice, req("2", "seqnr='2' momentary='true'", "<node nodeId='stuck'/>"))
		want(t, r.out(), "accepted", "<failure … does not return", "done='true'")
	})
}

type stuck struct{ release chan struct{} }

func (s stuck) Read(_ context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	<-s.release
	return dst, drivers.ErrClosed
}
func (s stuck) Close() error { return nil }

// watched is a device that reports by itself.
type watched struct {
	*probe
	events chan drivers.Sample
}

func (w watched) Watch(ctx context.Context, changed func(drivers.Sample)) error {
	for {
		select {
		case s := <-w.events:
			changed(s)
		case <-ctx.Done():
			return nil
		}
	}
}

func TestWatcherPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched{temperature("1"), make(chan drivers.Sample)}
		r := start(t, []node.Node{thermo("door")}, only("door", w), nil)
		defer r.stop()
		w.events <- drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(42, 0)), Time: time.Now()}
		synctest.Wait()
		if rd, ok := r.live.Get(node.Ref{ID: "door"}, "temperature"); !ok || rd.Value.String() != "42" {
			t.Errorf("%+v", rd)
		}
		if w.count() != 0 {
			t.Error("it was read")
		}
	})
}

// Apply keeps what did not change running, lets go of what was removed before
// it returns, and serves what is new.
func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, gone, added := temperature("1"), temperature("2"), temperature("3")
		every := func(p *probe) Device { return Device{Device: p, Interval: time.Second} }
		r := start(t, []node.Node{thermo("kept"), thermo("gone")}, map[string]Device{"kept": every(kept), "gone": every(gone)}, nil)
		defer r.stop()
		time.Sleep(2500 * time.Millisecond)
		tree, err := node.NewTree([]node.Node{thermo("kept"), thermo("added")})
		if err != nil {
			t.Fatal(err)
		}
		setup := Setup{Tree: tree, Access: r.svc.state.Load().access, Devices: map[string]Device{"kept": every(kept), "added": every(added)}}
		if err := r.svc.Apply(t.Context(), setup); err != nil {
			t.Fatal(err)
		}
		last := gone.count()
		time.Sleep(3100 * time.Millisecond)
		if gone.count() != last || kept.count() < 6 || kept.count() > 7 || added.count() < 4 || added.count() > 5 {
			t.Errorf("reads: gone %d→%d, kept %d, added %d", last, gone.count(), kept.count(), added.count())
		}
		if _, ok := r.live.Get(node.Ref{ID: "gone"}, "temperature"); ok {
			t.Error("the removed node's reading is still there")
		}
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		time.Sleep(time.Second)
		if out := strings.Join(r.out(), ""); !strings.Contains(out, "'added'") || strings.Contains(out, "'gone'") {
			t.Error(out)
		}
	})
}

// Whatever devices do, each read-out ends exactly once, fields come before
// failures, every requested node is in one of them, and nothing follows the
// end (R05, R15).
func Test0323R05R15R26R52_EndsExactlyOnce(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			devices := map[string]Device{}
			var nodes []node.Node
			for i := range 1 + rnd.IntN(12) {
				p := temperature(fmt.Sprint(i))
				switch rnd.IntN(5) {
				case 0:
					p.deaf = true
				case 1:
					p.err = drivers.ErrProtocol
				case 2:
					p.delay = time.Duration(rnd.IntN(3000)) * time.Millisecond
				}
				d := Device{Device: p, Interval: time.Duration(rnd.IntN(3)) * time.Second, Timeout: time.Duration(1+rnd.IntN(4)) * time.Second, Fresh: -1}
				if rnd.IntN(2) == 0 {
					d.Bus = fmt.Sprint("bus", rnd.IntN(2))
				}
				id := fmt.Sprint("n", i)
				devices[id] = d
				nodes = append(nodes, thermo(id))
			}
			r := start(t, nodes, devices, func(c *Config) { c.Limits.Running = 1 + rnd.IntN(3); c.Limits.PerPeer = 100 })
			defer r.stop()
			n := 1 + rnd.IntN(10)
			for i := range n {
				attrs := fmt.Sprintf("seqnr='%d' momentary='true'", i)
				if rnd.IntN(3) == 0 {
					attrs += " when='" + time.Now().Add(time.Duration(rnd.IntN(5000))*time.Millisecond).UTC().Format(time.RFC3339Nano) + "'"
				}
				r.recv(alice, req(fmt.Sprint("q", i), attrs, ""))
				time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			out := r.out()
			for i := range n {
				checkReadout(t, out, i, len(nodes))
			}
			if r.svc.desk.busy != 0 || len(r.svc.desk.open) != 0 || len(r.svc.desk.perPeer) != 0 {
				t.Errorf("left over: %d busy, %d open, %v", r.svc.desk.busy, len(r.svc.desk.open), r.svc.desk.perPeer)
			}
		})
	}
}

func checkReadout(t *testing.T, out []string, seq, nodes int) {
	t.Helper()
	tag := fmt.Sprintf(" seqnr='%d'", seq)
	var order []string
	seen := map[string]int{}
	for _, s := range out {
		if !strings.Contains(s, tag) {
			continue
		}
		for _, el := range []string{"accepted", "started", "fields", "failure"} {
			if strings.Contains(s, "<"+el+" ") {
				if strings.Contains(s, "done='true'") {
					el = "end"
				}
				if len(order) == 0 || order[len(order)-1] != el || el == "end" {
					order = append(order, el)
				}
			}
		}
		for i := range nodes {
			seen[fmt.Sprint("n", i)] += strings.Count(s, fmt.Sprintf("nodeId='n%d'", i))
		}
	}
	order = slices.DeleteFunc(order, func(s string) bool { return s == "fields" || s == "failure" || s == "started" })
	if strings.Join(order, " ") != "accepted end" {
		t.Errorf("read-out %d: %v", seq, order)
	}
	full := strings.Join(out, "\n")
	if i, j := strings.LastIndex(full, "<fields xmlns='urn:xmpp:iot:sensordata'"+tag+"><node"), strings.Index(full, "<failure xmlns='urn:xmpp:iot:sensordata'"+tag); j >= 0 && i > j {
		t.Errorf("read-out %d: fields after a failure", seq)
	}
	for i := range nodes {
		if seen[fmt.Sprint("n", i)] != 1 {
			t.Errorf("read-out %d: node n%d appears %d times", seq, i, seen[fmt.Sprint("n", i)])
		}
	}
}
