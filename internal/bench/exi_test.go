package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/peertest"
)

// What docs/benchmarks.md promises of the terminator: reads/s of a gateway
// behind it that speaks EXI, of those of one that is connected directly with
// XML.
const (
	floorEXIOne  = 0.80
	floorEXIMany = 0.60
	// The gateway's processor time for a read by EXI, of that by XML: at most
	// as much, and what such a measurement can be wrong by.
	mostEXICPU = 1.05
)

// TestEXIFloors measures two gateways, one connected to the server directly
// with XML, the other through a terminator with EXI.
func TestEXIFloors(t *testing.T) {
	if os.Getenv("POSTERN_BENCH") == "" {
		t.Skip("POSTERN_BENCH is not set; make bench runs the measurement")
	}
	peertest.EachInTurn(t, peertest.Options{PlainAllowed: true}, measureEXI)
}

func measureEXI(t *testing.T, s *peertest.Server) {
	s.Befriend("gateway", "reader")
	s.Befriend("device", "reader")
	s.Befriend("owner", "reader")
	r, err := NewReader(login(s, "reader"), "station")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	binary := buildPostern(t)
	front, addr := startTerminator(t, s, binary)
	relay := startRelay(t, s)
	all := []contestant{{name: "EXI, terminator"}, {name: "XML, direct"}, {name: "XML, bare relay"}}
	for i, c := range []struct{ account, server string }{
		{"device", fmt.Sprintf("{address: %q, ca_file: %s, tls: starttls}", addr, s.CAFile)},
		{"gateway", fmt.Sprintf("{address: %q, ca_file: %s, tls: starttls, exi: off}", s.Addr, s.CAFile)},
		{"owner", fmt.Sprintf("{address: %q, ca_file: %s, tls: starttls, exi: off}", relay, s.CAFile)},
	} {
		dir := t.TempDir()
		text := strings.NewReplacer(
			s.JID("gateway"), s.JID(c.account), s.PasswordFile("gateway"), s.PasswordFile(c.account),
			fmt.Sprintf("{address: %q, ca_file: %s, tls: direct}", s.DirectTLS, s.CAFile), c.server,
		).Replace(config(s, dir))
		file := filepath.Join(dir, "postern.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all[i].pid = startProgram(t, binary, "run", "--config", file).Process.Pid
		if all[i].full, err = r.WaitFor(s.JID(c.account), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	seconds, rounds := turns()
	for _, c := range []struct {
		inFlight int
		floor    float64
	}{{1, floorEXIOne}, {64, floorEXIMany}} {
		used := processCPU(front.Process.Pid)
		ratios, cpu := alternate(t, r, all, s.PID(), c.inFlight, rounds, seconds)
		ratio := ratios[0]
		t.Logf("%2d in flight: EXI through the terminator reaches %.1f %% of XML through a relay that only copies octets", c.inFlight, 100*ratios[1])
		t.Logf("%2d in flight: EXI through the terminator reaches %.1f %% of XML (floor %.0f %%); the terminator used %v of processor time",
			c.inFlight, 100*ratio, 100*c.floor, (processCPU(front.Process.Pid) - used).Round(time.Millisecond))
		t.Logf("%2d in flight: a read by EXI takes the gateway %.1f %% of the processor time of one by XML through the bare relay, %.1f %% of one by XML directly",
			c.inFlight, percent(cpu[0], cpu[2]), percent(cpu[0], cpu[1]))
		if ratio < c.floor {
			t.Errorf("%d in flight: %.1f %%, the floor is %.0f %%", c.inFlight, 100*ratio, 100*c.floor)
		}
		if share := percent(cpu[0], cpu[1]); share > 100*mostEXICPU {
			t.Errorf("%d in flight: %.1f %% of the processor time of XML, the most is %.0f %%", c.inFlight, share, 100*mostEXICPU)
		}
	}
}

func percent(a, of time.Duration) float64 { return 100 * float64(a) / float64(of) }

// turns says how long the contestants are measured, and how often.
func turns() (each time.Duration, rounds int) {
	if os.Getenv("POSTERN_BENCH") == "short" {
		return 300 * time.Millisecond, 11
	}
	return time.Second, 21
}

// buildPostern builds the program as it is shipped. BENCH_LDFLAGS, for
// profiling, replaces the flags that strip it.
func buildPostern(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "postern")
	flags := "-s -w"
	if f, ok := os.LookupEnv("BENCH_LDFLAGS"); ok {
		flags = f
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", flags, "-o", binary, "postern/cmd/postern")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// startRelay runs a bare relay before s, as its own process, and returns its
// address.
func startRelay(t *testing.T, s *peertest.Server) string {
	t.Helper()
	ports, err := peertest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RELAY_LISTEN="+addr, "RELAY_SERVER="+s.Addr)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return addr
}

// startProgram runs the program until the test ends.
func startProgram(t *testing.T, binary string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("log of postern %s:\n%s", args[0], text)
		}
	})
	return cmd
}

// startTerminator runs postern terminator before s and returns its address.
func startTerminator(t *testing.T, s *peertest.Server, binary string) (*exec.Cmd, string) {
	t.Helper()
	dir := t.TempDir()
	cert, key, err := s.CA.Issue(peertest.Leaf{Names: []string{s.Domain}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"cert": cert, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ports, err := peertest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	args := []string{"terminator", "--domain", s.Domain, "--server", s.Addr, "--listen", addr,
		"--cert", filepath.Join(dir, "cert"), "--key", filepath.Join(dir, "key")}
	if s.Name != "ejabberd" { // whose link may be plain on loopback
		args = append(args, "--link", "starttls", "--ca", s.CAFile)
	}
	cmd := startProgram(t, binary, args...)
	waitListening(t, addr)
	return cmd, addr
}

func waitListening(t *testing.T, addr string) {
	t.Helper()
	for range 100 {
		if nc, err := net.Dial("tcp", addr); err == nil {
			nc.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("nobody listens at %s", addr)
}
