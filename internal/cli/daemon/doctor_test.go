package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/cli"
	"postern/internal/cli/doctor"
)

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "postern.yaml")
	text := "account: {jid: g@example.org, password: {file: " + dir + "/none}}\nlocal: {socket: " + dir + "/s}\nstate: {directory: " + dir + "}\nnodes:\n" +
		"- {id: gps, kind: nmea, serial: {port: /dev/no-such-port}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := call(t, Doctor, "", "--config", file)
	if code != cli.ExitFailure || !strings.Contains(out, "TODO  devices: serial port /dev/no-such-port (node gps): there is no /dev/no-such-port") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if !strings.Contains(out, "TODO  configuration: the password file cannot be read here: ") {
		t.Errorf("nothing about the password: %s", out)
	}
	code, out, _ = call(t, Doctor, "", "--config", file, "--json")
	var doc doctorJSON
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != cli.ExitFailure || doc.Healthy || doc.User == "" {
		t.Fatalf("%d %v %s", code, err, out)
	}
	checks := map[string]bool{}
	for _, f := range doc.Findings {
		checks[f.Check] = true
		if f.State != doctor.OK && f.State != doctor.Note && f.State != doctor.Todo {
			t.Errorf("%+v", f)
		}
	}
	for _, c := range []string{"board", "configuration", "devices", "clock", "disk", "gateway"} {
		if !checks[c] {
			t.Errorf("nothing about %s: %s", c, out)
		}
	}
	// The packaged service's credential.
	text = strings.Replace(text, "{file: "+dir+"/none}", "{credential: postern_no-such-secret}", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, _ = call(t, Doctor, "", "--config", file); !strings.Contains(out, "install -m 600 /dev/null /etc/postern/credentials/no-such-secret") {
		t.Errorf("%s", out)
	}
	if code, out, _ = call(t, Doctor, "", "--config", dir+"/no.yaml"); code != cli.ExitFailure || !strings.Contains(out, "there is no configuration") {
		t.Errorf("%d %s", code, out)
	}
	if code, _, _ = call(t, Doctor, "", "x"); code != cli.ExitUsage {
		t.Errorf("an argument: %d", code)
	}
	if code, _, errs = call(t, Doctor, "", "--user", "no-such-account"); code != cli.ExitFailure || !strings.Contains(errs, "no-such-account") {
		t.Errorf("%d %s", code, errs)
	}
}
