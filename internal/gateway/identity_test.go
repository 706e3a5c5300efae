package gateway

import (
	"strings"
	"testing"
	"time"
)

// What a device is and how it is can be read as identity and status.
func TestIdentityAndStatus(t *testing.T) {
	r := newRig(t, `
account: {jid: thing@example.org, password: {env: POSTERN_TEST_PASSWORD}}
access: {owner: boss@example.org}
nodes:
  - {id: board, kind: host}
  - {id: probe, kind: ds18b20, rom: 28-0316a2795aff, simulate: true, interval: 100ms}
  - {id: air, kind: bme280, bus: 77, interval: 100ms}
`)
	read := func(types string) string {
		return r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='"+types[:1]+"' "+types[1:]+"='true'/>", "done=")
	}
	got := strings.ReplaceAll(read("1identity"), `"`, "'")
	for _, part := range []string{"name='serial-number'", "value='28-0316a2795aff'", "name='software-version'", "value='test'", "name='device-kind'", "identity='true'"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
	if strings.Contains(got, "momentary=") {
		t.Errorf("%s", got)
	}
	// The devices are read in their own time.
	for range 50 {
		if got = strings.ReplaceAll(read("2status"), `"`, "'"); strings.Contains(got, "value='ok'") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, part := range []string{"name='device-state'", "status='true'", "value='ok'", "dataType='DeviceState'"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
	if !strings.Contains(got, "value='failing'") && !strings.Contains(got, "value='left alone'") && !strings.Contains(got, "value='unread'") {
		t.Errorf("the device that is not there: %s", got)
	}
}
