package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers/gpio"
	"postern/internal/config"
	"postern/internal/local"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

const basicConfig = `
account: {jid: thing@example.org, password: {env: POSTERN_TEST_PASSWORD}}
access:
  owner: boss@example.org
  allow:
    - {jid: reader@example.org, rights: [read], nodes: [air]}
simulate: true
nodes:
  - id: air
    kind: bme280
    label: Air
    interval: 1s
    fields:
      temperature: {name: Temperature}
      pressure: {hide: true}
  - {id: pump, kind: relay, line: "chip:1", safe: on}
  - {id: door, kind: contact, line: "chip:2"}
  - id: meter
    kind: modbus
    bus: field
    unit: 3
    registers:
      - {name: voltage, address: 0, scale: 0.1, unit: V}
      - {name: energy, address: 10, type: uint32, scale: 0.01, unit: kWh}
buses:
  field: {type: modbus, serial: {port: /dev/ttyS9}}
`

// parse reads a configuration text.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, ps := config.Parse("test.yaml", []byte(text), Kinds())
	if ps != nil {
		t.Fatal(ps)
	}
	return cfg
}

// rig is a gateway with a scripted server.
type rig struct {
	*Gateway
	t    *testing.T
	srv  *xmpptest.Server
	peer *xmpptest.Peer
	stop func()
	next int

	cfgDir string
}

// reload reloads from a text.
func (r *rig) reload(text string) error {
	r.t.Helper()
	cfg := parse(r.t, text)
	cfg.State.Directory = r.cfgDir
	return r.Reload(r.t.Context(), cfg)
}

func newRig(t *testing.T, text string) *rig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return newRigLogging(t, text, log)
}

func newRigLogging(t *testing.T, text string, log *slog.Logger) *rig {
	t.Helper()
	return newRigAt(t, text, log, xmpptest.Options{}, (*xmpptest.Server).Login)
}

