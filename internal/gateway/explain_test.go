package gateway

import (
	"strings"
	"testing"
	"time"

	"postern/internal/local"
)

func TestExplain(t *testing.T) {
	text := strings.Replace(basicConfig, "{name: Temperature}",
		"{name: Temperature, calibration: {offset: -0.3, by: Anna, date: 2026-03-01}, history: {deadband: 50, max_interval: 1h}}", 1)
	r := newRig(t, strings.Replace(text, "interval: 1s", "interval: 100ms", 1))
	var e local.Explanation
	for range 50 {
		var err error
		if e, err = local.NewClient(r.door.Path).Explain(t.Context(), "air"); err != nil {
			t.Fatal(err)
		}
		if e.Device != nil && e.Device.Reads > 2 && e.Fields[0].Skipped {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if e.Node != "air" || e.Kind != "bme280" || !e.Simulated || e.Device == nil || e.Device.Interval != 0.1 || e.Device.Failures != 0 ||
		e.Device.LastOK == nil || e.Device.NextTry == nil || len(e.Fields) != 2 {
		t.Fatalf("%+v", e)
	}
	if n := len(e.Octets); n == 0 || e.Octets[n-1].Out == "" || e.Octets[n-1].In == "" {
		t.Errorf("%+v", e.Octets)
	}
	if m, err := local.NewClient(r.door.Path).Explain(t.Context(), "meter"); err != nil || len(m.Octets) == 0 || !strings.HasPrefix(m.Octets[0].Out, "03 00") {
		t.Errorf("%+v %v", m.Octets, err)
	}
	f := e.Fields[0]
	if f.Name != "Temperature" || f.Channel != "temperature" || f.Value == "" || f.Raw == "" || f.Raw == f.Value ||
		f.Calibration != "× 1 + -0.3, by Anna, on 2026-03-01" || f.History != "deadband 50, at least every 1h0m0s" || f.Kept == nil || !f.Skipped {
		t.Errorf("%+v", f)
	}
	if f := e.Fields[1]; f.History != "every reading is kept" || f.Skipped || f.Raw != "" {
		t.Errorf("%+v", f)
	}
	if _, err := local.NewClient(r.door.Path).Explain(t.Context(), "nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Error(err)
	}
}

// A device that fails says why, how often, and when it is tried again.
func TestExplainFailure(t *testing.T) {
	r := newRig(t, strings.Replace(basicConfig, "simulate: true\n", "", 1))
	var e local.Explanation
	for range 100 {
		var err error
		if e, err = local.NewClient(r.door.Path).Explain(t.Context(), "meter"); err != nil {
			t.Fatal(err)
		}
		if e.Device != nil && e.Device.InARow > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if e.Device == nil || e.Device.Error == "" || e.Device.LastOK != nil || e.Device.NextTry == nil {
		t.Errorf("%+v %+v", e, e.Device)
	}
}
