package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
)

// The machine that runs the tests is a host like any other.
func TestThisMachine(t *testing.T) {
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		d, err := Open(t.Context(), Config{Disks: []string{"/"}})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}, drivertest.Options{})
}

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func board(t *testing.T) string {
	return tree(t, map[string]string{
		"proc/loadavg":                           "0.07 0.10 1.25 2/345 6789\n",
		"proc/uptime":                            "86400.50 300000.10\n",
		"proc/stat":                              "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\nbtime 1700000000\n",
		"proc/meminfo":                           "MemTotal:        1024000 kB\nMemFree:          100000 kB\nMemAvailable:     512000 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
		"sys/class/thermal/thermal_zone0/type":   "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp":   "45277\n",
		"sys/class/thermal/thermal_zone0/policy": "step_wise\n",
		"sys/class/thermal/thermal_zone1/type":   "cpu-thermal\n",
		"sys/class/thermal/thermal_zone1/temp":   "-500\n",
		"sys/class/thermal/thermal_zone1/policy": "step_wise\n",
	})
}

func values(t *testing.T, d *Device) map[string]drivers.Sample {
	t.Helper()
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]drivers.Sample{}
	for _, s := range got {
		m[s.Channel] = s
	}
	return m
}

func TestBoard(t *testing.T) {
	root := board(t)
	d, err := open(Config{}, root+"/proc", root+"/sys")
	if err != nil {
		t.Fatal(err)
	}
	got := values(t, d)
	for name, want := range map[string]string{
		"load-1": "0.07", "load-15": "1.25", "uptime": "86400.50", "cpu": "20.0",
		"memory-total": "1000.0", "memory-available": "500.0",
		"temperature-cpu-thermal": "45.277", "temperature-cpu-thermal-2": "-0.500",
	} {
		if s := got[name]; s.Err != nil || s.Value.String() != want {
			t.Errorf("%s reads %v, %v; want %s", name, s.Value, s.Err, want)
		}
	}
	if _, ok := got["swap-used"]; ok {
		t.Error("a swap channel on a machine without swap")
	}

	// The next window: 100 ticks, all of them busy. A zone goes away.
	time.Sleep(minWindow)
	if err := os.WriteFile(root+"/proc/stat", []byte("cpu  200 0 100 800 0 0 0 0 0 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(root + "/sys/class/thermal/thermal_zone0/temp"); err != nil {
		t.Fatal(err)
	}
	got = values(t, d)
	if v := got["cpu"].Value.String(); v != "100.0" {
		t.Errorf("cpu reads %s, want 100.0", v)
	}
	if s := got["temperature-cpu-thermal"]; !errors.Is(s.Err, drivers.ErrGone) {
		t.Errorf("a zone that went away reads %v, %v", s.Value, s.Err)
	}
}

func TestNothingToRead(t *testing.T) {
	if d, err := open(Config{}, t.TempDir(), t.TempDir()); err == nil {
		t.Errorf("channels %v of an empty machine", d.Channels())
	}
}

func TestGarbageIsNoReading(t *testing.T) {
	root := board(t)
	d, err := open(Config{}, root+"/proc", root+"/sys")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"loadavg", "uptime", "meminfo"} {
		if err := os.WriteFile(root+"/proc/"+f, []byte("MemTotal: garbage kB\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range values(t, d) {
		if s.Err == nil && (name == "load-1" || name == "uptime" || name == "memory-total") {
			t.Errorf("%s reads %v from garbage", name, s.Value)
		}
	}
}

func TestDisksRefused(t *testing.T) {
	for _, dir := range []string{"relative", "/no/such/place"} {
		if _, err := Open(t.Context(), Config{Disks: []string{dir}}); err == nil {
			t.Errorf("disk %q was accepted", dir)
		}
	}
}

func TestSlug(t *testing.T) {
	for s, want := range map[string]string{"x86_pkg_temp": "x86-pkg-temp", "--": "unnamed", "var/lib/Postern": "var-lib-postern", "B0°D4": "b0-d4"} {
		if got := slug(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
