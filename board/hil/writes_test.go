package hil

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestHistoryWrites has the history write a day of 100 series on a stock kernel
// and a disk of its own, in accelerated time, and shows what the kernel and the
// disk count. It takes minutes:
//
//	POSTERN_HIL_WRITES=1 board/hil/run.sh '^TestHistoryWrites' 20m
func TestHistoryWrites(t *testing.T) {
	if os.Getenv("POSTERN_HIL_WRITES") == "" {
		t.Skip("a measurement; POSTERN_HIL_WRITES=1 runs it")
	}
	disk := NewDisk(t, 512)
	g := Boot(t, Options{
		Modules:  DiskModules,
		Packages: map[string]string{"/t/history.test": "test:postern/sensors/history"},
		Devices:  disk.Devices,
	})
	g.Mount("/dev/vda", "/disk", "ext4")
	t.Log(g.Read("/proc/version"))
	before := disk.Stats()
	env := map[string]string{"TMPDIR": "/disk", "POSTERN_BLOCK": "/sys/block/vda/stat"}
	out, err := g.Run(15*time.Minute, env, "/t/history.test", "-test.v", "-test.timeout=14m", "-test.run=^TestWeek$")
	if err != nil || !strings.Contains(out, "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	after := disk.Stats()
	t.Logf("in the guest:\n%s", out)
	t.Logf("the disk got %.1f MB and %d flushes", float64(after.Written-before.Written)/1e6, after.Flushes-before.Flushes)
}
