package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/sensors/history"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

// What a gateway measured is read through the session, and is there when the
// next one runs: what was in memory is committed at the end.
func TestHistoryIsKept(t *testing.T) {
	text := strings.Replace(basicConfig, "interval: 1s", "interval: 100ms", 1) + "history: {online: 10m, offline: 10m}\n"
	r := newRig(t, text)
	time.Sleep(700 * time.Millisecond)
	const req = "<req xmlns='urn:xmpp:iot:sensordata' seqnr='%d' historicalOther='true'><node nodeId='air'/><field name='Temperature'/></req>"
	got := r.ask("boss@example.org/pc", "get", fmt.Sprintf(req, 7), "done=")
	count := func(s string) int { return strings.Count(s, "historicalOther=") }
	first := count(got)
	if first < 3 {
		t.Fatalf("%d readings in\n%s", first, got)
	}
	s := r.Status()
	if h := s.Gateway.History; h == nil || h.Pending == 0 || h.LossOnline != 600 || h.Readings != 0 {
		t.Errorf("%+v", h)
	}
	r.stop()

	cfg := parse(t, text)
	cfg.State.Directory = r.cfgDir
	srv := xmpptest.NewServer(t, xmpptest.Options{})
	g, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Socket: filepath.Join(t.TempDir(), "s.sock"),
		Session: func(c *xmpp.Config) { s := srv.Config(); c.CAs, c.Transport, c.Addr = s.CAs, s.Transport, s.Addr }})
	if err != nil {
		t.Fatal(err)
	}
	ps, _, err := g.history.Raw(node.Ref{ID: "air"}, "Temperature", time.Time{}, time.Time{}).Next(nil)
	if err != nil || len(ps) < first {
		t.Errorf("%d readings of %d, %v", len(ps), first, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
}

// keep: false keeps nothing, of everything or of one field; a reload changes
// what is kept of a field.
func TestHistoryIsSwitchedOff(t *testing.T) {
	r := newRig(t, basicConfig+"history: {keep: false}\n")
	if r.history != nil || r.Status().Gateway.History != nil {
		t.Error("there is a history")
	}
	r.stop()
	r = newRig(t, strings.Replace(basicConfig, "{name: Temperature}", "{name: Temperature, history: {keep: false}}", 1))
	air := node.Ref{ID: "air"}
	if p := r.policy(air, "Temperature"); !p.Off {
		t.Errorf("%+v", p)
	}
	if err := r.reload(strings.Replace(basicConfig, "{name: Temperature}", "{name: Temperature, history: {deadband: 0.2, percent: 5, min_interval: 1s, max_interval: 10m}}", 1)); err != nil {
		t.Fatal(err)
	}
	want := history.Policy{Absolute: drivers.Num(2, -1), Percent: 5, Min: time.Second, Max: 10 * time.Minute}
	if p := r.policy(air, "Temperature"); p != want {
		t.Errorf("%+v", p)
	}
	if err := r.reload(basicConfig + "history: {megabytes: 5}\n"); err == nil || !strings.Contains(err.Error(), "history") {
		t.Errorf("a change that takes a restart: %v", err)
	}
}
