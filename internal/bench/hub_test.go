package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/peertest"
)

// TestHubEXIFloors measures two gateways at the same hub, one with EXI and one
// with XML: what EXI costs a gateway where nothing stands in between, at the
// same rate of reads for both.
func TestHubEXIFloors(t *testing.T) {
	if os.Getenv("POSTERN_BENCH") == "" {
		t.Skip("POSTERN_BENCH is not set; make bench runs the measurement")
	}
	h := startHub(t, "reader", "exi", "xml", "tables")
	r, err := NewReader(Login{Addr: h.direct, Domain: h.domain, CAFile: h.ca, Account: "reader", Password: h.password, Resource: "load", SCRAM: true}, "station")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := []contestant{{name: "EXI"}, {name: "XML"}, {name: "EXI, tables kept"}}
	for i, server := range []string{"exi: auto", "exi: off", "exi_keep: tables"} {
		account := [...]string{"exi", "xml", "tables"}[i]
		all[i].pid = h.startGateway(t, account, server)
		all[i].full = account + "@" + h.domain + "/postern"
		waitFor(t, r, all[i].full)
	}
	seconds, rounds := turns()
	// The hub lets a client send 1 MiB a second, which XML would come up against.
	r.Pace = time.Millisecond
	_, cpu := alternate(t, r, all, h.pid, 1, rounds, seconds)
	t.Logf("at the hub a read by EXI takes the gateway %.1f %% of the processor time of one by XML, with tables kept %.1f %%", percent(cpu[0], cpu[1]), percent(cpu[2], cpu[1]))
}

// site is a running hub.
type site struct {
	binary, domain, starttls, direct, ca, password, passwordFile string
	pid                                                          int
}

func startHub(t *testing.T, accounts ...string) *site {
	t.Helper()
	dir := t.TempDir()
	ports, err := peertest.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	h := &site{
		binary: buildPostern(t), domain: "hub.example", password: "a password for the bench", passwordFile: filepath.Join(dir, "password"),
		starttls: fmt.Sprintf("127.0.0.1:%d", ports[0]), direct: fmt.Sprintf("127.0.0.1:%d", ports[1]), ca: filepath.Join(dir, "state/ca/ca.pem"),
	}
	if err := os.WriteFile(h.passwordFile, []byte(h.password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	for _, a := range accounts {
		add := exec.Command(h.binary, "hub", "adduser", a, "--domain", h.domain, "--state", state, "--password-file", h.passwordFile, "--socket", filepath.Join(dir, "door"))
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	h.pid = startProgram(t, h.binary, "hub", "--domain", h.domain, "--state", state, "--socket", filepath.Join(dir, "door"),
		"--listen", h.starttls, "--listen-tls", h.direct, "--no-announce").Process.Pid
	waitListening(t, h.direct)
	return h
}

// startGateway runs a gateway under an account and returns its process.
// server is what its configuration says about the server besides.
func (h *site) startGateway(t *testing.T, account, server string) int {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("account:\n  jid: %s@%s\n  password: {file: %s}\nserver: {address: %q, ca_file: %s, tls: starttls, %s}\n"+
		"access: {owner: owner@%s, allow: [{jid: \"reader@%s\", rights: [read]}]}\n%s",
		account, h.domain, h.passwordFile, h.starttls, h.ca, server, h.domain, h.domain, stateAndNodes(dir))
	file := filepath.Join(dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startProgram(t, h.binary, "run", "--config", file).Process.Pid
}

// waitFor reads until the one at full answers.
func waitFor(t *testing.T, r *Reader, full string) {
	t.Helper()
	var err error
	for range 100 {
		if _, _, err = r.Capture(full); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
}
