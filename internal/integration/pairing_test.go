package integration

import (
	"bytes"
	"encoding/json"
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

// A technician's way with a new board, by commands alone: the code it shows,
// the claim, rights for a friend, hand-over, giving up, and a new beginning.
// Once inside the hub, and with postern registry as a component of Prosody and
// of ejabberd.
func TestPairingByCommands(t *testing.T) {
	t.Parallel()
	t.Run("hub", func(t *testing.T) {
		t.Parallel()
		pairingWalk(t, startHub(t))
	})
	for name, start := range map[string]func(testing.TB, peertest.Options) *peertest.Server{"prosody": peertest.ProsodyWith, "ejabberd": peertest.EjabberdWith} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			domain := "things." + name + ".example"
			s := start(t, peertest.Options{Components: []string{domain}})
			startRegistry(t, s, domain)
			pairingWalk(t, s)
		})
	}
}

// startHub runs postern hub with the accounts of the real servers.
func startHub(t *testing.T) *peertest.Server {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &peertest.Server{Name: "hub", Domain: "hub.example", Addr: l.Addr().String(), CAFile: filepath.Join(dir, "ca", "ca.pem"), Dir: dir}
	l.Close()
	socket, log := filepath.Join(dir, "hub.sock"), &logBuffer{}
	cmd := exec.Command(binary, "hub", "--domain", s.Domain, "--listen", s.Addr, "--listen-tls", "none", "--state", dir, "--socket", socket)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of the hub:\n%s", log)
		}
	})
	eventually(t, 20*time.Second, func() error {
		_, err := os.Stat(socket)
		return err
	})
	for _, name := range peertest.Accounts {
		add := exec.Command(binary, "hub", "adduser", name, "--socket", socket)
		add.Stdin = strings.NewReader("pw-" + name + "\n")
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return s
}

// walk is one technician's walk.
type walk struct {
	t       *testing.T
	gw      *gateway
	account string

	owner, friend, other *operator
}

