package daemon

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/cli"
)

func TestAttendTellsTheManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	vars := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000"}
	env := &cli.Env{Getenv: func(k string) string { return vars[k] }}
	next := func() string {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	ctx, cancel := context.WithCancel(t.Context())
	leave := attend(ctx, env, slog.New(slog.DiscardHandler), nil)
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := next(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	cancel()
	stopping := 0
	for range 4 { // the watchdog is fed while it stops
		if next() == "STOPPING=1" {
			stopping++
		}
	}
	leave()
	if stopping != 1 {
		t.Errorf("told %d times that it stops", stopping)
	}
}
