package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/board/hil"
	"postern/drivers/modbus"
	"postern/internal/peertest"
)

// counter is a Modbus unit whose two registers count how often they were read.
// It is the outside count of what was measured.
type counter struct {
	addr string
	mu   sync.Mutex
	at   []time.Time // when each value was handed out, the first is 1
}

func startCounter(t *testing.T) *counter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{addr: l.Addr().String()}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer conn.Close()
				c.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		wg.Wait()
	})
	return c
}

// serve answers every request with the next number, until the gateway goes away.
func (c *counter) serve(conn net.Conn) {
	var buf []byte
	b := make([]byte, 512)
	for {
		id, unit, pdu, n, err := modbus.ParseMBAP(buf)
		if err != nil {
			return
		}
		if n == 0 {
			k, err := conn.Read(b)
			if err != nil {
				return
			}
			buf = append(buf, b[:k]...)
			continue
		}
		c.mu.Lock()
		c.at = append(c.at, time.Now())
		v := len(c.at)
		c.mu.Unlock()
		answer := []byte{pdu[0], 4, byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
		if _, err := conn.Write(modbus.AppendMBAP(nil, id, unit, answer)); err != nil {
			return
		}
		buf = buf[n:]
	}
}

// sent returns when each value was handed out; value n is at n−1.
func (c *counter) sent() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[:len(c.at):len(c.at)]
}

const cutConfig = `account:
  jid: %s
  password: {file: /run/password}
server: {address: "10.0.2.2:%s", ca_file: /run/ca.pem, exi: "off"}
access: {owner: %s}
state: {directory: /disk/state}
local: {socket: /run/postern.sock}
history: {online: 2s, offline: 2s}
subscribers:
  - {jid: %s}
buses:
  line: {type: modbus, transport: tcp, host: "10.0.2.2:%s", timeout: 10s, retries: 0}
nodes:
  - id: meter
    kind: modbus
    bus: line
    unit: 1
    interval: 100ms
    registers: [{name: count, table: input, address: 0, type: uint32, unit: Wh}]
`

// site is a gateway in a guest whose power is cut, and those around it.
type site struct {
	t    *testing.T
	g    *hil.Guest
	disk *hil.Disk
	s    *peertest.Server
	c    *counter
	p    *peer
	r    *rand.Rand

	cuts  []cut
	got   map[int][]string // value → numbers of the messages that it came with
	gaps  map[string]int
	twice int
}

// cut is a power cut.
type cut struct {
	at          time.Time
	last        int  // value that was handed out last
	online      bool // the gateway worked
	trip        int  // after so many writes of the disk; 0: at any time
	lost, saved int  // sectors in the disk's cache
}

// commitTime is what a commit may take on an emulated machine beside others: the
// bound is for when it begins.
const commitTime = 500 * time.Millisecond

// TestPowerCut cuts the power of a gateway at random moments, POSTERN_CUTS
// times. Its disk loses what was not flushed. What was measured is counted at
// the meter, outside, and has to be in the history and with the subscriber, but
// for what a power cut may lose by postern status. POSTERN_CUTS_LIES=1 gives it a
// disk that does not flush when it says so, with which the test has to fail.
func TestPowerCut(t *testing.T) {
	cuts, err := strconv.Atoi(os.Getenv("POSTERN_CUTS"))
	if err != nil {
		t.Skip("POSTERN_CUTS does not say how often; make powercut runs this test")
	}
	disk := hil.NewDisk(t, 64)
	disk.Lies = os.Getenv("POSTERN_CUTS_LIES") != ""
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	x := &site{t: t, disk: disk, c: startCounter(t), r: rand.New(rand.NewPCG(seed, 1)), got: map[int][]string{}, gaps: map[string]int{}}
	x.g = hil.Boot(t, hil.Options{
		Modules:  hil.DiskModules,
		Packages: map[string]string{"/bin/postern": "postern/cmd/postern"},
		Devices:  disk.Devices,
	})
	x.s = peertest.Prosody(t)
	x.s.Befriend("gateway", "owner")
	x.p = startPeer(t, x.s, "owner")
	x.p.do("receipts", nil)

	bound := time.Duration(0)
	for k := range cuts {
		x.begin()
		var c cut
		// Half of the lives end before or while the gateway finds its feet, the
		// others while it works. Half end between two writes of the disk, where
		// it has something to lose, the others at any time.
		if c.online = k%2 == 1; c.online {
			x.online(&bound)
		}
		wait := x.r.Int64N(int64(4 * time.Second))
		var tripped <-chan struct{}
		if k/2%2 == 0 {
			c.trip = 1 + x.r.IntN(40)
			tripped, wait = disk.Trip(c.trip), int64(10*time.Second)
		}
		select {
		case <-tripped:
		case <-time.After(time.Duration(wait)):
			c.trip = 0
		}
		x.cut(c)
	}
	x.begin()
	x.online(&bound)
	x.judge(bound)
}

// begin starts the gateway.
func (x *site) begin() {
	x.t.Helper()
	_, port, err := net.SplitHostPort(x.s.Addr)
	if err != nil {
		x.t.Fatal(err)
	}
	_, line, _ := net.SplitHostPort(x.c.addr)
	g := x.g
	g.Mount("/dev/vda", "/disk", "ext4")
	g.Write("/run/password", x.s.Password("gateway")+"\n")
	g.Write("/run/ca.pem", string(x.s.CA.PEM()))
	g.Write("/run/postern.yaml", fmt.Sprintf(cutConfig, x.s.JID("gateway"), port, x.s.JID("owner"), x.s.JID("owner"), line))
	g.Start("/bin/postern", "run", "--config", "/run/postern.yaml")
}