func pairingWalk(t *testing.T, s *peertest.Server) {
	w := &walk{t: t, account: s.JID("gateway")}
	w.gw = startGateway(t, s, gatewayOptions{access: "{ask: keep}", password: "pw-gateway", nodes: simNodes + `  - {id: heating, kind: modbus, bus: field, simulate: true, registers: [{name: setpoint, address: 15, scale: "0.1", unit: °C, writable: true, min: "5", max: "30"}]}
`, buses: `
  field: {type: modbus, serial: {port: /dev/ttyS9}}
`, more: `provisioning:
  use: true
  tags: {SN: "4711", MAN: maker.example, MODEL: GW-1, V: 1.0}
`})
	who := func(name string) *operator {
		o := newOperator(t)
		file := filepath.Join(o.home, "pw")
		if err := os.WriteFile(file, []byte("pw-"+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := o.postern(t, "login", s.JID(name), "--server", s.Addr, "--ca", s.CAFile, "--password-file", file); r.code != 0 {
			t.Fatalf("login of %s: %s", name, r.err)
		}
		return o
	}
	w.owner, w.friend, w.other = who("owner"), who("reader"), who("stranger")
	code := w.claims()
	w.allows(s)
	w.handsOver(s, code)
	w.beginsAnew(s)
}

// expect runs a command until it ends as wanted: what one command did may take
// a moment to reach the others.
func (w *walk) expect(o *operator, code int, want string, args ...string) outcome {
	w.t.Helper()
	var r outcome
	eventually(w.t, 20*time.Second, func() error {
		r = o.postern(w.t, args...)
		if r.code != code || !strings.Contains(r.out+r.err, want) {
			return fmt.Errorf("postern %s: exit code %d instead of %d, without %q:\n%s%s", strings.Join(args, " "), r.code, code, want, r.out, r.err)
		}
		return nil
	})
	return r
}

func (w *walk) code() string {
	w.t.Helper()
	return strings.TrimSpace(w.expect(w.owner, 0, "IoTDisco;", "pair", "--code", "--socket", w.gw.socket).out)
}

// claims goes from the code on the board to the first reading.
func (w *walk) claims() (code string) {
	// The registry knows it once the code is shown without remark.
	eventually(w.t, 30*time.Second, func() error {
		if r := w.owner.postern(w.t, "pair", "--socket", w.gw.socket); r.code != 0 || strings.Contains(r.out+r.err, "not") {
			return fmt.Errorf("%d\n%s%s", r.code, r.out, r.err)
		}
		return nil
	})
	code = w.code()
	w.expect(w.owner, 1, "knows nothing with exactly these tags", "claim", strings.Replace(code, "KEY:", "KEY:A", 1))
	w.expect(w.owner, 0, w.account+" is yours", "claim", code)
	w.expect(w.owner, 1, "its code is no longer shown", "pair", "--code", "--socket", w.gw.socket)
	w.expect(w.friend, 1, "knows nothing with exactly these tags", "claim", code)
	w.expect(w.owner, 0, "is yours", "claim", code) // again, changing nothing
	w.expect(w.owner, 0, "temperature", "read", w.account, "--node", "climate")
	w.expect(w.owner, 0, "SN=4711", "things")
	w.expect(w.other, 0, w.account, "search", "MAN=maker.example", "V>=1", "SN=~47*", "MODEL!=GW-2", "V=[1,2)")
	w.expect(w.other, 0, "Nothing is found", "search", "MAN=maker.example", "V>1")
	return code
}

// allows lets a friend read one field, and set one parameter once.
func (w *walk) allows(s *peertest.Server) {
	friend := s.JID("reader")
	w.expect(w.friend, 4, "postern approve", "read", w.account, "--node", "climate", "--timeout", "5s")
	w.expect(w.owner, 0, friend+"  be a friend", "approve")
	q := w.question("friend")
	w.expect(w.friend, 1, "there is no open question", "approve", q) // not the friend's to answer
	w.expect(w.owner, 0, friend+" may be a friend", "approve", q)
	w.expect(w.owner, 0, friend, "friends", w.account)
	w.expect(w.owner, 0, "may read temperature on climate", "rules", "add", w.account, friend, "read", "--node", "climate", "--name", "temperature", "--for", "8h")
	w.expect(w.owner, 4, "in part: temperature on climate", "rules", "test", w.account, friend, "read")
	w.expect(w.owner, 0, "yes", "rules", "test", w.account, friend, "read", "--node", "climate", "--name", "temperature")
	w.expect(w.owner, 4, "no", "rules", "test", w.account, friend, "control", "--node", "pump")
	r := w.expect(w.friend, 0, "temperature", "read", w.account, "--node", "climate")
	if strings.Contains(r.out, "humidity") {
		w.t.Errorf("the friend sees more than was allowed:\n%s", r.out)
	}
	w.expect(w.friend, 4, "postern approve or rules", "set", w.account, "pump", "state:boolean=on")
	w.expect(w.owner, 0, "may control state on pump", "approve", w.question("control"), "--once")
	w.expect(w.friend, 0, "applied", "set", w.account, "pump", "state:boolean=on")
	w.expect(w.friend, 4, "nothing was set", "set", w.account, "pump", "state:boolean=off")
	w.expect(w.owner, 0, "may not control", "deny", w.question("control"))
	w.ranges(friend)
	w.expect(w.owner, 0, "no friend of", "friends", "remove", w.account, friend)
	w.expect(w.friend, 4, "", "read", w.account, "--node", "climate", "--timeout", "5s")
	w.expect(w.friend, 1, "not yours", "rules", "list", w.account)
}

// ranges lets the friend set a number within bounds.
func (w *walk) ranges(friend string) {
	scope := []string{"--node", "heating", "--name", "setpoint"}
	with := func(first []string, more ...string) []string { return append(append(first, scope...), more...) }
	w.expect(w.owner, 0, "may control setpoint on heating of "+w.account+", from 15 to 25", with([]string{"rules", "add", w.account, friend, "control"}, "--range", "15..25")...)
	w.expect(w.owner, 0, "setpoint on heating, from 15 to 25", "rules")
	w.expect(w.owner, 0, "yes", with([]string{"rules", "test", w.account, friend, "control"}, "--value", "22")...)
	w.expect(w.owner, 4, "no: only setpoint from 15 to 25", with([]string{"rules", "test", w.account, friend, "control"}, "--value", "25.5")...)
	w.expect(w.owner, 4, "setpoint from 15 to 25", with([]string{"rules", "test", w.account, friend, "control"})...)
	w.expect(w.friend, 0, "applied", "set", w.account, "heating", "setpoint:double=25")
	w.expect(w.friend, 4, "15..25", "set", w.account, "heating", "setpoint:double=25.5")
	if v := w.gw.value("heating", "setpoint"); !strings.HasPrefix(v, "25") || strings.HasPrefix(v, "25.5") {
		w.t.Errorf("the setpoint is %s", v)
	}
	r := w.expect(w.friend, 0, "setpoint", "form", w.account, "heating", "--json")
	if !strings.Contains(r.out, `"15`) || !strings.Contains(r.out, `"25`) {
		w.t.Errorf("the form does not show the range:\n%s", r.out)
	}
	w.expect(w.owner, 0, "applied", "set", w.account, "heating", "setpoint:double=29")
}

// question waits for an open question about an action and returns how to name
// it.
func (w *walk) question(action string) string {
	w.t.Helper()
	id := ""
	eventually(w.t, 20*time.Second, func() error {
		r := w.owner.postern(w.t, "approve", "--json")
		var doc struct {
			Questions []struct{ Question, Action string }
		}
		if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
			return fmt.Errorf("%w: %s%s", err, r.out, r.err)
		}
		for _, q := range doc.Questions {
			if q.Action == action {
				id = q.Question[:8]
				return nil
			}
		}
		return fmt.Errorf("no question about %s: %s", action, r.out)
	})
	return id
}

// handsOver gives the gateway to somebody else, who gives it up.
func (w *walk) handsOver(s *peertest.Server, code string) {
	w.expect(w.owner, 0, "is offered to "+s.JID("stranger"), "transfer", w.account, s.JID("stranger"))
	w.expect(w.friend, 1, "not offered to you", "transfer", w.account, "--accept")
	w.expect(w.other, 0, "offered by "+s.JID("owner"), "things")
	w.expect(w.other, 0, "is yours", "transfer", w.account, "--accept")
	w.expect(w.other, 0, "temperature", "read", w.account, "--node", "climate")
	w.expect(w.other, 0, "There are no rules", "rules")
	w.expect(w.owner, 4, "", "read", w.account, "--node", "climate", "--timeout", "5s")
	w.expect(w.owner, 1, "not yours", "disown", w.account)
	w.expect(w.other, 0, "is nobody's now", "disown", w.account)
	if fresh := w.code(); fresh == code {
		w.t.Errorf("the code is the old one: %s", fresh)
	}
	w.expect(w.owner, 1, "knows nothing with exactly these tags", "claim", code)
}

// beginsAnew decommissions a claimed gateway: nothing of its life is left.
func (w *walk) beginsAnew(s *peertest.Server) {
	t := w.t
	code := w.code()
	_, key, _ := strings.Cut(code, "KEY:")
	state := filepath.Join(w.gw.dir, "state", "postern.db")
	if b, err := os.ReadFile(state); err != nil || !bytes.Contains(b, []byte(key)) {
		t.Fatalf("the test proves nothing: the state does not hold the key, %v", err)
	}
	w.expect(w.owner, 0, "is yours", "claim", code, "--private")
	w.expect(w.owner, 0, "private", "things", w.account)
	w.expect(w.other, 0, "Nothing is found", "search", "SN=4711")
	w.expect(w.owner, 1, "claimed by "+s.JID("owner"), "pair", "--socket", w.gw.socket)
	w.expect(w.owner, 2, "--yes", "decommission", "--socket", w.gw.socket)
	r := w.owner.postern(t, "decommission", "--yes", "--socket", w.gw.socket)
	for _, want := range []string{"provisioning.claim", "history", "no longer belongs to " + s.JID("owner"), "has forgotten it", "unless the disk is encrypted", "postern pair"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Fatalf("decommission: %d, without %q\n%s%s", r.code, want, r.out, r.err)
		}
	}
	fresh := w.code()
	if fresh == code {
		t.Error("the key is the old one")
	}
	b, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{key, s.JID("owner"), s.JID("stranger"), s.JID("reader")} {
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("the new state holds %s", secret)
		}
	}
	w.expect(w.owner, 0, "Nothing is yours", "things")
	w.expect(w.other, 0, "is yours", "claim", fresh)
	w.expect(w.other, 0, "temperature", "read", w.account, "--node", "climate")
	w.expect(w.owner, 4, "", "read", w.account, "--node", "climate", "--timeout", "5s")

	// Not running, by its configuration; running, the store is not touched.
	w.expect(w.owner, 1, "a gateway is running", "decommission", "--yes", "--config", w.gw.config)
	w.gw.stop()
	w.expect(w.owner, 3, "--config", "decommission", "--yes", "--socket", w.gw.socket)
	w.expect(w.owner, 0, "registry was not told", "decommission", "--yes", "--config", w.gw.config)
	w.gw.start()
	// The registry knows it as the last owner's, and says so.
	w.expect(w.other, 1, "claimed by "+s.JID("stranger"), "pair", "--code", "--socket", w.gw.socket)
}
