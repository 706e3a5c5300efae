package bench

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/peertest"
)

// What docs/benchmarks.md promises.
const (
	floorOne     = 0.90 // of the bare responder's reads/s with one request in flight
	floorMany    = 0.85 // the same with 64
	maxAnonKB    = 12 << 10
	maxFirstRead = 150 * time.Millisecond
)

// The node "station" and those below it have seven fields; with the others
// there are twenty nodes. The resolution of the thermometer is one that it
// converts in 30 ms: the default takes 250 ms, which would be the first
// reading's time.
const stationNodes = `
  - {id: station, kind: mcp9808, resolution: 0.5, simulate: true, interval: 1s}
  - {id: climate, parent: station, kind: bme280, simulate: true, interval: 1s}
  - {id: door, parent: station, kind: contact, line: "panel:IN1", simulate: true, interval: 1s}
  - {id: pump, parent: station, kind: relay, line: "panel:OUT1", simulate: true}
`

func config(s *peertest.Server, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "account:\n  jid: %s\n  password: {file: %s}\nserver: {address: %q, ca_file: %s, tls: direct}\n",
		s.JID("gateway"), s.PasswordFile("gateway"), s.DirectTLS, s.CAFile)
	fmt.Fprintf(&b, "access: {owner: %s, allow: [{jid: %q, rights: [read]}]}\n", s.JID("owner"), s.JID("reader"))
	return b.String() + stateAndNodes(dir)
}

// stateAndNodes is the part of a configuration that is the same at every server.
func stateAndNodes(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "state: {directory: %s/state}\nlocal: {socket: %s/door.sock}\nnodes:%s", dir, dir, stationNodes)
	for i := range 16 {
		fmt.Fprintf(&b, "  - {id: extra-%d, kind: mcp9808, bus: %q, address: %d, simulate: true, interval: 1s}\n", i, fmt.Sprint(2+i/8), 0x18+i%8)
	}
	return b.String()
}

// startGateway runs postern run and returns its process and when it began.
func startGateway(t *testing.T, s *peertest.Server) (*exec.Cmd, time.Time) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "postern")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "postern/cmd/postern")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(config(s, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "--config", file)
	cmd.Stdout, cmd.Stderr = log, log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("log of the gateway:\n%s", text)
		}
	})
	return cmd, begin
}

// TestFloors needs minutes and a quiet machine: make bench runs it.
func TestFloors(t *testing.T) {
	if os.Getenv("POSTERN_BENCH") == "" {
		t.Skip("POSTERN_BENCH is not set; make bench runs the measurement")
	}
	peertest.EachInTurn(t, peertest.Options{}, measureServer)
}

func measureServer(t *testing.T, s *peertest.Server) {
	s.Befriend("gateway", "reader")
	s.Befriend("device", "reader")
	s.Befriend("operator", "reader")
	r, err := NewReader(login(s, "reader"), "station")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()

	gw, begin := startGateway(t, s)
	full, err := r.WaitFor(s.JID("gateway"), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	tpl, fields, err := r.Capture(full)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Since(begin)
	t.Logf("first reading answered %.0f ms after the gateway's process started", ms(first))
	if first > maxFirstRead {
		t.Errorf("first reading after %v, the most is %v", first, maxFirstRead)
	}
	if fields != 7 {
		t.Fatalf("a read has %d fields, this measurement is about 7:\n%s", fields, tpl)
	}

	// One after the other: waiting for one passes over the other's presence.
	var at [2]string
	var pids [2]int
	for i, account := range []string{"device", "operator"} {
		pids[i] = startBare(t, s, account, tpl, i == 1).Process.Pid
		if at[i], err = r.WaitFor(s.JID(account), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	// Many short turns: what else the machine does then hits both alike.
	seconds, rounds := turns()
	for _, c := range []struct {
		inFlight int
		floor    float64
	}{{1, floorOne}, {64, floorMany}} {
		ratios, _ := alternate(t, r, []contestant{
			{"gateway", full, gw.Process.Pid},
			{"bare responder", at[0], pids[0]},
			{"the same, XEP-0198", at[1], pids[1]},
		}, s.PID(), c.inFlight, rounds, seconds)
		t.Logf("%2d in flight: the gateway reaches %.1f %% of the bare responder, %.1f %% of the one with stream management (floor %.0f %%)",
			c.inFlight, 100*ratios[0], 100*ratios[1], 100*c.floor)
		if ratios[0] < c.floor {
			t.Errorf("%d in flight: %.1f %%, the floor is %.0f %%", c.inFlight, 100*ratios[0], 100*c.floor)
		}
	}
	soak(t, r, full)
	anon := peertest.AnonKB(gw.Process.Pid)
	t.Logf("RssAnon: gateway with 20 nodes %d kB, bare responder %d kB; server %d kB resident", anon, peertest.AnonKB(pids[0]), s.MemoryKB())
	if anon > maxAnonKB {
		t.Errorf("the gateway uses %d kB, the most is %d kB", anon, maxAnonKB)
	}
}

// soak keeps the gateway under load for as long as POSTERN_SOAK says, so that
// its memory is that of a long time.
func soak(t *testing.T, r *Reader, full string) {
	t.Helper()
	limit, err := time.ParseDuration(os.Getenv("POSTERN_SOAK"))
	if err != nil {
		return
	}
	run, err := r.Measure(full, 16, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("16 in flight for %v: %d reads", limit, run.Reads)
}

// contestant is who is measured.
type contestant struct {
	name, full string
	pid        int
}

// tally sums up the runs of one contestant.
type tally struct {
	runs        []Run
	reads       int
	cpu, server time.Duration
}

// alternate measures all in turns and returns, for each but the first, the
// median of the ratios of the first one's rate to its own in the same round,
// and for each the processor time of a read.
func alternate(t *testing.T, r *Reader, all []contestant, server, inFlight, rounds int, limit time.Duration) (rates []float64, cpu []time.Duration) {
	t.Helper()
	sums := make([]tally, len(all))
	measure := func(i int, sum *tally, limit time.Duration) Run {
		c := all[i]
		cpu, srv := processCPU(c.pid), processCPU(server)
		run, err := r.Measure(c.full, inFlight, limit)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		sum.cpu += processCPU(c.pid) - cpu
		sum.server += processCPU(server) - srv
		sum.runs = append(sum.runs, run)
		sum.reads += run.Reads
		return run
	}
	for i := range all { // all are warm before it counts
		measure(i, &tally{}, limit/2)
	}
	ratios := make([][]float64, len(all)-1)
	for range rounds {
		first := measure(0, &sums[0], limit)
		for i := 1; i < len(all); i++ {
			ratios[i-1] = append(ratios[i-1], first.Rate()/measure(i, &sums[i], limit).Rate())
		}
	}
	for i, c := range all {
		sum := &sums[i]
		n := time.Duration(sum.reads)
		cpu = append(cpu, sum.cpu/n)
		t.Logf("%2d in flight  %-18s %v  CPU per read %3d µs, server %3d µs", inFlight, c.name, middle(sum.runs),
			(sum.cpu / n).Microseconds(), (sum.server / n).Microseconds())
	}
	for _, x := range ratios {
		slices.Sort(x)
		rates = append(rates, x[len(x)/2])
	}
	return rates, cpu
}

// middle returns the run with the median rate.
func middle(runs []Run) Run {
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.Rate(), b.Rate()) })
	return runs[len(runs)/2]
}

// processCPU returns the processor time that a process has used.
func processCPU(pid int) time.Duration {
	const sched = 2 // CPUCLOCK_SCHED: the threads' run times, in nanoseconds
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|sched), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
