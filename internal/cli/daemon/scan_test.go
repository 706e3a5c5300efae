package daemon

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
	"postern/internal/cli"
)

func scan(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	code = Scan(t.Context(), env, args)
	return code, out.String(), errs.String()
}

// The whole way: a line is scanned and what is printed passes postern check.
func TestScanModbusToCheck(t *testing.T) {
	srv := slave.New(map[byte]*modbus.Image{2: modbus.Simulate(modbus.Config{Registers: []modbus.Register{{Name: "v", Table: "input"}}})})
	port, err := srv.PTY()
	if err != nil {
		t.Skip(err)
	}
	go func() { _ = srv.Run(t.Context()) }()
	line := []string{"modbus", "--port", port, "--units", "1-3", "--wait", "50ms"}
	code, out, errs := scan(t, append(line, "--config")...)
	if code != cli.ExitOK {
		t.Fatalf("%d %s", code, errs)
	}
	file := filepath.Join(t.TempDir(), "postern.yaml")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	var checked bytes.Buffer
	env := cli.Env{Stdout: &checked, Stderr: &checked, Getenv: func(string) string { return "" }}
	if code := Check(t.Context(), env, []string{file}); code != cli.ExitOK || !strings.Contains(checked.String(), "modbus-unit-2") {
		t.Errorf("%d %s", code, checked.String())
	}
	code, out, _ = scan(t, append(line, "--json")...)
	var doc scanJSON
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != cli.ExitOK || len(doc.Findings) != 1 || doc.Findings[0].Where != "unit 2" {
		t.Errorf("%d %v %s", code, err, out)
	}
	if code, out, _ = scan(t, line...); code != cli.ExitOK || !strings.Contains(out, "unit 2  Postern simulated unit 1 (95 %)") {
		t.Errorf("%d %s", code, out)
	}
}

func TestScanUsage(t *testing.T) {
	for line, want := range map[string]string{
		"":                                "what?",
		"usb":                             "there is no",
		"modbus":                          "which line?",
		"modbus --port a --tcp b:1":       "which line?",
		"modbus --port a --units 0-3":     "no range",
		"modbus --port a --units 9-3":     "no range",
		"modbus --tcp a:1 --units 1-256":  "no range",
		"modbus --port a --baud 9600,x":   "no speed",
		"modbus --port a --parity mark":   "none of none",
		"modbus --port a --wait 1ms":      "10ms to 30s",
		"serial extra":                    "too much",
		"ble hci0 hci1":                   "too much",
		"ble bluetooth":                   "no adapter",
		"ble --time 0s":                   "1s to 1h",
		"gpio --config --json":            "two things",
		"modbus --tcp 127.0.0.1:1 --what": "no option",
	} {
		code, out, errs := scan(t, strings.Fields(line)...)
		if code != cli.ExitUsage || !strings.Contains(errs, want) || out != "" {
			t.Errorf("postern scan %s: %d %q %q", line, code, out, errs)
		}
	}
	if code, _, errs := scan(t, "modbus", "--port", "/dev/no-such-port"); code != cli.ExitUnreachable || !strings.Contains(errs, "no-such-port") {
		t.Errorf("a port that is not there: %d %s", code, errs)
	}
}
