package modbus_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
)

// usage is what a leak would show in.
type usage struct {
	descriptors, goroutines int
	heap                    uint64
}

func measure(t *testing.T) (u usage) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{len(fds), runtime.NumGoroutine(), m.HeapAlloc}
}

// TestReplugLeaksNothing unplugs the adapter of a Modbus line and plugs it in
// again: 20 times, or POSTERN_REPLUGS times (make replug: 1,000). Each time a
// reading says that it is gone, and another one works again by itself.
func TestReplugLeaksNothing(t *testing.T) {
	cycles := 20
	if n, err := strconv.Atoi(os.Getenv("POSTERN_REPLUGS")); err == nil && n > 0 {
		cycles = n
	}
	link := filepath.Join(t.TempDir(), "adapter")
	image := modbus.NewImage()
	image.SetRegisters(modbus.Holdings, 0, 42)
	plug := func() (unplug func()) {
		t.Helper()
		s := slave.New(map[byte]*modbus.Image{1: image})
		path, err := s.PTY()
		if err != nil {
			t.Skip(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Remove(link); err != nil {
				t.Error(err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("slave: %v", err)
			}
		}
	}
	cfg := busConfig(link, 115200)
	cfg.Retries = 0
	c, err := modbus.Dial(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := open(t, c, modbus.Config{Unit: 1, Registers: []modbus.Register{{Name: "answer"}}})
	defer d.Close()
	warm := max(cycles/10, 5) // buffers and maps have their size by then
	var before usage
	for i := range cycles {
		if i == warm {
			before = measure(t)
		}
		unplug := plug()
		var err error
		for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
			if _, err = d.Read(t.Context(), nil); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatalf("cycle %d: plugged in: %v", i, err)
		}
		unplug()
		if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrGone) {
			t.Fatalf("cycle %d: unplugged: %v", i, err)
		}
	}
	after := measure(t)
	t.Logf("%d cycles: descriptors %d to %d, goroutines %d to %d, heap %d to %d KB", cycles-warm,
		before.descriptors, after.descriptors, before.goroutines, after.goroutines, before.heap>>10, after.heap>>10)
	if after.descriptors > before.descriptors || after.goroutines > before.goroutines || after.heap > before.heap+128<<10 {
		t.Error("something was left behind")
	}
}
