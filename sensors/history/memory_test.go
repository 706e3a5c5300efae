package history

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
)

// Anonymous memory of a history that takes 2000 values a second, over two
// hours and their roll-ups. POSTERN_LONG=1; the bound is of the whole test
// program.
func TestMemory(t *testing.T) {
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("set POSTERN_LONG=1 to take 14 million readings")
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(48 << 20))
	c := &clock{begin}
	h := open(t, openDB(t, filepath.Join(t.TempDir(), "db")), c, func(cfg *Config) { cfg.Cap = 1 << 30 })
	start := time.Now()
	most := 0
	for s := range 2*3600 + 60 {
		c.t = begin.Add(time.Duration(s) * time.Second)
		for i := range 2000 {
			v := drivers.Decimal(drivers.Number{Mant: int64(2000 + (s*7919+i*104729)%200), Exp: -2})
			h.Add(ref(i), "x", live.Reading{}, reading(c.t, v))
		}
		if s%5 == 0 {
			if err := h.step(false); err != nil {
				t.Fatal(err)
			}
			most = max(most, anonymous(t))
		}
	}
	t.Logf("%d readings in %v; RssAnon at most %d KiB", h.Status().Samples, time.Since(start), most)
	if most > 80<<10 {
		t.Errorf("%d KiB", most)
	}
}

func anonymous(t *testing.T) (kb int) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := bytes.Cut(b, []byte("RssAnon:"))
	if _, err := fmt.Sscan(string(rest), &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}
