//go:build fleet

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"postern/provisioning/registry/postgres"
)

// openDatabase opens the state in PostgreSQL.
func openDatabase(ctx context.Context, d registryDatabase, what purpose, log *slog.Logger) (*registryDB, error) {
	o := postgres.Options{Address: d.Address, ReadOnly: what == forExport, Logger: log}
	if !d.Password.IsZero() {
		o.Password = d.Password.Read
	}
	db, err := postgres.Open(ctx, o)
	switch {
	case errors.Is(err, postgres.ErrAddress):
		return nil, fmt.Errorf("%w: %w", errConfig, err)
	case err != nil:
		return nil, err
	}
	return &registryDB{DB: db, run: db.Run, problem: db.Err, close: db.Close}, nil
}

// databaseAway reports whether an error passes when the database is back.
func databaseAway(err error) bool { return errors.Is(err, postgres.ErrAway) }