// online waits until the gateway is connected and measures. It takes from postern
// status what a power cut loses.
func (x *site) online(bound *time.Duration) {
	x.t.Helper()
	eventually(x.t, 40*time.Second, func() error {
		out, err := x.g.Run(10*time.Second, nil, "/bin/postern", "status", "--json", "--socket", "/run/postern.sock")
		var s struct {
			Gateway struct {
				Connection struct{ Phase string }
				History    struct {
					Taken       int
					LossOnline  float64 `json:"loss_online"`
					LossOffline float64 `json:"loss_offline"`
				}
			}
		}
		if jerr := json.Unmarshal([]byte(out), &s); jerr != nil {
			return errors.Join(err, jerr)
		}
		if s.Gateway.Connection.Phase != "online" || s.Gateway.History.Taken == 0 {
			return fmt.Errorf("the gateway does not work yet: %s", out)
		}
		*bound = time.Duration(max(s.Gateway.History.LossOnline, s.Gateway.History.LossOffline) * float64(time.Second))
		return nil
	})
}

// cut cuts the power and boots the guest again. The disk loses all of what was
// not flushed, none of it, or a part.
func (x *site) cut(c cut) {
	x.t.Helper()
	c.at = time.Now()
	x.g.PowerCut(x.disk)
	c.last = len(x.c.sent())
	var err error
	if c.lost, c.saved, err = x.disk.Cut(x.r, [...]float64{0, x.r.Float64(), 0.5, 1}[x.r.IntN(4)]); err != nil {
		x.t.Fatal(err)
	}
	x.cuts = append(x.cuts, c)
	x.fetch()
	x.g.PowerOn()
}

// fetch takes what came to the subscriber.
func (x *site) fetch() (n int) {
	x.t.Helper()
	list, _ := x.p.do("events", nil)["events"].([]any)
	for _, e := range list {
		m := e.(map[string]any)
		id := fmt.Sprint(m["boot"], " ", m["n"])
		if why := fmt.Sprint(m["gap"]); why != "" {
			x.gaps[why]++
		}
		for _, f := range m["fields"].([]any) {
			v, err := strconv.Atoi(fmt.Sprint(f.(map[string]any)["value"]))
			if err != nil {
				x.t.Fatalf("a value that is no number: %v", f)
			}
			n++
			ids := x.got[v]
			if len(ids) > 0 && ids[len(ids)-1] == id {
				x.twice++
				continue
			}
			x.got[v] = append(ids, id)
		}
	}
	return n
}

// judge compares what was handed out with what the history holds and what the
// subscriber got.
func (x *site) judge(bound time.Duration) {
	t := x.t
	t.Helper()
	if bound <= 0 {
		t.Fatal("postern status does not say what a power cut loses")
	}
	end := len(x.c.sent())
	// What is still on its way comes within a few seconds.
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(300 * time.Millisecond) {
		x.fetch()
		if len(x.got[end]) > 0 && len(x.c.sent()) > end+50 {
			break
		}
	}
	stored := x.stored()
	sent := x.c.sent()
	life := 0
	var worst [2]time.Duration
	missing := [2]int{}
	for v := 1; v <= end; v++ {
		for life < len(x.cuts) && v > x.cuts[life].last {
			life++
		}
		for i, have := range [2]bool{stored[v] > 0, len(x.got[v]) > 0} {
			if have {
				continue
			}
			missing[i]++
			before := time.Duration(0)
			if life < len(x.cuts) {
				before = x.cuts[life].at.Sub(sent[v-1])
			}
			worst[i] = max(worst[i], before)
			if what := [2]string{"in the history", "with the subscriber"}[i]; life == len(x.cuts) {
				t.Errorf("value %d is not %s, although no power was cut after it", v, what)
			} else if before > bound+commitTime {
				t.Errorf("value %d, measured %v before cut %d, is not %s; the bound is %v", v, before, life, what, bound)
			}
		}
		if stored[v] > 1 {
			t.Errorf("value %d is in the history %d times", v, stored[v])
		}
		if len(x.got[v]) > 1 {
			t.Errorf("value %d came under several numbers: %v", v, x.got[v])
		}
	}
	lost, saved := 0, 0
	for i, c := range x.cuts {
		t.Logf("cut %d: online %v, write %d, sectors lost %d, kept %d", i, c.online, c.trip, c.lost, c.saved)
	}
	for _, c := range x.cuts {
		lost, saved = lost+c.lost, saved+c.saved
	}
	t.Logf("%d power cuts: %d values handed out; not in the history %d, at most %v before a cut; not with the subscriber %d, at most %v; bound %v",
		len(x.cuts), end, missing[0], worst[0].Round(time.Millisecond), missing[1], worst[1].Round(time.Millisecond), bound)
	t.Logf("the disk lost %d sectors that were not flushed and kept %d; %d messages came twice under their numbers; gap records: %v", lost, saved, x.twice, x.gaps)
	if con := x.g.Console(); strings.Contains(con, "damaged") {
		t.Errorf("the store was damaged:\n%s", con)
	}
}

// stored reads the whole history by XMPP: how often each value is in it.
func (x *site) stored() map[int]int {
	x.t.Helper()
	gw := x.p.waitOnline(x.s.JID("gateway"))
	all := x.p.do("read", map[string]any{"to": gw, "fields": []string{"count"}, "flags": map[string]string{"historicalOther": "true"}})
	if all["done"] != true {
		x.t.Fatalf("the read-out did not end: %v", all)
	}
	n := map[int]int{}
	for _, f := range all["fields"].([]any) {
		v, err := strconv.Atoi(fmt.Sprint(f.(map[string]any)["value"]))
		if err != nil {
			x.t.Fatalf("a value that is no number: %v", f)
		}
		n[v]++
	}
	return n
}
