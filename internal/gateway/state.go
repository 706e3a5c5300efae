package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"postern/internal/audit"
	"postern/internal/store"
)

// StateDirectory is where a daemon called name keeps what must survive a
// restart: given, else $STATE_DIRECTORY, else for root /var/lib/NAME, for
// others $XDG_STATE_HOME/NAME or ~/.local/state/NAME.
func StateDirectory(given, name string) (string, error) {
	switch {
	case given != "":
		return given, nil
	case os.Getenv("STATE_DIRECTORY") != "":
		return os.Getenv("STATE_DIRECTORY"), nil
	case os.Geteuid() == 0:
		return filepath.Join("/var/lib", name), nil
	}
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, name), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("state: %w; name a directory in the configuration (state.directory)", err)
	}
	return filepath.Join(home, ".local", "state", name), nil
}

// OpenStore opens the store of a daemon in dir. A file that was there before
// is checked by a process of its own. Of a damaged one, the buckets named first
// are saved first.
func OpenStore(ctx context.Context, dir string, log *slog.Logger, first ...string) (*store.DB, error) {
	order := slices.Concat(first, []string{"provisioning.claim", "provisioning.trusted", "provisioning.tokens", "accounts", "schedules"},
		audit.Buckets(), []string{"computed", "events", "outbox-subscribers", "outbox-run", "outbox", "history"})
	o := store.Options{Logger: log, Order: order}
	if exe, err := os.Executable(); err == nil && filepath.Base(exe) == "postern" {
		o.Check = store.ChildCheck(exe, "store", "check")
	}
	return store.Open(ctx, filepath.Join(dir, "postern.db"), o)
}
