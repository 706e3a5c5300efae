package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// TestScan measures a gateway that reads many simulated thermometers once a
// second on eight-chip buses: how far readings are from their second, what it
// costs, and what memory it takes, also while its whole history is read out.
// It runs for the time in POSTERN_SCAN, with the numbers of nodes in
// POSTERN_SCAN_NODES. With POSTERN_SCAN_FLOORS=1 figures that miss theirs are
// failures; on a busy machine they say nothing.
func TestScan(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("POSTERN_SCAN"))
	if err != nil {
		t.Skip("a measurement; make bench-scan runs it")
	}
	counts := os.Getenv("POSTERN_SCAN_NODES")
	if counts == "" {
		counts = "200,2000"
	}
	s := peertest.Prosody(t)
	s.Befriend("gateway", "owner")
	op := (&operator{home: t.TempDir()}).login(t, s, "owner")
	for n := range strings.SplitSeq(counts, ",") {
		nodes, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(n, func(t *testing.T) { scan(t, s, op, nodes, length) })
	}
}

// Floors of the figures.
const (
	jitterFloor = 20 * time.Millisecond // of 99 readings of 100
	smallMemory = 20e6                  // with 200 nodes
	largeMemory = 40e6                  // with 2,000
)

func scan(t *testing.T, s *peertest.Server, op *operator, nodes int, length time.Duration) {
	var b strings.Builder
	for i := range nodes {
		fmt.Fprintf(&b, "\n  - {id: n%04d, kind: mcp9808, simulate: true, interval: 1s, bus: %d, address: 0x%02x}", i, i/8, 0x18+i%8)
	}
	g := startGateway(t, s, gatewayOptions{nodes: b.String() + "\n", server: "  exi: \"off\"\n"})
	time.Sleep(3 * time.Second)
	begin, cpu := time.Now(), g.cpu()
	time.Sleep(length)
	used := g.cpu() - cpu
	t.Logf("%d nodes at 1 s for %v: %.1f %% of one core", nodes, length, 100*used.Seconds()/time.Since(begin).Seconds())
	settled := g.anonymous()
	t.Logf("RssAnon %.1f MB", settled/1e6)

	peak, values := 0.0, 0
	var off []time.Duration
	for from := 0; from < nodes; from += 100 {
		args := []string{"read", s.JID("gateway"), "--type", "historicalOther", "--to", "now", "--json", "--timeout", "60s"}
		for i := from; i < min(from+100, nodes); i++ {
			args = append(args, "--node", fmt.Sprintf("n%04d", i))
		}
		r := op.postern(t, args...)
		var got struct {
			Fields []struct{ Node, Time string }
		}
		if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != 0 {
			t.Fatalf("exit code %d, %v: %s", r.code, err, r.err)
		}
		times := map[string][]time.Time{}
		for _, f := range got.Fields {
			at, err := time.Parse(time.RFC3339Nano, f.Time)
			if err != nil {
				t.Fatal(err)
			}
			times[f.Node] = append(times[f.Node], at)
		}
		for _, ts := range times {
			off = append(off, deviations(ts)...)
		}
		values += len(got.Fields)
		peak = max(peak, g.anonymous())
	}
	slices.Sort(off)
	p99 := off[len(off)*99/100]
	t.Logf("history read out: %d values, RssAnon at most %.1f MB meanwhile, %.1f MB after it", values, peak/1e6, g.anonymous()/1e6)
	t.Logf("readings off their second: median %v, p99 %v, p99.9 %v, most %v", off[len(off)/2], p99, off[len(off)*999/1000], off[len(off)-1])
	if want := int(0.98 * float64(nodes) * length.Seconds()); values < want {
		t.Errorf("%d values, %d and more were expected", values, want)
	}
	if os.Getenv("POSTERN_SCAN_FLOORS") == "" {
		return
	}
	most := largeMemory
	if nodes <= 200 {
		most = smallMemory
	}
	if p99 > jitterFloor || settled > most || peak > most {
		t.Errorf("p99 %v of %v, memory %.1f and %.1f of %.1f MB", p99, jitterFloor, settled/1e6, peak/1e6, most/1e6)
	}
}

// deviations are how far readings are from their node's own second: the median
// of where in the second they fall. The first two stand outside of the grid.
func deviations(ts []time.Time) []time.Duration {
	slices.SortFunc(ts, time.Time.Compare)
	if len(ts) < 5 {
		return nil
	}
	ts = ts[2:]
	rest := make([]time.Duration, len(ts))
	for i, at := range ts {
		rest[i] = (at.Sub(ts[0])+500*time.Millisecond)%time.Second - 500*time.Millisecond
	}
	sorted := slices.Sorted(slices.Values(rest))
	median := sorted[len(sorted)/2]
	for i := range rest {
		rest[i] = (rest[i] - median).Abs()
	}
	return rest
}

// cpu is the time that the gateway's process has worked.
func (g *gateway) cpu() time.Duration {
	g.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of 100 Hz
}

// anonymous is the gateway's RssAnon in octets.
func (g *gateway) anonymous() float64 {
	g.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "RssAnon:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		g.t.Fatal(err)
	}
	return float64(kb) * 1024
}
