package daemon

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/local"
)

func TestOutputsCommand(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	cfg := file(t, "account: {jid: gw@site.example, password: {env: PW}}\nserver: {address: \"127.0.0.1:1\"}\nsimulate: true\n"+
		"state: {directory: "+dir+"}\nlocal: {socket: "+socket+"}\nnodes:\n"+
		"  - {id: lamp, kind: relay, line: \"chip:1\", rules: {state: {min_off: 1h}}}\n  - {id: pump, kind: relay, line: \"chip:2\"}\n")
	log, _ := serve(t, Run, nil, "--config", cfg)
	await(t, socket, log)
	code, out, errs := call(t, Outputs, "", "--socket", socket)
	for _, want := range []string{"NODE", "lamp  state", "false", "its safe state", "stays for 60 min", "pump"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, %q is missing in\n%s%s", code, want, out, errs)
		}
	}
	at := time.Now().Add(2 * time.Second)
	if code, _, errs := call(t, Schedule, "", "add", "x", "pump", "state=on", at.Format(time.DateOnly), at.Format(time.TimeOnly), "--socket", socket); code != 0 {
		t.Fatal(errs)
	}
	for range 1000 {
		if _, out, _ = call(t, Outputs, "", "pump", "--socket", socket); strings.Contains(out, "a schedule") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(out, "true") || !strings.Contains(out, "a schedule") || strings.Contains(out, "lamp") {
		t.Errorf("after a schedule:\n%s", out)
	}
	code, out, _ = call(t, Outputs, "", "--json", "--socket", socket)
	var all local.Outputs
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all.Outputs) != 2 || all.Outputs[0].HoldLeft < 3000 || *all.Outputs[1].Value != "true" || all.Outputs[1].HeldBy != "schedule" {
		t.Errorf("%d %v %s", code, err, out)
	}
	if code, _, errs := call(t, Outputs, "", "none", "--socket", socket); code != cli.ExitFailure || !strings.Contains(errs, "no output") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, _ := call(t, Outputs, "", "--socket", filepath.Join(dir, "none")); code != cli.ExitUnreachable {
		t.Errorf("nobody listens: %d", code)
	}
}