// newRigAt is a gateway with a server of its own kind; login nil leaves the
// connection to the test.
func newRigAt(t *testing.T, text string, log *slog.Logger, o xmpptest.Options, login func(*xmpptest.Server) *xmpptest.Peer) *rig {
	t.Helper()
	t.Setenv("POSTERN_TEST_PASSWORD", xmpptest.Password)
	r := &rig{t: t, srv: xmpptest.NewServer(t, o)}
	cfg := parse(t, text)
	cfg.State.Directory = t.TempDir()
	g, err := New(t.Context(), Options{
		Config: cfg, Version: "test", Logger: log,
		Socket: filepath.Join(t.TempDir(), "s.sock"),
		Session: func(c *xmpp.Config) {
			s := r.srv.Config()
			c.CAs, c.Transport, c.Addr = s.CAs, s.Transport, s.Addr
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway, r.cfgDir = g, cfg.State.Directory
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		begin := time.Now()
		cancel()
		if err := <-done; err != nil && !errors.Is(err, ErrDecommissioned) {
			t.Errorf("Run: %v", err)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("stopping took %v", d)
		}
	}
	t.Cleanup(r.stop)
	if login != nil {
		r.peer = login(r.srv)
	}
	return r
}

// ask sends an iq and returns it answered, with what came after it until want
// is among it.
func (r *rig) ask(from, typ, payload, want string) string {
	r.t.Helper()
	r.next++
	id := fmt.Sprintf("ask%d", r.next)
	r.peer.Send(fmt.Sprintf("<iq type='%s' id='%s' from='%s' to='thing@example.org/x'>%s</iq>", typ, id, from, payload))
	got := r.until("id='" + id + "'")
	if !strings.Contains(got, want) {
		got += r.until(want)
	}
	return got
}

func (r *rig) until(want string) string {
	r.t.Helper()
	defer time.AfterFunc(15*time.Second, r.peer.Cut).Stop()
	var all strings.Builder
	for range 50 {
		d := r.peer.Read()
		s := xmpptest.Text(r.t, d)
		c := d.Root()
		if xmpp.KindOf(c.Name()) == xmpp.IQ {
			if st := xmpptest.Stanza(r.t, s); st.Type == xmpp.Get || st.Type == xmpp.Set {
				r.peer.Send("<iq type='result' id='" + st.ID + "'/>")
			}
		}
		all.WriteString(s + "\n")
		if strings.Contains(all.String(), want) {
			return all.String()
		}
	}
	r.t.Fatalf("%q did not come:\n%s", want, all.String())
	return ""
}

func TestReadThroughSession(t *testing.T) {
	r := newRig(t, basicConfig)
	got := r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='7' all='true'/>", "done=")
	for _, want := range []string{"accepted", `nodeId="air"`, `name="Temperature"`, `unit="°C"`, `name="humidity"`, `nodeId="pump"`, `nodeId="door"`, `nodeId="meter"`, `name="voltage"`, `unit="kWh"`} {
		if !strings.Contains(strings.ReplaceAll(got, "'", `"`), want) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "pressure") {
		t.Errorf("a hidden field is shown:\n%s", got)
	}
	if got := r.ask("stranger@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='7' all='true'/>", "</iq>"); !strings.Contains(got, "forbidden") {
		t.Errorf("a stranger got\n%s", got)
	}
	if got := r.ask("reader@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='8' all='true'/>", "done="); strings.Contains(got, "pump") || !strings.Contains(got, "Temperature") {
		t.Errorf("a narrowed reader got\n%s", got)
	}
	s, err := local.NewClient(r.door.Path).Status(t.Context())
	if err != nil || s.Gateway.Connection.Phase != "online" || s.Gateway.Connection.Encoding == "" || len(s.Gateway.Nodes) != 4 {
		t.Fatalf("%+v, %v", s, err)
	}
	if f := s.Gateway.Nodes[0].Fields[0]; f.Name != "Temperature" || f.Value == "" || f.Unit != "°C" || f.Quality != "automaticReadout" || f.Time == nil {
		t.Errorf("%+v", f)
	}
	if !s.Healthy || !s.Gateway.Simulated || s.Memory.Anonymous == 0 {
		t.Errorf("%+v", s)
	}
}

// A group has nothing of its own; reading it reads its parts.
func TestGroupIsReadByItsParts(t *testing.T) {
	text := strings.Replace(basicConfig, "  - id: air\n", "  - {id: hall, kind: group, label: Hall}\n  - id: air\n    parent: hall\n", 1)
	r := newRig(t, text)
	got := r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='7' all='true'><node nodeId='hall'/></req>", "done=")
	if !strings.Contains(got, "Temperature") || strings.Contains(got, "pump") || strings.Contains(got, "failure") {
		t.Errorf("got\n%s", got)
	}
	if err := r.reload(strings.Replace(text, "label: Hall", "label: Foyer", 1)); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Gateway.Nodes[0].Label != "Foyer" || !s.Healthy {
		t.Errorf("%+v", s)
	}
}

func TestSwitchThroughSession(t *testing.T) {
	r := newRig(t, basicConfig)
	line := r.hw.bench.line("chip:1")
	if level, out := line.Driven(); !out || level != gpio.High {
		t.Fatalf("safe state at start: %v %v", level, out)
	}
	set := "<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='%s'/></set>"
	if got := r.ask("reader@example.org/pc", "set", fmt.Sprintf(set, "false"), "</iq>"); !strings.Contains(got, "forbidden") {
		t.Errorf("a reader got\n%s", got)
	}
	if got := r.ask("boss@example.org/pc", "set", fmt.Sprintf(set, "maybe"), "</iq>"); !strings.Contains(got, "bad-request") {
		t.Errorf("nonsense got\n%s", got)
	}
	if level, _ := line.Driven(); level != gpio.High {
		t.Fatal("a refused command moved the output")
	}
	r.ask("boss@example.org/pc", "set", fmt.Sprintf(set, "false"), "setResponse")
	if level, _ := line.Driven(); level != gpio.Low {
		t.Fatal("the output did not move")
	}
	r.stop()
	if h := line.History(); h[len(h)-1].Level != gpio.High {
		t.Errorf("the output is not safe after the end: %v", h)
	}
}

func TestReloadKeepsWhatDidNotChange(t *testing.T) {
	r := newRig(t, basicConfig)
	set := "<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='false'/></set>"
	r.ask("boss@example.org/pc", "set", set, "setResponse")
	air, door := r.hw.get("air").Device, r.hw.get("door").Device
	moves := len(r.hw.bench.line("chip:1").History())

	changed := strings.Replace(basicConfig, `{id: door, kind: contact, line: "chip:2"}`, `{id: gate, kind: contact, line: "chip:3", active_low: true}`, 1)
	changed = strings.Replace(changed, "label: Air", "label: Hall", 1)
	if err := r.reload(changed); err != nil {
		t.Fatal(err)
	}
	if r.hw.get("air").Device != air || r.hw.get("door") != nil || r.hw.get("gate") == nil {
		t.Error("the wrong devices were kept")
	}
	if _, err := door.Read(t.Context(), nil); err == nil {
		t.Error("the device that is gone was not closed")
	}
	if n := len(r.hw.bench.line("chip:1").History()); n != moves {
		t.Errorf("the output moved %d times during the reload", n-moves)
	}
	got := r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='9' all='true'/>", "done=")
	if !strings.Contains(got, "gate") || strings.Contains(got, "door") {
		t.Errorf("after the reload:\n%s", got)
	}
	if s := r.Status(); s.Gateway.Nodes[0].Label != "Hall" || s.Gateway.Connection.Connects != 1 {
		t.Errorf("%+v", s.Gateway)
	}

	err := r.reload(strings.Replace(changed, "thing@", "other@", 1))
	if err == nil || !strings.Contains(err.Error(), "account take a restart") {
		t.Errorf("another account: %v", err)
	}
	// A reload that takes a right away takes it away.
	if err := r.reload(strings.Replace(changed, "owner: boss@", "owner: chief@", 1)); err != nil {
		t.Fatal(err)
	}
	if got := r.ask("boss@example.org/pc", "set", set, "</iq>"); !strings.Contains(got, "forbidden") {
		t.Errorf("the former owner got\n%s", got)
	}
}

func TestDeviceThatIsMissingHoldsNothingUp(t *testing.T) {
	text := strings.Replace(basicConfig, "simulate: true\n", "", 1)
	text = strings.Replace(text, "nodes:\n", "nodes:\n  - {id: board, kind: host}\n  - {id: volts, kind: hwmon, chip: no_such_chip}\n", 1)
	r := newRig(t, text)
	s := r.Status()
	if s.Healthy || !strings.Contains(strings.Join(s.Problems, "\n"), "node volts: hwmon: no device") && !strings.Contains(strings.Join(s.Problems, "\n"), "node volts: hwmon: the kernel offers no devices") {
		t.Errorf("%q", s.Problems)
	}
	got := r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='9' all='true'/>", "done=")
	if !strings.Contains(got, "failure") || !strings.Contains(got, "uptime") {
		t.Errorf("got\n%s", got)
	}
}

func TestSecondGatewayDoesNotReachTheOutputs(t *testing.T) {
	r := newRig(t, basicConfig)
	_, err := New(t.Context(), Options{Config: parse(t, basicConfig), Socket: r.door.Path})
	if err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("%v", err)
	}
}

func TestMemoryLimit(t *testing.T) {
	for total, want := range map[uint64]int64{0: maxLimit, 64 << 20: minLimit, 1 << 30: 256 << 20, 64 << 30: maxLimit} {
		if got := memoryLimit(total); got != want {
			t.Errorf("%d: %d", total, got)
		}
	}
}

// A configuration that cannot be run is taken back as a whole.
func TestReloadThatFailsPutsTheOldBack(t *testing.T) {
	r := newRig(t, basicConfig)
	r.ask("boss@example.org/pc", "set", "<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='false'/></set>", "setResponse")
	moves := len(r.hw.bench.line("chip:1").History())
	bad := parse(t, strings.Replace(basicConfig, "  - id: meter\n", "  - id: counter\n", 1))
	bad.State.Directory = r.cfgDir
	bad.Nodes[len(bad.Nodes)-1].Parent = "nobody" // what the check would not let through
	err := r.Reload(t.Context(), bad)
	if err == nil || !strings.Contains(err.Error(), "the old configuration is in force") {
		t.Fatalf("%v", err)
	}
	if r.hw.get("counter") != nil || r.hw.get("meter") == nil {
		t.Error("the devices are not the old ones")
	}
	if n := len(r.hw.bench.line("chip:1").History()); n != moves {
		t.Errorf("the output moved %d times", n-moves)
	}
	got := r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='9' all='true'/>", "done=")
	if !strings.Contains(got, `nodeId='meter'`) || strings.Contains(got, "counter") || !strings.Contains(got, "kWh") {
		t.Errorf("after the failure:\n%s", got)
	}
}
