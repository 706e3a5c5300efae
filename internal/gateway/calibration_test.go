package gateway

import (
	"strings"
	"testing"
)

// A calibration of the configuration changes what is read, with a warning
// once it has expired.
func TestCalibrationReachesTheReading(t *testing.T) {
	text := strings.Replace(basicConfig, "temperature: {name: Temperature}", `temperature:
        name: Temperature
        calibration: {polynomial: [100, 0], digits: 3, by: a technician, date: 2020-01-01, expires: 2021-01-01}`, 1)
	r := newRig(t, text)
	got := r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true'><node nodeId='air'/></req>", "done=")
	got = strings.ReplaceAll(got, "'", `"`)
	if !strings.Contains(got, `value="100.000"`) || !strings.Contains(got, `warning="true"`) {
		t.Error(got)
	}
}
